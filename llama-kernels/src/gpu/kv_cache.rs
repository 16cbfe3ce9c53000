//! Keys and values of one layer, in pages. Which sequence owns which page is the caller's business.

use wgpu::BufferUsages;

use super::{bind::Bind, device::Gpu, memory::Allocation};
use crate::{BLOCK, Error, KvFormat, kv_row};

/// Two buffers of `[page][kv head][position in page][kv_row(head_dim)]`, zeroed; WGSL names `kv_k` and `kv_v`.
#[derive(Debug)]
pub struct KvCache {
    k: Allocation,
    v: Allocation,
    format: KvFormat,
    pages: usize,
    page_size: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl KvCache {
    /// A cache of `pages` pages of `page_size` positions.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] and [`Error::OutOfMemory`], for each of the two buffers.
    pub fn new(
        gpu: &Gpu,
        label: &str,
        format: KvFormat,
        pages: usize,
        page_size: usize,
        n_kv_heads: usize,
        head_dim: usize,
    ) -> Result<Self, Error> {
        let row_bytes = format.row_bytes(head_dim);
        let bytes = [pages, page_size, n_kv_heads]
            .iter()
            .fold(row_bytes as u64, |bytes, n| bytes.saturating_mul(*n as u64));
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let plane = |name: &str| Allocation::new(gpu, &format!("{label} {name}"), bytes, usage);
        Ok(Self {
            k: plane("keys")?,
            v: plane("values")?,
            format,
            pages,
            page_size,
            n_kv_heads,
            head_dim,
        })
    }

    /// How elements are stored.
    pub fn format(&self) -> KvFormat {
        self.format
    }

    /// Pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Positions in a page.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Key and value heads.
    pub fn n_kv_heads(&self) -> usize {
        self.n_kv_heads
    }

    /// Elements of a head, without padding.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// The keys, to bind as `kv_k`.
    pub fn k_binding(&self) -> Bind<'_> {
        Bind::of(&self.k)
    }

    /// The values, to bind as `kv_v`.
    pub fn v_binding(&self) -> Bind<'_> {
        Bind::of(&self.v)
    }
}

impl Gpu {
    /// Waits for all submitted work and reads all keys and all values: rows of `kv_row(head_dim)`.
    ///
    /// # Errors
    /// Faults of the device.
    pub fn read_kv(&self, cache: &KvCache) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let row_bytes = cache.format.row_bytes(cache.head_dim);
        let rows = cache.pages * cache.n_kv_heads * cache.page_size;
        let bytes = (rows * row_bytes) as u64;
        let plane = |allocation: &Allocation| {
            let bytes = self.read(allocation.buffer(), 0..bytes)?;
            Ok(match cache.format {
                KvFormat::F32 => bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
                KvFormat::F16 => bytes
                    .chunks_exact(2)
                    .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
                    .collect(),
                KvFormat::Q8_0 => bytes
                    .chunks_exact(row_bytes)
                    .flat_map(|row| dequantized(row, cache.head_dim))
                    .collect(),
            })
        };
        Ok((plane(&cache.k)?, plane(&cache.v)?))
    }
}

/// A row of a cache in Q8_0 as f32.
fn dequantized(row: &[u8], head_dim: usize) -> impl Iterator<Item = f32> {
    let (quants, scales) = row.split_at(head_dim.next_multiple_of(BLOCK));
    let blocks = quants.chunks_exact(BLOCK).zip(scales.chunks_exact(2));
    let values = blocks.flat_map(|(quants, scale)| {
        let scale = half::f16::from_le_bytes([scale[0], scale[1]]).to_f32();
        quants.iter().map(move |&q| f32::from(q as i8) * scale)
    });
    values.take(kv_row(head_dim))
}
