//! Greedy choice: the index of a row's largest value, with its odd cases defined.

use super::rows;
use crate::NO_TOKEN;

/// The index of the largest of each row's `columns` values; of equal ones the lowest index, and
/// −0 equals +0.
///
/// A row with a NaN or a +∞, or with nothing above −∞, has no largest number: its answer is
/// [`NO_TOKEN`], so that a forward pass gone wrong is seen and not sampled from.
///
/// `logits` is `[rows, columns]` padded; the padding is not looked at.
pub fn argmax(logits: &[f32], columns: usize) -> Vec<u32> {
    rows(logits, columns).map(argmax_of_row).collect()
}

fn argmax_of_row(row: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, NO_TOKEN);
    for (index, &value) in (0..).zip(row) {
        if value.is_nan() || value == f32::INFINITY {
            return NO_TOKEN;
        }
        if value > best.0 {
            best = (value, index);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{NO_TOKEN, argmax};

    const INF: f32 = f32::INFINITY;

    #[test]
    fn the_lowest_of_equal_indices_wins() {
        let logits = matrix(&[
            &[-3.0, 2.0, 1.0, 2.0],
            &[-5.0, -4.0, -4.0, -6.0],
            &[-0.0, 0.0, -1.0, -INF],
            &[-INF, -INF, f32::MIN, -INF],
        ]);
        assert_eq!(argmax(&logits, 4), [1, 1, 0, 2]);
    }

    #[test]
    fn nan_infinity_and_all_minus_infinity_choose_nothing() {
        let logits = matrix(&[
            &[1.0, f32::NAN, 2.0],
            &[-INF, INF, 0.0],
            &[-INF, -INF, -INF],
        ]);
        assert_eq!(argmax(&logits, 3), [NO_TOKEN; 3]);
    }
}
