//! The parts of attention over splits of the positions, joined.

use super::{kv::Heads, rows_mut};
use crate::kv_row;

/// `out = Σ_s exp(m_s − m) · v_s / Σ_s exp(m_s − m) · t_s` for each query, `m = max_s m_s`.
///
/// `partials` is `[rows, n_heads, splits, 4 + kv_row(head_dim)]`: the largest score `m_s`, `t_s = Σ exp(score − m_s)`,
/// two places without meaning, then `v_s = Σ exp(score − m_s) · value`. `out` is `[rows, n_heads · head_dim]` padded.
///
/// # Panics
/// If `partials` is too short.
pub fn attention_combine(partials: &[f32], heads: Heads, splits: usize, out: &mut [f32]) {
    let part_length = 4 + kv_row(heads.head_dim);
    let queries = partials.chunks_exact(splits * part_length);
    let outputs = rows_mut(out, heads.columns())
        .flat_map(|row| row.chunks_exact_mut(heads.head_dim).collect::<Vec<_>>());
    for (parts, out) in queries.zip(outputs) {
        let parts: Vec<&[f32]> = parts.chunks_exact(part_length).collect();
        let largest = parts.iter().map(|part| part[0]).fold(f32::MIN, f32::max);
        let weight = |part: &[f32]| (f64::from(part[0]) - f64::from(largest)).exp();
        let sum = |i: usize| -> f64 {
            let weighted = |part: &&[f32]| weight(part) * f64::from(part[i]);
            parts.iter().map(weighted).sum()
        };
        let total = sum(1);
        for (i, out) in out.iter_mut().enumerate() {
            *out = (sum(4 + i) / total) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Heads, attention_combine};

    #[test]
    fn parts_count_by_their_largest_score() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 2,
        };
        // exp(ln 3 − ln 3) = 1 against exp(0 − ln 3) = 1/3: totals 1 + 3/3 = 2, sums 4 + 6/3 and 1 + 3/3.
        let ln3 = 3f32.ln();
        let mut partials = vec![ln3, 1.0, 0.0, 0.0, 4.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        partials.extend([0.0, 3.0, 0.0, 0.0, 6.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let mut out = vec![0.0; 32];
        attention_combine(&partials, heads, 2, &mut out);
        assert!((out[0] - 3.0).abs() < 1e-6 && (out[1] - 1.0).abs() < 1e-6);
        assert!(out[2..].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn an_empty_part_counts_nothing() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 1,
        };
        let mut partials = vec![-50.0, 2.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        partials.extend([
            -3.0e38, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        ]);
        let mut out = vec![0.0; 32];
        attention_combine(&partials, heads, 2, &mut out);
        assert_eq!(out[0], 2.5);
    }
}
