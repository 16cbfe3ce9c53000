//! How weights and the KV cache lie in GPU memory, and the way there from a file's rows. Computes nothing with them.
//!
//! A weight matrix is held in planes: the values or quants, and for block formats the scales apart from them, so that
//! an invocation reads 16 aligned bytes at a time. `llama-weights` keeps the files' own layouts.

use std::borrow::Cow;

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

/// How a weight matrix lies in GPU memory.
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
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    /// The name in `kernels.toml` and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Whether a row can have this many columns: the quantized formats have no partial block.
    pub const fn takes_columns(self, columns: usize) -> bool {
        match self {
            Self::F32 | Self::F16 => columns > 0,
            Self::Q8_0 | Self::Q4_0 => columns > 0 && columns.is_multiple_of(BLOCK),
        }
    }

    /// Bytes of one row in a file: f32 and f16 little-endian without padding, ggml's blocks of 34 and 18 bytes.
    pub const fn file_row_bytes(self, columns: usize) -> usize {
        match self {
            Self::F32 => columns * 4,
            Self::F16 => columns * 2,
            Self::Q8_0 | Self::Q4_0 => columns / BLOCK * self.file_block_bytes(),
        }
    }

    /// Bytes of one row in the plane of values or quants (`weight_data`).
    pub const fn data_row_bytes(self, columns: usize) -> usize {
        padded(columns) / BLOCK * self.data_block_bytes()
    }

    /// Bytes of one row in the plane of scales (`weight_scales`); 0 for formats without one.
    pub const fn scale_row_bytes(self, columns: usize) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::Q8_0 | Self::Q4_0 => scale_stride(padded(columns) / BLOCK) * size_of::<f16>(),
        }
    }

    const fn data_block_bytes(self) -> usize {
        match self {
            Self::F32 => BLOCK * 4,
            Self::F16 => BLOCK * 2,
            Self::Q8_0 => BLOCK,
            Self::Q4_0 => BLOCK / 2,
        }
    }

    const fn file_block_bytes(self) -> usize {
        match self {
            Self::F32 | Self::F16 => self.data_block_bytes(),
            Self::Q8_0 | Self::Q4_0 => size_of::<f16>() + self.data_block_bytes(),
        }
    }
}

/// Rows of a weight matrix as they lie on the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes<'a> {
    /// Values or quants: [`WeightFormat::data_row_bytes`] per row.
    pub data: Cow<'a, [u8]>,
    /// Scales: [`WeightFormat::scale_row_bytes`] per row; empty for formats without.
    pub scales: Vec<u8>,
}

impl<'a> Planes<'a> {
    /// Brings whole rows of a file into the GPU's planes; borrows where the two are the same.
    ///
    /// # Panics
    /// If `file` is not a whole number of rows, or the format cannot have this many columns.
    pub fn pack(format: WeightFormat, columns: usize, file: &'a [u8]) -> Self {
        assert!(
            format.takes_columns(columns),
            "{} rows have no {columns} columns",
            format.name()
        );
        let file_row = format.file_row_bytes(columns);
        assert!(
            file.len().is_multiple_of(file_row),
            "{} bytes are no whole number of rows of {file_row}",
            file.len()
        );
        let rows = file.len() / file_row;
        let data_row = format.data_row_bytes(columns);
        if format.scale_row_bytes(columns) == 0 {
            if data_row == file_row {
                return Self {
                    data: Cow::Borrowed(file),
                    scales: Vec::new(),
                };
            }
            let mut data = vec![0; rows * data_row];
            for (to, from) in data
                .chunks_exact_mut(data_row)
                .zip(file.chunks_exact(file_row))
            {
                to[..file_row].copy_from_slice(from);
            }
            return Self {
                data: Cow::Owned(data),
                scales: Vec::new(),
            };
        }

        let scale_row = format.scale_row_bytes(columns);
        let mut data = Vec::with_capacity(rows * data_row);
        let mut scales = Vec::with_capacity(rows * scale_row);
        for row in file.chunks_exact(file_row) {
            for block in row.chunks_exact(format.file_block_bytes()) {
                let (scale, quants) = block.split_at(size_of::<f16>());
                scales.extend_from_slice(scale);
                data.extend_from_slice(quants);
            }
            scales.resize(scales.len().next_multiple_of(scale_row), 0);
        }
        Self {
            data: Cow::Owned(data),
            scales,
        }
    }

    /// The rows as a file has them: [`Planes::pack`] undone.
    ///
    /// # Panics
    /// If the planes are not of this format and number of columns.
    pub fn unpack(&self, format: WeightFormat, columns: usize) -> Vec<u8> {
        let file_row = format.file_row_bytes(columns);
        let data_rows = self.data.chunks_exact(format.data_row_bytes(columns));
        let scale_row = format.scale_row_bytes(columns);
        let mut file = Vec::with_capacity(data_rows.len() * file_row);
        if scale_row == 0 {
            for row in data_rows {
                file.extend_from_slice(&row[..file_row]);
            }
            return file;
        }
        assert_eq!(
            data_rows.len() * scale_row,
            self.scales.len(),
            "the planes have different numbers of rows"
        );
        for (quants, scales) in data_rows.zip(self.scales.chunks_exact(scale_row)) {
            for (quants, scale) in quants
                .chunks_exact(format.data_block_bytes())
                .zip(scales.chunks_exact(size_of::<f16>()))
            {
                file.extend_from_slice(scale);
                file.extend_from_slice(quants);
            }
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_rows_come_back(format in prop::sample::select(&WeightFormat::ALL[..]), rows in 0_usize..5, columns in 1_usize..300, seed: u8) {
            let columns = if format.takes_columns(columns) { columns } else { padded(columns) };
            let file: Vec<u8> = (0..rows * format.file_row_bytes(columns)).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let planes = Planes::pack(format, columns, &file);
            prop_assert_eq!(planes.data.len(), rows * format.data_row_bytes(columns));
            prop_assert_eq!(planes.scales.len(), rows * format.scale_row_bytes(columns));
            prop_assert_eq!(planes.unpack(format, columns), file);
        }
    }

    #[test]
    fn every_row_of_every_plane_begins_on_16_bytes() {
        for format in WeightFormat::ALL {
            for columns in (1..400).filter(|columns| format.takes_columns(*columns)) {
                assert_eq!(
                    format.data_row_bytes(columns) % 16,
                    0,
                    "{} {columns}",
                    format.name()
                );
                assert_eq!(
                    format.scale_row_bytes(columns) % 16,
                    0,
                    "{} {columns}",
                    format.name()
                );
            }
        }
    }

    #[test]
    fn a_row_without_padding_is_not_copied() {
        let file = vec![7; WeightFormat::F16.file_row_bytes(64) * 3];
        assert!(matches!(
            Planes::pack(WeightFormat::F16, 64, &file).data,
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn padding_is_zero() {
        let file = vec![0xff; WeightFormat::F32.file_row_bytes(3) * 2];
        let planes = Planes::pack(WeightFormat::F32, 3, &file);
        assert_eq!(planes.data[..12], [0xff; 12]);
        assert_eq!(planes.data[12..128], [0; 116]);
    }
}
