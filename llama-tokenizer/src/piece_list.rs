//! A tokenizer's files as plain pieces with scores, for whoever writes the vocabulary into another file (GGUF). Nothing is
//! encoded here.

use std::collections::HashMap;
use std::path::Path;

use crate::draft::{Draft, Prefix, Spaces};
use crate::format::huggingface;
use crate::{Error, Piece, PieceKind, SpecialTokens, Tokenizer, directory, merge};

/// The vocabulary of a tokenizer, in the form that [`Tokenizer::from_pieces_of`] takes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PieceList {
    /// The file, for messages.
    pub origin: String,
    /// By id. An id without a piece has an unused one, `[PAD7]`.
    pub pieces: Vec<Piece>,
    /// The ids with a meaning.
    pub special: SpecialTokens,
    /// Whether a space goes in front of a text.
    pub dummy_prefix: bool,
    /// Whether these pieces make the merges that the file lists, so that every text gets the same ids. False for a `tokenizer.json` that was not made from a
    /// SentencePiece model: its merges say more than scores can.
    pub is_exact: bool,
}

impl PieceList {
    /// Reads a model's directory, as [`Tokenizer::from_dir`] does.
    ///
    /// # Errors
    /// As [`Tokenizer::from_dir`].
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Self::new(directory::read(dir)?)
    }

    /// Reads the bytes of a `tokenizer.json`, as [`Tokenizer::from_json_bytes`] does.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json_bytes`].
    pub fn from_json_bytes(bytes: &[u8], origin: &str) -> Result<Self, Error> {
        Self::new(huggingface::read(bytes, origin)?)
    }

    fn new(mut draft: Draft) -> Result<Self, Error> {
        draft.mark_control_pieces();
        let written = draft.merges.take();
        let scored = written.as_deref().map(|merges| score(&mut draft, merges));
        let rules = draft.rules;
        let pieces = (draft.pieces.iter().enumerate()).map(|(id, piece)| {
            piece.clone().unwrap_or_else(|| Piece {
                text: format!("[PAD{id}]"),
                score: 0.0,
                kind: PieceKind::Unused,
            })
        });
        let list = Self {
            origin: draft.file.clone(),
            pieces: pieces.collect(),
            special: draft.special.clone(),
            dummy_prefix: rules.prefix != Prefix::Never,
            is_exact: rules.spaces == Spaces::Escaped && scored.is_none_or(|is_exact| is_exact),
        };
        // Whatever is wrong with the files is found as for a run.
        draft.merges = written;
        Tokenizer::build(draft)?;
        Ok(list)
    }
}

/// Gives every piece a score, the higher the earlier it is merged, and says whether scores can say all that the merges do.
///
/// SentencePiece merges by the score of the whole, whatever its parts. A list made from it has the merges of a piece side by side, but for pieces of equal
/// scores, whose merges are mixed: so pieces whose merges overlap in the list get one score.
fn score(draft: &mut Draft, merges: &[(String, String)]) -> bool {
    // Of each whole, its first and last merge.
    let mut spans: HashMap<String, (usize, usize)> = HashMap::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        let span = spans
            .entry(format!("{left}{right}"))
            .or_insert((rank, rank));
        span.1 = rank;
    }
    let mut ordered: Vec<(&str, (usize, usize))> = spans
        .iter()
        .map(|(whole, &span)| (whole.as_str(), span))
        .collect();
    ordered.sort_by_key(|&(_, span)| span);
    let mut scores: HashMap<&str, f32> = HashMap::with_capacity(ordered.len());
    let (mut group, mut end) = (0u32, None);
    for (whole, (first, last)) in ordered {
        if end.is_some_and(|end| first > end) {
            group += 1;
        }
        end = Some(end.map_or(last, |end: usize| end.max(last)));
        // Exact: no vocabulary has 2²⁴ pieces.
        scores.insert(whole, -(group as f32));
    }
    // What is never merged comes after all that is, as SentencePiece has it.
    let mut single = group as f32;
    for piece in draft.pieces.iter_mut().flatten() {
        if piece.kind == PieceKind::Normal {
            piece.score = scores.get(piece.text.as_str()).copied().unwrap_or_else(|| {
                single += 1.0;
                -single
            });
        }
    }
    merge::are_all_splits(draft, merges)
}
