//! One tensor of a checkpoint: its type, shape and rows.
//!
//! Rows are the unit because they are what a loader uploads piece by piece: a mapped tensor lends them, a
//! synthetic one makes them on demand. Nothing here holds a whole tensor on the heap.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::lora::Merged;
use crate::packed::PackedRows;
use crate::pieces::MappedRows;
use crate::synthetic::Seeded;
use crate::{DType, quant};

/// A tensor of an open checkpoint, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: DType,
    pub(crate) shape: &'a [usize],
    pub(crate) rows: Rows<'a>,
    /// What adapters change as rows are read; `None` where they leave the tensor alone.
    pub(crate) merged: Option<Merged<'a>>,
}

/// Where a tensor's rows come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    Mapped(MappedRows<'a>),
    Packed(PackedRows<'a>),
    Made(Seeded),
}

impl<'a> TensorView<'a> {
    /// The tensor's name in its file.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// How elements are stored; F32 where adapters change them ([`crate::Checkpoint::add_lora`]).
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self.merged {
            Some(_) => DType::F32,
            None => self.dtype,
        }
    }

    /// How the base's elements are stored, where adapters change them; `None` where the tensor is as its file has it.
    #[must_use]
    pub fn merged_from(&self) -> Option<DType> {
        self.merged.map(|_| self.dtype)
    }

    /// `[rows, columns]`, or `[length]`.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Number of rows; a one-dimensional tensor is one row.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match self.shape {
            [rows, _] => *rows,
            _ => 1,
        }
    }

    /// Elements per row.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Bytes per row in the file's layout.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        // Checked when the tensor entered the checkpoint: the row is whole blocks and the product fits.
        self.n_columns() / self.dtype().block_elements() * self.dtype().block_bytes()
    }

    /// Bytes of the whole tensor.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_rows() as u64 * self.row_bytes() as u64
    }

    /// Rows as stored: row-major, little-endian, [`TensorView::row_bytes`] each. Query and key rows are
    /// half-split (rotate-half order) whatever the format. Borrowed where one file has these rows so; else made on demand,
    /// these rows alone: from a file of another order, from several files, from the words of GPTQ and AWQ, for synthetic weights,
    /// where adapters change them.
    ///
    /// Columns are in the order that [`TensorView::column_order`] says.
    ///
    /// # Panics
    /// Where `rows` leaves `0..n_rows`.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Cow<'a, [u8]> {
        self.assert_holds(&rows);
        if self.merged.is_some() {
            let mut floats = Vec::new();
            self.rows_f32(rows, &mut floats);
            return floats
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
        }
        match self.rows {
            Rows::Mapped(mapped) => match self.shape {
                [_, _] => mapped.get(rows),
                // A vector is stored as rows of one block.
                _ => {
                    let blocks = self.n_columns() / self.dtype.block_elements();
                    mapped.get(rows.start * blocks..rows.end * blocks)
                }
            },
            Rows::Packed(packed) => match self.dtype {
                DType::Int4 => Cow::Owned(packed.blocks(rows)),
                _ => {
                    let mut floats = Vec::new();
                    packed.floats(rows, &mut floats);
                    Cow::Owned(floats.iter().flat_map(|x| x.to_le_bytes()).collect())
                }
            },
            Rows::Made(seeded) => {
                let mut bytes = Vec::with_capacity(rows.len() * self.row_bytes());
                seeded.append_rows(rows, self.n_columns(), &mut bytes);
                Cow::Owned(bytes)
            }
        }
    }

    /// The order of the columns in [`TensorView::rows`]: place `i` holds column `order[i]` of the model. `None` is the model's own order, which all
    /// have but [`DType::Int4`] tensors whose file groups columns by their activation ("act-order"): those are sorted by
    /// group, so that a block has one scale.
    #[must_use]
    pub fn column_order(&self) -> Option<&'a [u32]> {
        match self.rows {
            // Merged rows are in the model's own order.
            Rows::Packed(packed) if self.dtype() == DType::Int4 => packed.column_order(),
            _ => None,
        }
    }

    /// Rows converted to f32, `rows.len() · n_columns` of them, columns in the model's own order. Replaces what `out` held and keeps
    /// its capacity.
    ///
    /// # Panics
    /// Where `rows` leaves `0..n_rows`.
    pub fn rows_f32(&self, rows: Range<usize>, out: &mut Vec<f32>) {
        if let Some(merged) = self.merged {
            let base = Self {
                merged: None,
                ..*self
            };
            base.rows_f32(rows.clone(), out);
            return merged.apply(rows, self.n_columns(), out);
        }
        if let (Rows::Packed(packed), DType::F32) = (self.rows, self.dtype) {
            self.assert_holds(&rows);
            return packed.floats(rows, out);
        }
        let bytes = self.rows(rows);
        match self.dtype {
            DType::F32 => {
                out.clear();
                out.extend(
                    bytes
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                );
            }
            DType::F16 => f16_to_f32(&bytes, out),
            DType::BF16 => {
                out.clear();
                out.extend(
                    bytes
                        .chunks_exact(2)
                        .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)),
                );
            }
            DType::Q8_0 => quant::dequantize_q8_0(&bytes, out),
            DType::Q4_0 => quant::dequantize_q4_0(&bytes, out),
            DType::Q4_1 => quant::dequantize_q4_1(&bytes, out),
            DType::Q5_0 => quant::dequantize_q5_0(&bytes, out),
            DType::Q5_1 => quant::dequantize_q5_1(&bytes, out),
            DType::Q2K => quant::dequantize_q2_k(&bytes, out),
            DType::Q3K => quant::dequantize_q3_k(&bytes, out),
            DType::Q4K => quant::dequantize_q4_k(&bytes, out),
            DType::Q5K => quant::dequantize_q5_k(&bytes, out),
            DType::Q6K => quant::dequantize_q6_k(&bytes, out),
            DType::Int4 => quant::dequantize_int4(&bytes, out),
        }
        if let Some(order) = self.column_order() {
            let mut sorted = Vec::new();
            for row in out.chunks_exact_mut(order.len()) {
                sorted.clear();
                sorted.extend_from_slice(row);
                for (&column, &value) in order.iter().zip(&sorted) {
                    row[column as usize] = value;
                }
            }
        }
    }

    fn assert_holds(&self, rows: &Range<usize>) {
        assert!(
            rows.start <= rows.end && rows.end <= self.n_rows(),
            "rows {rows:?} of {} with {} rows",
            self.name,
            self.n_rows()
        );
    }
}

/// A file's f16 need not be aligned: they pass through a small array, on which the `half` crate uses the
/// processor's conversion where it has one.
fn f16_to_f32(bytes: &[u8], out: &mut Vec<f32>) {
    const AT_ONCE: usize = 512;
    let mut halves = [f16::ZERO; AT_ONCE];
    out.clear();
    out.resize(bytes.len() / 2, 0.0);
    for (bytes, floats) in bytes.chunks(2 * AT_ONCE).zip(out.chunks_mut(AT_ONCE)) {
        let halves = &mut halves[..floats.len()];
        for (half, b) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
            *half = f16::from_le_bytes([b[0], b[1]]);
        }
        halves.convert_to_f32_slice(floats);
    }
}
