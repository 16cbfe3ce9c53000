//! One entry of a vocabulary as plain data, the form in which a GGUF file's vocabulary arrives.

/// A piece of a vocabulary; its id is its place in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text, with U+2581 (`▁`) for a space; `<0x0A>` for a byte.
    pub text: String,
    /// The higher, the earlier it is merged. Llama 2 counts down from 0; not NaN.
    pub score: f32,
    /// What the piece stands for.
    pub kind: PieceKind,
}

/// What a piece stands for: the `SentencePiece.Type` of `sentencepiece_model.proto`, and
/// `tokenizer.ggml.token_type` of GGUF with the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PieceKind {
    /// 1: text.
    Normal,
    /// 2: stands in for text that has no other piece; decodes to `" ⁇ "`.
    Unknown,
    /// 3: never made from text, decodes to nothing (`<s>`, `</s>`).
    Control,
    /// 4: text that is taken whole, before anything is merged.
    UserDefined,
    /// 5: decodes to its text, never made from text.
    Unused,
    /// 6: one byte, written `<0x00>` to `<0xFF>`.
    Byte,
}

impl PieceKind {
    /// From the number that files use.
    ///
    /// ```
    /// # use llama_tokenizer::PieceKind;
    /// assert_eq!(PieceKind::from_number(6), Some(PieceKind::Byte));
    /// assert_eq!(PieceKind::from_number(7), None);
    /// ```
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }

    /// The number that files use.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
            Self::Byte => 6,
        }
    }
}

/// The byte that a piece such as `<0x0A>` stands for; two upper-case digits.
pub(crate) fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let exact = digits.len() == 2
        && digits
            .bytes()
            .all(|d| d.is_ascii_digit() || (b'A'..=b'F').contains(&d));
    exact.then(|| u8::from_str_radix(digits, 16).ok())?
}
