//! What fine-tunes and other writers of the files do: added tokens, the settings beside the
//! vocabulary in all their shapes, and the ways in which `tokenizer.json` is written.

use std::fs;

use llama_tokenizer::{Error, Piece, PieceKind, SpecialTokens, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

const JSON: &str = include_str!("golden/small.json");
const MODEL: &[u8] = include_bytes!("golden/small.model");
/// Pieces of the small vocabulary.
const SIZE: u32 = 714;

/// `small.json` with changes.
fn changed(change: impl FnOnce(&mut Value)) -> Tokenizer {
    try_changed(change).unwrap()
}

fn try_changed(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, Error> {
    let mut json: Value = serde_json::from_str(JSON).unwrap();
    change(&mut json);
    Tokenizer::from_json_bytes(json.to_string().as_bytes(), "tokenizer.json")
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": false, "special": special})
}

fn original() -> Tokenizer {
    Tokenizer::from_json_bytes(JSON.as_bytes(), "small.json").unwrap()
}

/// A directory with the small model and the files given.
fn directory(vocabulary: (&str, &[u8]), files: &[(&str, Value)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(vocabulary.0), vocabulary.1).unwrap();
    for (name, value) in files {
        fs::write(dir.path().join(name), value.to_string()).unwrap();
    }
    dir
}

fn with_config(config: Value) -> Result<Tokenizer, Error> {
    let dir = directory(
        ("tokenizer.model", MODEL),
        &[("tokenizer_config.json", config)],
    );
    Tokenizer::from_dir(dir.path())
}

#[test]
fn three_added_control_tokens_as_in_a_vocabulary_of_32003() {
    let tokenizer = changed(|json| {
        let tokens = json["added_tokens"].as_array_mut().unwrap();
        for (n, content) in ["<pad>", "<|im_start|>", "<|im_end|>"]
            .into_iter()
            .enumerate()
        {
            tokens.push(added(SIZE + n as u32, content, true));
        }
    });
    assert_eq!(tokenizer.vocab_size(), SIZE as usize + 3);
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(SIZE + 2));
    assert_eq!(tokenizer.kind(SIZE), Some(PieceKind::Control));
    assert_eq!(tokenizer.decode(&[SIZE + 1]).unwrap(), "");

    let text = "<|im_start|>user\nThe sea<|im_end|>";
    assert_eq!(
        tokenizer.encode(text).unwrap(),
        original().encode(text).unwrap()
    );
    let parts = original();
    let mut expected = vec![SIZE + 1];
    expected.extend(parts.encode("user\nThe sea").unwrap());
    expected.push(SIZE + 2);
    assert_eq!(tokenizer.encode_with_control(text).unwrap(), expected);
}

#[test]
fn sixteen_more_pieces_as_in_code_llama() {
    // Code Llama's infilling tokens are pieces of the vocabulary, built up by merges.
    let tokenizer = changed(|json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        for (n, piece) in [
            "▁<", "▁<P", "▁<PR", "▁<PRE", "▁<PRE>", "<", "P", "R", "E", ">",
        ]
        .into_iter()
        .enumerate()
        {
            vocab.entry(piece).or_insert(json!(SIZE as usize + n));
        }
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        for merge in ["▁ <", "▁< P", "▁<P R", "▁<PR E", "▁<PRE >"] {
            merges.push(json!(merge));
        }
        let id = json["model"]["vocab"]["▁<PRE>"].as_u64().unwrap() as u32;
        json["added_tokens"]
            .as_array_mut()
            .unwrap()
            .push(added(id, "▁<PRE>", true));
    });
    let id = tokenizer.token_id("▁<PRE>").unwrap();
    let ids = tokenizer.encode("<PRE>").unwrap();
    assert!(!ids.contains(&id), "{ids:?}");
    let pieces: Vec<_> = ids.iter().map(|&id| tokenizer.piece(id).unwrap()).collect();
    assert_eq!(pieces, ["▁<PRE", ">"]);
    assert_eq!(tokenizer.encode_with_control("▁<PRE>").unwrap(), [id]);
}

#[test]
fn an_added_token_that_is_not_special_is_found_in_ordinary_text() {
    let tokenizer = changed(|json| {
        json["added_tokens"]
            .as_array_mut()
            .unwrap()
            .push(added(SIZE, "<|user|>", false));
    });
    let sea = original().encode("The sea").unwrap();
    assert_eq!(
        tokenizer.encode("<|user|>The sea").unwrap(),
        [&[SIZE], &*sea].concat()
    );
    assert_eq!(tokenizer.decode(&[SIZE]).unwrap(), "<|user|>");
}

#[test]
fn an_added_token_may_take_the_spaces_around_it() {
    let tokenizer = changed(|json| {
        let mut token = added(SIZE, "<mask>", true);
        token["lstrip"] = json!(true);
        token["rstrip"] = json!(true);
        json["added_tokens"].as_array_mut().unwrap().push(token);
    });
    let plain = original();
    let expected = [
        plain.encode("the").unwrap(),
        vec![SIZE],
        plain.encode("sea").unwrap(),
    ]
    .concat();
    assert_eq!(
        tokenizer.encode_with_control("the  <mask> sea").unwrap(),
        expected
    );
}

#[test]
fn added_tokens_beside_tokenizer_model() {
    let decoder = json!({
        "0": {"content": "<unk>", "special": true}, "1": {"content": "<s>", "special": true},
        "2": {"content": "</s>", "special": true}, "714": {"content": "<|im_end|>", "special": true},
    });
    let config =
        json!({"added_tokens_decoder": decoder, "eos_token": "<|im_end|>", "pad_token": "[PAD]"});
    let more = json!({"[PAD]": 715, "<|user|>": 716});
    let dir = directory(
        ("tokenizer.model", MODEL),
        &[
            ("tokenizer_config.json", config),
            ("added_tokens.json", more),
        ],
    );
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 717);
    assert_eq!(tokenizer.special_tokens().eos, Some(714));
    assert_eq!(tokenizer.kind(715), Some(PieceKind::Control));
    assert_eq!(tokenizer.kind(716), Some(PieceKind::UserDefined));
    assert_eq!(tokenizer.encode("<|user|>").unwrap(), [716]);
    assert_eq!(
        tokenizer.encode_with_control("<|im_end|>[PAD]<s>").unwrap(),
        [714, 715, 1]
    );
}

#[test]
fn special_tokens_as_strings_objects_and_null() {
    let object =
        |content: &str| json!({"__type": "AddedToken", "content": content, "lstrip": false});
    for (bos, eos) in [
        (json!("<s>"), json!("</s>")),
        (object("<s>"), object("</s>")),
    ] {
        let tokenizer =
            with_config(json!({"bos_token": bos, "eos_token": eos, "pad_token": null})).unwrap();
        assert_eq!(
            (
                tokenizer.special_tokens().bos,
                tokenizer.special_tokens().eos
            ),
            (Some(1), Some(2))
        );
    }
    let swapped = with_config(json!({"bos_token": "</s>", "eos_token": "<s>"})).unwrap();
    assert_eq!(
        (swapped.special_tokens().bos, swapped.special_tokens().eos),
        (Some(2), Some(1))
    );
    let none =
        with_config(json!({"bos_token": null, "eos_token": null, "add_eos_token": true})).unwrap();
    assert_eq!(
        (none.special_tokens().bos, none.special_tokens().eos),
        (None, None)
    );
    assert_eq!(
        none.encode_with_bos("The").unwrap(),
        original().encode("The").unwrap()
    );
}

#[test]
fn special_tokens_map_answers_where_the_config_is_silent() {
    let map = json!({"bos_token": "</s>", "eos_token": {"content": "<s>"}});
    let config = json!({"eos_token": "</s>"});
    let files = [
        ("special_tokens_map.json", map),
        ("tokenizer_config.json", config),
    ];
    let dir = directory(("tokenizer.json", JSON.as_bytes()), &files);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(
        (
            tokenizer.special_tokens().bos,
            tokenizer.special_tokens().eos
        ),
        (Some(2), Some(2))
    );
}

#[test]
fn add_bos_token_and_add_eos_token_are_honoured() {
    let body = original().encode("The sea").unwrap();
    for (config, expected) in [
        (json!({}), [&[1], &*body].concat()),
        (json!({"add_bos_token": null}), [&[1], &*body].concat()),
        (json!({"add_bos_token": false}), body.clone()),
        (
            json!({"add_bos_token": true, "add_eos_token": true}),
            [&[1], &*body, &[2]].concat(),
        ),
        (
            json!({"add_bos_token": false, "add_eos_token": true}),
            [&*body, &[2]].concat(),
        ),
    ] {
        let tokenizer = with_config(config.clone()).unwrap();
        assert_eq!(
            tokenizer.encode_with_bos("The sea").unwrap(),
            expected,
            "{config}"
        );
    }
}

#[test]
fn the_post_processor_decides_where_there_is_no_config() {
    let tokenizer = changed(|json| {
        let single = json["post_processor"]["single"].as_array_mut().unwrap();
        single.remove(0);
        single.push(json!({"SpecialToken": {"id": "</s>", "type_id": 0}}));
    });
    let SpecialTokens {
        bos,
        eos,
        add_bos,
        add_eos,
        ..
    } = *tokenizer.special_tokens();
    assert_eq!(
        (bos, eos, add_bos, add_eos),
        (Some(1), Some(2), false, true)
    );
    let none = changed(|json| json["post_processor"] = Value::Null);
    assert!(none.special_tokens().add_bos);
}

#[test]
fn metaspace_means_the_same_as_prepend_and_replace() {
    let plain = original();
    for scheme in ["always", "first"] {
        let tokenizer = changed(|json| {
            json["normalizer"] = Value::Null;
            json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
            json["decoder"] =
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme});
        });
        for text in ["The sea", " The  sea", "", "\n", "▁a", "😀"] {
            let ids = plain.encode(text).unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids, "{scheme}: {text:?}");
            assert_eq!(
                tokenizer.decode(&ids).unwrap(),
                plain.decode(&ids).unwrap(),
                "{scheme}: {text:?}"
            );
        }
        // `first`: only the first text gets a dummy space.
        let after = if scheme == "first" { "a" } else { "▁a" };
        let expected = [1, tokenizer.token_id(after).unwrap()];
        assert_eq!(
            tokenizer.encode_with_control("<s>a").unwrap(),
            expected,
            "{scheme}"
        );
    }
}

#[test]
fn metaspace_that_splits_keeps_spaces_apart() {
    let tokenizer = changed(|json| {
        json["normalizer"] = Value::Null;
        json["pre_tokenizer"] =
            json!({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true});
    });
    let ids = tokenizer.encode("a   b").unwrap();
    let pieces: Vec<_> = ids.iter().map(|&id| tokenizer.piece(id).unwrap()).collect();
    assert_eq!(pieces, ["▁a", "▁", "▁", "▁b"]);
}

#[test]
fn a_json_without_the_dummy_prefix_stays_as_it_says() {
    let tokenizer = changed(|json| {
        json["normalizer"] = Value::Null;
        json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false});
        json["decoder"]["decoders"].as_array_mut().unwrap().pop();
    });
    let ids = tokenizer.encode("a sea").unwrap();
    assert_eq!(tokenizer.piece(ids[0]), Some("a"));
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a sea");
    let ids = tokenizer.encode(" a").unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), " a");
}

#[test]
fn merges_as_pairs_are_merges_as_strings() {
    let tokenizer = changed(|json| {
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        for merge in merges {
            let pair: Vec<_> = merge
                .as_str()
                .unwrap()
                .split(' ')
                .map(str::to_owned)
                .collect();
            *merge = json!(pair);
        }
    });
    let text = "The lighthouse keeper counted the waves   every evening.";
    assert_eq!(
        tokenizer.encode(text).unwrap(),
        original().encode(text).unwrap()
    );
}

#[test]
fn user_defined_pieces_of_a_model_are_taken_whole() {
    let piece = |text: &str, score: f32, kind| Piece {
        text: text.to_owned(),
        score,
        kind,
    };
    let mut pieces = vec![
        piece("<unk>", 0.0, PieceKind::Unknown),
        piece("<s>", 0.0, PieceKind::Control),
    ];
    for (score, text) in ["▁", "a", "b", "▁a", "ab"].into_iter().enumerate() {
        pieces.push(piece(text, -(score as f32), PieceKind::Normal));
    }
    pieces.push(piece("ba", 0.0, PieceKind::UserDefined));
    pieces.push(piece("bb", 0.0, PieceKind::Unused));
    let special = SpecialTokens {
        bos: Some(1),
        unk: Some(0),
        ..SpecialTokens::default()
    };
    let tokenizer = Tokenizer::from_pieces(pieces, special).unwrap();
    let pieces = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text).unwrap();
        ids.iter()
            .map(|&id| tokenizer.piece(id).unwrap().to_owned())
            .collect()
    };
    assert_eq!(pieces("bab"), ["▁", "ba", "b"]);
    assert_eq!(pieces("abb"), ["▁a", "b", "b"]);
    // Without byte pieces, neighbours that have no piece are one unknown piece.
    assert_eq!(pieces("aéüb"), ["▁a", "<unk>", "b"]);
    assert_eq!(
        tokenizer
            .decode(&tokenizer.encode("aéüb").unwrap())
            .unwrap(),
        "a \u{2047} b"
    );
}
