//! Merges: which two pieces become one, first merged first. Made from scores for a SentencePiece
//! vocabulary, checked for a written list; the engine panics on hostile ones.

use std::cmp::Ordering;

use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};

use crate::Error;
use crate::draft::{Draft, Rules};
use crate::error::{DOWNLOAD_AGAIN, OTHER_TOKENIZER, Origin, quote};
use crate::piece::{Piece, PieceKind};
use crate::vocabulary::Vocabulary;

/// A longer piece has no splits looked for: their number times their length is memory.
/// The longest of Llama 2 has 48 bytes.
const MAX_PIECE_BYTES: usize = 512;
/// Splits for each piece on average, and how many any vocabulary may have: Llama 2 has 1.9 for each.
/// Bounds the memory that a vocabulary of `a`, `aa`, `aaa` … asks for.
const MAX_SPLITS: (usize, usize) = (16, 65_536);

/// The merge engine over the pieces that text may become. Control pieces are not in it, and no
/// merge leads to a byte or the unknown piece.
pub(crate) fn engine(draft: &mut Draft, vocabulary: &Vocabulary) -> Result<BPE, Error> {
    let merges = match draft.merges.take() {
        Some(written) => check(Origin(&draft.file), written, vocabulary)?,
        None => split(Origin(&draft.file), &draft.pieces, vocabulary)?,
    };
    let Rules {
        byte_fallback,
        fuse_unknown,
        ..
    } = draft.rules;
    let mut unknown = None;
    let mut texts = Vocab::default();
    for (id, piece, kind) in vocabulary.pieces() {
        match kind {
            PieceKind::Normal => {}
            PieceKind::Byte if byte_fallback => {}
            PieceKind::Unknown => unknown = Some(piece.to_owned()),
            _ => continue,
        }
        texts.insert(piece.to_owned(), id);
    }
    let mut builder = BpeBuilder::new()
        // Its cache is the thread's, not the engine's: what a tokenizer has encoded would stay there after it is gone.
        .cache_capacity(0)
        .vocab_and_merges(texts, merges)
        .byte_fallback(byte_fallback)
        .fuse_unk(fuse_unknown);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(unknown);
    }
    builder.build().map_err(|error| {
        Origin(&draft.file).invalid(
            "merges",
            "a set of merges",
            error.to_string(),
            DOWNLOAD_AGAIN,
        )
    })
}

/// Whether a written list has every way to split a piece in two, as one has that was made from scores.
pub(crate) fn are_all_splits(draft: &Draft, written: &[(String, String)]) -> bool {
    let sorted = |merges: Result<Vec<(String, String)>, Error>| {
        merges.ok().map(|mut merges| {
            merges.sort();
            merges
        })
    };
    let origin = Origin(&draft.file);
    Vocabulary::new(draft).is_ok_and(|vocabulary| {
        let splits = sorted(split(origin, &draft.pieces, &vocabulary));
        splits.is_some() && splits == sorted(check(origin, written.to_vec(), &vocabulary))
    })
}

/// Every way to split a piece in two pieces is a merge; ordered by the score of the whole, then the
/// longer left part first, then the longer right part. That is SentencePiece's order wherever scores
/// differ, and for runs of one character whose scores all tie (Llama 2's spaces). Where pieces of
/// different characters tie, SentencePiece takes the leftmost; the engine has no equal ranks, and
/// takes the smaller id.
fn split(
    origin: Origin<'_>,
    pieces: &[Option<Piece>],
    vocabulary: &Vocabulary,
) -> Result<Vec<(String, String)>, Error> {
    let limit = pieces.len().saturating_mul(MAX_SPLITS.0).max(MAX_SPLITS.1);
    let is_normal = |text: &str| vocabulary.kind_of(text) == Some(PieceKind::Normal);
    let mut splits: Vec<Split<'_>> = Vec::new();
    for (id, piece) in pieces.iter().enumerate() {
        let Some(Piece {
            text,
            score,
            kind: PieceKind::Normal,
        }) = piece
        else {
            continue;
        };
        if score.is_nan() {
            return Err(origin.invalid(format!("piece {id}"), "a score", "NaN", DOWNLOAD_AGAIN));
        }
        if text.len() > MAX_PIECE_BYTES {
            let expected = format!("at most {MAX_PIECE_BYTES} bytes");
            let found = format!("{} bytes: {}", text.len(), quote(text));
            return Err(origin.invalid(format!("piece {id}"), expected, found, OTHER_TOKENIZER));
        }
        let n_characters = text.chars().count();
        for (n_left, (at, _)) in text.char_indices().enumerate().skip(1) {
            let (left, right) = text.split_at(at);
            if is_normal(left) && is_normal(right) {
                splits.push(Split {
                    score: *score,
                    n_left,
                    n_right: n_characters - n_left,
                    left,
                    right,
                });
            }
        }
        if splits.len() > limit {
            let expected = format!("at most {limit} ways to split the pieces in two");
            return Err(origin.invalid("vocabulary", expected, "more", OTHER_TOKENIZER));
        }
    }
    splits.sort_by(|a, b| {
        // NaN was refused; 0 and -0 are one score.
        let score = b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal);
        score
            .then(b.n_left.cmp(&a.n_left))
            .then(b.n_right.cmp(&a.n_right))
    });
    Ok(splits
        .into_iter()
        .map(|split| (split.left.to_owned(), split.right.to_owned()))
        .collect())
}

/// One way to make a piece of two.
struct Split<'p> {
    score: f32,
    /// Characters of `left` and `right`.
    n_left: usize,
    n_right: usize,
    left: &'p str,
    right: &'p str,
}

/// The written merges without those that touch a piece which text must not become.
fn check(
    origin: Origin<'_>,
    written: Vec<(String, String)>,
    vocabulary: &Vocabulary,
) -> Result<Vec<(String, String)>, Error> {
    let mut merges = Vec::with_capacity(written.len());
    let mut joined = String::new();
    for (rank, (left, right)) in written.into_iter().enumerate() {
        joined.clear();
        joined.push_str(&left);
        joined.push_str(&right);
        let mut all_normal = true;
        for piece in [&left, &right, &joined] {
            match vocabulary.kind_of(piece) {
                Some(kind) => all_normal &= kind == PieceKind::Normal,
                None => {
                    return Err(origin.invalid(
                        format!("model.merges[{rank}]"),
                        "two pieces of model.vocab whose join is one too",
                        format!("{}, which is not in model.vocab", quote(piece)),
                        DOWNLOAD_AGAIN,
                    ));
                }
            }
        }
        if all_normal {
            merges.push((left, right));
        }
    }
    Ok(merges)
}
