//! Token embedding: one row of a table per token. Tokens chosen on the GPU are resolved before this.

use super::{rows, rows_mut};
use crate::padded;

/// `out[r] = table[tokens[r]]`; a token with no row in the table gives a row of zeros.
///
/// `table` is `[vocabulary, columns]`, `out` is `[tokens.len(), columns]`, both padded.
///
/// # Panics
/// If `out` has fewer rows than there are tokens.
pub fn embed(table: &[f32], columns: usize, tokens: &[u32], out: &mut [f32]) {
    assert!(out.len() >= tokens.len() * padded(columns), "out is short");
    for (row, &token) in rows_mut(out, columns).zip(tokens) {
        match rows(table, columns).nth(token as usize) {
            Some(entry) => row.copy_from_slice(entry),
            None => row.fill(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::embed;

    #[test]
    fn a_token_takes_its_row_and_an_unknown_one_takes_zeros() {
        let table = matrix(&[&[1.0, 2.0], &[3.0, 4.0], &[5.0, 6.0]]);
        let mut out = vec![9.0; 3 * 32];
        embed(&table, 2, &[2, 3, 0], &mut out);
        assert_eq!(out[..2], [5.0, 6.0]);
        assert_eq!(out[32..34], [0.0, 0.0]);
        assert_eq!(out[64..66], [1.0, 2.0]);
    }
}
