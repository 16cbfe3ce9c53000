//! What a rendered chat consists of. No ids here: the caller's tokenizer makes them, one segment at a time.

/// A piece of a rendered prompt.
///
/// Encode each [`Segment::Text`] on its own, as ordinary text in which nothing is a control token, and look up the
/// others: that is what keeps user text from forging a control token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The begin-of-sequence token.
    Bos,
    /// The end-of-sequence token.
    Eos,
    /// Any other special token, by the text that the vocabulary has for it, such as `<|im_start|>`.
    Control(String),
    /// Ordinary text, never empty; two text segments never follow one another.
    Text(String),
}
