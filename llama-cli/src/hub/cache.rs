//! The Hub's cache: `models--ORG--NAME/{blobs,refs,snapshots}`. Finds, lists and removes; writes nothing new.
//!
//! `refs/REVISION` holds a commit, `snapshots/COMMIT` the repository's files as relative links into `blobs`, or as
//! files where the system has no links; `blobs/HASH.incomplete` is a download that ended early.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::repository::is_commit;
use super::{Repository, Revision};
use crate::failure::{BadModel, Disk};

/// No ref is longer: it is one commit.
const LONGEST_REF: u64 = 256;
/// How many folders deep a snapshot or a ref is followed.
const DEEPEST: usize = 8;

#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// One revision of one repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) repository: Repository,
    pub(crate) commit: String,
    /// The branches and tags that stand for it, sorted.
    pub(crate) revisions: Vec<String>,
    /// Of its files, those it shares with other snapshots too.
    pub(crate) bytes: u64,
    pub(crate) format: Format,
    pub(crate) path: PathBuf,
}

/// What the weights are stored as, by the names of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Safetensors,
    Gguf,
    /// `consolidated.NN.pth`
    Meta,
    /// `pytorch_model.bin`
    PyTorch,
    /// No weights: a tokenizer, say.
    None,
}

impl Cache {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn folder(&self, repository: &Repository) -> PathBuf {
        self.root.join(repository.folder())
    }

    /// The directory of a revision's files; `None` where the cache has none.
    ///
    /// # Errors
    /// The ref is no commit: exit code 3.
    pub(crate) fn snapshot(
        &self,
        repository: &Repository,
        revision: &Revision,
    ) -> Result<Option<PathBuf>> {
        let folder = self.folder(repository);
        let commit = match revision.as_commit() {
            Some(commit) => commit.to_owned(),
            None => match self.commit(repository, revision)? {
                Some(commit) => commit,
                None => return Ok(None),
            },
        };
        let path = folder.join("snapshots").join(commit);
        Ok(path.is_dir().then_some(path))
    }

    /// The commit that the cache knows a branch or tag by.
    pub(crate) fn commit(
        &self,
        repository: &Repository,
        revision: &Revision,
    ) -> Result<Option<String>> {
        let path = self.folder(repository).join("refs").join(revision.as_str());
        match read_ref(&path) {
            None => Ok(None),
            Some(text) if is_commit(&text) => Ok(Some(text)),
            Some(text) => {
                let shown: String = text.chars().take(48).collect();
                Err(BadModel(format!(
                    "{}: expected a commit of 40 hexadecimal digits, found {shown:?}; remove the file and pull {repository} again",
                    path.display()
                ))
                .into())
            }
        }
    }

    /// Every snapshot of every model, sorted by repository and commit. What is no model's, or cannot be read, is passed over.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let mut found = Vec::new();
        for repository in self.repositories() {
            found.extend(self.snapshots_of(&repository));
        }
        found
    }

    pub(crate) fn snapshots_of(&self, repository: &Repository) -> Vec<Snapshot> {
        let folder = self.folder(repository);
        let mut revisions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let refs = folder.join("refs");
        walk(&refs, DEEPEST, &mut |path| {
            let name = path.strip_prefix(&refs).unwrap_or(path);
            if let Some(commit) = read_ref(path) {
                let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                revisions.entry(commit).or_default().push(parts.join("/"));
            }
        });
        let commits = names(&folder.join("snapshots"));
        let snapshot = |commit: String| {
            let path = folder.join("snapshots").join(&commit);
            let mut bytes = 0;
            let mut format = Format::None;
            walk(&path, DEEPEST, &mut |file| {
                let shared = fs::metadata(file).ok().filter(fs::Metadata::is_file);
                bytes += shared.map_or(0, |file| file.len());
                format = format.or(Format::of(file));
            });
            let mut revisions = revisions.remove(&commit).unwrap_or_default();
            revisions.sort();
            Snapshot {
                repository: repository.clone(),
                commit,
                revisions,
                bytes,
                format,
                path,
            }
        };
        commits
            .into_iter()
            .filter(|name| is_commit(name))
            .map(snapshot)
            .collect()
    }

    /// Downloads that ended early: the repository, and the bytes that are there.
    pub(crate) fn unfinished(&self) -> Vec<(Repository, u64)> {
        let mut found = Vec::new();
        for repository in self.repositories() {
            let mut bytes = None;
            walk(&self.folder(&repository).join("blobs"), 1, &mut |blob| {
                if blob.extension().is_some_and(|it| it == "incomplete") {
                    let len = fs::symlink_metadata(blob).map_or(0, |file| file.len());
                    *bytes.get_or_insert(0) += len;
                }
            });
            found.extend(bytes.map(|bytes| (repository, bytes)));
        }
        found
    }

    /// Removes a repository with every revision, and gives the bytes that were freed; `None` where there was none.
    ///
    /// # Errors
    /// A file cannot be removed: exit code 7.
    pub(crate) fn remove(&self, repository: &Repository) -> Result<Option<u64>> {
        let folder = self.folder(repository);
        // The folder itself may be a link to another disk; what it points at is not ours to remove.
        let Ok(metadata) = fs::symlink_metadata(&folder) else {
            return Ok(None);
        };
        let mut bytes = 0;
        walk(&folder, DEEPEST, &mut |path| {
            bytes += fs::symlink_metadata(path).map_or(0, |file| file.len());
        });
        let removed = if metadata.is_dir() {
            fs::remove_dir_all(&folder)
        } else {
            fs::remove_file(&folder)
        };
        removed.map_err(|error| {
            Disk(format!(
                "{}: expected to remove it, found: {error}",
                folder.display()
            ))
        })?;
        // Locks are empty files; one that stays does no harm.
        let _ = fs::remove_dir_all(self.root.join(".locks").join(repository.folder()));
        Ok(Some(bytes))
    }

    fn repositories(&self) -> Vec<Repository> {
        let mut found: Vec<Repository> = names(&self.root)
            .iter()
            .filter_map(|name| Repository::of_folder(name))
            .collect();
        found.sort();
        found
    }
}

impl Format {
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Safetensors => Some("safetensors"),
            Self::Gguf => Some("gguf"),
            Self::Meta => Some("meta"),
            Self::PyTorch => Some("pytorch"),
            Self::None => None,
        }
    }

    fn of(file: &Path) -> Self {
        let extension = file.extension().and_then(|it| it.to_str());
        match extension {
            Some("safetensors") => Self::Safetensors,
            Some("gguf") => Self::Gguf,
            Some("pth") => Self::Meta,
            Some("bin") => Self::PyTorch,
            _ => Self::None,
        }
    }

    /// Which of a snapshot's formats a run would use, in the order that `llama_weights` opens them.
    fn or(self, other: Self) -> Self {
        let rank = |format: Self| match format {
            Self::Safetensors => 0,
            Self::PyTorch => 1,
            Self::Meta => 2,
            Self::Gguf => 3,
            Self::None => 4,
        };
        if rank(other) < rank(self) {
            other
        } else {
            self
        }
    }
}

/// The text of a ref; `None` where there is no such file, or one too large to be a ref.
fn read_ref(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > LONGEST_REF {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The names in a folder, sorted; none where there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Every file below a folder. Links to folders are not followed, so that no ring is endless.
fn walk(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).and_then(Iterator::collect);
    for entry in entries.into_iter().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if depth > 1 {
                    walk(&path, depth - 1, visit);
                }
            }
            Ok(_) => visit(&path),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    #[test]
    fn a_snapshot_is_found_by_branch_tag_and_commit() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        let repository: Repository = "a/b".parse().unwrap();
        let folder = cache.folder(&repository);
        write(folder.join("refs/main"), format!("{COMMIT}\n"));
        write(folder.join("refs/refs/pr/1"), COMMIT);
        write(
            folder.join("snapshots").join(COMMIT).join("x.gguf"),
            "12345",
        );
        write(folder.join("blobs/aa.incomplete"), "123");
        let path = folder.join("snapshots").join(COMMIT);
        for revision in ["main", "refs/pr/1", COMMIT] {
            let revision = revision.parse().unwrap();
            let found = cache.snapshot(&repository, &revision).unwrap();
            assert_eq!(found.as_ref(), Some(&path), "{revision}");
        }
        let absent = cache.snapshot(&repository, &"v1".parse().unwrap());
        assert_eq!(absent.unwrap(), None);
        assert_eq!(
            cache.snapshots(),
            [Snapshot {
                repository: repository.clone(),
                commit: COMMIT.to_owned(),
                revisions: vec!["main".to_owned(), "refs/pr/1".to_owned()],
                bytes: 5,
                format: Format::Gguf,
                path,
            }]
        );
        assert_eq!(cache.unfinished(), [(repository.clone(), 3)]);
        assert!(cache.remove(&repository).unwrap() > Some(8));
        assert_eq!(cache.remove(&repository).unwrap(), None);
        assert!(!folder.exists());
    }

    #[test]
    fn of_several_formats_the_first_that_a_run_opens_is_told() {
        use Format::{Gguf, Meta, None, PyTorch, Safetensors};
        let order = [Safetensors, PyTorch, Meta, Gguf, None];
        for (at, first) in order.into_iter().enumerate() {
            for later in &order[at..] {
                assert_eq!((first.or(*later), later.or(first)), (first, first));
            }
        }
    }

    #[test]
    fn a_ref_that_is_no_commit_leads_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        let repository: Repository = "a/b".parse().unwrap();
        let path = cache.folder(&repository).join("refs").join("main");
        write(path.clone(), "../../../etc");
        let error = cache.snapshot(&repository, &Revision::main()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{}: expected a commit of 40 hexadecimal digits, found \"../../../etc\"; remove the file and pull a/b again",
                path.display()
            )
        );
    }

    /// A ring of links, a folder that is a file, a stranger's folder: none of them is a model.
    #[cfg(unix)]
    #[test]
    fn what_is_no_model_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().into());
        write(directory.path().join("models--a--b"), "a file");
        write(directory.path().join("datasets--a--b/refs/main"), COMMIT);
        let folder = directory.path().join("models--c--d/snapshots").join(COMMIT);
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, folder.join("ring")).unwrap();
        let found = cache.snapshots();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].format, found[0].format.name()),
            (Format::None, None)
        );
        assert!(Cache::new("/no such cache".into()).snapshots().is_empty());
    }
}
