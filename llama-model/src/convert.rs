//! Rows as a file stores them become rows as the GPU holds them, in memory that the GPU copies from.
//!
//! Rows go through f32 a few at a time, so that what is between stays in the processor's cache.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use llama_kernels::{Stage, WeightFormat};
use llama_weights::{DType, TensorView, quant};

use crate::holding::stored_as;

/// Elements that are converted at once: 256 KiB as f32.
const ELEMENTS_AT_ONCE: usize = 64 << 10;
/// As many where LoRA adapters change them: each call reads a factor of theirs whole.
const MERGED_AT_ONCE: usize = 512 << 10;

/// Memory for what is between file and GPU, kept from one call to the next.
#[derive(Default)]
pub(crate) struct Converter {
    floats: Vec<f32>,
    halves: Vec<f16>,
    blocks: Vec<u8>,
}

impl Converter {
    /// Puts rows of a tensor at the places `first`, `first + step` and so on of a stage, in its format. False, and
    /// nothing of worth in the stage, where a weight is too large for it.
    pub(crate) fn put(
        &mut self,
        view: &TensorView<'_>,
        rows: Range<usize>,
        stage: &mut Stage,
        [first, step]: [usize; 2],
    ) -> bool {
        let format = stage.format();
        if Some(view.dtype()) == stored_as(format) {
            stage.put(first, step, &view.rows(rows));
            return true;
        }
        if let Some(repack) = repack(view.dtype(), format) {
            repack(&view.rows(rows), &mut self.blocks);
            stage.put(first, step, &self.blocks);
            return true;
        }
        let elements = match view.merged_from() {
            Some(_) => MERGED_AT_ONCE,
            None => ELEMENTS_AT_ONCE,
        };
        let at_once = (elements / stage.columns()).max(1);
        for start in rows.clone().step_by(at_once) {
            let some = start..rows.end.min(start + at_once);
            let Some(bytes) = self.convert(view, some, format) else {
                return false;
            };
            stage.put(first + (start - rows.start) * step, step, bytes);
        }
        true
    }

    /// Rows in the layout of a file that stores `format`, or `None` where a weight is too large for it.
    /// Little-endian, as every host that wgpu has a GPU on.
    fn convert(
        &mut self,
        view: &TensorView<'_>,
        rows: Range<usize>,
        format: WeightFormat,
    ) -> Option<&[u8]> {
        view.rows_f32(rows, &mut self.floats);
        if largest_finite(&self.floats) > largest_weight(format) {
            return None;
        }
        Some(match format {
            WeightFormat::F32 => bytemuck::cast_slice(&self.floats),
            WeightFormat::F16 => {
                self.halves.resize(self.floats.len(), f16::ZERO);
                self.halves.convert_from_f32_slice(&self.floats);
                bytemuck::cast_slice(&self.halves)
            }
            WeightFormat::Q8_0 => {
                quant::quantize_q8_0(&self.floats, &mut self.blocks);
                &self.blocks
            }
            WeightFormat::Q4_0 => {
                quant::quantize_q4_0(&self.floats, &mut self.blocks);
                &self.blocks
            }
            WeightFormat::Q4K => {
                quant::quantize_q4_k(&self.floats, &mut self.blocks);
                &self.blocks
            }
            WeightFormat::Q6K => {
                quant::quantize_q6_k(&self.floats, &mut self.blocks);
                &self.blocks
            }
            // Held only where the file stores their values: see `holding`.
            WeightFormat::Q5_1 | WeightFormat::Q2K | WeightFormat::Q5K | WeightFormat::Int4 => {
                return None;
            }
        })
    }
}

type Repack = fn(&[u8], &mut Vec<u8>);

/// Blocks of a file as blocks of a format, where the values are the same.
fn repack(stored: DType, format: WeightFormat) -> Option<Repack> {
    match (stored, format) {
        (DType::Q4_0, WeightFormat::Q8_0) => Some(quant::q4_0_to_q8_0),
        (DType::Q5_0, WeightFormat::Q8_0) => Some(quant::q5_0_to_q8_0),
        (DType::Q4_1, WeightFormat::Q5_1) => Some(quant::q4_1_to_q5_1),
        (DType::Q3K, WeightFormat::Q6K) => Some(quant::q3_k_to_q6_k),
        (DType::Q4K, WeightFormat::Q5K) => Some(quant::q4_k_to_q5_k),
        _ => None,
    }
}

/// The largest magnitude among numbers. NaN and infinities are the file's own, and pass: `inspect --check` names them.
fn largest_finite(values: &[f32]) -> f32 {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    // The bits of magnitudes order as they do, and unsigned comparison is vector code.
    let bits = values.iter().map(|value| value.abs().to_bits());
    f32::from_bits(bits.fold(0, |most, bits| {
        most.max(if bits < INFINITY { bits } else { 0 })
    }))
}

/// The largest magnitude that a format holds; a block's scale is an f16.
fn largest_weight(format: WeightFormat) -> f32 {
    let half = f16::MAX.to_f32();
    match format {
        WeightFormat::F16 | WeightFormat::Q4K | WeightFormat::Q6K => half,
        WeightFormat::Q8_0 => 127.0 * half,
        WeightFormat::Q4_0 => 8.0 * half,
        _ => f32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_among_what_is_no_number() {
        assert_eq!(largest_finite(&[]), 0.0);
        assert_eq!(largest_finite(&[1.0, -3.5, 2.0, -0.0]), 3.5);
        let odd = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -7.0];
        assert_eq!(largest_finite(&odd), 7.0);
        assert_eq!(largest_finite(&[f32::MAX, 1.0]), f32::MAX);
    }
}
