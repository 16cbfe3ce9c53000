//! Matrix × matrix, the work of a prompt. It means what [`matvec`](super::matvec) means: the GPU's tiles are
//! an arrangement of the same sums.

use super::matvec::{Epilogue, matvec};

/// `out = x Wᵀ (+ bias) (+ out)`, with the shapes of [`matvec`](super::matvec).
///
/// # Panics
/// As [`matvec`](super::matvec).
pub fn matmul(
    weight: &[f32],
    columns: usize,
    x: &[f32],
    epilogue: Epilogue<'_>,
    out_columns: usize,
    out: &mut [f32],
) {
    matvec(weight, columns, x, epilogue, out_columns, out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{Epilogue, matmul};

    #[test]
    fn the_identity_returns_its_argument() {
        let identity = matrix(&[&[1.0, 0.0], &[0.0, 1.0]]);
        let x = matrix(&[&[1.5, -2.0], &[3.0, 4.0], &[5.0, 6.0]]);
        let mut out = vec![0.0; x.len()];
        matmul(&identity, 2, &x, Epilogue::default(), 2, &mut out);
        assert_eq!(out, x);
    }
}
