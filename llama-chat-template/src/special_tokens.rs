//! The special tokens a template may name. Their ids are the tokenizer's business.

/// The texts of a vocabulary's special tokens.
///
/// A Jinja template may use them as variables (`bos_token`, `eos_token`, those of [`named`](Self::named)) or write
/// them out; either way they become [`Segment::Bos`](crate::Segment::Bos), [`Segment::Eos`](crate::Segment::Eos) or
/// [`Segment::Control`](crate::Segment::Control), never text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of sequence; the variable `bos_token`.
    pub bos: Option<String>,
    /// End of sequence; the variable `eos_token`.
    pub eos: Option<String>,
    /// Further tokens with a variable of their own, as (variable, text): `("unk_token", "<unk>")`.
    pub named: Vec<(String, String)>,
    /// Special tokens without a variable, such as `<|im_start|>`.
    pub others: Vec<String>,
}
