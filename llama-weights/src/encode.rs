//! From f32 to the types that are written.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{DType, quant};

/// Whether values can be turned into this type here.
pub(crate) fn is_written(dtype: DType) -> bool {
    encoder(dtype).is_some()
}

/// Values as bytes of a type that [`is_written`]; nothing for another. Replaces what `out` held and keeps its capacity.
///
/// # Panics
/// Where the values are no whole blocks.
pub(crate) fn encode(dtype: DType, values: &[f32], out: &mut Vec<u8>) {
    match encoder(dtype) {
        Some(encode) => encode(values, out),
        None => out.clear(),
    }
}

type Encode = fn(&[f32], &mut Vec<u8>);

fn encoder(dtype: DType) -> Option<Encode> {
    Some(match dtype {
        DType::F32 => f32_bytes,
        DType::F16 => f16_bytes,
        DType::Q8_0 => quant::quantize_q8_0,
        DType::Q5_0 => quant::quantize_q5_0,
        DType::Q4_0 => quant::quantize_q4_0,
        DType::Q4K => quant::quantize_q4_k,
        DType::Q6K => quant::quantize_q6_k,
        DType::BF16
        | DType::Q4_1
        | DType::Q5_1
        | DType::Q2K
        | DType::Q3K
        | DType::Q5K
        | DType::Int4 => {
            return None;
        }
    })
}

fn f32_bytes(values: &[f32], out: &mut Vec<u8>) {
    out.clear();
    out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
}

/// To the nearest, ties to even. Through a small array, on which the `half` crate uses the processor's conversion where it has one.
fn f16_bytes(values: &[f32], out: &mut Vec<u8>) {
    const AT_ONCE: usize = 512;
    let mut halves = [f16::ZERO; AT_ONCE];
    out.clear();
    out.reserve(2 * values.len());
    for values in values.chunks(AT_ONCE) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    }
}
