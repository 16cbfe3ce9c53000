//! How weights and cache are held on the GPU: the user's choice, and where a matrix departs from it.
//!
//! The one place where what a file stores ([`llama_weights::DType`]) and what kernels exist for
//! ([`WeightFormat`]) meet.

use llama_kernels::{KvFormat, WeightFormat};
use llama_weights::DType;

/// How matrices are to be held. Norms and biases are held in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightChoice {
    /// As the file stores them where kernels exist for that, or in another format of the same values (q5_0 in q8_0); f32, bf16 and the
    /// other quantized types become f16.
    #[default]
    Auto,
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight.
    F16,
    /// 8.5 bits a weight, in blocks of 32.
    Q8_0,
    /// 4.5 bits a weight, in blocks of 32.
    Q4_0,
}

/// How the KV cache is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvChoice {
    /// f32 where weights were asked for in f32, else f16.
    #[default]
    Auto,
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value; alone moves the logits of small random models by 1.5e-4 to 8e-4 of the largest.
    F16,
    /// 8.5 bits a value, in blocks of 32 of a head, which is padded to whole blocks.
    Q8_0,
}

/// A matrix that is held in another format than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOtherwise {
    /// The matrix, as in `layer 3 down`.
    pub matrix: String,
    /// What it is held in.
    pub format: WeightFormat,
    /// Why.
    pub reason: HeldReason,
}

/// Why a matrix is held in another format than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldReason {
    /// Blocks hold 32 weights of a row, and the rows have this many.
    RowLength(usize),
    /// The file stores weights of the matrix in this type, which no kernel takes: they were converted.
    Stored(DType),
    /// A weight is too large for f16 (65,504), or a block's scale is.
    BeyondRange,
}

impl std::fmt::Display for HeldOtherwise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { matrix, format, .. } = self;
        let format = format.name();
        match self.reason {
            HeldReason::RowLength(length) => write!(
                f,
                "{matrix} is held in {format}: rows of {length} are not a multiple of 32"
            ),
            HeldReason::Stored(dtype) => write!(
                f,
                "{matrix} is held in {format}: no kernel takes it as the file stores it, in {dtype}"
            ),
            HeldReason::BeyondRange => write!(
                f,
                "{matrix} is held in {format}: a weight is beyond the range of f16"
            ),
        }
    }
}

impl WeightChoice {
    /// The format for a matrix whose tensors are stored as `stored`, its range aside.
    pub(crate) fn format(self, stored: &[DType]) -> WeightFormat {
        match (self, stored) {
            (Self::F32, _) => WeightFormat::F32,
            (Self::F16, _) => WeightFormat::F16,
            (Self::Q8_0, _) => WeightFormat::Q8_0,
            (Self::Q4_0, _) => WeightFormat::Q4_0,
            // Blocks are kept only where all parts of a joined matrix have them.
            (Self::Auto, [_, ..]) => [WeightFormat::Q4_0, WeightFormat::Q8_0]
                .into_iter()
                .find(|format| stored.iter().all(|dtype| holds_exactly(*format, *dtype)))
                .unwrap_or(WeightFormat::F16),
            (Self::Auto, []) => WeightFormat::F16,
        }
    }
}

impl KvChoice {
    /// The format, given what was asked for the weights.
    pub fn format(self, weights: WeightChoice) -> KvFormat {
        match (self, weights) {
            (Self::F32, _) | (Self::Auto, WeightChoice::F32) => KvFormat::F32,
            (Self::Q8_0, _) => KvFormat::Q8_0,
            (Self::F16, _) | (Self::Auto, _) => KvFormat::F16,
        }
    }
}

/// The format for a matrix whose tensors are stored as `stored`, with rows of `columns` weights, and why it is not what was asked
/// for: blocks that do not divide a row, or with [`WeightChoice::Auto`] a quantized type that had to be converted.
pub(crate) fn hold(
    choice: WeightChoice,
    stored: &[DType],
    columns: usize,
) -> (WeightFormat, Option<HeldReason>) {
    let wanted = choice.format(stored);
    if !wanted.takes_columns(columns) {
        return (WeightFormat::F16, Some(HeldReason::RowLength(columns)));
    }
    let converted = |dtype: &&DType| dtype.is_quantized() && !holds_exactly(wanted, **dtype);
    let reason = match choice {
        WeightChoice::Auto => stored.iter().find(converted).copied(),
        _ => None,
    };
    (wanted, reason.map(HeldReason::Stored))
}

/// Whether blocks of a file's type can be blocks of the format with the same values.
fn holds_exactly(format: WeightFormat, stored: DType) -> bool {
    match format {
        WeightFormat::Q4_0 => stored == DType::Q4_0,
        WeightFormat::Q8_0 => matches!(stored, DType::Q8_0 | DType::Q5_0 | DType::Q4_0),
        WeightFormat::F32 | WeightFormat::F16 => false,
    }
}

/// The file's type whose bytes a matrix of this format takes as they are.
pub(crate) fn stored_as(format: WeightFormat) -> DType {
    match format {
        WeightFormat::F32 => DType::F32,
        WeightFormat::F16 => DType::F16,
        WeightFormat::Q8_0 => DType::Q8_0,
        WeightFormat::Q4_0 => DType::Q4_0,
    }
}
