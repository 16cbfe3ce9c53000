//! RoPE and the write to the cache.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, pad, step, tensor, unpad};
use libtest_mimic::Failed;
use llama_kernels::{
    Gpu, KvCache, KvFormat, StepRow, TokenSource, ops,
    reference::{self, CacheRow, Heads, PagedKv},
};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for format in KvFormat::ALL {
        // head_dim 24, 80 and 128; 6 leaves padding in the cache; one kv head for all; one of each.
        for (n_heads, n_kv_heads, head_dim) in
            [(4, 2, 24), (3, 3, 80), (8, 1, 6), (1, 1, 2), (2, 2, 128)]
        {
            let heads = Heads {
                n_heads,
                n_kv_heads,
                head_dim,
            };
            check_heads(gpu, heads, format)?;
        }
    }
    Ok(())
}

fn check_heads(gpu: &Gpu, heads: Heads, format: KvFormat) -> Result<(), Failed> {
    let mut random = Random(heads.qkv_columns() as u64);
    let (pages, page_size) = (7, 16);
    let order = random.order(pages);
    let tables = [&order[..3], &order[3..4]];
    // Two sequences, in no order; ends of pages.
    let places = [(0, 15), (1, 3), (0, 16), (0, 40), (1, 0), (0, 47), (1, 15)];
    let rows = places.map(|(sequence, position)| StepRow {
        token: TokenSource::Id(0),
        position,
        sequence,
        wants_logits: false,
        draw: 0,
    });
    let angles: Vec<f32> = (0..rows.len() * heads.head_dim / 2)
        .flat_map(|_| <[f32; 2]>::from((3.2 * random.value()).sin_cos()))
        .collect();
    let step = step(gpu, &rows, &tables, page_size, heads.head_dim / 2, &angles)?;
    let columns = heads.qkv_columns();
    let (qkv, mut expected) = tensor(gpu, "qkv", columns, &random.values(rows.len() * columns))?;
    let cache = KvCache::new(
        gpu,
        "cache",
        format,
        pages,
        page_size,
        heads.n_kv_heads,
        heads.head_dim,
    )?;
    let op = ops::Rope::new(gpu, &qkv, &step, &cache, heads)?;
    let mut recorder = gpu.recorder();
    op.record(&mut recorder, rows.len());
    gpu.submit(recorder)?;

    let cache_rows = places.map(|(sequence, position)| CacheRow {
        position: position as usize,
        pages: tables[sequence as usize],
    });
    let mut expected_cache = PagedKv::new(heads, format, pages, page_size);
    reference::rope(
        &mut expected,
        heads,
        &cache_rows,
        &angles,
        &mut expected_cache,
    );

    // Two products and a sum of values below 1: three roundings. The k and v parts must stand as they were.
    let what = format!("rope of {heads:?} {}", format.name());
    let found = gpu.read_padded(&qkv, 0..rows.len())?;
    let unchanged = pad(&unpad(&expected, columns), columns);
    close(&what, &found, &unchanged, |_| 3.0 * EPSILON)?;
    let (rounding, of_values) = match format {
        KvFormat::F32 => (0.0, 0.0),
        // The last bit may round the other way: 2⁻¹¹ of values below 2.
        KvFormat::F16 => (1.0 / 1024.0, 0.0),
        // A quant may round the other way, a step of a 127th of values below √2, and so may the scale's f16.
        KvFormat::Q8_0 => (1.42 / 127.0 + 1.42 / 1024.0, 1.0 / 127.0 + 1.0 / 1024.0),
    };
    let (keys, values) = gpu.read_kv(&cache)?;
    close(&what, &keys, expected_cache.keys(), |_| {
        3.0 * EPSILON + rounding
    })?;
    close(&what, &values, expected_cache.values(), |_| of_values)
}
