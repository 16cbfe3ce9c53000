//! The safetensors file of `score --logits`, written row by row: n × vocabulary values need not fit in memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::failure::Disk;

/// One tensor `logits`, f32 `[n, vocabulary]`. The file has its name once it is whole; before that
/// it lies beside as `NAME.partial`, and goes where it is never finished. What is no plain file (`/dev/null`, a named pipe)
/// is never replaced: it is written to as it is.
#[derive(Debug)]
pub(crate) struct LogitsFile {
    path: PathBuf,
    partial: Option<PathBuf>,
    writer: BufWriter<File>,
}

impl LogitsFile {
    pub(crate) fn create(path: &Path, shape: [usize; 2]) -> Result<Self> {
        let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let partial = (!is_special).then(|| {
            let mut partial = OsString::from(path);
            partial.push(".partial");
            PathBuf::from(partial)
        });
        let file = File::create(partial.as_deref().unwrap_or(path))
            .map_err(|error| cannot_write(path, &error))?;
        let mut this = Self {
            path: path.to_owned(),
            partial,
            writer: BufWriter::new(file),
        };
        this.put(&header(shape))?;
        Ok(this)
    }

    /// The next row.
    pub(crate) fn write(&mut self, logits: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = logits
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.put(&bytes)
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        let named = |partial: &PathBuf| fs::rename(partial, &self.path);
        self.writer
            .flush()
            .and_then(|()| self.partial.as_ref().map_or(Ok(()), named))
            .map_err(|error| cannot_write(&self.path, &error))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer
            .write_all(bytes)
            .map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Drop for LogitsFile {
    /// Finds nothing to remove where the file is whole.
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = fs::remove_file(partial);
        }
    }
}

/// Length and JSON of a safetensors header, padded with spaces so that the values begin at a multiple of 8.
fn header(shape: [usize; 2]) -> Vec<u8> {
    let bytes = shape[0] as u64 * shape[1] as u64 * 4;
    let mut text =
        json!({ "logits": { "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] } })
            .to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend_from_slice(text.as_bytes());
    header
}

fn cannot_write(path: &Path, error: &io::Error) -> anyhow::Error {
    Disk(format!(
        "{}: expected a file that can be written, found: {error}",
        path.display()
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_safetensors_crate_reads_what_was_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("out.safetensors");
        let mut file = LogitsFile::create(&path, [2, 3]).expect("created");
        file.write(&[1.0, -2.5, f32::NEG_INFINITY])
            .expect("written");
        file.write(&[0.0, 1e-38, 3.0]).expect("written");
        assert!(!path.exists(), "half a file has no name");
        file.finish().expect("finished");
        let bytes = fs::read(&path).expect("there");
        let tensors = SafeTensors::deserialize(&bytes).expect("a good file");
        let logits = tensors.tensor("logits").expect("named logits");
        assert_eq!(logits.shape(), [2, 3]);
        let values: Vec<f32> = logits
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(values, [1.0, -2.5, f32::NEG_INFINITY, 0.0, 1e-38, 3.0]);
        assert_eq!(
            fs::read_dir(directory.path()).expect("readable").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_is_never_finished_goes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("out.safetensors");
        drop(LogitsFile::create(&path, [1, 1]).expect("created"));
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_stays_a_device() {
        use std::os::unix::fs::FileTypeExt;
        let mut file = LogitsFile::create(Path::new("/dev/null"), [1, 1]).expect("opened");
        file.write(&[1.0]).expect("written");
        file.finish().expect("finished");
        let kind = fs::metadata("/dev/null").expect("there").file_type();
        assert!(kind.is_char_device());
        assert!(!Path::new("/dev/null.partial").exists());
    }

    #[test]
    fn a_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let error = LogitsFile::create(directory.path(), [1, 1]).expect_err("a directory");
        let sentence = format!(
            "{}: expected a file that can be written, found: ",
            directory.path().display()
        );
        assert!(error.to_string().starts_with(&sentence), "{error}");
        assert!(error.is::<Disk>());
    }
}
