//! What every file format is read into: plain pieces by id and the rules around them. Nothing here
//! is trusted yet beyond what `Draft::place` checks; `Tokenizer` checks the rest when it is built.

use std::collections::{HashMap, HashSet};

use crate::error::{CORRECT_IT, DOWNLOAD_AGAIN, Error, Origin, quote};
use crate::piece::{Piece, PieceKind};
use crate::special::SpecialTokens;

/// A tokenizer as a file describes it.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The file, as the caller named it.
    pub(crate) file: String,
    /// By id; `None` where no piece has the id.
    pub(crate) pieces: Vec<Option<Piece>>,
    /// First merged first; `None` when the scores of the pieces decide.
    pub(crate) merges: Option<Vec<(String, String)>>,
    /// Tokens that are found in text as they are written, before anything else.
    pub(crate) added: Vec<AddedToken>,
    pub(crate) special: SpecialTokens,
    pub(crate) rules: Rules,
}

/// A token of `added_tokens`: its piece is in [`Draft::pieces`] too.
#[derive(Debug, Clone)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    /// Found only where the caller asks for control tokens.
    pub(crate) control: bool,
    /// Found only between characters that belong to no word.
    pub(crate) single_word: bool,
    /// Takes the whitespace on its left with it.
    pub(crate) lstrip: bool,
    /// Takes the whitespace on its right with it.
    pub(crate) rstrip: bool,
}

impl AddedToken {
    /// A control token that is found wherever it stands.
    pub(crate) fn plain(id: u32, content: &str) -> Self {
        let content = content.to_owned();
        Self {
            id,
            content,
            control: true,
            single_word: false,
            lstrip: false,
            rstrip: false,
        }
    }
}

/// How text is prepared before pieces are merged, and what decoding undoes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) prefix: Prefix,
    pub(crate) spaces: Spaces,
    /// Decoding takes one leading space from the first text piece.
    pub(crate) strips_prefix: bool,
    /// A character without a piece becomes its bytes.
    pub(crate) byte_fallback: bool,
    /// Neighbours without a piece become one unknown piece.
    pub(crate) fuse_unknown: bool,
}

/// Where the dummy space goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    Never,
    /// At the beginning of the text only.
    First,
    /// At the beginning of the text and after each added token.
    Always,
}

/// What becomes of a space in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spaces {
    /// Nothing.
    Kept,
    /// It becomes `▁`.
    Escaped,
    /// It becomes `▁`, and no piece goes on over a `▁`.
    Split,
}

impl Rules {
    /// Meta's: a dummy space always, spaces escaped, bytes where no piece is.
    pub(crate) const LLAMA: Self = Self {
        prefix: Prefix::Always,
        spaces: Spaces::Escaped,
        strips_prefix: true,
        byte_fallback: true,
        fuse_unknown: true,
    };
}

impl Draft {
    /// Puts a piece at its id. `limit` bounds the ids, so that a file cannot ask for more memory
    /// than its size justifies ([`id_limit`]).
    pub(crate) fn place(
        &mut self,
        field: &str,
        id: u64,
        piece: Piece,
        limit: usize,
    ) -> Result<(), Error> {
        let origin = Origin(&self.file);
        let place = usize::try_from(id)
            .ok()
            .filter(|&id| id < limit)
            .ok_or_else(|| {
                let expected = format!("an id below {limit} (the ids have few gaps)");
                let found = format!("{id} for {}", quote(&piece.text));
                origin.invalid(field, expected, found, DOWNLOAD_AGAIN)
            })?;
        if place >= self.pieces.len() {
            self.pieces.resize_with(place + 1, || None);
        }
        match &self.pieces[place] {
            None => {
                self.pieces[place] = Some(piece);
                Ok(())
            }
            Some(other) => Err(origin.invalid(
                field,
                format!("an id of its own for {}", quote(&piece.text)),
                format!("{id}, which is {}", quote(&other.text)),
                CORRECT_IT,
            )),
        }
    }

    /// Adds tokens, each with the field that names it and its id. A token whose text is a piece
    /// already must have that piece's id.
    pub(crate) fn add_tokens(
        &mut self,
        tokens: Vec<(String, u64, AddedToken)>,
    ) -> Result<(), Error> {
        let limit = id_limit(self.pieces.len() + tokens.len());
        let pieces = (0..).zip(&self.pieces);
        let mut ids: HashMap<String, u64> = pieces
            .filter_map(|(id, piece)| Some((piece.as_ref()?.text.clone(), id)))
            .collect();
        let mut added = HashSet::new();
        for (field, id, token) in tokens {
            if token.content.is_empty() {
                continue;
            }
            match ids.get(&token.content) {
                None => {
                    let kind = if token.control {
                        PieceKind::Control
                    } else {
                        PieceKind::UserDefined
                    };
                    let piece = Piece {
                        text: token.content.clone(),
                        score: 0.0,
                        kind,
                    };
                    self.place(&field, id, piece, limit)?;
                    ids.insert(token.content.clone(), id);
                }
                Some(&known) if known != id => {
                    let expected = format!("{known}, the id of piece {}", quote(&token.content));
                    return Err(Origin(&self.file).invalid(
                        field,
                        expected,
                        id.to_string(),
                        CORRECT_IT,
                    ));
                }
                Some(_) => {}
            }
            if added.insert(id) {
                // `place` or an equal piece bounds the id.
                let id = u32::try_from(id).unwrap_or(u32::MAX);
                self.added.push(AddedToken { id, ..token });
            }
        }
        Ok(())
    }

    /// The id of the piece with this text.
    pub(crate) fn id_of(&self, text: &str) -> Option<u32> {
        let mut pieces = (0..).zip(&self.pieces);
        pieces
            .find(|(_, piece)| piece.as_ref().is_some_and(|piece| piece.text == text))
            .map(|(id, _)| id)
    }

    /// Makes the pieces that must never come from text control pieces: added control tokens, bos
    /// and eos. The unknown piece and byte pieces stay what they are. An added token of such a piece
    /// is a control token whatever its file calls it.
    pub(crate) fn mark_control_pieces(&mut self) {
        let added = self
            .added
            .iter()
            .filter(|token| token.control)
            .map(|token| token.id);
        let ids: Vec<u32> = added
            .chain(self.special.bos)
            .chain(self.special.eos)
            .collect();
        for id in ids {
            if let Some(Some(piece)) = self.pieces.get_mut(id as usize) {
                if !matches!(piece.kind, PieceKind::Unknown | PieceKind::Byte) {
                    piece.kind = PieceKind::Control;
                }
            }
        }
        for token in &mut self.added {
            let piece = self.pieces.get(token.id as usize);
            let kind = piece.and_then(Option::as_ref).map(|piece| piece.kind);
            token.control |= matches!(kind, Some(PieceKind::Control | PieceKind::Unknown));
        }
    }
}

/// Ids of a file with `entries` pieces lie below this.
pub(crate) fn id_limit(entries: usize) -> usize {
    entries.saturating_mul(2).saturating_add(1024)
}
