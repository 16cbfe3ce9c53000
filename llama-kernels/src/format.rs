//! How weights and the KV cache lie in GPU memory: names and sizes. Computes nothing with them.
//!
//! A weight matrix is held in planes: the values or quants, and for block formats the scales apart from them, so that
//! an invocation reads 16 aligned bytes at a time. `llama-weights` keeps the files' own layouts.

use half::f16;

/// Columns of one block; every row on the GPU is a whole number of blocks.
pub const BLOCK: usize = 32;

/// What `ops::Argmax` gives for a row without any number to choose (NaN, all −∞).
pub const NO_TOKEN: u32 = u32::MAX;

/// The next multiple of [`BLOCK`]: the row stride of every activation, whose padding is zero and stays zero.
pub const fn padded(columns: usize) -> usize {
    columns.next_multiple_of(BLOCK)
}

/// The next multiple of 8: elements of one head's row in the KV cache, so that rows in f16 begin on 16 bytes.
pub const fn kv_row(head_dim: usize) -> usize {
    head_dim.next_multiple_of(8)
}

/// Scales (halves) of one row, for a row of `blocks` blocks: the next multiple of 8, so that rows begin on 16 bytes.
pub const fn scale_stride(blocks: usize) -> usize {
    blocks.next_multiple_of(8)
}

/// Columns of one super-block of the K formats.
pub const SUPER_BLOCK: usize = 256;

/// How a weight matrix lies in GPU memory. Nibbles and what else a quant is made of are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WeightFormat {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, two to a word, the low half first.
    F16,
    /// 32 signed bytes and one f16 scale; `value = quant · scale`.
    Q8_0,
    /// 32 nibbles and one f16 scale; `value = (nibble − 8) · scale`, byte j of a block holding columns j (low) and 16 + j.
    Q4_0,
    /// 32 quants of five bits, scale and least value in f16; `value = quant · scale + least`.
    Q5_1,
    /// 256 quants of two bits; `value = d · s · quant − m · l` with s and l of four bits for 16 columns, d and m in f16.
    Q2K,
    /// 256 quants of four bits; `value = d · s · quant − m · l` with s and l of six bits for 32 columns, d and m in f16.
    Q4K,
    /// 256 quants of five bits, else as [`Self::Q4K`].
    Q5K,
    /// 256 quants of six bits; `value = d · s · (quant − 32)` with s a signed byte for 16 columns, d in f16.
    Q6K,
    /// 32 nibbles, an f16 scale and a whole zero point; `value = (nibble − zero) · scale`: what GPTQ and AWQ make.
    Int4,
}

/// How keys and values lie in GPU memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KvFormat {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, two to a word, the low half first.
    F16,
    /// Blocks of 32 signed bytes with one f16 scale; `value = quant · scale`. A row's bytes, then its scales, two to
    /// a word.
    Q8_0,
}

impl KvFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// The name in `kernels.toml` and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes of one head's keys, or values, at one position.
    pub const fn row_bytes(self, head_dim: usize) -> usize {
        let blocks = head_dim.div_ceil(BLOCK);
        match self {
            Self::F32 => 4 * kv_row(head_dim),
            Self::F16 => 2 * kv_row(head_dim),
            Self::Q8_0 => blocks * BLOCK + 4 * blocks.div_ceil(2),
        }
    }
}

impl WeightFormat {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q5_1,
        Self::Q2K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Int4,
    ];

    /// The name in `kernels.toml` and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q5_1 => "q5_1",
            Self::Q2K => "q2_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
            Self::Int4 => "int4",
        }
    }

    /// What the number of a row's columns is a multiple of: the quantized formats have no partial block.
    pub const fn block_columns(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q5_1 | Self::Int4 => BLOCK,
            Self::Q2K | Self::Q4K | Self::Q5K | Self::Q6K => SUPER_BLOCK,
        }
    }

    /// Whether a row can have this many columns.
    pub const fn takes_columns(self, columns: usize) -> bool {
        columns > 0 && columns.is_multiple_of(self.block_columns())
    }

    /// Bytes of [`Self::block_columns`] columns in a file: f32 and f16 little-endian without padding, ggml's blocks, and for
    /// [`Self::Int4`] an f16 scale, the zero point as u16, and 16 bytes of nibbles as in Q4_0.
    pub const fn file_block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q5_1 => 24,
            Self::Q2K => 84,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Int4 => 20,
        }
    }

    /// Bytes of one row in a file.
    pub const fn file_row_bytes(self, columns: usize) -> usize {
        columns / self.block_columns() * self.file_block_bytes()
    }

    /// Bytes of one row in the plane of values or quants (`weight_data`).
    pub const fn data_row_bytes(self, columns: usize) -> usize {
        let bytes = match self {
            Self::F32 => BLOCK * 4,
            Self::F16 => BLOCK * 2,
            Self::Q8_0 => BLOCK,
            Self::Q4_0 | Self::Q5_1 | Self::Q4K | Self::Q5K | Self::Q6K | Self::Int4 => BLOCK / 2,
            Self::Q2K => BLOCK / 4,
        };
        (padded(columns) / BLOCK * bytes).next_multiple_of(16)
    }

    /// Bytes of one row in the plane of scales (`weight_scales`); 0 for formats without one.
    pub const fn scale_row_bytes(self, columns: usize) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Q8_0 | Self::Q4_0 => scale_stride(padded(columns) / BLOCK) * size_of::<f16>(),
            _ => (columns / self.block_columns() * self.record_bytes()).next_multiple_of(16),
        }
    }

    /// Bytes of a block's record in the plane of scales: all of the block but what lies in the plane of quants.
    pub(crate) const fn record_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Q8_0 | Self::Q4_0 => 2,
            // Scale and zero point.
            Self::Int4 => 4,
            // Scale and least value; fifth bits.
            Self::Q5_1 => 4 + 4,
            // 16 pairs of s and l; d and m.
            Self::Q2K => 16 + 4,
            // d and m; eight pairs of s and l.
            Self::Q4K => 4 + 12,
            // The same; fifth bits.
            Self::Q5K => 4 + 12 + 32,
            // 16 s; upper bits; d and two bytes of nothing.
            Self::Q6K => 16 + 64 + 4,
        }
    }
}
