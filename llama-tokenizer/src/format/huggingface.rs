//! `tokenizer.json` of Hugging Face's `tokenizers`: vocabulary, merges and added tokens. What the
//! rest of the file says about spaces and special tokens is read in `pipeline`.
//!
//! The file is read here and not by `tokenizers`, whose reader panics on hostile merges, keeps one
//! of two equal pieces in silence and has no ids for broken ones to be named by.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::pipeline;
use crate::draft::{AddedToken, Draft, id_limit};
use crate::error::{DOWNLOAD_AGAIN, Error, OTHER_TOKENIZER, Origin, quote};
use crate::piece::{Piece, PieceKind, byte_of};
use crate::special::SpecialTokens;

/// What is read before the rest, so that another kind of tokenizer is named and not called broken.
#[derive(Deserialize)]
struct Outline {
    model: ModelOutline,
}

#[derive(Deserialize)]
struct ModelOutline {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
pub(super) struct Added {
    id: u64,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: Entries,
    merges: Vec<Merge>,
}

/// `vocab` in the file's order, equal keys kept.
struct Entries(Vec<(String, u64)>);

/// `"a b"` or `["a", "b"]`.
struct Merge(String, String);

/// Reads a `tokenizer.json`.
pub(crate) fn read(bytes: &[u8], file: &str) -> Result<Draft, Error> {
    let origin = Origin(file);
    super::refuse_pointer(bytes, origin)?;
    let bytes = super::without_bom(bytes);
    let outline: Outline = serde_json::from_slice(bytes).map_err(|error| origin.json(error))?;
    // Files before 2020 have no type.
    let kind = outline.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(origin.invalid("model.type", "`BPE`", quote(kind), OTHER_TOKENIZER));
    }
    let json: File = serde_json::from_slice(bytes).map_err(|error| origin.json(error))?;
    json.model.refuse_other_kinds(origin)?;

    let preparation = pipeline::preparation(
        json.normalizer.as_ref(),
        json.pre_tokenizer.as_ref(),
        origin,
    )?;
    let decoder = pipeline::decoder(json.decoder.as_ref(), &preparation, origin)?;
    let template = pipeline::template(json.post_processor.as_ref(), origin)?;
    let byte_fallback = json.model.byte_fallback.unwrap_or(false);
    let has_bytes = byte_fallback || decoder.byte_fallback;

    let mut draft = Draft {
        file: file.to_owned(),
        pieces: Vec::new(),
        merges: None,
        added: Vec::new(),
        special: SpecialTokens::default(),
        rules: preparation.rules(
            &decoder,
            byte_fallback,
            json.model.fuse_unk.unwrap_or(false),
        ),
    };
    let limit = id_limit(json.model.vocab.0.len());
    let unknown = json.model.unk_token.as_deref().unwrap_or("<unk>");
    for (text, id) in json.model.vocab.0 {
        let kind = match &text {
            text if text == unknown => PieceKind::Unknown,
            text if has_bytes && byte_of(text).is_some() => PieceKind::Byte,
            _ => PieceKind::Normal,
        };
        draft.place(
            "model.vocab",
            id,
            Piece {
                text,
                score: 0.0,
                kind,
            },
            limit,
        )?;
    }
    let added = json.added_tokens.into_iter().enumerate();
    draft.add_tokens(
        added
            .map(|(n, token)| (format!("added_tokens[{n}].id"), token.id, token.into()))
            .collect(),
    )?;
    draft.merges = Some(
        json.model
            .merges
            .into_iter()
            .map(|Merge(left, right)| (left, right))
            .collect(),
    );

    if let Some(name) = &json.model.unk_token {
        draft.special.unk = Some(draft.id_of(name).ok_or_else(|| {
            origin.invalid(
                "model.unk_token",
                "a piece of model.vocab",
                quote(name),
                DOWNLOAD_AGAIN,
            )
        })?);
    } else {
        draft.special.unk = draft.id_of(unknown);
    }
    template.apply(&mut draft)?;
    Ok(draft)
}

impl Model {
    /// Settings of other byte-pair encodings. Each changes the ids, so none is passed over.
    fn refuse_other_kinds(&self, origin: Origin<'_>) -> Result<(), Error> {
        let affix = |affix: &Option<String>| affix.clone().filter(|affix| !affix.is_empty());
        let refused = if let Some(dropout) = self.dropout.filter(|&dropout| dropout != 0.0) {
            (
                "dropout",
                "null (merging without chance)",
                dropout.to_string(),
            )
        } else if let Some(prefix) = affix(&self.continuing_subword_prefix) {
            ("continuing_subword_prefix", "null", quote(&prefix))
        } else if let Some(suffix) = affix(&self.end_of_word_suffix) {
            ("end_of_word_suffix", "null", quote(&suffix))
        } else if self.ignore_merges == Some(true) {
            ("ignore_merges", "false", "true".to_owned())
        } else {
            return Ok(());
        };
        let (field, expected, found) = refused;
        Err(origin.invalid(format!("model.{field}"), expected, found, OTHER_TOKENIZER))
    }
}

impl From<Added> for AddedToken {
    fn from(token: Added) -> Self {
        let Added {
            content,
            single_word,
            lstrip,
            rstrip,
            special,
            ..
        } = token;
        // The id is checked and set by `Draft::add_tokens`.
        Self {
            id: 0,
            content,
            control: special,
            single_word,
            lstrip,
            rstrip,
        }
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of pieces and ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a merge: two pieces in a list, or in a string with one space between",
                )
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Merge, E> {
                match line.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Merge(left.to_owned(), right.to_owned()))
                    }
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(line), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Merge, A::Error> {
                let pair = (
                    sequence.next_element()?,
                    sequence.next_element()?,
                    sequence.next_element::<IgnoredAny>()?,
                );
                match pair {
                    (Some(left), Some(right), None) => Ok(Merge(left, right)),
                    _ => Err(serde::de::Error::invalid_value(
                        serde::de::Unexpected::Seq,
                        &self,
                    )),
                }
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}
