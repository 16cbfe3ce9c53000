//! Writing into the cache: locks, blobs, links and refs, each whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs4::{FileExt, TryLockError};
use tempfile::NamedTempFile;

use super::digest::Etag;
use crate::failure::Disk;
use crate::hub::cache::Cache;
use crate::hub::{Repository, Revision};
use crate::named_file::is_at;

/// One repository's folder.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    locks: PathBuf,
}

/// A blob that no other process writes while this lives.
#[derive(Debug)]
pub(super) struct Lock(
    #[cfg_attr(not(test), expect(dead_code, reason = "the lock ends with the file"))] File,
);

impl Store {
    pub(super) fn new(cache: &Cache, repository: &Repository) -> Self {
        Self {
            folder: cache.folder(repository),
            locks: cache.root().join(".locks").join(repository.folder()),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn blob(&self, etag: &Etag) -> PathBuf {
        self.folder.join("blobs").join(etag.as_str())
    }

    pub(super) fn incomplete(&self, etag: &Etag) -> PathBuf {
        self.folder
            .join("blobs")
            .join(format!("{}.incomplete", etag.as_str()))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Waits until no other process writes the blob; `waiting` is called if one does. The lock is the one that
    /// Hugging Face's own programs take.
    ///
    /// # Errors
    /// The lock's file cannot be made, or the file system has no locks: exit code 7.
    pub(super) fn lock(&self, etag: &Etag, waiting: impl FnOnce()) -> Result<Lock> {
        let path = self.locks.join(format!("{}.lock", etag.as_str()));
        let failed = |error| disk(&path, "lock", &error);
        let mut waiting = Some(waiting);
        loop {
            make_parent(&path)?;
            let file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(failed)?;
            match FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    FileExt::lock(&file).map_err(failed)?;
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Some programs remove the file with their lock: then the next one locks another file of the same name.
            if is_at(&file, &path) {
                return Ok(Lock(file));
            }
        }
    }

    /// Puts a blob where the snapshot has it.
    pub(super) fn link(&self, etag: &Etag, commit: &str, name: &str) -> Result<()> {
        let pointer = self.snapshot(commit).join(name);
        make_parent(&pointer)?;
        let up = "../".repeat(name.split('/').count() + 1);
        let target = format!("{up}blobs/{}", etag.as_str());
        place(&self.blob(etag), &pointer, &|link| symlink(&target, link))
            .map_err(|error| disk(&pointer, "link", &error))
    }

    /// Writes the commit that a branch or tag stands for. A commit needs none.
    pub(super) fn write_ref(&self, revision: &Revision, commit: &str) -> Result<()> {
        let path = self.folder.join("refs").join(revision.as_str());
        let is_there = fs::read(&path).is_ok_and(|text| text == commit.as_bytes());
        if revision.as_commit().is_some() || is_there {
            return Ok(());
        }
        make_parent(&path)?;
        let parent = path.parent().unwrap_or(&self.folder);
        let written = NamedTempFile::new_in(parent).and_then(|mut file| {
            io::Write::write_all(&mut file, commit.as_bytes())?;
            // A private file's rights would keep others out of a shared cache.
            let rights = fs::metadata(parent)?.permissions();
            share(file.as_file(), &rights)?;
            file.persist(&path)?;
            Ok(())
        });
        written.map_err(|error| disk(&path, "write", &error))
    }
}

/// A link, where the system has links; else a second name for the blob; else the blob itself. Whatever was there goes.
fn place(blob: &Path, pointer: &Path, link: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = pointer.with_file_name(format!(
        ".{}.{}",
        pointer.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let _ = fs::remove_file(&new);
    link(&new)
        .or_else(|_| fs::hard_link(blob, &new))
        .or_else(|_| fs::rename(blob, &new))?;
    fs::rename(&new, pointer)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Only where the user may: with developer mode on, or as an administrator.
#[cfg(windows)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a file the rights to read and write that its folder has.
#[cfg(unix)]
fn share(file: &File, folder: &fs::Permissions) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(folder.mode() & 0o666))
}

#[cfg(not(unix))]
fn share(_: &File, _: &fs::Permissions) -> io::Result<()> {
    Ok(())
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| disk(parent, "make", &error))
}

/// A file of the cache that cannot be written: exit code 7.
pub(super) fn disk(path: &Path, what: &str, error: &io::Error) -> anyhow::Error {
    Disk(format!(
        "{}: expected to {what} it, found: {error}; HF_HUB_CACHE names another place",
        path.display()
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a file system without symbolic links, and without hard ones either.
    #[test]
    fn without_links_the_blob_itself_is_the_snapshots_file() {
        let directory = tempfile::tempdir().unwrap();
        let (blob, pointer) = (directory.path().join("blob"), directory.path().join("name"));
        fs::write(&blob, "new").unwrap();
        fs::write(&pointer, "a broken copy").unwrap();
        let no_links = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        place(&blob, &pointer, &no_links).unwrap();
        assert_eq!(fs::read(&pointer).unwrap(), b"new");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            2,
            "blob and name"
        );
        fs::remove_file(&blob).unwrap();
        let error = place(&blob, &pointer, &no_links).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read(&pointer).unwrap(), b"new", "what was there stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_relative_whatever_its_depth() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("a cache"));
        let store = Store::new(&cache, &"a/b".parse().unwrap());
        let etag = Etag::parse(&"0".repeat(40)).unwrap();
        make_parent(&store.blob(&etag)).unwrap();
        fs::write(store.blob(&etag), "bytes").unwrap();
        let commit = "f".repeat(40);
        for name in ["x", "sub/dir/x"] {
            for _ in 0..2 {
                store.link(&etag, &commit, name).unwrap();
            }
            let pointer = store.snapshot(&commit).join(name);
            assert!(fs::read_link(&pointer).unwrap().starts_with(".."));
            assert_eq!(fs::read(&pointer).unwrap(), b"bytes");
        }
        // The cache may be moved as a whole.
        fs::rename(cache.root(), directory.path().join("moved")).unwrap();
        let moved = Store::new(
            &Cache::new(directory.path().join("moved")),
            &"a/b".parse().unwrap(),
        );
        assert_eq!(
            fs::read(moved.snapshot(&commit).join("sub/dir/x")).unwrap(),
            b"bytes"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_a_file_that_was_removed_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(
            &Cache::new(directory.path().into()),
            &"a/b".parse().unwrap(),
        );
        let etag = Etag::parse(&"0".repeat(40)).unwrap();
        let path = store.locks.join(format!("{etag}.lock"));
        let first = store
            .lock(&etag, || panic!("nobody else is there"))
            .unwrap();
        let store = &store;
        let etag = &etag;
        std::thread::scope(|scope| {
            let (waits, waited) = std::sync::mpsc::channel();
            let second = scope.spawn(move || {
                let lock = store.lock(etag, || waits.send(()).unwrap()).unwrap();
                is_at(&lock.0, &store.locks.join(format!("{etag}.lock")))
            });
            waited.recv().unwrap();
            fs::remove_file(&path).unwrap();
            drop(first);
            assert!(second.join().unwrap());
        });
    }

    #[test]
    fn a_ref_is_written_whole_and_a_commit_needs_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(
            &Cache::new(directory.path().into()),
            &"a/b".parse().unwrap(),
        );
        let commit = "f".repeat(40);
        store.write_ref(&commit.parse().unwrap(), &commit).unwrap();
        assert!(!store.folder().exists());
        store
            .write_ref(&"refs/pr/1".parse().unwrap(), &commit)
            .unwrap();
        let path = store.folder().join("refs/refs/pr/1");
        assert_eq!(fs::read_to_string(path).unwrap(), commit);
    }
}
