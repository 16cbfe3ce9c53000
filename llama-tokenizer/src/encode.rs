//! Text → ids: literals out first, then the dummy space and `▁` for spaces, then merging.

use std::borrow::Cow;

use tokenizers::Model;
use tokenizers::models::bpe::BPE;

use crate::Error;
use crate::cut::Cuts;
use crate::draft::{AddedToken, Draft, Prefix, Rules, Spaces};
use crate::error::Origin;
use crate::literal::{Literals, Section};
use crate::merge;
use crate::piece::PieceKind;
use crate::vocabulary::{SPACE, Vocabulary};

/// Everything that encoding needs.
#[derive(Debug)]
pub(crate) struct Encoder {
    engine: BPE,
    cuts: Cuts,
    rules: Rules,
    unknown: Option<u32>,
    /// Added tokens that ordinary text may name.
    added: Option<Literals>,
    /// Those, and control and unknown pieces.
    added_and_control: Option<Literals>,
    /// SentencePiece's user-defined pieces; found after spaces became `▁`.
    user_defined: Option<Literals>,
}

impl Encoder {
    pub(crate) fn new(mut draft: Draft, vocabulary: &Vocabulary) -> Result<Self, Error> {
        let engine = merge::engine(&mut draft, vocabulary)?;
        let normal = vocabulary
            .pieces()
            .filter(|(_, _, kind)| *kind == PieceKind::Normal);
        let cuts = Cuts::new(
            normal.map(|(_, piece, _)| piece),
            draft.rules.spaces == Spaces::Split,
        );

        let origin = Origin(&draft.file);
        let mut is_added = vec![false; vocabulary.size()];
        for token in &draft.added {
            is_added[token.id as usize] = true;
        }
        let of_kind = |kinds: &[PieceKind]| -> Vec<AddedToken> {
            let pieces = vocabulary.pieces();
            pieces
                .filter(|(id, _, kind)| kinds.contains(kind) && !is_added[*id as usize])
                .map(|(id, piece, _)| AddedToken::plain(id, piece))
                .collect()
        };
        let user_defined = Literals::new(origin, of_kind(&[PieceKind::UserDefined]))?;
        let mut all = of_kind(&[PieceKind::Control, PieceKind::Unknown]);
        all.extend(draft.added.iter().cloned());
        let ordinary = draft
            .added
            .iter()
            .filter(|token| !token.control)
            .cloned()
            .collect();
        Ok(Self {
            engine,
            cuts,
            rules: draft.rules,
            unknown: vocabulary
                .pieces()
                .find(|(_, _, kind)| *kind == PieceKind::Unknown)
                .map(|(id, _, _)| id),
            added: Literals::new(origin, ordinary)?,
            added_and_control: Literals::new(origin, all)?,
            user_defined,
        })
    }

    /// Appends the ids of `text`; with `control`, control tokens that stand in it count as such.
    pub(crate) fn encode(
        &self,
        text: &str,
        control: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let literals = if control {
            &self.added_and_control
        } else {
            &self.added
        };
        let Some(literals) = literals else {
            return self.encode_text(text, true, ids);
        };
        let mut first = true;
        literals.sections(text, |section| {
            match section {
                Section::Token(id) => ids.push(id),
                Section::Text(text) => self.encode_text(text, first, ids)?,
            }
            first = false;
            Ok(())
        })
    }

    /// Text that holds no literal; `first` when nothing stands before it.
    fn encode_text(&self, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<(), Error> {
        let text = self.prepare(text, first);
        match &self.user_defined {
            None => self.merge(&text, ids),
            Some(literals) => literals.sections(&text, |section| match section {
                Section::Token(id) => {
                    ids.push(id);
                    Ok(())
                }
                Section::Text(text) => self.merge(text, ids),
            }),
        }
    }

    /// Puts the dummy space in front and escapes spaces. Empty text stays empty.
    fn prepare<'t>(&self, text: &'t str, first: bool) -> Cow<'t, str> {
        let prefixed = match self.rules.prefix {
            Prefix::Always => true,
            Prefix::First => first,
            Prefix::Never => false,
        };
        let escaped = self.rules.spaces != Spaces::Kept;
        if text.is_empty() || !(prefixed || escaped && text.contains(' ')) {
            return text.into();
        }
        let n_spaces = if escaped {
            text.bytes().filter(|&byte| byte == b' ').count()
        } else {
            0
        };
        let mut prepared = String::with_capacity(
            text.len() + n_spaces * (SPACE.len_utf8() - 1) + SPACE.len_utf8(),
        );
        if prefixed {
            prepared.push(SPACE);
        }
        if escaped {
            let mut rest = text.split(' ');
            prepared.push_str(rest.next().unwrap_or_default());
            for word in rest {
                prepared.push(SPACE);
                prepared.push_str(word);
            }
        } else {
            prepared.push_str(text);
        }
        prepared.into()
    }

    fn merge(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), Error> {
        let begin = ids.len();
        for part in self.cuts.parts(text) {
            let tokens = self.engine.tokenize(part).map_err(|error| Error::Engine {
                reason: error.to_string(),
            })?;
            for token in tokens {
                // The engine fuses unknown characters within a part; they are cut apart here.
                let fused = self.rules.fuse_unknown
                    && Some(token.id) == self.unknown
                    && ids.len() > begin
                    && ids.last() == self.unknown.as_ref();
                if !fused {
                    ids.push(token.id);
                }
            }
        }
        Ok(())
    }
}
