//! Weights as files hold them, read as plain f32: what the weight slots of the kernels must agree with.

use crate::{WeightFormat, padded};
use half::f16;

/// Appends rows of `columns` values, padded, to `out`.
///
/// `bytes` is rows in the file's layout: f32 and f16 little-endian, else blocks as [`WeightFormat::file_block_bytes`] says, in
/// ggml's order. Scales are multiplied out before quants, in f32.
///
/// # Panics
/// If `bytes` is not a whole number of rows.
pub fn decode_rows(format: WeightFormat, columns: usize, bytes: &[u8], out: &mut Vec<f32>) {
    let row_bytes = format.file_row_bytes(columns);
    assert!(
        bytes.len().is_multiple_of(row_bytes),
        "{} bytes are not whole rows of {row_bytes}",
        bytes.len()
    );
    for row in bytes.chunks_exact(row_bytes) {
        let end = out.len() + padded(columns);
        match format {
            WeightFormat::F32 => out.extend(
                row.chunks_exact(4)
                    .map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])),
            ),
            WeightFormat::F16 => out.extend(row.chunks_exact(2).map(half)),
            WeightFormat::Q8_0 => row.chunks_exact(34).for_each(|block| {
                let scale = half(block);
                out.extend(block[2..].iter().map(|&q| f32::from(q as i8) * scale));
            }),
            WeightFormat::Q4_0 => row.chunks_exact(18).for_each(|block| {
                let scale = half(block);
                let value = |nibble: u8| (f32::from(nibble) - 8.0) * scale;
                out.extend(block[2..].iter().map(|&q| value(q & 15)));
                out.extend(block[2..].iter().map(|&q| value(q >> 4)));
            }),
            WeightFormat::Int4 => row.chunks_exact(20).for_each(|block| {
                let (scale, zero) = (half(block), u16::from_le_bytes([block[2], block[3]]));
                let value = |nibble: u8| (f32::from(nibble) - f32::from(zero)) * scale;
                out.extend(block[4..].iter().map(|&q| value(q & 15)));
                out.extend(block[4..].iter().map(|&q| value(q >> 4)));
            }),
            WeightFormat::Q5_1 => row.chunks_exact(24).for_each(|block| {
                let (scale, least) = (half(block), half(&block[2..]));
                out.extend((0..32).map(|i| {
                    let fifth = block[4 + i / 8] >> (i % 8) & 1;
                    let quant = block[8 + i % 16] >> (i / 16 * 4) & 15 | fifth << 4;
                    f32::from(quant) * scale + least
                }));
            }),
            WeightFormat::Q2K => row.chunks_exact(84).for_each(|block| {
                let (d, m) = (half(&block[80..]), half(&block[82..]));
                out.extend((0..256).map(|i| {
                    let (s, l) = (block[i / 16] & 15, block[i / 16] >> 4);
                    let quant = block[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
                    d * f32::from(s) * f32::from(quant) - m * f32::from(l)
                }));
            }),
            WeightFormat::Q4K => row.chunks_exact(144).for_each(|block| {
                out.extend((0..256).map(|i| {
                    let (scale, least) = group(block, i / 32);
                    scale * f32::from(nibble(&block[16..], i)) - least
                }));
            }),
            WeightFormat::Q5K => row.chunks_exact(176).for_each(|block| {
                out.extend((0..256).map(|i| {
                    let (scale, least) = group(block, i / 32);
                    let fifth = block[16 + i % 32] >> (i / 32) & 1;
                    scale * f32::from(nibble(&block[48..], i) | fifth << 4) - least
                }));
            }),
            WeightFormat::Q6K => row.chunks_exact(210).for_each(|block| {
                let d = half(&block[208..]);
                out.extend((0..256).map(|i| {
                    let (part, at) = (i / 32, i % 32);
                    let low = block[part / 4 * 64 + part % 2 * 32 + at] >> (part % 4 / 2 * 4) & 15;
                    let high = block[128 + part / 4 * 32 + at] >> (part % 4 * 2) & 3;
                    let s = block[192 + i / 16] as i8;
                    d * f32::from(s) * f32::from((low | high << 4) as i8 - 32)
                }));
            }),
        }
        out.resize(end, 0.0);
    }
}

/// `d · s` and `m · l` of a group of 32 in Q4_K and Q5_K, whose 6-bit numbers lie in bytes 4 to 15.
fn group(block: &[u8], group: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (s, l) = match group.checked_sub(4) {
        None => (packed[group] & 63, packed[group + 4] & 63),
        Some(upper) => (
            packed[group + 4] & 15 | packed[upper] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        ),
    };
    (half(block) * f32::from(s), half(&block[2..]) * f32::from(l))
}

/// Nibble `i` of 128 bytes of Q4_K and Q5_K, of which each 32 hold 64 columns, the first 32 of them low.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::decode_rows;
    use crate::WeightFormat;

    fn decoded(format: WeightFormat, columns: usize, bytes: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        decode_rows(format, columns, bytes, &mut out);
        out
    }

    #[test]
    fn plain_rows_are_padded_with_zeros() {
        let f32s: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let rows = decoded(WeightFormat::F32, 1, &f32s);
        assert_eq!((rows.len(), rows[0], rows[32]), (64, 1.5, -2.0));
        // f16: 0x3c00 is 1, 0xc000 is -2.
        let rows = decoded(WeightFormat::F16, 2, &[0x00, 0x3c, 0x00, 0xc0]);
        assert_eq!((rows.len(), &rows[..3]), (32, &[1.0, -2.0, 0.0][..]));
    }

    #[test]
    fn blocks_multiply_by_their_scale() {
        // Scale 0.5 (0x3800).
        let mut q8 = vec![0x00, 0x38];
        q8.extend((0..32).map(|i| (i as i8 - 16) as u8));
        let expected: Vec<f32> = (0..32).map(|i| (i as f32 - 16.0) * 0.5).collect();
        assert_eq!(decoded(WeightFormat::Q8_0, 32, &q8), expected);

        let mut q4 = vec![0x00, 0x38];
        q4.extend((0..16u8).map(|i| i | ((15 - i) << 4)));
        let rows = decoded(WeightFormat::Q4_0, 32, &q4);
        assert_eq!(
            (rows[0], rows[15], rows[16], rows[31]),
            (-4.0, 3.5, 3.5, -4.0)
        );
    }
}
