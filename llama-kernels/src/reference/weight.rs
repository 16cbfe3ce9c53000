//! Weights as files hold them, read as plain f32: what the weight slots of the kernels must agree with.

use crate::{WeightFormat, padded};
use half::f16;

/// Appends rows of `columns` values, padded, to `out`.
///
/// `bytes` is rows in the file's layout: f32 and f16 little-endian; Q8_0 blocks of 34 bytes (f16
/// scale, 32 signed bytes), Q4_0 blocks of 18 bytes (f16 scale, 16 bytes: the low nibbles are values
/// 0 to 15, the high ones 16 to 31, each less 8), as in ggml.
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
        }
        out.resize(end, 0.0);
    }
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
