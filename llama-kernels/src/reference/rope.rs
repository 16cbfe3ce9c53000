//! Rotary position embedding (Su et al. 2021) of adjacent values, as the paper and Meta's code have them, and the
//! write of k and v to the cache. Checkpoints in Hugging Face's half-split order have the rows of their query and key
//! matrices brought into this one when they are loaded; scores do not change, since both sides of the dot product do.
//!
//! Angles are given: their scaling (linear, dynamic, llama3) is a matter of the caller's table.

use super::kv::{CacheRow, Heads, PagedKv};
use super::rows_mut;

/// Rotates q in place; rotates k and writes it, with v as it is, to the cache.
///
/// With `(cos, sin)` of pair `i`:
/// `x'[2i] = x[2i] · cos − x[2i + 1] · sin` and `x'[2i + 1] = x[2i + 1] · cos + x[2i] · sin`.
///
/// `qkv` is `[rows.len(), qkv_columns]` padded; its k and v parts are left as they are. `angles` is
/// `[rows.len(), head_dim / 2, 2]`: cosine and sine.
///
/// # Panics
/// If `angles` is short, or a row has no page for its position.
pub fn rope(
    qkv: &mut [f32],
    heads: Heads,
    rows: &[CacheRow<'_>],
    angles: &[f32],
    cache: &mut PagedKv,
) {
    let (dim, row_angles) = (heads.head_dim, angles.chunks_exact(heads.head_dim));
    let joined = rows_mut(qkv, heads.qkv_columns());
    for ((joined, &row), angles) in joined.zip(rows).zip(row_angles) {
        let (q, kv) = joined.split_at_mut(heads.n_heads * dim);
        let (k, v) = kv.split_at(heads.n_kv_heads * dim);
        for head in q.chunks_exact_mut(dim) {
            let rotated = rotate(head, angles);
            head.copy_from_slice(&rotated);
        }
        for (kv_head, (k, v)) in k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate() {
            cache.write(row, kv_head, &rotate(k, angles), v);
        }
    }
}

fn rotate(head: &[f32], angles: &[f32]) -> Vec<f32> {
    let pairs = head.chunks_exact(2).zip(angles.chunks_exact(2));
    let turned = pairs.flat_map(|(pair, angle)| {
        let (a, b) = (f64::from(pair[0]), f64::from(pair[1]));
        let (cos, sin) = (f64::from(angle[0]), f64::from(angle[1]));
        [(a * cos - b * sin) as f32, (b * cos + a * sin) as f32]
    });
    turned.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{CacheRow, Heads, PagedKv, rope};
    use crate::KvFormat;

    #[test]
    fn a_quarter_turn_swaps_the_values_of_a_pair() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 4,
        };
        let mut qkv = matrix(&[&[
            1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0,
        ]]);
        let mut cache = PagedKv::new(heads, KvFormat::F32, 1, 16);
        let row = CacheRow {
            position: 3,
            pages: &[0],
        };
        // Pair 0 turns by 90 degrees, pair 1 by none.
        let angles = [0.0, 1.0, 1.0, 0.0];
        rope(&mut qkv, heads, &[row], &angles, &mut cache);
        assert_eq!(qkv[..4], [-2.0, 1.0, 3.0, 4.0]);
        assert_eq!(qkv[4..12], [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        let (key, value) = cache.read(&[0], 3, 0);
        assert_eq!(key, [-6.0, 5.0, 7.0, 8.0]);
        assert_eq!(value, [9.0, 10.0, 11.0, 12.0]);
    }
}
