//! Attention by tiles of queries. It means what [`attention`](super::attention) means: a tile is an arrangement of
//! the same sums.

use super::attention::attention;
use super::kv::{CacheRow, Heads, PagedKv};

/// As [`attention`](super::attention).
///
/// # Panics
/// As [`attention`](super::attention).
pub fn attention_tile(
    qkv: &[f32],
    heads: Heads,
    cache_rows: &[CacheRow<'_>],
    cache: &PagedKv,
    out: &mut [f32],
) {
    attention(qkv, heads, cache_rows, cache, out);
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{CacheRow, Heads, PagedKv, attention_tile};
    use crate::KvFormat;

    #[test]
    fn rows_of_one_tile_see_their_own_past_only() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 2,
        };
        let mut cache = PagedKv::new(heads, KvFormat::F32, 1, 16);
        let row = |position| CacheRow {
            position,
            pages: &[0],
        };
        cache.write(row(0), 0, &[0.0, 0.0], &[1.0, 2.0]);
        cache.write(row(1), 0, &[0.0, 0.0], &[3.0, 4.0]);
        let qkv = matrix(&[&[1.0; 6], &[1.0; 6]]);
        let mut out = vec![0.0; 64];
        attention_tile(&qkv, heads, &[row(0), row(1)], &cache, &mut out);
        assert_eq!(
            (&out[..2], &out[32..34]),
            (&[1.0, 2.0][..], &[2.0, 3.0][..])
        );
    }
}
