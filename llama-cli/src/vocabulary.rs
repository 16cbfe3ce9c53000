//! What a GGUF file says about text, for the crates that do not read files of weights: pieces for the tokenizer, texts of special
//! tokens for the chat template. And the way back, for a GGUF file that is written.

use anyhow::Result;
use llama_chat_template::{ChatTemplate, TemplateSource};
use llama_tokenizer::{Piece, PieceKind, PieceList, SpecialTokens, Tokenizer};
use llama_weights::{Vocabulary, VocabularyPiece};

use crate::notice::Notices;

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

/// The vocabulary of a tokenizer's own files, to be written.
pub(crate) fn from_files(
    list: PieceList,
    source: TemplateSource,
    notices: Notices,
) -> Result<Vocabulary> {
    if !list.is_exact {
        notices.warn(format_args!(
            "{}: expected the merges of a SentencePiece model, found others, which GGUF has no words for; some texts may get other ids from the written file",
            list.origin
        ));
    }
    let named = |name: &str| {
        let mut tokens = source.tokens.named.iter();
        let (_, text) = tokens.find(|(other, _)| other == name)?;
        let id = list.pieces.iter().position(|piece| piece.text == *text)?;
        u32::try_from(id).ok()
    };
    let pad = named("pad_token");
    let pieces = list
        .pieces
        .into_iter()
        .map(|piece| VocabularyPiece::new(piece.text, piece.score, piece.kind.number()));
    let mut vocabulary = Vocabulary::new(list.origin, pieces.collect());
    vocabulary.bos = list.special.bos;
    vocabulary.eos = list.special.eos;
    vocabulary.unk = list.special.unk;
    vocabulary.pad = pad;
    vocabulary.add_bos = list.special.add_bos;
    vocabulary.add_eos = list.special.add_eos;
    vocabulary.add_space_prefix = list.dummy_prefix;
    vocabulary.chat_template = source.template;
    Ok(vocabulary)
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
