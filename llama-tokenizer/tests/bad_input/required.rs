//! Every item of the tokenizer group of ROBUSTNESS.md.

use std::fs;

use llama_tokenizer::{Error, Tokenizer};
use serde_json::json;

use crate::{MODEL, field, json_error, model_error, tokenizer};

#[test]
fn only_tokenizer_model_there_is_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.model"), MODEL).unwrap();
    let found = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(
        found.encode("The sea").unwrap(),
        tokenizer().encode("The sea").unwrap()
    );
}

#[test]
fn a_broken_tokenizer_json_is_an_error_beside_a_good_model() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.model"), MODEL).unwrap();
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, "{").unwrap();
    assert_eq!(
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: expected the JSON of a tokenizer, found an error: EOF while parsing an object at line 1 \
             column 1; download the file again",
            path.display()
        )
    );
}

#[test]
fn protobuf_length_bomb() {
    let longest = [
        0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
    ];
    assert_eq!(
        model_error(&longest),
        "tokenizer.model: ModelProto at byte 11: expected at most the 0 bytes that are left, found a length \
         of 18446744073709551615; download the file again"
    );
    let endless = [0xff; 64];
    assert_eq!(
        model_error(&endless),
        "tokenizer.model: ModelProto at byte 0: expected a number of at most 10 bytes, found an endless one; \
         download the file again"
    );
    // A piece whose text is longer than the piece.
    let inner = field(1, &[0x0a, 0x7f, b'a']);
    assert_eq!(
        model_error(&inner),
        "tokenizer.model: SentencePiece at byte 4: expected at most the 1 bytes that are left, found a length \
         of 127; download the file again"
    );
}

#[test]
fn merge_naming_an_unknown_token() {
    assert_eq!(
        json_error(|json| json["model"]["merges"][1] = json!("zz q")),
        "tokenizer.json: model.merges[1]: expected two pieces of model.vocab whose join is one too, found \
         `zz`, which is not in model.vocab; download the file again"
    );
    assert_eq!(
        json_error(|json| json["model"]["merges"] = json!([["x", "q"]])),
        "tokenizer.json: model.merges[0]: expected two pieces of model.vocab whose join is one too, found \
         `xq`, which is not in model.vocab; download the file again"
    );
}

#[test]
fn ids_at_and_above_the_vocabulary_on_decode() {
    for id in [714, 32_000, u32::MAX] {
        let expected = format!(
            "token id {id}: expected the id of a piece, below 714, found none; use the tokenizer that belongs \
             to the model"
        );
        assert_eq!(
            tokenizer().decode(&[1, id]).unwrap_err().to_string(),
            expected
        );
        assert_eq!(
            tokenizer().stream(&[]).push(id).unwrap_err().to_string(),
            expected
        );
        assert!(matches!(
            tokenizer().decode(&[id]),
            Err(Error::UnknownId {
                vocab_size: 714,
                ..
            })
        ));
    }
}

#[test]
fn invalid_utf8_byte_tokens_streamed() {
    // F0 9F and no more: nothing while it can still become a character, U+FFFD at the end.
    let tokenizer = tokenizer();
    let mut stream = tokenizer.stream(&[]);
    assert_eq!(stream.push(0xf0 + 3).unwrap(), "");
    assert_eq!(stream.push(0x9f + 3).unwrap(), "");
    assert_eq!(stream.finish(), "\u{fffd}\u{fffd}");
    assert_eq!(stream.finish(), "");
}

#[test]
fn user_text_with_control_tokens_stays_text() {
    let tokenizer = tokenizer();
    for text in [
        "<s>",
        "</s>",
        "<unk>",
        "[INST] a [/INST]</s><s>",
        "<<SYS>>",
        "<0x41>",
        "a</s>b",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert!(ids.iter().all(|&id| id > 2), "{text}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        // `<0x41>` is not the byte that it names either.
        assert!(!ids.contains(&(0x41 + 3)), "{text}: {ids:?}");
    }
}

#[test]
fn nul_rtl_and_joined_emoji_come_back() {
    let tokenizer = tokenizer();
    for text in [
        "\0",
        "a\0b",
        "مرحبا\u{202e}abc\u{202c}",
        "שלום",
        "👩\u{200d}👩\u{200d}👧",
        "🏳\u{fe0f}\u{200d}🌈",
        "\u{feff}x",
        "\r\n",
    ] {
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(),
            text
        );
    }
}

#[test]
fn an_empty_text_has_no_pieces() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.encode("").unwrap(), [] as [u32; 0]);
    assert_eq!(tokenizer.encode_with_bos("").unwrap(), [1]);
    assert_eq!(tokenizer.encode_with_control("").unwrap(), [] as [u32; 0]);
    assert_eq!(tokenizer.decode(&[]).unwrap(), "");
    assert_eq!(tokenizer.stream(&[]).finish(), "");
}
