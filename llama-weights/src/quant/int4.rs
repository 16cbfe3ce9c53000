//! Int4: what the 4-bit matrices of GPTQ and AWQ come out as. No file has these blocks; they hold a file's numbers unchanged.

use super::q4::nibble;
use super::{BLOCK, dequantize, half_at};

/// Bytes of an Int4 block: scale `d` as f16, zero `z` as u16, both little-endian, then 16 bytes as in Q4_0.
pub const INT4_BYTES: usize = 20;

/// Dequantizes Int4: `x = d · (q − z)`, with `q` from 0 to 15.
///
/// # Panics
/// Where `bytes.len()` is no multiple of [`INT4_BYTES`].
pub fn dequantize_int4(bytes: &[u8], out: &mut Vec<f32>) {
    dequantize(bytes, out, |block: &[u8; INT4_BYTES]| {
        let d = half_at(block, 0);
        let zero = f32::from(u16::from_le_bytes([block[2], block[3]]));
        std::array::from_fn::<f32, BLOCK, _>(|i| (f32::from(nibble(&block[4..], i)) - zero) * d)
    });
}
