//! The crate's errors: one line each, naming place, field, expected, found and what to do.

use std::fmt;
use std::path::PathBuf;

use crate::message::Role;

/// Why a chat could not be read or rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The messages are not a JSON list of `{role, content}`.
    #[error("{place}: expected {expected}, found {found}")]
    Message {
        /// `messages` or `messages[2].content`.
        place: String,
        /// What belongs there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },

    /// There is no user message to answer.
    #[error("messages: expected a user message to answer, found {found}")]
    NothingToAnswer {
        /// `an empty list` or `a system message alone`.
        found: &'static str,
    },

    /// The roles do not alternate as Llama 2 was trained.
    #[error(
        "messages[{index}].role: expected {expected}, found {found}; \
         after an optional system message, user and assistant take turns"
    )]
    RoleOrder {
        /// Which message, from 0.
        index: usize,
        /// The role whose turn it is.
        expected: Role,
        /// The role that stands there.
        found: Role,
    },

    /// The last message is not the user's.
    #[error(
        "messages[{index}].role: expected user in the last message, found {found}; end with the message to answer"
    )]
    LastRole {
        /// Which message, from 0.
        index: usize,
        /// The role that stands there.
        found: Role,
    },

    /// A message holds one of the tags that structure a Llama 2 prompt.
    #[error(
        "messages[{index}].content: expected text without Llama 2's own tags, found {tag}; remove it"
    )]
    Tag {
        /// Which message, from 0.
        index: usize,
        /// The tag.
        tag: &'static str,
    },

    /// A message holds a character that this crate marks control tokens with while a Jinja template runs.
    #[error(
        "messages[{index}].{field}: expected text without the noncharacter U+{:04X}, \
         which marks control tokens in a Jinja template; remove it",
        u32::from(*.character)
    )]
    Marker {
        /// Which message, from 0.
        index: usize,
        /// `role` or `content`.
        field: &'static str,
        /// The character.
        character: char,
    },

    /// The template called `raise_exception`.
    #[error("{origin}: the chat template refuses these messages: {}", OneLine(.reason))]
    Raised {
        /// The file or place that the template came from.
        origin: String,
        /// The template's own words.
        reason: String,
    },

    /// A file cannot be read.
    #[error("{}: expected a readable file in UTF-8, found: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A file is not JSON, or not shaped as these files are.
    #[error("{origin}: expected a JSON object as Hugging Face writes it, found: {source}")]
    Json {
        /// The file or place.
        origin: String,
        /// The parser's words, with line and column.
        source: serde_json::Error,
    },

    /// A field of the tokenizer's configuration is not what it should be.
    #[error("{origin}: {field}: expected {expected}, found {found}")]
    Config {
        /// The file or place.
        origin: String,
        /// The field.
        field: String,
        /// What belongs there.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// The template does not compile.
    #[error("{origin}: chat_template{}: expected a Jinja template, found a {}", Line(.line), OneLine(.detail))]
    Syntax {
        /// The file or place that the template came from.
        origin: String,
        /// The template's line, from 1.
        line: Option<usize>,
        /// What the compiler says.
        detail: String,
    },

    /// The template did more work than a chat can need.
    #[error(
        "{origin}: chat_template{}: expected to finish within {fuel} units of work, \
         found more; the template may loop without end",
        Line(.line)
    )]
    OutOfFuel {
        /// The file or place that the template came from.
        origin: String,
        /// The line that was running, from 1, where it is known.
        line: Option<usize>,
        /// The budget it had: about one unit per instruction and per 64 bytes.
        fuel: u64,
    },

    /// The template failed while it ran.
    #[error("{origin}: chat_template{}: failed on these messages: {}", Line(.line), OneLine(.detail))]
    Render {
        /// The file or place that the template came from.
        origin: String,
        /// The line that failed, from 1, where it is known.
        line: Option<usize>,
        /// What went wrong.
        detail: String,
    },
}

/// Whose fault an [`Error`] is; a program's exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The messages are not what [`parse_messages`](crate::parse_messages) reads.
    Malformed,
    /// The messages are well formed, but the format or the template does not accept them.
    Refused,
    /// The template, or the file it comes from, is at fault.
    Template,
}

impl Error {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Message { .. } => ErrorKind::Malformed,
            Error::NothingToAnswer { .. }
            | Error::RoleOrder { .. }
            | Error::LastRole { .. }
            | Error::Tag { .. }
            | Error::Marker { .. }
            | Error::Raised { .. } => ErrorKind::Refused,
            Error::Read { .. }
            | Error::Json { .. }
            | Error::Config { .. }
            | Error::Syntax { .. }
            | Error::OutOfFuel { .. }
            | Error::Render { .. } => ErrorKind::Template,
        }
    }
}

/// A text of the template's with its control characters as spaces: an error is one line and no terminal escape.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = self.0.split(char::is_control);
        f.write_str(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| write!(f, " {piece}"))
    }
}

/// `, line 3`, or nothing.
struct Line<'a>(&'a Option<usize>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}
