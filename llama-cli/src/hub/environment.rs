//! What the environment says of the Hub: the same variables, with the same meaning, as Hugging Face's own programs read.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::usage;

/// The directories, and whether to stay off the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `HF_HUB_CACHE`, else `hub` in `home`.
    pub(crate) cache: PathBuf,
    /// `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME` or `~/.cache`: where the token lies.
    pub(crate) home: PathBuf,
    /// `HF_HUB_OFFLINE`, also `TRANSFORMERS_OFFLINE`.
    pub(crate) offline: bool,
}

impl Environment {
    /// # Errors
    /// No variable is set and the user has no home directory: exit code 2.
    pub(crate) fn read() -> anyhow::Result<Self> {
        Self::from(&variable, env::home_dir().as_deref()).ok_or_else(|| {
            usage("the Hub's cache: expected a home directory, found none; set HF_HOME or HF_HUB_CACHE")
        })
    }

    fn from(variable: &dyn Fn(&str) -> Option<OsString>, user: Option<&Path>) -> Option<Self> {
        let path = |name: &str| variable(name).and_then(|value| expanded(value.into(), user));
        let home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(user?.join(".cache")));
            Some(caches?.join("huggingface"))
        });
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))?;
        Some(Self {
            home: home.unwrap_or_else(|| cache.clone()),
            cache,
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
                .iter()
                .any(|name| variable(name).is_some_and(|value| is_yes(&value))),
        })
    }
}

/// A variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// What Hugging Face's programs take for yes.
pub(super) fn is_yes(value: &OsString) -> bool {
    value.to_str().is_some_and(|value| {
        ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
    })
}

/// With the user's directory in place of a leading `~`.
pub(super) fn expanded(path: PathBuf, user: Option<&Path>) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(below) => Some(user?.join(below)),
        Err(_) => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Environment> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Environment::from(&variable, Some(Path::new("/home/me")))
    }

    #[test]
    fn the_cache_lies_where_the_hubs_own_programs_look() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HOME", "~/h")], "/home/me/h/hub"),
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], "/c"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (
                &[("HF_HUB_CACHE", "~/c d"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                "/home/me/c d",
            ),
        ];
        for (variables, cache) in cases {
            let found = read(variables).map(|it| it.cache);
            assert_eq!(found, Some(PathBuf::from(cache)), "{variables:?}");
        }
    }

    #[test]
    fn offline_is_said_in_several_ways() {
        for (value, offline) in [
            ("1", true),
            ("YES", true),
            ("true", true),
            ("On", true),
            ("0", false),
            ("no", false),
        ] {
            for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
                let found = read(&[(name, value)]).map(|it| it.offline);
                assert_eq!(found, Some(offline), "{name}={value}");
            }
        }
    }

    #[test]
    fn without_a_home_a_variable_must_say_it() {
        let none = |_: &str| None;
        assert_eq!(Environment::from(&none, None), None);
        let one = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from("/c"));
        let found = Environment::from(&one, None).map(|it| it.cache);
        assert_eq!(found, Some(PathBuf::from("/c")));
    }
}
