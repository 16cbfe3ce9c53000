//! The vocabulary in a GGUF file's metadata, for a tokenizer of SentencePiece's kind. Only read here: what merges is another crate's.

use std::path::Path;

use super::metadata::{Array, Metadata, Value, ValueType};
use crate::Error;
use crate::error::Excerpt;
use crate::format::fields::Integers;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PIECES: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const KINDS: &str = "tokenizer.ggml.token_type";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const EOT: &str = "tokenizer.ggml.eot_token_id";
pub(super) const UNK: &str = "tokenizer.ggml.unknown_token_id";
pub(super) const PAD: &str = "tokenizer.ggml.padding_token_id";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub(super) const ADD_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const COLLAPSE: &str = "tokenizer.ggml.remove_extra_whitespaces";
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
pub(super) const TEMPLATE: &str = "tokenizer.chat_template";
/// Four times the largest vocabulary in use; a piece takes 40 bytes of memory and may take 8 of the file.
const MOST_PIECES: usize = 1 << 20;

/// A SentencePiece vocabulary as plain data, and the chat template beside it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Vocabulary {
    /// The file, for messages.
    pub origin: String,
    /// By id.
    pub pieces: Vec<VocabularyPiece>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Stands in for text without a piece.
    pub unk: Option<u32>,
    /// Fills up a batch; Llama 2 has none.
    pub pad: Option<u32>,
    /// Whether `bos` goes in front of a text.
    pub add_bos: bool,
    /// Whether `eos` goes behind a text.
    pub add_eos: bool,
    /// Whether a space goes in front of a text before it is cut into pieces.
    pub add_space_prefix: bool,
    /// The template in Jinja.
    pub chat_template: Option<String>,
}

/// One piece of a [`Vocabulary`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VocabularyPiece {
    /// The text, with U+2581 for a space.
    pub text: String,
    /// The higher, the earlier it is merged.
    pub score: f32,
    /// `SentencePiece.Type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub kind: u8,
}

impl Vocabulary {
    /// The vocabulary of the GGUF file at `path` (or of the directory of one) without its tensors, which may be missing or damaged; `None`
    /// where something else lies there or the file has no vocabulary.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Gguf`] for metadata that is damaged, [`Error::Field`] for a vocabulary that is damaged or not of
    /// SentencePiece's kind, [`Error::SeveralModels`] for a directory of several files.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        crate::format::vocabulary(path)
    }

    /// A vocabulary from elsewhere, to be written: `origin` names it in messages. There are no special ids and no template; `add_bos` and
    /// `add_space_prefix` are as Llama has them.
    #[must_use]
    pub fn new(origin: impl Into<String>, pieces: Vec<VocabularyPiece>) -> Self {
        Self {
            origin: origin.into(),
            pieces,
            bos: None,
            eos: None,
            unk: None,
            pad: None,
            add_bos: true,
            add_eos: false,
            add_space_prefix: true,
            chat_template: None,
        }
    }
}

impl VocabularyPiece {
    /// A piece from elsewhere, as the fields say.
    #[must_use]
    pub fn new(text: impl Into<String>, score: f32, kind: u8) -> Self {
        Self {
            text: text.into(),
            score,
            kind,
        }
    }
}

/// The ids that hyperparameters hold.
pub(super) struct SpecialIds {
    pub(super) bos: Option<u32>,
    pub(super) ends: Vec<u32>,
}

/// Ids of a model with `vocab_size` pieces. llama.cpp's where the file does not say, as far as the vocabulary goes.
pub(super) fn special_ids(metadata: &Metadata<'_>, vocab_size: usize) -> Result<SpecialIds, Error> {
    let bos = id(metadata, BOS, vocab_size)?.or(default_id(1, vocab_size));
    let eos = id(metadata, EOS, vocab_size)?.or(default_id(2, vocab_size));
    let mut ends: Vec<u32> = eos.into_iter().collect();
    let end_of_turn = id(metadata, EOT, vocab_size)?;
    ends.extend(end_of_turn.filter(|id| Some(*id) != eos));
    Ok(SpecialIds { bos, ends })
}

/// The vocabulary, or `None` where the file has none.
pub(super) fn read(metadata: &Metadata<'_>) -> Result<Option<Vocabulary>, Error> {
    match metadata.text(MODEL)? {
        None => return Ok(None),
        Some("no_vocab" | "none") => return Ok(None),
        Some("llama") => {}
        Some(_) => {
            return Err(metadata.fault(
                MODEL,
                "\"llama\", since only SentencePiece vocabularies are read",
            ));
        }
    }
    refuse_normalizers(metadata)?;
    let pieces = pieces(metadata)?;
    let n = pieces.len();
    let special = |key, default| Ok::<_, Error>(id(metadata, key, n)?.or(default_id(default, n)));
    Ok(Some(Vocabulary {
        origin: metadata.path.display().to_string(),
        bos: special(BOS, 1)?,
        eos: special(EOS, 2)?,
        unk: special(UNK, 0)?,
        pad: id(metadata, PAD, n)?,
        add_bos: metadata.flag(ADD_BOS)?.unwrap_or(true),
        add_eos: metadata.flag(ADD_EOS)?.unwrap_or(false),
        add_space_prefix: metadata.flag(ADD_PREFIX)?.unwrap_or(true),
        chat_template: metadata.text(TEMPLATE)?.map(str::to_owned),
        pieces,
    }))
}

/// What would change a text before it is cut, which Llama's vocabularies do not.
fn refuse_normalizers(metadata: &Metadata<'_>) -> Result<(), Error> {
    if metadata.flag(COLLAPSE)? == Some(true) {
        return Err(metadata.fault(COLLAPSE, "false, since text is not normalized"));
    }
    match metadata.get(CHARSMAP) {
        None => Ok(()),
        Some(Value::Array(array)) if array.count == 0 => Ok(()),
        Some(_) => Err(metadata.fault(CHARSMAP, "none, since text is not normalized")),
    }
}

fn pieces(metadata: &Metadata<'_>) -> Result<Vec<VocabularyPiece>, Error> {
    let texts = array(metadata, PIECES, "an array of strings", |kind| {
        kind == ValueType::Text
    })?;
    if !(1..=MOST_PIECES).contains(&texts.count) {
        return Err(metadata.fault(PIECES, format!("1 to {MOST_PIECES} strings")));
    }
    let many = |what: &str| format!("{} {what}, one for each of {PIECES}", texts.count);
    let as_many = |key: &str, what: &str, is: fn(ValueType) -> bool| {
        let found = array(metadata, key, &many(what), is)?;
        if found.count == texts.count {
            Ok(found)
        } else {
            Err(metadata.fault(key, many(what)))
        }
    };
    let scores = as_many(SCORES, "numbers", |kind| {
        matches!(kind, ValueType::F32 | ValueType::F64)
    })?;
    let kinds = as_many(KINDS, "integers", |kind| {
        kind.width().is_some() && !matches!(kind, ValueType::F32 | ValueType::F64 | ValueType::Flag)
    })?;
    let all = texts.texts().zip(scores.numbers()).zip(kinds.numbers());
    all.enumerate()
        .map(|(id, ((text, score), kind))| {
            let fault = |key: &str, expected: &str, found: String| {
                Err(metadata.fault_found(&format!("{key}[{id}]"), expected, found))
            };
            let Ok(text) = std::str::from_utf8(text) else {
                return fault(PIECES, "a string in UTF-8", "other bytes".to_owned());
            };
            let score = match score {
                Value::Float(score) if !score.is_nan() => score as f32,
                _ => return fault(SCORES, "a number", format!("NaN for {}", Excerpt(text))),
            };
            let kind = match kind.as_u64() {
                Some(kind @ 1..=6) => kind as u8,
                _ => {
                    let found = super::metadata::shown(Some(kind));
                    return fault(KINDS, "a type from 1 to 6", found);
                }
            };
            Ok(VocabularyPiece {
                text: text.to_owned(),
                score,
                kind,
            })
        })
        .collect()
}

fn array<'a>(
    metadata: &Metadata<'a>,
    key: &str,
    expected: &str,
    is: impl Fn(ValueType) -> bool,
) -> Result<Array<'a>, Error> {
    match metadata.get(key) {
        Some(Value::Array(array)) if is(array.kind) => Ok(array),
        _ => Err(metadata.fault(key, expected)),
    }
}

fn id(metadata: &Metadata<'_>, key: &str, size: usize) -> Result<Option<u32>, Error> {
    // Written where a model has none.
    if metadata.get(key).and_then(Value::as_u64) == Some(u64::from(u32::MAX)) {
        return Ok(None);
    }
    let most = (size as u64).saturating_sub(1).min(u64::from(u32::MAX));
    let id = metadata.integer(key, 0, most)?;
    Ok(id.and_then(|id| u32::try_from(id).ok()))
}

fn default_id(id: u32, size: usize) -> Option<u32> {
    (u64::from(id) < size as u64).then_some(id)
}
