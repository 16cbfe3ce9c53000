//! Gathering of columns: an input in the order in which a matrix has its columns.

use super::{rows, rows_mut};

/// `out[r][c] = x[r][order[c]]`; `x` and `out` are `[.., columns]` padded, with as many columns as `order` has.
///
/// # Panics
/// If a column of `order` is not in `x`.
pub fn gather_columns(x: &[f32], order: &[u32], out: &mut [f32]) {
    for (out, x) in rows_mut(out, order.len()).zip(rows(x, order.len())) {
        for (out, &column) in out.iter_mut().zip(order) {
            *out = x[column as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::gather_columns;

    #[test]
    fn columns_come_in_the_order_s_order() {
        let x = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
        let mut out = vec![0.0; 2 * 32];
        gather_columns(&x, &[2, 0, 1], &mut out);
        assert_eq!(out, matrix(&[&[3.0, 1.0, 2.0], &[6.0, 4.0, 5.0]]));
    }
}
