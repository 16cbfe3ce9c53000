//! Plain pieces that are no vocabulary.

use std::time::{Duration, Instant};

use llama_tokenizer::{PieceKind, SpecialTokens, Tokenizer};

use crate::{piece, pieces_error};

#[test]
fn pieces_that_are_no_vocabulary() {
    let unknown = || piece("<unk>", 0.0, PieceKind::Unknown);
    assert_eq!(
        pieces_error(vec![]),
        "pieces: vocabulary: expected pieces, found none; download the file again"
    );
    assert_eq!(
        pieces_error(vec![unknown(), piece("a", f32::NAN, PieceKind::Normal)]),
        "pieces: piece 1: expected a score, found NaN; download the file again"
    );
    assert_eq!(
        pieces_error(vec![unknown(), piece("<0xG0>", 0.0, PieceKind::Byte)]),
        "pieces: piece 1: expected a byte such as `<0x0A>`, found `<0xG0>`; download the file again"
    );
    assert_eq!(
        pieces_error(vec![
            unknown(),
            piece(&"a".repeat(1000), 0.0, PieceKind::Normal)
        ]),
        format!(
            "pieces: piece 1: expected at most 512 bytes, found 1000 bytes: `{}…`; only tokenizers of the Llama 2 \
             family (SentencePiece BPE) are supported",
            "a".repeat(40)
        )
    );
    let special = SpecialTokens {
        eos: Some(2),
        ..SpecialTokens::default()
    };
    assert_eq!(
        Tokenizer::from_pieces(vec![unknown()], special)
            .unwrap_err()
            .to_string(),
        "pieces: eos: expected the id of one of 1 pieces, found `2`; correct the file"
    );
}

#[test]
fn pieces_with_more_splits_than_any_vocabulary_has() {
    let begun = Instant::now();
    let mut pieces = vec![piece("<unk>", 0.0, PieceKind::Unknown)];
    for letter in 'a'..='z' {
        pieces.extend((1..=512).map(|n| {
            piece(
                &letter.to_string().repeat(n),
                -(n as f32),
                PieceKind::Normal,
            )
        }));
    }
    assert_eq!(
        pieces_error(pieces),
        "pieces: vocabulary: expected at most 213008 ways to split the pieces in two, found more; only tokenizers \
         of the Llama 2 family (SentencePiece BPE) are supported"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}
