//! Bad files and awkward text, one test each: a whole sentence for what is refused, never a panic,
//! never memory that the file does not justify. `required` is ROBUSTNESS.md's list, item by item,
//! but for the long texts, which are in `long_text.rs`.

mod files;
mod json;
mod model;
mod pieces;
#[path = "../random_text/mod.rs"]
mod random_text;
mod required;

use llama_tokenizer::{Piece, PieceKind, SpecialTokens, Tokenizer};
use random_text::Random;
use serde_json::Value;

pub(crate) const JSON: &str = include_str!("../golden/small.json");
pub(crate) const MODEL: &[u8] = include_bytes!("../golden/small.model");

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_model_bytes(MODEL, "small.model").unwrap()
}

pub(crate) fn json_error(change: impl FnOnce(&mut Value)) -> String {
    let mut json: Value = serde_json::from_str(JSON).unwrap();
    change(&mut json);
    bytes_error(json.to_string().as_bytes())
}

pub(crate) fn bytes_error(json: &[u8]) -> String {
    Tokenizer::from_json_bytes(json, "tokenizer.json")
        .unwrap_err()
        .to_string()
}

pub(crate) fn model_error(model: &[u8]) -> String {
    Tokenizer::from_model_bytes(model, "tokenizer.model")
        .unwrap_err()
        .to_string()
}

pub(crate) fn pieces_error(pieces: Vec<Piece>) -> String {
    Tokenizer::from_pieces(pieces, SpecialTokens::default())
        .unwrap_err()
        .to_string()
}

pub(crate) fn piece(text: &str, score: f32, kind: PieceKind) -> Piece {
    Piece {
        text: text.to_owned(),
        score,
        kind,
    }
}

/// A protobuf field of bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0x80, "one byte of length");
    [&[number << 3 | 2, length], bytes].concat()
}

/// A SentencePiece: text, score 0, kind.
pub(crate) fn model_piece(text: &str, kind: u8) -> Vec<u8> {
    field(
        1,
        &[
            field(1, text.as_bytes()),
            vec![0x15, 0, 0, 0, 0, 0x18, kind],
        ]
        .concat(),
    )
}

#[test]
fn damaged_files_never_panic() {
    let mut random = Random::new(7);
    for n in 0..600 {
        let (source, is_model) = if n % 2 == 0 {
            (MODEL, true)
        } else {
            (JSON.as_bytes(), false)
        };
        let mut bytes = source.to_vec();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.remove(at)),
                _ => {
                    let end = (at + random.below(64)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        let read = if is_model {
            Tokenizer::from_model_bytes
        } else {
            Tokenizer::from_json_bytes
        };
        match read(&bytes, "damaged") {
            Ok(tokenizer) => {
                let ids = tokenizer
                    .encode("The sea was </s> calm.\n  é 日 😀")
                    .unwrap();
                tokenizer.decode(&ids).unwrap();
            }
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
    }
}
