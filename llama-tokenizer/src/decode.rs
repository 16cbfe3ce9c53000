//! Ids → text, whole or one id at a time, by SentencePiece's rules.
//!
//! - The first text piece loses one leading space, after control ids too; nothing else does.
//! - A control piece is nothing, the unknown piece is `" ⁇ "`.
//! - Byte pieces that stand together are UTF-8; each byte that is part of no character is U+FFFD.
//!
//! There is no clean-up of spaces before punctuation: that is a habit of other vocabularies.

use std::str;
use std::sync::Arc;

use crate::Error;
use crate::vocabulary::{Surface, Vocabulary};

/// Text of the unknown piece: SentencePiece's `unk_surface`.
const UNKNOWN: &str = " \u{2047} ";

/// Turns ids into text as they come, never half a code point.
///
/// All deltas and [`finish`](Self::finish) together are the text that
/// [`Tokenizer::decode`](crate::Tokenizer::decode) gives for prompt and ids, less the prompt's own.
/// Made by [`Tokenizer::stream`](crate::Tokenizer::stream).
#[derive(Debug, Clone)]
pub struct StreamDecoder {
    vocabulary: Arc<Vocabulary>,
    assembler: Assembler,
}

impl StreamDecoder {
    /// A decoder that has seen `prompt`. Ids that name no piece are passed over.
    pub(crate) fn new(vocabulary: Arc<Vocabulary>, prompt: &[u32]) -> Self {
        let mut assembler = Assembler::new(vocabulary.strips_prefix());
        let mut seen = String::new();
        for surface in prompt.iter().filter_map(|&id| vocabulary.surface(id)) {
            assembler.push(surface, &mut seen);
            seen.clear();
        }
        Self {
            vocabulary,
            assembler,
        }
    }

    /// The text that `id` completes: empty while a character's bytes are incomplete.
    ///
    /// # Errors
    /// [`Error::UnknownId`] when `id` names no piece; the decoder is as it was.
    pub fn push(&mut self, id: u32) -> Result<String, Error> {
        let surface = self.vocabulary.known_surface(id)?;
        let mut delta = String::new();
        self.assembler.push(surface, &mut delta);
        Ok(delta)
    }

    /// Ends the text: U+FFFD for each byte that still waits for the rest of its character.
    pub fn finish(&mut self) -> String {
        let mut delta = String::new();
        self.assembler.finish(&mut delta);
        delta
    }
}

/// The text of `ids`.
pub(crate) fn decode(vocabulary: &Vocabulary, ids: &[u32]) -> Result<String, Error> {
    let mut assembler = Assembler::new(vocabulary.strips_prefix());
    let mut text = String::new();
    for &id in ids {
        assembler.push(vocabulary.known_surface(id)?, &mut text);
    }
    assembler.finish(&mut text);
    Ok(text)
}

/// What has to be remembered between two ids.
#[derive(Debug, Clone)]
struct Assembler {
    /// The next text piece may lose its leading space.
    at_start: bool,
    /// The bytes of a character that is not complete: at most three.
    pending: Vec<u8>,
}

impl Assembler {
    fn new(strips_prefix: bool) -> Self {
        Self {
            at_start: strips_prefix,
            pending: Vec::new(),
        }
    }

    fn push(&mut self, surface: &Surface, text: &mut String) {
        if let Surface::Byte(byte) = *surface {
            self.at_start = false;
            self.pending.push(byte);
            self.take_characters(text);
            return;
        }
        self.finish(text);
        match surface {
            Surface::Text(piece) => {
                let mut piece = &**piece;
                if self.at_start {
                    piece = piece.strip_prefix(' ').unwrap_or(piece);
                    self.at_start = false;
                }
                text.push_str(piece);
            }
            Surface::Unknown => {
                self.at_start = false;
                text.push_str(UNKNOWN);
            }
            Surface::Nothing | Surface::Byte(_) => {}
        }
    }

    /// Moves whole characters out of `pending`, and U+FFFD for bytes that can begin none.
    fn take_characters(&mut self, text: &mut String) {
        loop {
            match str::from_utf8(&self.pending) {
                Ok(characters) => {
                    text.push_str(characters);
                    self.pending.clear();
                    return;
                }
                // A legal beginning: wait for the rest.
                Err(error) if error.error_len().is_none() => return,
                // `pending` held no whole character before its last byte came, so what is wrong
                // is its first byte.
                Err(_) => {
                    self.pending.remove(0);
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }

    fn finish(&mut self, text: &mut String) {
        text.extend(self.pending.drain(..).map(|_| char::REPLACEMENT_CHARACTER));
    }
}
