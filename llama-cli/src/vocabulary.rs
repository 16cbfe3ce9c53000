//! What a GGUF file says about text, for the crates that do not read files of weights: pieces for the tokenizer, texts of special
//! tokens for the chat template.

use anyhow::Result;
use llama_chat_template::ChatTemplate;
use llama_tokenizer::{Piece, PieceKind, SpecialTokens, Tokenizer};
use llama_weights::Vocabulary;

pub(crate) fn tokenizer(vocabulary: Vocabulary) -> Result<Tokenizer> {
    let special = SpecialTokens {
        bos: vocabulary.bos,
        eos: vocabulary.eos,
        unk: vocabulary.unk,
        add_bos: vocabulary.add_bos,
        add_eos: vocabulary.add_eos,
    };
    let pieces = vocabulary.pieces.into_iter().map(|piece| Piece {
        text: piece.text,
        score: piece.score,
        // The reader takes no other number.
        kind: PieceKind::from_number(piece.kind.into()).unwrap_or(PieceKind::Normal),
    });
    Ok(Tokenizer::from_pieces_of(
        &vocabulary.origin,
        pieces.collect(),
        special,
        vocabulary.add_space_prefix,
    )?)
}

/// The chat format: Llama 2's own where the template is that or none, else the template.
pub(crate) fn template(vocabulary: &Vocabulary) -> Result<ChatTemplate> {
    Ok(match &vocabulary.chat_template {
        None => ChatTemplate::native(),
        Some(source) => {
            ChatTemplate::from_source(source, &special_texts(vocabulary), &vocabulary.origin)?
        }
    })
}

/// The template as it is written, or `None` where there is none.
pub(crate) fn jinja_template(vocabulary: &Vocabulary) -> Result<Option<ChatTemplate>> {
    let source = vocabulary.chat_template.as_ref();
    let tokens = special_texts(vocabulary);
    let template = source.map(|source| ChatTemplate::jinja(source, &tokens, &vocabulary.origin));
    Ok(template.transpose()?)
}

fn special_texts(vocabulary: &Vocabulary) -> llama_chat_template::SpecialTokens {
    let text = |id: Option<u32>| {
        let piece = vocabulary.pieces.get(usize::try_from(id?).ok()?)?;
        Some(piece.text.clone())
    };
    let control = vocabulary
        .pieces
        .iter()
        .filter(|piece| PieceKind::from_number(piece.kind.into()) == Some(PieceKind::Control));
    let (bos, eos) = (text(vocabulary.bos), text(vocabulary.eos));
    let others = control
        .map(|piece| piece.text.clone())
        .filter(|text| Some(text) != bos.as_ref() && Some(text) != eos.as_ref());
    llama_chat_template::SpecialTokens {
        others: others.collect(),
        named: (text(vocabulary.unk).into_iter())
            .map(|text| ("unk_token".to_owned(), text))
            .collect(),
        bos,
        eos,
    }
}
