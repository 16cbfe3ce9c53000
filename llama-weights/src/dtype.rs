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
    /// ggml blocks of 32 values: scale and least value in f16, then 32 nibbles; 20 bytes.
    Q4_1,
    /// ggml blocks of 32 values of five bits: one f16 scale; 22 bytes.
    Q5_0,
    /// ggml blocks of 32 values of five bits: scale and least value in f16; 24 bytes.
    Q5_1,
    /// ggml blocks of 256 values of two bits, scales and least values of four bits for 16 values; 84 bytes.
    Q2K,
    /// ggml blocks of 256 values of three bits, scales of six bits for 16 values; 110 bytes.
    Q3K,
    /// ggml blocks of 256 values of four bits, scales and least values of six bits for 32 values; 144 bytes.
    Q4K,
    /// ggml blocks of 256 values of five bits, scales and least values of six bits for 32 values; 176 bytes.
    Q5K,
    /// ggml blocks of 256 values of six bits, scales of eight bits for 16 values; 210 bytes.
    Q6K,
    /// GPTQ's and AWQ's values in blocks of 32: one f16 scale, a zero, then 32 nibbles; 20 bytes. See [`quant::dequantize_int4`].
    Int4,
}

impl DType {
    /// Every type, from the widest float down, then as ggml numbers them, then what ggml has not.
    pub const ALL: [DType; 14] = [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::Q8_0,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q2K,
        DType::Q3K,
        DType::Q4K,
        DType::Q5K,
        DType::Q6K,
        DType::Int4,
    ];

    /// Elements per block: 1 for the floats, 256 for the K types, 32 for the other quantized types.
    #[must_use]
    pub fn block_elements(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q8_0 | DType::Q4_0 | DType::Q4_1 | DType::Q5_0 | DType::Q5_1 | DType::Int4 => {
                quant::BLOCK
            }
            DType::Q2K | DType::Q3K | DType::Q4K | DType::Q5K | DType::Q6K => quant::K_BLOCK,
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
            DType::Q4_1 => quant::Q4_1_BYTES,
            DType::Q5_0 => quant::Q5_0_BYTES,
            DType::Q5_1 => quant::Q5_1_BYTES,
            DType::Q2K => quant::Q2_K_BYTES,
            DType::Q3K => quant::Q3_K_BYTES,
            DType::Q4K => quant::Q4_K_BYTES,
            DType::Q5K => quant::Q5_K_BYTES,
            DType::Q6K => quant::Q6_K_BYTES,
            DType::Int4 => quant::INT4_BYTES,
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

    /// The name in lower case, as command lines write it: `f32`, `bf16`, `q8_0`, `q4_k`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::Q8_0 => "q8_0",
            DType::Q4_0 => "q4_0",
            DType::Q4_1 => "q4_1",
            DType::Q5_0 => "q5_0",
            DType::Q5_1 => "q5_1",
            DType::Q2K => "q2_k",
            DType::Q3K => "q3_k",
            DType::Q4K => "q4_k",
            DType::Q5K => "q5_k",
            DType::Q6K => "q6_k",
            DType::Int4 => "int4",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
