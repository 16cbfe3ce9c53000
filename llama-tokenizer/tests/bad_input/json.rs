//! `tokenizer.json`: what is no JSON, no Llama, or contradicts itself.

use llama_tokenizer::{Error, Tokenizer};
use serde_json::{Value, json};

use crate::{JSON, bytes_error, json_error};

/// Makes a good file a bad one.
type Change = fn(&mut Value);

#[test]
fn json_that_is_none() {
    for (bytes, what) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (b"\xff\xfe", "expected value at line 1 column 1"),
        (
            b"[]",
            "invalid length 0, expected struct Outline with 1 element at line 1 column 2",
        ),
        (b"{}", "missing field `model` at line 1 column 2"),
    ] {
        let sentence = format!(
            "tokenizer.json: expected the JSON of a tokenizer, found an error: {what}; download the file again"
        );
        assert_eq!(bytes_error(bytes), sentence);
    }
}

#[test]
fn json_nested_a_hundred_thousand_deep() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let model = r#""model":{"vocab":{},"merges":[]}"#;
    let deep = format!("{{\"normalizer\":{open}{close},{model}}}");
    assert_eq!(
        bytes_error(deep.as_bytes()),
        "tokenizer.json: expected the JSON of a tokenizer, found an error: recursion limit exceeded at line 1 \
         column 141; download the file again"
    );
}

#[test]
fn json_with_a_byte_order_mark_is_read() {
    let marked = [b"\xef\xbb\xbf", JSON.as_bytes()].concat();
    assert!(Tokenizer::from_json_bytes(&marked, "tokenizer.json").is_ok());
}

#[test]
fn json_of_another_kind_of_tokenizer() {
    let other = "; only tokenizers of the Llama 2 family (SentencePiece BPE) are supported";
    let changes: [(Change, &str); 9] = [
        (
            |json| json["model"]["type"] = json!("Unigram"),
            "model.type: expected `BPE`, found `Unigram`",
        ),
        (
            |json| json["normalizer"] = json!({"type": "NFC"}),
            "normalizer: expected `Prepend` of `▁`, `Replace` of a space by `▁`, found `{\"type\":\"NFC\"}`",
        ),
        (
            |json| json["pre_tokenizer"] = json!({"type": "ByteLevel"}),
            "pre_tokenizer: expected `Metaspace` with `▁`, or none, found `{\"type\":\"ByteLevel\"}`",
        ),
        (
            |json| json["decoder"] = json!({"type": "ByteLevel"}),
            "decoder: expected `Replace` of `▁` by a space, `ByteFallback`, `Fuse`, `Strip` of one space, \
             `Metaspace`, found `{\"type\":\"ByteLevel\"}`",
        ),
        (
            |json| json["post_processor"] = json!({"type": "BertProcessing"}),
            "post_processor: expected `TemplateProcessing`, or none, found `{\"type\":\"BertProcessing\"}`",
        ),
        (
            |json| json["model"]["dropout"] = json!(0.1),
            "model.dropout: expected null (merging without chance), found 0.1",
        ),
        (
            |json| json["model"]["ignore_merges"] = json!(true),
            "model.ignore_merges: expected false, found true",
        ),
        (
            |json| json["model"]["end_of_word_suffix"] = json!("</w>"),
            "model.end_of_word_suffix: expected null, found `</w>`",
        ),
        (
            |json| {
                json["pre_tokenizer"] =
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "x"});
                json["normalizer"] = Value::Null;
            },
            "pre_tokenizer.prepend_scheme: expected `always`, `first` or `never`, found `\"x\"`",
        ),
    ];
    for (change, sentence) in changes {
        assert_eq!(
            json_error(change),
            format!("tokenizer.json: {sentence}{other}")
        );
    }
}

#[test]
fn json_whose_ids_leave_gaps_or_collide() {
    assert_eq!(
        json_error(|json| json["model"]["vocab"]["new"] = json!(4_000_000_000u32)),
        "tokenizer.json: model.vocab: expected an id below 2454 (the ids have few gaps), found 4000000000 for \
         `new`; download the file again"
    );
    assert_eq!(
        json_error(|json| json["model"]["vocab"]["new"] = json!(5)),
        "tokenizer.json: model.vocab: expected an id of its own for `new`, found 5, which is `<0x02>`; correct \
         the file"
    );
    assert_eq!(
        json_error(|json| json["added_tokens"][1]["id"] = json!(7)),
        "tokenizer.json: added_tokens[1].id: expected 1, the id of piece `<s>`, found 7; correct the file"
    );
    let twice = JSON.replacen("\"<0x00>\":3", "\"<0x00>\":3,\"<0x00>\":714", 1);
    assert_eq!(
        bytes_error(twice.as_bytes()),
        "tokenizer.json: piece 714: expected a text of its own, found `<0x00>`, which is piece 3 too; download \
         the file again"
    );
}

#[test]
fn a_gap_in_the_ids_is_no_piece() {
    let mut json: Value = serde_json::from_str(JSON).unwrap();
    json["model"]["vocab"]["new"] = json!(720);
    let tokenizer =
        Tokenizer::from_json_bytes(json.to_string().as_bytes(), "tokenizer.json").unwrap();
    assert_eq!(tokenizer.vocab_size(), 721);
    assert!(matches!(
        tokenizer.decode(&[717]),
        Err(Error::UnknownId { id: 717, .. })
    ));
}

/// Found by fuzzing: text became an end token that the file does not call special.
#[test]
fn control_tokens_that_are_not_called_special_do_not_come_from_text() {
    let mut json: Value = serde_json::from_str(JSON).unwrap();
    for token in json["added_tokens"].as_array_mut().unwrap() {
        token["special"] = json!(false);
    }
    let tokenizer =
        Tokenizer::from_json_bytes(json.to_string().as_bytes(), "tokenizer.json").unwrap();
    let text = "a</s><s><unk>b";
    let ids = tokenizer.encode(text).unwrap();
    assert!(ids.iter().all(|id| *id > 2), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    let ids = tokenizer.encode_with_control(text).unwrap();
    let control: Vec<u32> = ids.into_iter().filter(|id| *id <= 2).collect();
    assert_eq!(control, [2, 1, 0]);
}

#[test]
fn merges_in_no_known_form() {
    const BEFORE: &str = "\"merges\":[";
    for (merge, found) in [
        (r#""a""#, r#"string "a""#),
        (r#""a b c""#, r#"string "a b c""#),
        (r#"["a"]"#, "sequence"),
        (r#"["a","b","c"]"#, "sequence"),
        ("1", "integer `1`"),
    ] {
        let json = JSON.replacen(BEFORE, &format!("{BEFORE}{merge},"), 1);
        let column = json.find(BEFORE).unwrap() + BEFORE.len() + merge.len();
        let kind = if found.starts_with("integer") {
            "type"
        } else {
            "value"
        };
        assert_eq!(
            bytes_error(json.as_bytes()),
            format!(
                "tokenizer.json: expected the JSON of a tokenizer, found an error: invalid {kind}: {found}, expected a merge: two \
                 pieces in a list, or in a string with one space between at line 1 column {column}; download the file again"
            )
        );
    }
}

#[test]
fn json_without_the_pieces_that_it_needs() {
    assert_eq!(
        json_error(|json| json["model"]["unk_token"] = json!("<none>")),
        "tokenizer.json: model.unk_token: expected a piece of model.vocab, found `<none>`; download the file again"
    );
    assert_eq!(
        json_error(|json| json["model"] =
            json!({"type": "BPE", "vocab": {"<s>": 1, "a": 0}, "merges": []})),
        "tokenizer.json: added_tokens[0].id: expected an id of its own for `<unk>`, found 0, which is `a`; correct \
         the file"
    );
    assert_eq!(
        json_error(|json| {
            json["added_tokens"] = json!([]);
            json["model"] = json!({"type": "BPE", "vocab": {"<s>": 1, "a": 0}, "merges": []});
        }),
        "tokenizer.json: vocabulary: expected an unknown piece or all of `<0x00>` to `<0xFF>`, for text that has \
         no piece, found no unknown piece and 0 bytes; download the file again"
    );
}
