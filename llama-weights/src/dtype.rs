//! What one stored element is, and how many bytes a row of them takes.
//!
//! This is the file's side only: what a GPU holds is another crate's enum.

use std::fmt;

use crate::quant;

/// The element type of a stored tensor, in the file's own layout (little-endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32, 4 bytes.
    F32,
    /// IEEE 754 binary16, 2 bytes.
    F16,
    /// The upper half of a binary32, 2 bytes.
    BF16,
    /// ggml blocks of 32 values: one f16 scale, then 32 signed bytes; 34 bytes.
    Q8_0,
    /// ggml blocks of 32 values: one f16 scale, then 32 nibbles; 18 bytes.
    Q4_0,
}

impl DType {
    /// Elements per block: 1 for the floats, 32 for the quantized types.
    #[must_use]
    pub fn block_elements(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q8_0 | DType::Q4_0 => quant::BLOCK,
        }
    }

    /// Bytes per block of [`DType::block_elements`] elements.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q8_0 => quant::Q8_0_BYTES,
            DType::Q4_0 => quant::Q4_0_BYTES,
        }
    }

    /// Whether values are stored in blocks that share a scale.
    #[must_use]
    pub fn is_quantized(self) -> bool {
        self.block_elements() > 1
    }

    /// Bytes of a row of `columns` elements, or `None` where `columns` is no multiple of the block
    /// or the product does not fit.
    #[must_use]
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        if !columns.is_multiple_of(self.block_elements()) {
            return None;
        }
        (columns / self.block_elements()).checked_mul(self.block_bytes())
    }

    /// The name in lower case, as command lines write it: `f32`, `f16`, `bf16`, `q8_0`, `q4_0`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::Q8_0 => "q8_0",
            DType::Q4_0 => "q4_0",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
