//! Norm, query, key and value projection, RoPE and the write to the cache, in as many dispatches as the number of rows
//! and the formats ask for.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, formats, step, tensor, weights, whole_blocks};
use libtest_mimic::Failed;
use llama_kernels::{
    Gpu, KvCache, KvFormat, StepRow, TokenSource, WeightFormat, ops, padded,
    reference::{self, CacheRow, Heads, PagedKv},
};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for format in formats(gpu) {
        // The cache's format that the fused kernel writes, and one that it does not.
        for kv in [KvFormat::F32, KvFormat::F16] {
            for (n_heads, n_kv_heads, head_dim) in
                [(4, 2, 24), (3, 3, 80), (8, 1, 6), (1, 1, 2), (2, 2, 128)]
            {
                let heads = Heads {
                    n_heads,
                    n_kv_heads,
                    head_dim,
                };
                check_heads(gpu, format, kv, heads)?;
            }
        }
    }
    Ok(())
}

fn check_heads(gpu: &Gpu, format: WeightFormat, kv: KvFormat, heads: Heads) -> Result<(), Failed> {
    let hidden = whole_blocks(format, 96);
    let mut random = Random(heads.qkv_columns() as u64);
    let (pages, page_size) = (5, 16);
    let order = random.order(pages);
    let tables = [&order[..3], &order[3..4]];
    let places = [(0, 16), (1, 3), (0, 47)];
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
    let (weight, decoded) = weights(gpu, format, columns, hidden, &mut random)?;
    let (x, x_padded) = tensor(gpu, "x", hidden, &random.values(rows.len() * hidden))?;
    let (scale, scale_values) = tensor(gpu, "scale", hidden, &random.values(hidden))?;
    let normed = gpu.tensor("normed", rows.len(), hidden)?;
    let qkv = gpu.tensor("qkv", rows.len(), columns)?;
    let cache = KvCache::new(
        gpu,
        "cache",
        kv,
        pages,
        page_size,
        heads.n_kv_heads,
        heads.head_dim,
    )?;
    let options = ops::MatmulOptions {
        norm: Some(ops::Norm {
            scale: &scale,
            eps: 1e-5,
            normed: &normed,
        }),
        ..ops::MatmulOptions::default()
    };
    let op = ops::HeadsMatmul::new(gpu, &weight, [&x, &qkv], options, &step, &cache, heads)?;
    let mut recorder = gpu.recorder();
    op.record(&mut recorder, rows.len());
    gpu.submit(recorder)?;

    let mut x_normed = vec![0.0; x_padded.len()];
    reference::rms_norm(&x_padded, hidden, &scale_values, 1e-5, &mut x_normed);
    let plain = reference::Epilogue::default();
    let mut expected = vec![0.0; rows.len() * padded(columns)];
    reference::matmul(&decoded, hidden, &x_normed, plain, columns, &mut expected);
    // No value is larger than this, nor than it after a turn by more than a factor of √2.
    let largest = expected
        .iter()
        .fold(1.0f32, |largest, v| largest.max(v.abs()));
    let cache_rows = places.map(|(sequence, position)| CacheRow {
        position: position as usize,
        pages: tables[sequence as usize],
    });
    let mut expected_cache = PagedKv::new(heads, kv, pages, page_size);
    reference::rope(
        &mut expected,
        heads,
        &cache_rows,
        &angles,
        &mut expected_cache,
    );

    // Products of a norm below 10 and a weight below 8, added up.
    let bound = EPSILON * hidden as f32 * 10.0 * 8.0;
    let what = format!("{heads:?} {} {}", format.name(), kv.name());
    let q_columns = heads.n_heads * heads.head_dim;
    let queries = |rows: &[f32], stride: usize| -> Vec<f32> {
        rows.chunks_exact(stride)
            .flat_map(|row| &row[..q_columns])
            .copied()
            .collect()
    };
    let found = gpu.read_padded(&qkv, 0..rows.len())?;
    let found = queries(&found, qkv.stride());
    close(&what, &found, &queries(&expected, padded(columns)), |_| {
        bound
    })?;
    // In f16 the last bit may round the other way: 2⁻¹⁰ of the value.
    let rounding = if kv == KvFormat::F16 {
        largest / 512.0
    } else {
        0.0
    };
    let (keys, values) = gpu.read_kv(&cache)?;
    close(&what, &keys, expected_cache.keys(), |_| bound + rounding)?;
    close(&what, &values, expected_cache.values(), |_| {
        bound + rounding
    })
}
