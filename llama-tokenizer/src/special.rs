//! The ids that have a meaning of their own, and which of them `encode_with_bos` adds.

/// The special tokens of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text (Llama 2: 1, `<s>`).
    pub bos: Option<u32>,
    /// Ends a text (Llama 2: 2, `</s>`).
    pub eos: Option<u32>,
    /// Stands in for text without a piece (Llama 2: 0, `<unk>`).
    pub unk: Option<u32>,
    /// Whether [`encode_with_bos`](crate::Tokenizer::encode_with_bos) puts `bos` in front.
    pub add_bos: bool,
    /// Whether [`encode_with_bos`](crate::Tokenizer::encode_with_bos) puts `eos` at the end.
    pub add_eos: bool,
}

impl Default for SpecialTokens {
    /// No ids; `add_bos` as every Llama has it.
    fn default() -> Self {
        Self {
            bos: None,
            eos: None,
            unk: None,
            add_bos: true,
            add_eos: false,
        }
    }
}
