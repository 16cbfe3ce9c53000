//! Vocabularies as plain pieces with scores: read back, they are the same tokenizer.

mod random_text;

use std::path::Path;

use llama_tokenizer::{PieceKind, PieceList, Tokenizer};
use serde::Deserialize;
use serde_json::{Value, json};

const JSON: &[u8] = include_bytes!("golden/small.json");
const MODEL: &[u8] = include_bytes!("golden/small.model");

#[derive(Deserialize)]
struct Cases {
    pieces: Vec<(String, f32, u64)>,
    encode: Vec<Encoded>,
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("golden/small_cases.json")).unwrap()
}

fn in_directory(name: &str, bytes: &[u8]) -> PieceList {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), bytes).unwrap();
    PieceList::from_dir(directory.path()).unwrap()
}

fn tokenizer(list: PieceList) -> Tokenizer {
    Tokenizer::from_pieces_of(&list.origin, list.pieces, list.special, list.dummy_prefix).unwrap()
}

#[test]
fn pieces_of_a_model_are_sentencepiece_s_own() {
    let list = in_directory("tokenizer.model", MODEL);
    assert!(list.is_exact);
    let found: Vec<_> = list
        .pieces
        .iter()
        .map(|piece| {
            (
                piece.text.clone(),
                piece.score,
                u64::from(piece.kind.number()),
            )
        })
        .collect();
    assert_eq!(found, cases().pieces);
}

#[test]
fn pieces_of_a_json_are_the_model_s_and_their_scores_have_its_order() {
    let (json, model) = (
        in_directory("tokenizer.json", JSON),
        in_directory("tokenizer.model", MODEL),
    );
    assert!(json.is_exact);
    assert_eq!(
        (&json.special, json.dummy_prefix),
        (&model.special, model.dummy_prefix)
    );
    let texts = |list: &PieceList| -> Vec<_> {
        let pieces = list.pieces.iter();
        pieces
            .map(|piece| (piece.text.clone(), piece.kind))
            .collect()
    };
    assert_eq!(texts(&json), texts(&model));
    // Of pieces that are merged from others, each pair has the same order.
    let merged: Vec<usize> = (0..json.pieces.len())
        .filter(|&id| {
            let piece = &json.pieces[id];
            piece.kind == PieceKind::Normal && piece.text.chars().count() > 1
        })
        .collect();
    assert!(merged.len() > 100);
    for (a, &i) in merged.iter().enumerate() {
        for &j in &merged[a + 1..] {
            let order = |list: &PieceList| list.pieces[i].score.total_cmp(&list.pieces[j].score);
            assert_eq!(
                order(&json),
                order(&model),
                "{:?} {:?}",
                json.pieces[i],
                json.pieces[j]
            );
        }
    }
}

#[test]
fn the_tokenizer_of_the_pieces_is_the_same_one() {
    let original = Tokenizer::from_json_bytes(JSON, "small.json").unwrap();
    let again = tokenizer(PieceList::from_json_bytes(JSON, "small.json").unwrap());
    assert_eq!(again.special_tokens(), original.special_tokens());
    for Encoded { text, ids } in cases().encode {
        assert_eq!(again.encode(&text).unwrap(), ids, "{text:?}");
    }
    for text in random_text::texts(20_261_126, 2000) {
        assert_eq!(
            again.encode(&text).unwrap(),
            original.encode(&text).unwrap(),
            "{text:?}"
        );
    }
}

fn changed(change: impl FnOnce(&mut Value)) -> PieceList {
    let mut value: Value = serde_json::from_slice(JSON).unwrap();
    change(&mut value);
    PieceList::from_json_bytes(value.to_string().as_bytes(), "changed.json").unwrap()
}

#[test]
fn merges_that_scores_cannot_say_are_told() {
    let list = changed(|json| {
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        let last = merges.len() - 1;
        merges.remove(last / 2);
    });
    assert!(!list.is_exact);
    assert_eq!(list.origin, "changed.json");
}

#[test]
fn ids_without_a_piece_and_added_tokens() {
    let size = in_directory("tokenizer.json", JSON).pieces.len();
    let list = changed(|json| {
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.push(json!({ "id": size + 1, "content": "<|end|>", "special": true }));
        added.push(json!({ "id": size + 2, "content": "word", "special": false }));
    });
    let kinds: Vec<_> = list.pieces[size..]
        .iter()
        .map(|piece| (piece.text.as_str(), piece.kind))
        .collect();
    let gap = format!("[PAD{size}]");
    assert_eq!(
        kinds,
        [
            (gap.as_str(), PieceKind::Unused),
            ("<|end|>", PieceKind::Control),
            ("word", PieceKind::UserDefined)
        ]
    );
}

#[test]
fn what_is_wrong_with_the_files_is_found_as_for_a_run() {
    let of_run = Tokenizer::from_json_bytes(b"{", "x")
        .unwrap_err()
        .to_string();
    assert_eq!(
        PieceList::from_json_bytes(b"{", "x")
            .unwrap_err()
            .to_string(),
        of_run
    );
    let nowhere = Path::new("no such directory");
    let of_run = Tokenizer::from_dir(nowhere).unwrap_err().to_string();
    assert_eq!(
        PieceList::from_dir(nowhere).unwrap_err().to_string(),
        of_run
    );
    // A merge whose join is no piece.
    let mut value: Value = serde_json::from_slice(JSON).unwrap();
    value["model"]["merges"]
        .as_array_mut()
        .unwrap()
        .push(json!("a Ω"));
    let bytes = value.to_string().into_bytes();
    let of_run = Tokenizer::from_json_bytes(&bytes, "x")
        .unwrap_err()
        .to_string();
    assert_eq!(
        PieceList::from_json_bytes(&bytes, "x")
            .unwrap_err()
            .to_string(),
        of_run
    );
}
