//! What each fuzz target does with an input; `tests/fuzz_seeds.rs` does the same with the seeds, on stable.
//!
//! A file is refused with one line, or becomes a tokenizer that keeps its promises on texts made of its own pieces; neither may
//! hold more memory than the file justifies.

use llama_tokenizer::{Error, PieceKind, Tokenizer};

/// Held at once beside what the input justifies: any vocabulary may have 65,536 ways to split its pieces, each two texts.
const ALLOCATION: u64 = 32 << 20;
/// Held at once per byte of input: a piece of a few bytes is kept by the vocabulary, the engine and the finders of literals.
const ALLOCATION_PER_BYTE: u64 = 1024;
/// Of the text that is made of the file's own pieces.
const TEXT_BYTES: usize = 400;

/// A SentencePiece `tokenizer.model`. Whether it was accepted.
pub fn sentencepiece(input: &[u8]) -> bool {
    within(input.len(), || Tokenizer::from_model_bytes(input, "FILE"))
}

/// A `tokenizer.json`. Whether it was accepted.
pub fn json(input: &[u8]) -> bool {
    within(input.len(), || Tokenizer::from_json_bytes(input, "FILE"))
}

/// Reads and uses it with no more memory than `input` bytes justify.
fn within(input: usize, read: impl FnOnce() -> Result<Tokenizer, Error>) -> bool {
    let mut accepted = false;
    let allocated = allocation_counter::measure(|| match read() {
        Ok(tokenizer) => {
            exercise(&tokenizer);
            accepted = true;
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("FILE: "), "{message:?}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    });
    let limit = ALLOCATION + ALLOCATION_PER_BYTE * input as u64;
    assert!(
        allocated.bytes_max <= limit,
        "{input} bytes of input held {}",
        allocated.bytes_max
    );
    accepted
}

fn exercise(tokenizer: &Tokenizer) {
    let mut text = "The sea </s> was<s> calm.\n  é 日 😀 ab".to_owned();
    let ids = 0..tokenizer.vocab_size() as u32;
    for piece in ids.filter_map(|id| tokenizer.piece(id)) {
        if text.len() + piece.len() <= TEXT_BYTES {
            text.push_str(&piece.replace('▁', " "));
        }
    }
    let ids = tokenizer.encode(&text).expect("ids");
    for &id in &ids {
        let kind = tokenizer.kind(id).expect("an id of a piece");
        assert_ne!(kind, PieceKind::Control, "{text:?}");
    }
    let with_control = tokenizer.encode_with_control(&text).expect("ids");
    tokenizer.encode_with_bos(&text).expect("ids");
    for ids in [&ids, &with_control] {
        let decoded = tokenizer.decode(ids).expect("a text");
        let mut stream = tokenizer.stream(&[]);
        let mut streamed: String = ids
            .iter()
            .map(|&id| stream.push(id).expect("a delta"))
            .collect();
        streamed.push_str(&stream.finish());
        assert_eq!(streamed, decoded);
    }
}
