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

/// A repository, and the directory that its files lie in. Which of them are the model, the reader of weights decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) reference: Reference,
    pub(crate) path: PathBuf,
}

/// What `model` means where it is no path: `None` where it is one, or cannot be a repository.
///
/// # Errors
/// The repository is not in the cache and was not pulled: exit code 3. And whatever a pull that the user agreed to fails with.
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
    Ok(Some(Resolved {
        reference,
        path: snapshot,
    }))
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
