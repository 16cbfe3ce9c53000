//! A large file that has its name once it is whole. Until then it lies beside as `NAME.partial`, which goes with the value.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs4::{FileExt, TryLockError};

use crate::failure::{Disk, usage};
use crate::named_file::is_at;
use crate::notice::Notices;

/// The file in the making, locked: what a killed process left is told from what another one is writing, and only the first is
/// begun anew.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    replaces: bool,
    /// The name of the partial file is no longer this file's.
    is_placed: bool,
}

impl NewFile {
    /// Refuses a path that cannot become a new file: exit code 2. Nothing is made.
    pub(crate) fn check(path: &Path, force: bool) -> Result<()> {
        if path.file_name().is_none() {
            return Err(usage(format!(
                "{}: expected the name of a file to be written, found none; name one",
                path.display()
            )));
        }
        match fs::metadata(path) {
            Ok(found) if found.is_file() && force => Ok(()),
            Ok(found) if found.is_file() => Err(usage(format!(
                "{}: expected no such file, found one of {} bytes, which stays as it is; give another name, or --force to replace it",
                path.display(),
                found.len()
            ))),
            Ok(found) => Err(usage(format!(
                "{}: expected the name of a file to be written, found {}; give another name",
                path.display(),
                if found.is_dir() {
                    "a directory"
                } else {
                    "no plain file"
                }
            ))),
            Err(_) => Ok(()),
        }
    }

    /// Begins a file of about `n_bytes`, for which there must be room.
    ///
    /// # Errors
    /// As [`NewFile::check`]; exit code 7 where the directory cannot be written to, has no room, or another process writes the file.
    pub(crate) fn create(path: &Path, force: bool, n_bytes: u64, notices: Notices) -> Result<Self> {
        Self::check(path, force)?;
        let mut partial = OsString::from(path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = claim(path, &partial)?;
        let this = Self {
            path: path.to_owned(),
            partial,
            file,
            replaces: force,
            is_placed: false,
        };
        let left = this.file.metadata().map_or(0, |found| found.len());
        if left > 0 {
            notices.note(format_args!(
                "{}: {left} bytes are left from a run that was cut off; the file is begun anew",
                this.partial.display()
            ));
        }
        this.file.set_len(0).map_err(|error| this.failed(&error))?;
        // A file system that does not say how much room there is gets to say it when it is full.
        match fs4::available_space(directory(path)) {
            Ok(free) if free < n_bytes => Err(Disk(format!(
                "{}: expected room for {n_bytes} bytes, found {free} free; make room or name another place",
                path.display()
            ))
            .into()),
            _ => Ok(this),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where the file lies until it is whole.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Puts all that was written on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed(&error))
    }

    /// Gives the file its name, and has the directory remember it.
    ///
    /// # Errors
    /// A file of that name has come meanwhile: exit code 2. The system refuses: exit code 7.
    pub(crate) fn finish(mut self) -> Result<()> {
        let placed = if self.replaces {
            fs::rename(&self.partial, &self.path)
        } else {
            place(&self.partial, &self.path)
        };
        match placed {
            Ok(()) => self.is_placed = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::check(&self.path, false)?;
                return Err(self.failed(&error));
            }
            Err(error) => return Err(self.failed(&error)),
        }
        // Some file systems cannot, and none is worse for it: the file is there and whole.
        #[cfg(unix)]
        let _ = File::open(directory(&self.path)).and_then(|directory| directory.sync_all());
        Ok(())
    }

    /// An error of the system about this file: exit code 7.
    pub(crate) fn failed(&self, error: &io::Error) -> anyhow::Error {
        cannot_write(&self.path, error)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// The partial file, locked. It is emptied only after that.
fn claim(path: &Path, partial: &Path) -> Result<File> {
    let failed = |error: io::Error| cannot_write(path, &error);
    loop {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(partial)
            .map_err(failed)?;
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Disk(format!(
                    "{}: expected to write it alone, found another process at it; wait for that one or give another name",
                    path.display()
                ))
                .into());
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
        // The process that had the lock may have given the file its name, or removed it.
        if is_at(&file, partial) {
            return Ok(file);
        }
    }
}

/// Gives a file its name only where nothing has it.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links.
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> anyhow::Error {
    Disk(format!(
        "{}: expected to write it, found: {error}; make room or name another place",
        path.display()
    ))
    .into()
}
