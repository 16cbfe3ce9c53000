//! The committed small vocabulary against SentencePiece's own answers (`golden/make_golden.py`),
//! against plain `tokenizers`, and against itself: `small.model`, `small.json` and plain pieces
//! must be one tokenizer.

mod random_text;

use std::path::Path;

use llama_tokenizer::{Piece, PieceKind, SpecialTokens, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

const JSON: &[u8] = include_bytes!("golden/small.json");
const MODEL: &[u8] = include_bytes!("golden/small.model");

#[derive(Deserialize)]
struct Cases {
    pieces: Vec<(String, f32, u64)>,
    encode: Vec<Encoded>,
    decode: Vec<Decoded>,
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

#[derive(Deserialize)]
struct Decoded {
    ids: Vec<u32>,
    text: String,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("golden/small_cases.json")).unwrap()
}

fn from_json() -> Tokenizer {
    Tokenizer::from_json_bytes(JSON, "small.json").unwrap()
}

fn from_model() -> Tokenizer {
    Tokenizer::from_model_bytes(MODEL, "small.model").unwrap()
}

fn from_pieces() -> Tokenizer {
    let pieces = cases().pieces.into_iter().map(|(text, score, kind)| Piece {
        text,
        score,
        kind: PieceKind::from_number(kind).unwrap(),
    });
    let special = SpecialTokens {
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..SpecialTokens::default()
    };
    Tokenizer::from_pieces(pieces.collect(), special).unwrap()
}

#[test]
fn encodes_as_sentencepiece() {
    for (name, tokenizer) in [
        ("model", from_model()),
        ("json", from_json()),
        ("pieces", from_pieces()),
    ] {
        for Encoded { text, ids, decoded } in cases().encode {
            assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), decoded, "{name}: {text:?}");
            let with_bos = [&[1], &*ids].concat();
            assert_eq!(
                tokenizer.encode_with_bos(&text).unwrap(),
                with_bos,
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn decodes_as_sentencepiece() {
    for (name, tokenizer) in [
        ("model", from_model()),
        ("json", from_json()),
        ("pieces", from_pieces()),
    ] {
        for Decoded { ids, text } in cases().decode {
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}: {ids:?}");
        }
    }
}

#[test]
fn streams_what_it_decodes() {
    let tokenizer = from_model();
    for Decoded { ids, text } in cases().decode {
        let mut stream = tokenizer.stream(&[]);
        let deltas: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert_eq!(deltas + &stream.finish(), text, "{ids:?}");
    }
}

#[test]
fn an_answer_keeps_the_space_after_its_prompt() {
    let tokenizer = from_model();
    let prompt = tokenizer.encode_with_bos("The sea").unwrap();
    let answer = tokenizer.encode("was late").unwrap();
    let mut stream = tokenizer.stream(&prompt);
    let text: String = answer.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(text + &stream.finish(), " was late");
    assert_eq!(tokenizer.decode(&answer).unwrap(), "was late");
}

#[test]
fn a_character_begun_in_the_prompt_ends_in_the_answer() {
    let tokenizer = from_model();
    let mut stream = tokenizer.stream(&[243, 162]);
    assert_eq!(stream.push(155).unwrap(), "");
    assert_eq!(stream.push(131).unwrap(), "😀");
    assert_eq!(stream.finish(), "");
}

#[test]
fn an_unknown_id_leaves_the_stream_as_it_was() {
    let tokenizer = from_model();
    let mut stream = tokenizer.stream(&[]);
    assert_eq!(stream.push(243).unwrap(), "");
    assert!(stream.push(714).is_err());
    assert_eq!(
        stream.push(162).unwrap() + &stream.push(155).unwrap() + &stream.push(131).unwrap(),
        "😀"
    );
}

#[test]
fn random_text_as_plain_tokenizers() {
    let (json, model, pieces) = (from_json(), from_model(), from_pieces());
    let plain = tokenizers::Tokenizer::from_bytes(JSON).unwrap();
    for text in random_text::texts(5, 10_000) {
        let ids = model.encode(&text).unwrap();
        assert_eq!(json.encode(&text).unwrap(), ids, "json: {text:?}");
        assert_eq!(pieces.encode(&text).unwrap(), ids, "pieces: {text:?}");
        assert_eq!(
            model.decode(&ids).unwrap(),
            random_text::after_round_trip(&text)
        );
        let expected = plain.encode_fast(text.as_str(), false).unwrap();
        for tokenizer in [&json, &model] {
            assert_eq!(
                tokenizer.encode_with_control(&text).unwrap(),
                expected.get_ids(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn pieces_and_special_tokens_are_told() {
    let tokenizer = from_model();
    assert_eq!(tokenizer.vocab_size(), 714);
    assert_eq!(tokenizer.token_id("</s>"), Some(2));
    assert_eq!(
        tokenizer.token_id("▁the"),
        tokenizer.encode("the").unwrap().first().copied()
    );
    assert_eq!(
        (tokenizer.piece(13), tokenizer.kind(13)),
        (Some("<0x0A>"), Some(PieceKind::Byte))
    );
    assert_eq!((tokenizer.piece(714), tokenizer.kind(714)), (None, None));
    let special = SpecialTokens {
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        add_bos: true,
        add_eos: false,
    };
    for tokenizer in [from_json(), from_model()] {
        assert_eq!(tokenizer.special_tokens(), &special);
    }
}

#[test]
fn is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let tokenizer = from_model();
    shared(&tokenizer);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let tokenizer = tokenizer.clone();
            std::thread::spawn(move || tokenizer.encode("The lighthouse keeper").unwrap())
        })
        .collect();
    for thread in threads {
        assert_eq!(
            thread.join().unwrap(),
            tokenizer.encode("The lighthouse keeper").unwrap()
        );
    }
}

#[test]
fn files_read_as_their_bytes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = "two spaces  and a tab\t";
    let ids = from_model().encode(text).unwrap();
    for tokenizer in [
        Tokenizer::from_json_file(&golden.join("small.json")).unwrap(),
        Tokenizer::from_model_file(&golden.join("small.model")).unwrap(),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap(), ids);
    }
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        let tokenizer = from_model();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), random_text::after_round_trip(&text));
        prop_assert!(ids.iter().all(|&id| id > 2));
    }

    #[test]
    fn a_stream_gives_what_decode_gives(ids in prop::collection::vec(0u32..714, 0..40), at in 0usize..40) {
        let tokenizer = from_model();
        let (prompt, answer) = ids.split_at(at.min(ids.len()));
        // A character that the prompt leaves open is the answer's; close it, to compare texts.
        let prompt = [prompt, &[1]].concat();
        let mut stream = tokenizer.stream(&prompt);
        let mut text = tokenizer.decode(&prompt).unwrap();
        for &id in answer {
            text += &stream.push(id).unwrap();
        }
        text += &stream.finish();
        prop_assert_eq!(text, tokenizer.decode(&[&prompt, answer].concat()).unwrap());
    }
}

/// Found by fuzzing: the engine's cache belonged to the thread and stayed there.
#[test]
fn a_tokenizer_that_is_gone_holds_no_memory() {
    let round = || {
        let words: String = (0..2000).map(|n| format!("{:x} ", n * 7919)).collect();
        from_json().encode(&words).unwrap().len()
    };
    // What is made once and kept.
    round();
    let rounds = allocation_counter::measure(|| assert!(round() > 2000));
    assert_eq!(rounds.bytes_current, 0);
}
