//! The public face: a checked vocabulary with its encoder. Formats are read in `format`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::decode::{self, StreamDecoder};
use crate::draft::{Draft, Prefix, Rules};
use crate::encode::Encoder;
use crate::error::{CORRECT_IT, Origin, quote};
use crate::format::{huggingface, sentencepiece};
use crate::vocabulary::Vocabulary;
use crate::{Error, Piece, PieceKind, SpecialTokens, directory};

/// Text to token ids and back. Cheap to clone, free to share between threads.
#[derive(Clone)]
pub struct Tokenizer {
    vocabulary: Arc<Vocabulary>,
    encoder: Arc<Encoder>,
    special: SpecialTokens,
}

impl Tokenizer {
    /// Reads a model's directory: `tokenizer.json`, or `tokenizer.model` where that is absent (a
    /// broken `tokenizer.json` is an error), then `tokenizer_config.json`,
    /// `special_tokens_map.json` and, for `tokenizer.model`, `added_tokens.json` where they are
    /// present.
    ///
    /// # Errors
    /// [`Error::Missing`] when neither is there; otherwise as
    /// [`from_json_bytes`](Self::from_json_bytes) and [`from_model_bytes`](Self::from_model_bytes),
    /// with the file's path.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Self::build(directory::read(dir)?)
    }

    /// Reads one `tokenizer.json`, and nothing beside it.
    ///
    /// # Errors
    /// [`Error::Read`], and as [`from_json_bytes`](Self::from_json_bytes).
    pub fn from_json_file(path: &Path) -> Result<Self, Error> {
        Self::from_json_bytes(&directory::read_file(path)?, &path.display().to_string())
    }

    /// Reads one SentencePiece `tokenizer.model`, and nothing beside it.
    ///
    /// # Errors
    /// [`Error::Read`], and as [`from_model_bytes`](Self::from_model_bytes).
    pub fn from_model_file(path: &Path) -> Result<Self, Error> {
        Self::from_model_bytes(&directory::read_file(path)?, &path.display().to_string())
    }

    /// Reads the bytes of a `tokenizer.json`; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::Json`] for JSON that cannot be read, [`Error::Invalid`] for one that is no
    /// SentencePiece-style BPE or contradicts itself.
    pub fn from_json_bytes(bytes: &[u8], origin: &str) -> Result<Self, Error> {
        Self::build(huggingface::read(bytes, origin)?)
    }

    /// Reads the bytes of a SentencePiece `tokenizer.model`; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bytes that are no such model, and for a model whose settings Llama's
    /// differ from (unigram, a normalizer, collapsed spaces).
    pub fn from_model_bytes(bytes: &[u8], origin: &str) -> Result<Self, Error> {
        Self::build(sentencepiece::read(bytes, origin)?)
    }

    /// Makes a tokenizer from plain pieces, each at the place of its id, with the rules of Llama 2:
    /// the vocabulary of a GGUF file. `bos` and `eos` become control pieces whatever their kind.
    ///
    /// # Errors
    /// [`Error::Invalid`], for `pieces`, when the pieces are no vocabulary or a special id names
    /// none of them.
    pub fn from_pieces(pieces: Vec<Piece>, specials: SpecialTokens) -> Result<Self, Error> {
        Self::from_pieces_of("pieces", pieces, specials, true)
    }

    /// As [`from_pieces`](Self::from_pieces), for pieces that come from a file: `origin` names it in errors, and
    /// without `dummy_prefix` no space is put in front of text (`tokenizer.ggml.add_space_prefix` of GGUF).
    ///
    /// # Errors
    /// As [`from_pieces`](Self::from_pieces), for `origin`.
    pub fn from_pieces_of(
        origin: &str,
        pieces: Vec<Piece>,
        specials: SpecialTokens,
        dummy_prefix: bool,
    ) -> Result<Self, Error> {
        let rules = Rules {
            byte_fallback: pieces.iter().any(|piece| piece.kind == PieceKind::Byte),
            prefix: if dummy_prefix {
                Prefix::Always
            } else {
                Prefix::Never
            },
            strips_prefix: dummy_prefix,
            ..Rules::LLAMA
        };
        let pieces = pieces.into_iter().map(Some).collect();
        Self::build(Draft {
            file: origin.to_owned(),
            pieces,
            merges: None,
            added: Vec::new(),
            special: specials,
            rules,
        })
    }

    pub(crate) fn build(mut draft: Draft) -> Result<Self, Error> {
        check_special(&draft)?;
        draft.mark_control_pieces();
        let special = draft.special.clone();
        let vocabulary = Vocabulary::new(&draft)?;
        let encoder = Encoder::new(draft, &vocabulary)?;
        Ok(Self {
            vocabulary: Arc::new(vocabulary),
            encoder: Arc::new(encoder),
            special,
        })
    }

    /// The ids of `text`, without bos. No control id comes from text, whatever it says.
    ///
    /// # Errors
    /// [`Error::Engine`], which no text is known to cause.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        self.encoder.encode(text, false, &mut ids)?;
        Ok(ids)
    }

    /// As [`encode`](Self::encode), with bos in front and eos at the end where
    /// [`SpecialTokens::add_bos`] and [`SpecialTokens::add_eos`] say so.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with_bos(&self, text: &str) -> Result<Vec<u32>, Error> {
        let SpecialTokens {
            bos,
            eos,
            add_bos,
            add_eos,
            ..
        } = self.special;
        let mut ids: Vec<u32> = bos.filter(|_| add_bos).into_iter().collect();
        self.encoder.encode(text, false, &mut ids)?;
        ids.extend(eos.filter(|_| add_eos));
        Ok(ids)
    }

    /// The ids of `text`, in which control tokens written out (`<s>`, `</s>`, `<unk>`) become their
    /// ids; what stands between them is encoded as a text of its own. Adds no bos. Only for text
    /// that the program wrote: with a user's text this is an injection.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with_control(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        self.encoder.encode(text, true, &mut ids)?;
        Ok(ids)
    }

    /// The text of `ids`. Control ids are nothing, broken UTF-8 is one U+FFFD for each byte.
    ///
    /// # Errors
    /// [`Error::UnknownId`] when an id names no piece.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        decode::decode(&self.vocabulary, ids)
    }

    /// A decoder for ids that follow `prompt`: a space that `decode` would strip from the
    /// beginning of the answer alone is kept. A character whose bytes begin in the prompt belongs
    /// to the first deltas. Ids in `prompt` that name no piece are passed over.
    #[must_use]
    pub fn stream(&self, prompt: &[u32]) -> StreamDecoder {
        StreamDecoder::new(Arc::clone(&self.vocabulary), prompt)
    }

    /// The ids with a meaning, and which of them [`encode_with_bos`](Self::encode_with_bos) adds.
    #[must_use]
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The id of a piece as the vocabulary writes it (`▁Hello`, `<0x0A>`, `</s>`).
    #[must_use]
    pub fn token_id(&self, piece: &str) -> Option<u32> {
        self.vocabulary.id(piece)
    }

    /// The piece of an id as the vocabulary writes it; not the text that it decodes to.
    #[must_use]
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.vocabulary.piece(id)
    }

    /// What the piece of an id stands for.
    #[must_use]
    pub fn kind(&self, id: u32) -> Option<PieceKind> {
        self.vocabulary.kind(id)
    }

    /// One more than the largest id.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.size()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

fn check_special(draft: &Draft) -> Result<(), Error> {
    let SpecialTokens { bos, eos, unk, .. } = draft.special;
    for (name, id) in [("bos", bos), ("eos", eos), ("unk", unk)] {
        let Some(id) = id else { continue };
        if !matches!(draft.pieces.get(id as usize), Some(Some(_))) {
            return Err(Origin(&draft.file).invalid(
                name,
                format!("the id of one of {} pieces", draft.pieces.len()),
                quote(&id.to_string()),
                CORRECT_IT,
            ));
        }
    }
    Ok(())
}
