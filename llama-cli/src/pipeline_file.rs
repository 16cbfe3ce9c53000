//! The driver's compiled pipelines, in a file of the cache directory. It only saves time: whatever is wrong with the file
//! or its place is passed over.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use llama_kernels::Gpu;
use tempfile::NamedTempFile;

use crate::notice::Notices;

/// No file read is larger; a whole session's pipelines take a few MiB.
const MAX_BYTES: u64 = 64 << 20;

/// The file of one adapter and driver. When it is dropped, it is written if pipelines have come in.
#[derive(Debug)]
pub(crate) struct PipelineFile {
    gpu: Gpu,
    path: PathBuf,
    read: Vec<u8>,
    notices: Notices,
}

impl PipelineFile {
    /// Gives the device the pipelines of an earlier run. `None` where the adapter or the system has no place for them.
    pub(crate) fn open(gpu: &Gpu, notices: Notices) -> Option<Self> {
        Self::open_in(&directory()?, gpu, notices)
    }

    fn open_in(directory: &Path, gpu: &Gpu, notices: Notices) -> Option<Self> {
        let path = directory.join(gpu.pipeline_cache_key()?);
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= MAX_BYTES);
        let read = small.then(|| fs::read(&path).ok()).flatten();
        let read = read.unwrap_or_default();
        let taken = gpu.cache_pipelines(&read).ok()?;
        notices.detail(format_args!(
            "pipeline cache: {} {}",
            path.display(),
            match (taken, read.is_empty()) {
                (true, _) => "taken",
                (false, true) => "begun",
                (false, false) => "broken or another driver's: begun anew",
            }
        ));
        Some(Self {
            gpu: gpu.clone(),
            path,
            read,
            notices,
        })
    }

    fn write(&self) -> io::Result<()> {
        let Some(data) = self.gpu.pipeline_cache_data() else {
            return Ok(());
        };
        if data == self.read || data.len() as u64 > MAX_BYTES {
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        // Whole or not at all, and nobody else's to read or write.
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(&data)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

impl Drop for PipelineFile {
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            let path = self.path.display();
            self.notices.detail(format_args!(
                "pipeline cache: {path} is not written: {error}"
            ));
        }
    }
}

/// `$XDG_CACHE_HOME/llama-cli`, or what the platform has instead.
fn directory() -> Option<PathBuf> {
    let places = choose_native_strategy().ok()?;
    Some(places.cache_dir().join("llama-cli"))
}
