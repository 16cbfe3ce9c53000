//! Names on the Hub: a repository, a revision of it, and both together as `--model` takes them.

use std::fmt;
use std::str::FromStr;

/// `ORG/NAME`, held to the Hub's own rules, so that it is also harmless in a path and in an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Repository(String);

/// A branch, a tag, a commit or a pull request's `refs/pr/1`: harmless as a path below `refs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision(String);

/// `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) repository: Repository,
    pub(crate) revision: Option<Revision>,
}

/// The Hub's limit for each part of a name.
const LONGEST_NAME: usize = 96;
const LONGEST_REVISION: usize = 255;

impl Repository {
    /// Its folder in a cache: `models--ORG--NAME`. Names hold no `--`, so none is ambiguous.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The repository of a cache's folder; `None` where the folder is something else.
    pub(crate) fn of_folder(folder: &str) -> Option<Self> {
        folder
            .strip_prefix("models--")?
            .replacen("--", "/", 1)
            .parse()
            .ok()
    }

    /// ORG and NAME.
    #[cfg(feature = "hub")]
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |part: &str| {
            let sane = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            (1..=LONGEST_NAME).contains(&part.len())
                && part.chars().all(sane)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        match text.split_once('/') {
            Some((org, name)) if is_name(org) && is_name(name) && !name.ends_with(".git") => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(
                "expected a repository of the Hub such as meta-llama/Llama-2-7b-chat-hf".to_owned(),
            ),
        }
    }
}

impl Revision {
    pub(crate) fn main() -> Self {
        Self("main".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit that it names by itself.
    pub(crate) fn as_commit(&self) -> Option<&str> {
        is_commit(&self.0).then_some(&self.0)
    }
}

impl FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            let sane = |c: char| !c.is_control() && !" ~^:?*[\\<>|\"@".contains(c);
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.ends_with('.')
                && !part.contains("..")
                && part.chars().all(sane)
        };
        if text.len() > LONGEST_REVISION || !text.split('/').all(is_part) {
            return Err("expected a branch, a tag or a commit".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            repository: repository.parse()?,
            revision,
        })
    }
}

/// Whether `text` is a git commit: 40 lower-case hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

/// Lower-case digits only, as git and the Hub write them.
pub(crate) fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.repository),
            None => write!(f, "{}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_hubs() {
        for good in [
            "meta-llama/Llama-2-7b-chat-hf",
            "TheBloke/Llama-2-7B-GGUF",
            "a/b",
            "karpathy/tinyllamas.v2",
            "_x/y_",
        ] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "gpt2",
            "/a",
            "a/",
            "a/b/c",
            "../b",
            "a/..",
            "a/.b",
            "-a/b",
            "a/b-",
            "a--b/c",
            "a/b..c",
            "a/b.git",
            "a b/c",
            "a\\b/c",
            "ä/b",
            "a/b\0",
            "C:/b",
            "a/b?c",
            &format!("a/{}", "b".repeat(97)),
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn revisions_stay_below_their_folder() {
        for good in [
            "main",
            "v1.0",
            "refs/pr/1",
            "fix/é",
            "0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(good.parse::<Revision>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "..",
            "a/../b",
            "/etc/passwd",
            "a//b",
            "a/",
            ".hidden",
            "a\\b",
            "a b",
            "a\0",
            "C:x",
            "-f",
            "a@b",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_is_written_as_it_is_read() {
        for text in ["a/b", "a/b@v1", "a/b@refs/pr/2"] {
            assert_eq!(
                text.parse::<Reference>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!("a/b@".parse::<Reference>().is_err());
    }

    #[test]
    fn a_folder_names_its_repository() {
        let repository: Repository = "meta-llama/Llama-2-7b-hf".parse().unwrap();
        assert_eq!(repository.folder(), "models--meta-llama--Llama-2-7b-hf");
        assert_eq!(
            Repository::of_folder(&repository.folder()),
            Some(repository)
        );
        for other in [
            "datasets--a--b",
            "models--gpt2",
            "models--a--b--c",
            ".locks",
            "models--a--..",
        ] {
            assert_eq!(Repository::of_folder(other), None, "{other}");
        }
    }
}
