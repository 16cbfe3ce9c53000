//! Matrix × vector, the work of a decode step. The weights are dense here: see [`decode_rows`](super::decode_rows).

use super::{rows, rows_mut};

/// What is added to `W x` before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue<'a> {
    /// One value per output column, or none.
    pub bias: Option<&'a [f32]>,
    /// Whether the value that stands in `out` is kept and added to: the residual connection.
    pub accumulate: bool,
}

impl Epilogue<'_> {
    /// What column `i` becomes, given its sum and what stands there.
    pub(super) fn of(&self, i: usize, mut sum: f64, stands: f32) -> f32 {
        if let Some(bias) = self.bias {
            sum += f64::from(bias[i]);
        }
        if self.accumulate {
            sum += f64::from(stands);
        }
        sum as f32
    }
}

/// `out[r, i] = Σ_c weight[i, c] · x[r, c]  (+ bias[i])  (+ out[r, i])`.
///
/// `weight` is `[out_columns, columns]`, `x` is `[rows, columns]`, `out` is `[rows, out_columns]`,
/// all padded.
///
/// # Panics
/// If a slice is shorter than its shape.
pub fn matvec(
    weight: &[f32],
    columns: usize,
    x: &[f32],
    epilogue: Epilogue<'_>,
    out_columns: usize,
    out: &mut [f32],
) {
    for (x, out) in rows(x, columns).zip(rows_mut(out, out_columns)) {
        for (i, (weight, out)) in rows(weight, columns).zip(out).enumerate() {
            let product = |(&w, &x): (&f32, &f32)| f64::from(w) * f64::from(x);
            *out = epilogue.of(i, weight.iter().zip(x).map(product).sum(), *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{Epilogue, matvec};

    #[test]
    fn products_bias_and_residual_add_up() {
        let weight = matrix(&[&[1.0, 2.0, 3.0], &[-1.0, 0.5, 4.0]]);
        let x = matrix(&[&[10.0, 100.0, 1000.0], &[1.0, 1.0, 1.0]]);
        let mut out = matrix(&[&[0.25, 0.5], &[0.125, 0.0625]]);
        let plain = Epilogue::default();
        matvec(&weight, 3, &x, plain, 2, &mut out);
        assert_eq!(out[..2], [3210.0, 4040.0]);
        assert_eq!(out[32..34], [6.0, 3.5]);

        let both = Epilogue {
            bias: Some(&[0.5, -0.5]),
            accumulate: true,
        };
        matvec(&weight, 3, &x, both, 2, &mut out);
        assert_eq!(out[..2], [6420.5, 8079.5]);
        assert_eq!(out[32..34], [12.5, 6.5]);
        assert!(out[2..32].iter().all(|&v| v == 0.0));
    }
}
