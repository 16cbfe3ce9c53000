//! `--model ORG/NAME`: the cache's directory for it, and the offer to pull what is not there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache::Cache;
use super::{Environment, Reference, Revision};
use crate::failure::BadModel;
use crate::notice::Notices;

/// How many files an error lists.
const MOST_LISTED: usize = 8;

/// A repository, and where its files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) reference: Reference,
    pub(crate) path: PathBuf,
}

/// What `model` means where it is no path: `None` where it is one, or cannot be a repository.
///
/// # Errors
/// The repository is not in the cache and was not pulled, or holds several models: exit code 3. And whatever a pull
/// that the user agreed to fails with.
pub(crate) fn resolve(model: &Path, notices: Notices) -> Result<Option<Resolved>> {
    if fs::symlink_metadata(model).is_ok() {
        return Ok(None);
    }
    let Some(reference) = model.to_str().and_then(|text| text.parse().ok()) else {
        return Ok(None);
    };
    let environment = Environment::read()?;
    let cache = Cache::new(environment.cache.clone());
    let revision = revision(&reference);
    let snapshot = match cache.snapshot(&reference.repository, &revision)? {
        Some(snapshot) => snapshot,
        None => match offered(&reference, &environment, notices)? {
            Some(snapshot) => snapshot,
            None => return Err(absent(&reference, &environment, &cache).into()),
        },
    };
    notices.detail(format_args!("{reference}: {}", snapshot.display()));
    let path = model_in(&reference, snapshot)?;
    Ok(Some(Resolved { reference, path }))
}

/// The command that fetches a repository.
fn how_to_pull(reference: &Reference) -> String {
    if cfg!(feature = "hub") {
        return format!("`llama-cli pull {reference}` fetches it");
    }
    let repository = &reference.repository;
    let revision = match &reference.revision {
        Some(revision) => format!(" --revision {revision}"),
        None => String::new(),
    };
    format!(
        "`hf download {repository}{revision}` of Hugging Face's huggingface_hub fetches it, and so does `llama-cli pull {reference}` where llama-cli is built with --features hub"
    )
}

pub(super) fn revision(reference: &Reference) -> Revision {
    reference.revision.clone().unwrap_or_else(Revision::main)
}

/// The snapshot, pulled now, if somebody is there to agree.
#[cfg(feature = "hub")]
fn offered(
    reference: &Reference,
    environment: &Environment,
    notices: Notices,
) -> Result<Option<PathBuf>> {
    if environment.offline
        || !notices.asks(&format!(
            "{reference} is not in the Hub's cache. Pull it now? [y/N] "
        ))
    {
        return Ok(None);
    }
    let pulled = super::pull(reference, &[], environment, notices)?;
    Ok(Some(pulled.path))
}

#[cfg(not(feature = "hub"))]
fn offered(_: &Reference, _: &Environment, _: Notices) -> Result<Option<PathBuf>> {
    Ok(None)
}

fn absent(reference: &Reference, environment: &Environment, cache: &Cache) -> BadModel {
    let known: Vec<String> = cache
        .snapshots_of(&reference.repository)
        .into_iter()
        .map(|it| it.revisions.into_iter().next().unwrap_or(it.commit))
        .take(MOST_LISTED)
        .map(|revision| format!("{}@{revision}", reference.repository))
        .collect();
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(", which has {}", known.join(", "))
    };
    let offline = if environment.offline {
        ", once HF_HUB_OFFLINE is not set"
    } else {
        ""
    };
    BadModel(format!(
        "{reference}: expected a file, a directory or a repository in the Hub's cache, found none of that name in {}{known}; {}{offline}",
        cache.root().display(),
        how_to_pull(reference)
    ))
}

/// A snapshot is a model's directory, but for GGUF, where one file is a model.
fn model_in(reference: &Reference, snapshot: PathBuf) -> Result<PathBuf> {
    if snapshot.join("config.json").exists() {
        return Ok(snapshot);
    }
    let entries = fs::read_dir(&snapshot).into_iter().flatten();
    let mut models: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".gguf") && !is_later_part(name))
        .collect();
    models.sort();
    match models.as_slice() {
        [] => Ok(snapshot),
        [model] => Ok(snapshot.join(model)),
        several => {
            let shown = several.iter().take(MOST_LISTED).cloned();
            Err(BadModel(format!(
                "{reference}: expected one GGUF model, found {}: {}; name the file, in {}",
                several.len(),
                shown.collect::<Vec<_>>().join(", "),
                snapshot.display()
            ))
            .into())
        }
    }
}

/// `NAME-00002-of-00003.gguf`: a split model is named by its first part.
fn is_later_part(name: &str) -> bool {
    let stem = name.trim_end_matches(".gguf");
    let mut words = stem.rsplit('-');
    let (count, of, number) = (words.next(), words.next(), words.next());
    let is_number = |word: &str| word.len() == 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    of == Some("of")
        && count.is_some_and(is_number)
        && number.is_some_and(|n| is_number(n) && n != "00001")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_model_is_its_first_part() {
        assert!(is_later_part("llama-2-70b.Q4_K_M-00002-of-00003.gguf"));
        for first in [
            "llama-2-70b.Q4_K_M-00001-of-00003.gguf",
            "llama-2-7b.Q4_K_M.gguf",
            "a-of-b.gguf",
        ] {
            assert!(!is_later_part(first), "{first}");
        }
    }

    #[test]
    fn one_gguf_file_is_the_model_and_several_are_a_question() {
        let directory = tempfile::tempdir().unwrap();
        let snapshot = || directory.path().to_owned();
        let reference: Reference = "a/b".parse().unwrap();
        assert_eq!(model_in(&reference, snapshot()).unwrap(), snapshot());
        for part in ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"] {
            fs::write(snapshot().join(part), "").unwrap();
        }
        assert_eq!(
            model_in(&reference, snapshot()).unwrap(),
            snapshot().join("x-00001-of-00002.gguf")
        );
        fs::write(snapshot().join("y.gguf"), "").unwrap();
        assert_eq!(
            model_in(&reference, snapshot()).unwrap_err().to_string(),
            format!(
                "a/b: expected one GGUF model, found 2: x-00001-of-00002.gguf, y.gguf; name the file, in {}",
                snapshot().display()
            )
        );
        fs::write(snapshot().join("config.json"), "{}").unwrap();
        assert_eq!(model_in(&reference, snapshot()).unwrap(), snapshot());
    }
}
