//! Causal attention with grouped queries over the paged KV cache.

use super::kv::{CacheRow, Heads, PagedKv};
use super::{rows, rows_mut};

/// `out = softmax(q · k / sqrt(head_dim)) · v` over the positions `0 ..= position` of each row's sequence.
///
/// `qkv` is `[rows.len(), qkv_columns]` padded, of which the rotated q part is read; `out` is
/// `[rows.len(), n_heads · head_dim]` padded.
///
/// # Panics
/// If a row's page table is shorter than its position asks for.
pub fn attention(
    qkv: &[f32],
    heads: Heads,
    cache_rows: &[CacheRow<'_>],
    cache: &PagedKv,
    out: &mut [f32],
) {
    let queries = rows(qkv, heads.qkv_columns());
    let outputs = rows_mut(out, heads.columns());
    for ((q, out), row) in queries.zip(outputs).zip(cache_rows) {
        let of_heads = q.chunks_exact(heads.head_dim);
        for (head, (q, out)) in of_heads
            .zip(out.chunks_exact_mut(heads.head_dim))
            .enumerate()
        {
            attend(q, heads.kv_head(head), row, cache, out);
        }
    }
}

fn attend(q: &[f32], kv_head: usize, row: &CacheRow<'_>, cache: &PagedKv, out: &mut [f32]) {
    let at = |position| cache.read(row.pages, position, kv_head);
    let scale = 1.0 / (q.len() as f64).sqrt();
    let scores: Vec<f64> = (0..=row.position)
        .map(|position| dot(q, at(position).0) * scale)
        .collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    for (i, out) in out.iter_mut().enumerate() {
        let weighted = |(position, w): (usize, &f64)| w * f64::from(at(position).1[i]);
        *out = (weights.iter().enumerate().map(weighted).sum::<f64>() / total) as f32;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{CacheRow, Heads, PagedKv, attention};
    use crate::KvFormat;

    const HEADS: Heads = Heads {
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 2,
    };

    /// Two positions: keys (1, 0) and (0, 1), values (1, 2) and (3, 6); a third behind the last row.
    fn cache(pages: &[u32]) -> PagedKv {
        let mut cache = PagedKv::new(HEADS, KvFormat::F32, 2, 16);
        let written = [
            ([1.0, 0.0], [1.0, 2.0]),
            ([0.0, 1.0], [3.0, 6.0]),
            ([9.0, 9.0], [99.0, 99.0]),
        ];
        for (position, (key, value)) in written.iter().enumerate() {
            cache.write(CacheRow { position, pages }, 0, key, value);
        }
        cache
    }

    #[test]
    fn the_first_position_sees_itself_alone() {
        let (pages, qkv) = ([1], matrix(&[&[5.0, -3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]));
        let row = CacheRow {
            position: 0,
            pages: &pages,
        };
        let mut out = vec![0.0; 32];
        attention(&qkv, HEADS, &[row], &cache(&pages), &mut out);
        assert_eq!(out[..4], [1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn scores_weigh_the_values_of_the_past() {
        let ln3 = (2f64.sqrt() * 3f64.ln()) as f32;
        let (pages, qkv) = ([0], matrix(&[&[0.0, ln3, 7.0, 7.0, 0.0, 0.0, 0.0, 0.0]]));
        let row = CacheRow {
            position: 1,
            pages: &pages,
        };
        let mut out = vec![0.0; 32];
        attention(&qkv, HEADS, &[row], &cache(&pages), &mut out);
        // Head 0 weighs 1 : 3, head 1 weighs 1 : 1. ln3 was rounded to f32, so to one part in 10⁶.
        let expected = [2.5, 5.0, 2.0, 4.0];
        for (out, expected) in out.iter().zip(expected) {
            assert!((out - expected).abs() < 5e-6, "{out} for {expected}");
        }
    }
}
