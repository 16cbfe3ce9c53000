//! Gathering: the rows whose logits are wanted, packed together before the output matrix.

use super::rows_mut;
use crate::padded;

/// `out[i] = x[wanted[i]]`; `x` and `out` are `[.., columns]` padded.
///
/// # Panics
/// If a wanted row is not in `x`.
pub fn gather_rows(x: &[f32], columns: usize, wanted: &[u32], out: &mut [f32]) {
    for (out, &row) in rows_mut(out, columns).zip(wanted) {
        let start = row as usize * padded(columns);
        out.copy_from_slice(&x[start..start + columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::gather_rows;

    #[test]
    fn rows_come_in_the_wanted_order() {
        let x = matrix(&[&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]]);
        let mut out = vec![0.0; 2 * 32];
        gather_rows(&x, 2, &[2, 0], &mut out);
        assert_eq!(out, matrix(&[&[5.0, 6.0], &[1.0, 2.0]]));
    }
}
