//! `tokenizer.model`: a `ModelProto` of SentencePiece (`sentencepiece_model.proto`), read by its
//! field numbers. A model whose settings change text in a way that Llama's do not is refused, not
//! approximated. A model without a trainer or normalizer message is taken as Llama's.

use super::protobuf::{Message, Value};
use crate::draft::{Draft, Prefix, Rules};
use crate::error::{DOWNLOAD_AGAIN, Error, OTHER_TOKENIZER, Origin, quote};
use crate::piece::{Piece, PieceKind};
use crate::special::SpecialTokens;

/// Reads a model.
pub(crate) fn read(bytes: &[u8], file: &str) -> Result<Draft, Error> {
    let origin = Origin(file);
    super::refuse_pointer(bytes, origin)?;
    let mut model = Message::new(origin, "ModelProto", bytes);
    let mut pieces = Vec::new();
    let mut trainer = Trainer::default();
    let mut prefix = Prefix::Always;
    while let Some(field) = model.next_field()? {
        match field.number {
            1 => pieces.push(Some(read_piece(
                model.inner("SentencePiece", &field.value)?,
            )?)),
            2 => trainer = Trainer::read(model.inner("TrainerSpec", &field.value)?, origin)?,
            3 => {
                let normalizer = model.inner("NormalizerSpec", &field.value)?;
                if !adds_dummy_prefix(normalizer, origin)? {
                    prefix = Prefix::Never;
                }
            }
            5 => refuse_denormalizer(model.inner("NormalizerSpec", &field.value)?, origin)?,
            _ => {}
        }
    }
    let n_bytes = pieces
        .iter()
        .flatten()
        .filter(|piece| piece.kind == PieceKind::Byte)
        .count();
    if n_bytes != 0 && n_bytes != 256 {
        let expected = "no byte pieces, or all 256";
        return Err(origin.invalid("pieces", expected, n_bytes.to_string(), DOWNLOAD_AGAIN));
    }
    let special = trainer.special(&pieces);
    let strips_prefix = prefix != Prefix::Never;
    let rules = Rules {
        prefix,
        strips_prefix,
        byte_fallback: n_bytes == 256,
        ..Rules::LLAMA
    };
    Ok(Draft {
        file: file.to_owned(),
        pieces,
        merges: None,
        added: Vec::new(),
        special,
        rules,
    })
}

fn read_piece(mut message: Message<'_>) -> Result<Piece, Error> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: PieceKind::Normal,
    };
    while let Some(field) = message.next_field()? {
        match (field.number, &field.value) {
            (1, value) => piece.text = message.text(value)?.to_owned(),
            (2, Value::Fixed32(bytes)) => piece.score = f32::from_le_bytes(*bytes),
            (2, _) => return Err(message.broken("a score of 4 bytes", "another type")),
            (3, value) => {
                let number = message.number(value)?;
                piece.kind = PieceKind::from_number(number)
                    .ok_or_else(|| message.broken("a type of 1 to 6", number.to_string()))?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// The fields of `TrainerSpec` that matter after training.
struct Trainer {
    bos_piece: String,
    eos_piece: String,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            bos_piece: "<s>".to_owned(),
            eos_piece: "</s>".to_owned(),
        }
    }
}

impl Trainer {
    fn read(mut message: Message<'_>, origin: Origin<'_>) -> Result<Self, Error> {
        let mut trainer = Self::default();
        // The proto's default is 1, unigram.
        let mut model_type = 1;
        while let Some(field) = message.next_field()? {
            match field.number {
                3 => model_type = message.number(&field.value)?,
                24 if message.number(&field.value)? != 0 => {
                    let field = "trainer_spec.treat_whitespace_as_suffix";
                    return Err(origin.invalid(field, "false", "true", OTHER_TOKENIZER));
                }
                46 => trainer.bos_piece = message.text(&field.value)?.to_owned(),
                47 => trainer.eos_piece = message.text(&field.value)?.to_owned(),
                _ => {}
            }
        }
        if model_type != 2 {
            let found = match model_type {
                1 => "1 (unigram)".to_owned(),
                3 => "3 (word)".to_owned(),
                4 => "4 (char)".to_owned(),
                other => other.to_string(),
            };
            let field = "trainer_spec.model_type";
            return Err(origin.invalid(field, "2 (BPE)", found, OTHER_TOKENIZER));
        }
        Ok(trainer)
    }

    /// bos and eos are the control pieces with their names, as in SentencePiece.
    fn special(&self, pieces: &[Option<Piece>]) -> SpecialTokens {
        let find = |kind: PieceKind, name: Option<&str>| {
            let mut found = (0..).zip(pieces.iter().flatten());
            found
                .find(|(_, piece)| piece.kind == kind && name.is_none_or(|name| piece.text == name))
                .map(|(id, _)| id)
        };
        SpecialTokens {
            bos: find(PieceKind::Control, Some(&self.bos_piece)),
            eos: find(PieceKind::Control, Some(&self.eos_piece)),
            unk: find(PieceKind::Unknown, None),
            ..SpecialTokens::default()
        }
    }
}

fn adds_dummy_prefix(mut message: Message<'_>, origin: Origin<'_>) -> Result<bool, Error> {
    let mut adds = true;
    // The proto's default; Llama's models say false.
    let mut collapses = true;
    while let Some(field) = message.next_field()? {
        let refused = match field.number {
            1 => {
                let name = message.text(&field.value)?;
                (!matches!(name, "" | "identity")).then(|| ("name", "`identity`", quote(name)))
            }
            2 => refused_charsmap(message, &field.value)?,
            3 => {
                adds = message.number(&field.value)? != 0;
                None
            }
            4 => {
                collapses = message.number(&field.value)? != 0;
                None
            }
            5 if message.number(&field.value)? == 0 => {
                Some(("escape_whitespaces", "true", "false".to_owned()))
            }
            _ => None,
        };
        if let Some((name, expected, found)) = refused {
            let field = format!("normalizer_spec.{name}");
            return Err(origin.invalid(field, expected, found, OTHER_TOKENIZER));
        }
    }
    if collapses {
        let field = "normalizer_spec.remove_extra_whitespaces";
        return Err(origin.invalid(field, "false", "true", OTHER_TOKENIZER));
    }
    Ok(adds)
}

fn refuse_denormalizer(mut message: Message<'_>, origin: Origin<'_>) -> Result<(), Error> {
    while let Some(field) = message.next_field()? {
        if field.number == 2 {
            if let Some((name, expected, found)) = refused_charsmap(message, &field.value)? {
                let field = format!("denormalizer_spec.{name}");
                return Err(origin.invalid(field, expected, found, OTHER_TOKENIZER));
            }
        }
    }
    Ok(())
}

type Refusal = (&'static str, &'static str, String);

fn refused_charsmap(message: Message<'_>, value: &Value<'_>) -> Result<Option<Refusal>, Error> {
    let Value::Bytes(map, _) = value else {
        return Err(message.broken("bytes", "a number"));
    };
    let found = || {
        (
            "precompiled_charsmap",
            "none",
            format!("{} bytes", map.len()),
        )
    };
    Ok((!map.is_empty()).then(found))
}
