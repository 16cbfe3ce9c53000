//! `tokenizer.model`: what is cut short, of another kind, or broken.

use llama_tokenizer::Tokenizer;

use crate::{MODEL, field, model_error, model_piece};

#[test]
fn a_model_cut_short() {
    assert_eq!(
        model_error(b""),
        "tokenizer.model: vocabulary: expected pieces, found none; download the file again"
    );
    assert_eq!(
        model_error(&MODEL[..MODEL.len() / 2]),
        "tokenizer.model: ModelProto at byte 5179: expected at most the 5 bytes that are left, found a length of 9; \
         download the file again"
    );
    for length in 0..MODEL.len() {
        // Any of them is either refused or a smaller vocabulary.
        let _ = Tokenizer::from_model_bytes(&MODEL[..length], "tokenizer.model");
    }
}

#[test]
fn a_model_of_another_kind() {
    let other = "; only tokenizers of the Llama 2 family (SentencePiece BPE) are supported";
    let unknown = model_piece("<unk>", 2);
    let identity = field(1, b"identity");
    for (message, sentence) in [
        (
            field(2, &[0x18, 1]),
            "trainer_spec.model_type: expected 2 (BPE), found 1 (unigram)",
        ),
        (
            field(2, &[]),
            "trainer_spec.model_type: expected 2 (BPE), found 1 (unigram)",
        ),
        (
            field(2, &[0x18, 2, 0xc0, 0x01, 1]),
            "trainer_spec.treat_whitespace_as_suffix: expected false, found true",
        ),
        (
            field(3, &field(1, b"nmt_nfkc")),
            "normalizer_spec.name: expected `identity`, found `nmt_nfkc`",
        ),
        (
            field(3, &field(2, b"xyz")),
            "normalizer_spec.precompiled_charsmap: expected none, found 3 bytes",
        ),
        (
            field(3, &identity),
            "normalizer_spec.remove_extra_whitespaces: expected false, found true",
        ),
        (
            field(3, &[0x20, 0, 0x28, 0]),
            "normalizer_spec.escape_whitespaces: expected true, found false",
        ),
        (
            field(5, &field(2, b"xyz")),
            "denormalizer_spec.precompiled_charsmap: expected none, found 3 bytes",
        ),
    ] {
        let error = model_error(&[unknown.clone(), message].concat());
        assert_eq!(error, format!("tokenizer.model: {sentence}{other}"));
    }
}

#[test]
fn a_model_with_broken_pieces() {
    let unknown = model_piece("<unk>", 2);
    for (pieces, sentence) in [
        (
            model_piece("a", 9),
            "SentencePiece at byte 28: expected a type of 1 to 6, found 9",
        ),
        (
            model_piece("", 1),
            "piece 1: expected a text, found an empty one",
        ),
        (
            model_piece("<unk>", 1),
            "piece 1: expected a text of its own, found `<unk>`, which is piece 0 too",
        ),
        (
            field(1, &[0x0a, 1, 0xff]),
            "SentencePiece at byte 21: expected UTF-8, found invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (
            field(1, &[0x08, 1]),
            "SentencePiece at byte 20: expected a text, found a number",
        ),
        (
            field(1, &[0x13]),
            "SentencePiece at byte 19: expected a wire type of 0, 1, 2 or 5, found 3",
        ),
        (
            model_piece("<0x41>", 6),
            "pieces: expected no byte pieces, or all 256, found 1",
        ),
    ] {
        let error = model_error(&[unknown.clone(), pieces].concat());
        assert_eq!(
            error,
            format!("tokenizer.model: {sentence}; download the file again")
        );
    }
    let alone = model_piece("a", 1);
    assert_eq!(
        model_error(&alone),
        "tokenizer.model: vocabulary: expected an unknown piece or all of `<0x00>` to `<0xFF>`, for text that has \
         no piece, found no unknown piece and 0 bytes; download the file again"
    );
}
