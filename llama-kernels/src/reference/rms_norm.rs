//! RMSNorm (Zhang and Sennrich 2019), the only norm of the Llama family.

use super::{rows, rows_mut};

/// `out = x / sqrt(mean(x²) + eps) · weight`, row by row.
///
/// `x` and `out` are `[rows, columns]` padded, `weight` is `[columns]`.
///
/// # Panics
/// If `weight` is shorter than `columns`.
pub fn rms_norm(x: &[f32], columns: usize, weight: &[f32], eps: f32, out: &mut [f32]) {
    for (out, x) in rows_mut(out, columns).zip(rows(x, columns)) {
        let squares: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let scale = 1.0 / (squares / columns as f64 + f64::from(eps)).sqrt();
        for ((out, &x), &weight) in out.iter_mut().zip(x).zip(&weight[..columns]) {
            *out = (f64::from(x) * scale * f64::from(weight)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::rms_norm;

    #[test]
    fn three_and_four_have_a_mean_square_of_twelve_and_a_half() {
        let x = matrix(&[&[3.0, 4.0], &[0.0, 0.0]]);
        let mut out = vec![0.0; 64];
        rms_norm(&x, 2, &[1.0, 10.0], 0.0625, &mut out);
        let scale = 1.0 / 12.5625f64.sqrt();
        assert_eq!(
            out[..2],
            [(3.0 * scale) as f32, (4.0 * scale * 10.0) as f32]
        );
        // A row of zeros is kept from 0 / 0 by eps.
        assert_eq!(out[32..34], [0.0, 0.0]);
        assert!(out[2..32].iter().all(|&v| v == 0.0));
    }
}
