//! What can go wrong, each as one line that names the file, the field, what was expected, what was
//! found and what to do. Deliberately carries no text that was to be encoded: prompts are private.

use std::io;
use std::path::PathBuf;

/// Why a tokenizer could not be made, or an id could not be turned into text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("{}: cannot be read: {source}; check that the path exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory holds no file that describes a tokenizer.
    #[error("{}: expected tokenizer.json or tokenizer.model, found neither; copy one of them from the model's repository", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// A file that should hold JSON does not, or a value in it has the wrong type.
    #[error(
        "{file}: expected the JSON of a tokenizer, found an error: {source}; download the file again"
    )]
    Json {
        /// The file, as the caller named it.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value was read, and it is not one that this crate can honour.
    #[error("{file}: {field}: expected {expected}, found {found}; {advice}")]
    Invalid {
        /// The file, as the caller named it.
        file: String,
        /// The field inside it.
        field: String,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// An id that names no piece.
    #[error(
        "token id {id}: expected the id of a piece, below {vocab_size}, found none; use the tokenizer that belongs to the model"
    )]
    UnknownId {
        /// The id.
        id: u32,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// The merge engine refused a text. Vocabularies are checked when they are loaded, so that this
    /// is a fault of this crate.
    #[error(
        "text: expected pieces for every character, found an error: {reason}; report it with the vocabulary that was used"
    )]
    Engine {
        /// What the engine said.
        reason: String,
    },
}

/// What to do about a file that is damaged.
pub(crate) const DOWNLOAD_AGAIN: &str = "download the file again";
/// What to do about a file of another kind of tokenizer.
pub(crate) const OTHER_TOKENIZER: &str =
    "only tokenizers of the Llama 2 family (SentencePiece BPE) are supported";
/// What to do about a value that a person wrote.
pub(crate) const CORRECT_IT: &str = "correct the file";

/// A file under inspection: makes [`Error::Invalid`] without repeating its name.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a>(pub(crate) &'a str);

impl Origin<'_> {
    pub(crate) fn invalid(
        self,
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        advice: &'static str,
    ) -> Error {
        Error::Invalid {
            file: self.0.to_owned(),
            field: field.into(),
            expected: expected.into(),
            found: found.into(),
            advice,
        }
    }

    pub(crate) fn json(self, source: serde_json::Error) -> Error {
        Error::Json {
            file: self.0.to_owned(),
            source,
        }
    }
}

/// A text from a file, fit for one line: quoted, its control characters escaped, at most 40
/// characters of it.
pub(crate) fn quote(text: &str) -> String {
    let mut shown = String::from("`");
    for character in text.chars().take(40) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown.push('`');
    shown
}
