//! What each fuzz target does with an input; `tests/fuzz_seeds.rs` does the same with the seeds, on stable.
//!
//! Everything goes through `Checkpoint::open`. An input is refused with one line or opened, and then all of it is read; neither
//! may hold more memory than the input justifies. Inputs are plain files, so that seeds are files that users have; where the
//! whole file would be too hard to guess, a part alone (a header, a pickle) is an input too and gets the rest put around it.

use std::fs;
use std::path::{Path, PathBuf};

use llama_weights::{Checkpoint, Error, Vocabulary};
use rawzip::ZipArchive;
use tempfile::TempDir;

/// Held at once beside what the input justifies: a refusal names every missing tensor of 4,096 layers, the most that a
/// configuration may have. One chunk of converted values is 256 KiB.
const ALLOCATION: u64 = 6 << 20;
/// Held at once per byte of input: a Q2_K block of 84 bytes is read as 1,024 bytes, and a metadata value of one byte is 32.
const ALLOCATION_PER_BYTE: u64 = 64;

/// Where inputs become files, with what stands beside them.
pub struct Room {
    directory: TempDir,
    huggingface: Storages,
    meta: Storages,
}

/// The entries of an archive without its pickle.
struct Storages {
    /// With the slash.
    folder: String,
    files: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

/// The directory with the seeds of every target.
#[must_use]
pub fn seeds() -> PathBuf {
    // Of this package, or of the crate whose test this is.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = manifest.parent().filter(|_| manifest.ends_with("fuzz"));
    package.unwrap_or(manifest).join("tests/golden/seeds")
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// Makes the directories, in memory where the system has such a place.
    ///
    /// # Panics
    /// Where that fails.
    #[must_use]
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::Builder::new()
            .prefix("llama-weights-fuzz")
            .tempdir_in(place)
            .expect("a directory");
        let fixed = |to: &str, files: &[&str]| {
            let to = directory.path().join(to);
            fs::create_dir(&to).expect("a directory");
            for file in files {
                fs::copy(seeds().join("fixed").join(file), to.join(file)).expect("a copied file");
            }
        };
        fixed("safetensors", &["config.json"]);
        fixed("bin", &["config.json"]);
        fixed("meta", &["params.json"]);
        fixed("gguf", &[]);
        fixed("config", &["model.safetensors"]);
        fixed("index", &["config.json", "a.safetensors", "b.safetensors"]);
        fixed("params", &["consolidated.00.pth"]);
        fixed("generation", &["config.json", "model.safetensors"]);
        Self {
            directory,
            huggingface: Storages::of("huggingface"),
            meta: Storages::of("meta"),
        }
    }

    /// `model.safetensors`, or its header alone where the input begins as JSON does.
    pub fn safetensors(&self, input: &[u8]) -> bool {
        if !input.starts_with(b"{") {
            return self.open("safetensors", "model.safetensors", input);
        }
        // As many bytes as the seed's tensors have.
        let file = [&(input.len() as u64).to_le_bytes(), input, &[0; 3808]];
        self.open("safetensors", "model.safetensors", &file.concat())
    }

    /// An archive of `torch.save`, or its pickle alone: as Hugging Face's weights and as Meta's.
    pub fn torch(&self, input: &[u8]) -> bool {
        let is_archive = input.starts_with(b"PK");
        let file = |storages: &Storages| match is_archive {
            true => input.to_owned(),
            false => storages.with_pickle(input),
        };
        let bin = self.open("bin", "pytorch_model.bin", &file(&self.huggingface));
        let meta = self.open("meta", "consolidated.00.pth", &file(&self.meta));
        bin || meta
    }

    /// A GGUF file.
    pub fn gguf(&self, input: &[u8]) -> bool {
        let opened = self.open("gguf", "model.gguf", input);
        let path = self.directory.path().join("gguf/model.gguf");
        let vocabulary = within(input.len(), || Vocabulary::open(&path).map(drop));
        opened && vocabulary.is_ok()
    }

    /// One of the JSON files beside weights; which one, the keys in it tell.
    pub fn config(&self, input: &[u8]) -> bool {
        let has = |key: &str| input.windows(key.len()).any(|part| part == key.as_bytes());
        if has("\"weight_map\"") {
            self.open("index", "model.safetensors.index.json", input)
        } else if has("\"dim\"") || has("\"n_layers\"") {
            self.open("params", "params.json", input)
        } else if has("\"do_sample\"") || has("\"temperature\"") {
            self.open("generation", "generation_config.json", input)
        } else {
            self.open("config", "config.json", input)
        }
    }

    /// Writes the file and opens its directory. Whether it was accepted.
    fn open(&self, directory: &str, name: &str, file: &[u8]) -> bool {
        let directory = self.directory.path().join(directory);
        fs::write(directory.join(name), file).expect("a written file");
        within(file.len(), || read_all(&directory)).is_ok()
    }
}

/// Opens a checkpoint and reads everything in it.
fn read_all(path: &Path) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(path)?;
    for warning in checkpoint.warnings() {
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    let mut values = 0;
    for tensor in checkpoint.check_values() {
        assert!(tensor.nan + tensor.infinite <= tensor.count);
        values += tensor.count;
    }
    assert!(values > 0);
    if let Err(error) = checkpoint.vocabulary() {
        check(&error);
    }
    Ok(())
}

/// Does it with no more memory than `input` bytes justify.
fn within(input: usize, read: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let mut result = Ok(());
    let allocated = allocation_counter::measure(|| {
        result = read();
        if let Err(error) = &result {
            check(error);
        }
    });
    let limit = ALLOCATION + ALLOCATION_PER_BYTE * input as u64;
    assert!(
        allocated.bytes_max <= limit,
        "{input} bytes of input held {}",
        allocated.bytes_max
    );
    result
}

fn check(error: &Error) {
    let message = error.to_string();
    assert!(!message.is_empty());
    assert!(!message.contains(char::is_control), "{message:?}");
}

impl Storages {
    /// Of a seed.
    fn of(name: &str) -> Self {
        let path = seeds().join("torch").join(format!("{name}.zip"));
        let file = fs::read(path).expect("a seed");
        let archive = ZipArchive::from_slice(file.as_slice()).expect("an archive");
        let mut storages = Self {
            folder: format!("{name}/"),
            files: Vec::new(),
            directory: Vec::new(),
            count: 0,
        };
        let mut entries = archive.entries();
        while let Some(entry) = entries.next_entry().expect("an entry") {
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            let found = archive.get_entry(entry.wayfinder()).expect("an entry");
            let (begin, end) = found.compressed_data_range();
            if !name.ends_with("/data.pkl") {
                storages.push(&name, &file[begin as usize..end as usize]);
            }
        }
        storages
    }

    fn push(&mut self, name: &str, data: &[u8]) {
        let offset = self.files.len() as u32;
        let mut record = Vec::new();
        // Version 1.0, no flag, stored, no time, no checksum.
        record.extend([10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        record.extend((data.len() as u32).to_le_bytes());
        record.extend((data.len() as u32).to_le_bytes());
        record.extend((name.len() as u16).to_le_bytes());
        record.extend([0, 0]);
        self.files.extend(b"PK\x03\x04");
        self.files.extend(&record);
        self.files.extend(name.as_bytes());
        self.files.extend(data);
        self.directory.extend(b"PK\x01\x02\x0a\0");
        self.directory.extend(&record);
        self.directory.extend([0; 10]);
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    /// An archive of these storages and this pickle.
    fn with_pickle(&self, pickle: &[u8]) -> Vec<u8> {
        let mut archive = Self {
            folder: String::new(),
            files: self.files.clone(),
            directory: self.directory.clone(),
            count: self.count,
        };
        archive.push(&format!("{}data.pkl", self.folder), pickle);
        let mut file = archive.files;
        let offset = file.len() as u32;
        file.extend(&archive.directory);
        file.extend(b"PK\x05\x06\0\0\0\0");
        file.extend(archive.count.to_le_bytes());
        file.extend(archive.count.to_le_bytes());
        file.extend((archive.directory.len() as u32).to_le_bytes());
        file.extend(offset.to_le_bytes());
        file.extend([0, 0]);
        file
    }
}
