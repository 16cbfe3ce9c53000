//! One scalar CPU function per kernel, with the kernel's name: the definition of what that kernel means.
//!
//! Written to be read and to be right, never to be fast: sums run in f64, so that a test that
//! compares a GPU kernel with its reference measures the kernel's rounding alone. Nothing here
//! touches a GPU; the module is there with `--no-default-features` too.
//!
//! Matrices are row-major; a row of `columns` values occupies [`padded`]`(columns)`
//! places, and the places behind its end are zero, as on the GPU.

mod argmax;
mod attention;
mod attention_combine;
mod attention_tile;
mod embed;
mod fill;
mod gather_columns;
mod gather_rows;
mod kv;
mod matmul;
mod matmul_combine;
mod matvec;
mod multiply_peak;
mod read_sum;
mod rms_norm;
mod rope;
mod sample;
mod swiglu;
mod weight;

pub use argmax::argmax;
pub use attention::attention;
pub use attention_combine::attention_combine;
pub use attention_tile::attention_tile;
pub use embed::embed;
pub use fill::fill;
#[cfg(feature = "wgpu")]
pub(crate) use fill::{Noise, scale_seed};
pub use gather_columns::gather_columns;
pub use gather_rows::gather_rows;
pub use kv::{CacheRow, Heads, PagedKv};
pub use matmul::matmul;
pub use matmul_combine::matmul_combine;
pub use matvec::{Epilogue, matvec};
pub use multiply_peak::multiply_peak;
pub use read_sum::read_sum;
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use sample::{DrawRules, place_of, sample};
pub use swiglu::swiglu;
pub use weight::decode_rows;

use crate::padded;

/// The rows of a padded matrix, each cut to its `columns` values.
fn rows(matrix: &[f32], columns: usize) -> impl Iterator<Item = &[f32]> {
    matrix
        .chunks_exact(padded(columns))
        .map(move |row| &row[..columns])
}

/// As [`rows`], to be written.
fn rows_mut(matrix: &mut [f32], columns: usize) -> impl Iterator<Item = &mut [f32]> {
    matrix
        .chunks_exact_mut(padded(columns))
        .map(move |row| &mut row[..columns])
}

#[cfg(test)]
mod tests {
    use super::{rows, rows_mut};

    /// A padded matrix of the given rows.
    pub(super) fn matrix(rows: &[&[f32]]) -> Vec<f32> {
        let columns = rows[0].len();
        let mut out = vec![0.0; rows.len() * crate::padded(columns)];
        for (to, from) in rows_mut(&mut out, columns).zip(rows) {
            to.copy_from_slice(from);
        }
        out
    }

    #[test]
    fn rows_leave_the_padding_out() {
        let padded = matrix(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
        assert_eq!(padded.len(), 64);
        let back: Vec<&[f32]> = rows(&padded, 3).collect();
        assert_eq!(back, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    }
}
