//! The vocabulary in the metadata: what it gives, and what is no vocabulary of SentencePiece's kind.

use llama_weights::{Checkpoint, Vocabulary};

use crate::fixture::{Directory, good, with};
use crate::writer::{Gguf, Value};

const ADVICE: &str = "convert the model again or download another file of it";

fn read(file: &Gguf) -> Option<Vocabulary> {
    let directory = Directory::empty();
    let path = directory.write("model.gguf", file.bytes());
    Vocabulary::open(&path).expect("a good vocabulary")
}

fn assert_field(file: &Gguf, field: &str, expected: &str, found: &str) {
    let directory = Directory::empty();
    let path = directory.write("model.gguf", file.bytes());
    let refusal = Vocabulary::open(&path).expect_err("a refusal");
    let message = directory.clean(&refusal.to_string());
    assert_eq!(
        message,
        format!("DIR/model.gguf: {field}: expected {expected}, found {found}; {ADVICE}")
    );
    // Weights need no vocabulary.
    let opened = Checkpoint::open(&path).expect("good weights");
    assert_eq!(
        directory.clean(&opened.vocabulary().expect_err("the same").to_string()),
        message
    );
}

#[test]
fn pieces_scores_kinds_and_special_ids() {
    let vocabulary = read(&good()).expect("a vocabulary");
    assert_eq!(vocabulary.pieces.len(), 10);
    let piece = &vocabulary.pieces[7];
    assert_eq!(
        (piece.text.as_str(), piece.score, piece.kind),
        ("▁a", -4.0, 1)
    );
    assert_eq!(vocabulary.pieces[3].kind, 6);
    let special = (vocabulary.bos, vocabulary.eos, vocabulary.unk);
    assert_eq!(special, (Some(1), Some(2), Some(0)));
    assert_eq!((vocabulary.add_bos, vocabulary.add_eos), (true, false));
    assert!(vocabulary.add_space_prefix);
    assert_eq!(vocabulary.chat_template, None);
}

#[test]
fn what_the_file_says_counts() {
    let file = with(|gguf| {
        gguf.set("tokenizer.ggml.unknown_token_id", Value::U32(3));
        gguf.set("tokenizer.ggml.add_bos_token", Value::Flag(false));
        gguf.set("tokenizer.ggml.add_eos_token", Value::Flag(true));
        gguf.set("tokenizer.ggml.add_space_prefix", Value::Flag(false));
        gguf.set(
            "tokenizer.chat_template",
            Value::Text("{{ messages }}".to_owned()),
        );
    });
    let vocabulary = read(&file).expect("a vocabulary");
    assert_eq!(vocabulary.unk, Some(3));
    assert_eq!((vocabulary.add_bos, vocabulary.add_eos), (false, true));
    assert!(!vocabulary.add_space_prefix);
    assert_eq!(vocabulary.chat_template.as_deref(), Some("{{ messages }}"));
}

#[test]
fn only_the_metadata_are_read() {
    let directory = Directory::empty();
    let file = good();
    let path = directory.write("model.gguf", file.header());
    assert!(Checkpoint::open(&path).is_err());
    assert!(
        Vocabulary::open(&path)
            .expect("a good vocabulary")
            .is_some()
    );
}

#[test]
fn where_there_is_none() {
    assert_eq!(
        read(&with(|gguf| gguf.remove("tokenizer.ggml.model"))),
        None
    );
    let none = Value::Text("no_vocab".to_owned());
    assert_eq!(
        read(&with(|gguf| gguf.set("tokenizer.ggml.model", none))),
        None
    );
    let directory = Directory::empty();
    assert_eq!(
        Vocabulary::open(directory.path()).expect("an empty directory"),
        None
    );
    let other = directory.write("tokenizer.json", "{}");
    assert_eq!(Vocabulary::open(&other).expect("another file"), None);
}

#[test]
fn another_kind_of_tokenizer() {
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.model", Value::Text("gpt2".to_owned()))),
        "tokenizer.ggml.model",
        "\"llama\", since only SentencePiece vocabularies are read",
        "\"gpt2\"",
    );
}

#[test]
fn a_normalizer() {
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.remove_extra_whitespaces", Value::Flag(true))),
        "tokenizer.ggml.remove_extra_whitespaces",
        "false, since text is not normalized",
        "true",
    );
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.precompiled_charsmap", Value::I32s(vec![1]))),
        "tokenizer.ggml.precompiled_charsmap",
        "none, since text is not normalized",
        "an array of 1",
    );
}

#[test]
fn pieces_that_are_missing_or_no_strings() {
    let field = "tokenizer.ggml.tokens";
    let missing = with(|gguf| gguf.remove(field));
    assert_field(&missing, field, "an array of strings", "nothing");
    let numbers = with(|gguf| gguf.set(field, Value::I32s(vec![1])));
    assert_field(&numbers, field, "an array of strings", "an array of 1");
    let none = with(|gguf| gguf.set(field, Value::Texts(Vec::new())));
    assert_field(&none, field, "1 to 1048576 strings", "an array of 0");
}

#[test]
fn a_piece_that_is_not_utf8() {
    let mut bytes = 8u32.to_le_bytes().to_vec();
    bytes.extend(10u64.to_le_bytes());
    for _ in 0..10 {
        bytes.extend(1u64.to_le_bytes());
        bytes.push(0xff);
    }
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.tokens", Value::Raw(9, bytes))),
        "tokenizer.ggml.tokens[0]",
        "a string in UTF-8",
        "other bytes",
    );
}

#[test]
fn scores_and_kinds_of_another_number() {
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.scores", Value::F32s(vec![0.0; 9]))),
        "tokenizer.ggml.scores",
        "10 numbers, one for each of tokenizer.ggml.tokens",
        "an array of 9",
    );
    assert_field(
        &with(|gguf| gguf.remove("tokenizer.ggml.token_type")),
        "tokenizer.ggml.token_type",
        "10 integers, one for each of tokenizer.ggml.tokens",
        "nothing",
    );
}

#[test]
fn a_score_that_is_nan_and_a_kind_that_is_none() {
    let mut scores = vec![0.0; 10];
    scores[5] = f32::NAN;
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.scores", Value::F32s(scores))),
        "tokenizer.ggml.scores[5]",
        "a number",
        "NaN for \"a\"",
    );
    assert_field(
        &with(|gguf| gguf.set("tokenizer.ggml.token_type", Value::I32s(vec![7; 10]))),
        "tokenizer.ggml.token_type[0]",
        "a type from 1 to 6",
        "7",
    );
}

#[test]
fn an_id_beyond_the_vocabulary() {
    let directory = Directory::empty();
    let file = with(|gguf| gguf.set("tokenizer.ggml.unknown_token_id", Value::U32(10)));
    let path = directory.write("model.gguf", file.bytes());
    assert_eq!(
        directory.clean(&Vocabulary::open(&path).expect_err("a refusal").to_string()),
        format!(
            "DIR/model.gguf: tokenizer.ggml.unknown_token_id: expected an integer from 0 to 9, found 10; {ADVICE}"
        )
    );
}
