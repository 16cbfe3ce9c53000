//! What can be wrong with a checkpoint, in sentences that name file, field, expected, found and what to do.
//!
//! Text that comes from a file (a name, a value) is quoted with escapes and cut short before it enters a message, so that
//! every message stays one line and no file can write to a terminal through it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::format::gguf::GgufFault;
use crate::format::peft::LoraFault;
use crate::format::safetensors::HeaderFault;
use crate::format::torch_archive::ArchiveFault;

/// Missing shards are all listed, since each must be fetched; only an index that no tool wrote has more than this.
const SHARDS_LISTED: usize = 1000;
/// The first missing tensors tell which part is missing.
const TENSORS_LISTED: usize = 16;

/// A checkpoint that cannot be used. The message of every variant is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: expected a readable file, found an error: {source}; check that it exists and may be read", path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Nothing there is a known format.
    #[error(
        "{}: expected a GGUF file, or a directory with one, with config.json and model.safetensors or pytorch_model.bin (or their \
         index.json), or with params.json and consolidated.00.pth, found {found}; give the file or the directory of a checkpoint", path.display()
    )]
    UnknownFormat {
        /// What was opened.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A file of a checkpoint that is a directory.
    #[error("{}: expected the directory of a checkpoint, found one file of it, {found}; give the directory that it lies in", path.display())]
    OneFile {
        /// What was opened.
        path: PathBuf,
        /// What the file is.
        found: &'static str,
    },
    /// A JSON file that no model needs to be so long.
    #[error("{}: expected at most {limit} bytes, found {found}; this is not the file it is named after", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Most bytes that are read.
        limit: u64,
        /// The file's length.
        found: u64,
    },
    /// A JSON file that does not parse.
    #[error("{}: expected a JSON object, found {found}; download the file again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        found: String,
    },
    /// A value that is missing, of the wrong type, out of range, or does not fit the others.
    #[error("{origin}: {field}: expected {expected}, found {found}; {advice}")]
    Field {
        /// The file, or what else gave the value.
        origin: String,
        /// The field's name in that file.
        field: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A safetensors file whose header lies or whose bytes are missing.
    #[error("{}: {fault}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: HeaderFault,
    },
    /// A PyTorch archive that is damaged, hostile or of another format.
    #[error("{}: {fault}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: ArchiveFault,
    },
    /// A GGUF file that lies or whose bytes are missing.
    #[error("{}: {fault}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: GgufFault,
    },
    /// A LoRA adapter that is damaged, hostile or made for another base.
    #[error("{}: {fault}", path.display())]
    Lora {
        /// The file, or the adapter's directory.
        path: PathBuf,
        /// What is wrong.
        fault: LoraFault,
    },
    /// A directory with more than one model.
    #[error("{}: expected one GGUF file, found {}: {}; give one of them", path.display(), found.len(), listed(found, TENSORS_LISTED))]
    SeveralModels {
        /// The directory.
        path: PathBuf,
        /// The files.
        found: Vec<String>,
    },
    /// Other files of a split model are not there.
    #[error(
        "{}: expected {expected} parts of the model, found {} missing: {}; download them into the same directory",
        path.display(), missing.len(), listed(missing, SHARDS_LISTED)
    )]
    MissingParts {
        /// The part that was opened.
        path: PathBuf,
        /// How many parts the model has.
        expected: usize,
        /// Every part that is not there.
        missing: Vec<String>,
    },
    /// Files that the index names are not there.
    #[error(
        "{}: expected {expected} shards beside it, found {} missing: {}; download them into the same directory",
        path.display(), missing.len(), listed(missing, SHARDS_LISTED)
    )]
    MissingShards {
        /// The index.
        path: PathBuf,
        /// How many shards the index names.
        expected: usize,
        /// Every shard that is not there.
        missing: Vec<String>,
    },
    /// The index sends a tensor to a shard that does not hold it.
    #[error(
        "{}: weight_map: expected {} in {}, found it {}; the index is not of these shards, download both again",
        path.display(), Excerpt(tensor), Excerpt(shard),
        found_in.as_ref().map_or_else(|| "in no shard".to_owned(), |file| format!("in {}", Excerpt(file)))
    )]
    WrongShard {
        /// The index.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shard that the index names.
        shard: String,
        /// The shard that holds it, if one does.
        found_in: Option<String>,
    },
    /// Two shards hold the same tensor.
    #[error(
        "{}: expected {} in one shard, found it in {} and in {}; download the checkpoint again",
        path.display(), Excerpt(tensor), Excerpt(first), Excerpt(second)
    )]
    TensorInTwoShards {
        /// The index.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// One shard.
        first: String,
        /// The other shard.
        second: String,
    },
    /// Tensors that the configuration asks for and no file holds.
    #[error(
        "{}: expected {expected} tensors by the configuration, found {} missing: {}; {advice}",
        path.display(), missing.len(), listed(missing, TENSORS_LISTED)
    )]
    MissingTensors {
        /// The checkpoint.
        path: PathBuf,
        /// How many tensors the configuration asks for.
        expected: usize,
        /// Every tensor that is missing.
        missing: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
    /// A tensor of another shape than the configuration gives it.
    #[error(
        "{}: {}: expected shape {expected:?} by the configuration, found {found:?}; \
         weights and configuration are of different models", path.display(), Excerpt(tensor)
    )]
    TensorShape {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape by the hyperparameters.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// Shards that cut a size unevenly.
    #[error(
        "{}: {}: expected a size that {shards} shards divide, found {size}; \
         the shards are not of this checkpoint, download them again", path.display(), Excerpt(tensor)
    )]
    UnevenShards {
        /// The directory.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many shards there are.
        shards: usize,
        /// The size that they should share.
        size: usize,
    },
    /// The parts of one tensor are stored in different types.
    #[error(
        "{}: {}: expected {expected} as in {}, found {found}; the shards are of different checkpoints, download them again",
        path.display(), Excerpt(tensor), Excerpt(first)
    )]
    ShardTypes {
        /// The shard that differs.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The type in the first shard.
        expected: String,
        /// The first shard.
        first: String,
        /// The type in this shard.
        found: String,
    },
    /// Many tensors are views of the same bytes.
    #[error(
        "{}: expected tensors of at most twice the files' {files} bytes, found {found}: many are views of the same storage; \
         save the checkpoint anew, or take it from a source you trust", path.display()
    )]
    Repetition {
        /// The directory.
        path: PathBuf,
        /// Bytes of all files.
        files: u64,
        /// Bytes of all tensors.
        found: u64,
    },
    /// A tensor stored in a type that cannot be read.
    #[error(
        "{}: {}: expected F32, F16 or BF16, found {found}; convert the checkpoint to one of these", path.display(), Excerpt(tensor)
    )]
    TensorType {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The type as the file names it.
        found: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Error::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Text from a file, quoted, escaped and cut to 80 characters.
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS: usize = 80;
        match self.0.char_indices().nth(CHARACTERS) {
            None => write!(f, "{:?}", self.0),
            Some((cut, _)) => write!(f, "{:?}…", &self.0[..cut]),
        }
    }
}

/// A parser's message, which may quote the file: escaped and cut to 200 characters.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS: usize = 200;
        for c in self.0.chars().take(CHARACTERS) {
            match c {
                '"' | '\'' | '\\' => write!(f, "{c}")?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        let cut = self.0.chars().nth(CHARACTERS).is_some();
        f.write_str(if cut { "…" } else { "" })
    }
}

/// The first names of a list, and how many more there are.
pub(crate) fn listed(names: &[String], most: usize) -> String {
    let mut text = names
        .iter()
        .take(most)
        .map(|name| Excerpt(name).to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > most {
        text.push_str(&format!(" and {} more", names.len() - most));
    }
    text
}
