//! The paged KV cache of one layer, and which row of a step belongs where in it.
//!
//! A page holds a fixed number of positions of one sequence; a sequence's page table says which
//! page holds its positions 0.., page_size.., and so on. Pages may lie anywhere and be shared.

use crate::{BLOCK, KvFormat, kv_row};

/// How many heads attention has and how long each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; a divisor of `n_heads`. Query head `h` reads head `h · n_kv_heads / n_heads`.
    pub n_kv_heads: usize,
    /// Values per head, even.
    pub head_dim: usize,
}

impl Heads {
    /// Columns of the joined rows `[q | k | v]`: `(n_heads + 2 · n_kv_heads) · head_dim`.
    pub fn qkv_columns(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    /// Columns of attention's output: `n_heads · head_dim`.
    pub fn columns(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// The key and value head that query head `head` reads.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.n_heads / self.n_kv_heads)
    }
}

/// Where one row of a step stands: its position and the page table of its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRow<'a> {
    /// Position in the sequence, from 0.
    pub position: usize,
    /// The sequence's pages; `pages[p / page_size]` holds position `p`.
    pub pages: &'a [u32],
}

/// The largest finite f16, at which an f16 cache saturates.
const LARGEST_HALF: f32 = 65_504.0;

/// Keys and values of one layer: two arrays `[page, kv head, slot, kv_row(head_dim)]`, in f32 whatever
/// the format, each value rounded as the format rounds. f16 saturates at ±65504, since an infinity would
/// make every later score NaN. Q8_0 takes the largest of 32 values / 127 as their scale, rounded to f16, and each
/// value as the nearest of −127 ..= 127 times that.
#[derive(Clone, Debug, PartialEq)]
pub struct PagedKv {
    heads: Heads,
    format: KvFormat,
    page_size: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl PagedKv {
    /// A cache of zeros.
    pub fn new(heads: Heads, format: KvFormat, pages: usize, page_size: usize) -> Self {
        let length = pages * heads.n_kv_heads * page_size * kv_row(heads.head_dim);
        PagedKv {
            heads,
            format,
            page_size,
            keys: vec![0.0; length],
            values: vec![0.0; length],
        }
    }

    /// Writes the key and the value of one head, rounded to the format.
    ///
    /// # Panics
    /// If the row's table has no page for its position, or the page is not in the cache.
    pub fn write(&mut self, row: CacheRow<'_>, kv_head: usize, key: &[f32], value: &[f32]) {
        let start = self.start(row.pages, row.position, kv_head);
        for (stored, written) in [(&mut self.keys, key), (&mut self.values, value)] {
            let blocks = stored[start..].chunks_mut(BLOCK).zip(written.chunks(BLOCK));
            for (stored, written) in blocks {
                round_block(self.format, written, stored);
            }
        }
    }

    /// The key and the value of one head at one position.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    pub fn read(&self, pages: &[u32], position: usize, kv_head: usize) -> (&[f32], &[f32]) {
        let start = self.start(pages, position, kv_head);
        let range = start..start + self.heads.head_dim;
        (&self.keys[range.clone()], &self.values[range])
    }

    /// All keys, padding included.
    pub fn keys(&self) -> &[f32] {
        &self.keys
    }

    /// All values, padding included.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// A cache that holds these keys and values, `[page, kv head, slot, kv_row(head_dim)]`, as they are.
    ///
    /// # Panics
    /// If there are not as many as of a cache of this shape.
    pub fn holding(
        heads: Heads,
        format: KvFormat,
        page_size: usize,
        keys: Vec<f32>,
        values: Vec<f32>,
    ) -> Self {
        let of_page = heads.n_kv_heads * page_size * kv_row(heads.head_dim);
        assert_eq!((keys.len(), keys.len() % of_page), (values.len(), 0));
        PagedKv {
            heads,
            format,
            page_size,
            keys,
            values,
        }
    }

    fn start(&self, pages: &[u32], position: usize, kv_head: usize) -> usize {
        let page = pages[position / self.page_size] as usize;
        let slot = position % self.page_size;
        ((page * self.heads.n_kv_heads + kv_head) * self.page_size + slot)
            * kv_row(self.heads.head_dim)
    }
}

/// At most 32 values as a format stores them.
fn round_block(format: KvFormat, values: &[f32], stored: &mut [f32]) {
    let half = |value: f32| half::f16::from_f32(value.clamp(-LARGEST_HALF, LARGEST_HALF)).to_f32();
    let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    let scale = half(largest / 127.0);
    for (stored, &value) in stored.iter_mut().zip(values) {
        *stored = match format {
            KvFormat::F32 => value,
            KvFormat::F16 => half(value),
            KvFormat::Q8_0 if scale == 0.0 => 0.0,
            KvFormat::Q8_0 => (value / scale).round_ties_even().clamp(-127.0, 127.0) * scale,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheRow, Heads, PagedKv};
    use crate::KvFormat;

    const HEADS: Heads = Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 2,
    };

    #[test]
    fn a_position_is_found_through_its_page_table() {
        let mut cache = PagedKv::new(HEADS, KvFormat::F32, 3, 16);
        let row = CacheRow {
            position: 17,
            pages: &[0, 2],
        };
        cache.write(row, 1, &[1.0, 2.0], &[3.0, 4.0]);
        assert_eq!(
            cache.read(&[1, 2], 17, 1),
            (&[1.0, 2.0][..], &[3.0, 4.0][..])
        );
        // Page 2, head 1, slot 1, rows of 8: ((2 · 2 + 1) · 16 + 1) · 8.
        assert_eq!(cache.keys()[648..650], [1.0, 2.0]);
        assert_eq!(cache.values().iter().filter(|&&v| v != 0.0).count(), 2);
    }

    #[test]
    fn a_q8_0_cache_keeps_whole_steps_of_its_blocks_scale() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 34,
        };
        let mut cache = PagedKv::new(heads, KvFormat::Q8_0, 1, 16);
        let row = CacheRow {
            position: 0,
            pages: &[0],
        };
        // Scale 127 / 127 of the first block, 63.5 / 127 of the second; ties go to even.
        let mut key = [0.0; 34];
        (key[0], key[1], key[31], key[32], key[33]) = (-127.0, 2.5, 3.4, 63.5, 0.2);
        cache.write(row, 0, &key, &[0.0; 34]);
        let (key, value) = cache.read(&[0], 0, 0);
        assert_eq!((key[0], key[1], key[31]), (-127.0, 2.0, 3.0));
        assert_eq!((key[32], key[33]), (63.5, 0.0));
        assert!(value.iter().all(|&v| v == 0.0));
    }

    #[test]
    fn an_f16_cache_rounds_what_it_stores() {
        let mut cache = PagedKv::new(HEADS, KvFormat::F16, 1, 16);
        let row = CacheRow {
            position: 0,
            pages: &[0],
        };
        // 2049 lies between the f16 values 2048 and 2050; the tie goes to the even one.
        cache.write(row, 0, &[2049.0, 1.0], &[0.1, 1.0]);
        let (key, value) = cache.read(&[0], 0, 0);
        assert_eq!(key, [2048.0, 1.0]);
        assert_eq!(value, [0.099_975_586, 1.0]);
        cache.write(row, 0, &[1e6, -1e6], &[65_519.0, 65_504.0]);
        let (key, value) = cache.read(&[0], 0, 0);
        assert_eq!(key, [65_504.0, -65_504.0]);
        assert_eq!(value, [65_504.0, 65_504.0]);
    }

    #[test]
    fn query_heads_share_key_heads_in_order() {
        let shared: Vec<usize> = (0..4).map(|head| HEADS.kv_head(head)).collect();
        assert_eq!(shared, [0, 0, 1, 1]);
        assert_eq!(HEADS.qkv_columns(), 16);
    }
}
