//! Attention over the paged cache.

use crate::compare::close;
use crate::inputs::{Random, step, tensor};
use libtest_mimic::Failed;
use llama_kernels::{
    Gpu, KvCache, KvFormat, StepRow, TokenSource, ops, padded,
    reference::{self, CacheRow, Heads, PagedKv},
};

/// Which kernel attends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum By {
    Query,
    Tile,
}

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    check_by(gpu, By::Query)
}

/// The kernel that `gpu` prefers, on caches of its format.
pub(crate) fn check_by(gpu: &Gpu, by: By) -> Result<(), Failed> {
    let kernel = match by {
        By::Query => "attention",
        By::Tile => "attention_tile",
    };
    let preferred = gpu.select(kernel, &[])?.slot("kv");
    let format = (KvFormat::ALL.into_iter()).find(|format| Some(format.name()) == preferred);
    let format = format.ok_or_else(|| format!("{kernel} has no format {preferred:?}"))?;
    // Heads, page size, and the positions that each sequence holds: under, at and over blocks of 4, 32 and 64, and
    // of pages; more query heads to a key head than a tile has, and numbers that no tile is a multiple of.
    let cases: [(Heads, usize, &[usize]); 9] = [
        (heads(4, 2, 24), 16, &[1, 37, 4]),
        (heads(3, 3, 80), 16, &[65, 64]),
        (heads(8, 1, 6), 32, &[129]),
        (heads(1, 1, 2), 16, &[5]),
        (heads(2, 1, 128), 128, &[200]),
        (heads(2, 2, 256), 16, &[66]),
        (heads(2, 2, 64), 16, &[31, 32, 33, 97]),
        (heads(6, 2, 48), 16, &[17, 70]),
        (heads(20, 1, 16), 16, &[40]),
    ];
    for (heads, page_size, lengths) in cases {
        check_heads(gpu, by, heads, format, page_size, lengths)?;
    }
    Ok(())
}

fn heads(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Heads {
    Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    }
}

/// Fills a cache through the rope kernel without turning, then attends from every fifth position and the last, with
/// the positions in one part, in two and in four: most parts of the short rows are then empty.
fn check_heads(
    gpu: &Gpu,
    by: By,
    heads: Heads,
    format: KvFormat,
    page_size: usize,
    lengths: &[usize],
) -> Result<(), Failed> {
    let mut random = Random((heads.qkv_columns() * page_size) as u64);
    let pages_of: Vec<usize> = lengths
        .iter()
        .map(|length| length.div_ceil(page_size))
        .collect();
    let pages = pages_of.iter().sum::<usize>() + 1;
    let order = random.order(pages);
    let mut rest = &order[..];
    let mut tables = Vec::new();
    for count in pages_of {
        let (table, others) = rest.split_at(count);
        tables.push(table);
        rest = others;
    }
    let places = |every: usize| {
        let of = move |(sequence, &length): (usize, &usize)| {
            (0..length)
                .filter(move |position| position % every == 0 || position + 1 == length)
                .map(move |position| (sequence, position))
        };
        lengths
            .iter()
            .enumerate()
            .flat_map(of)
            .collect::<Vec<(usize, usize)>>()
    };
    let cache_rows = |places: &[(usize, usize)]| -> Vec<CacheRow<'_>> {
        let row = |&(sequence, position): &(usize, usize)| CacheRow {
            position,
            pages: tables[sequence],
        };
        places.iter().map(row).collect()
    };

    // Keys up to 3, so that some softmaxes have one heavy position and some have none.
    let columns = heads.qkv_columns();
    let all = places(1);
    let values: Vec<f32> = random
        .values(all.len() * columns)
        .iter()
        .map(|v| 3.0 * v)
        .collect();
    let (qkv, _) = tensor(gpu, "keys", columns, &values)?;
    let angles = [1.0, 0.0].repeat(all.len() * heads.head_dim / 2);
    let filling = step(
        gpu,
        &step_rows(&all),
        &tables,
        page_size,
        heads.head_dim / 2,
        &angles,
    )?;
    let cache = KvCache::new(
        gpu,
        "cache",
        format,
        pages,
        page_size,
        heads.n_kv_heads,
        heads.head_dim,
    )?;
    let rope = ops::Rope::new(gpu, &qkv, &filling, &cache, heads)?;

    let mut asked = places(5);
    if by == By::Tile && lengths.len() == 2 {
        // The rows of a tile are then of different sequences.
        asked.sort_by_key(|&(sequence, position)| (position, sequence));
    }
    let (queries, reference_queries) = tensor(
        gpu,
        "queries",
        columns,
        &random.values(asked.len() * columns),
    )?;
    let angles = [1.0, 0.0].repeat(asked.len() * heads.head_dim / 2);
    let asking = step(
        gpu,
        &step_rows(&asked),
        &tables,
        page_size,
        heads.head_dim / 2,
        &angles,
    )?;
    let out = gpu.tensor("out", asked.len(), heads.columns())?;
    let partials = gpu.tensor(
        "partials",
        4 * asked.len(),
        ops::Attention::partials(heads).1,
    )?;
    let single = ops::Attention::new(gpu, &queries, &asking, &cache, heads, &partials, &out)?;
    let tile = ops::AttentionTile::new(gpu, &queries, &asking, &cache, heads, &partials, &out)?;
    let combine = ops::AttentionCombine::new(gpu, &partials, heads, &out)?;
    let mut recorder = gpu.recorder();
    rope.record(&mut recorder, all.len());
    gpu.submit(recorder)?;

    // What the cache holds is rope's trial; here it is taken as it is.
    let (keys, values) = gpu.read_kv(&cache)?;
    let reference_cache = PagedKv::holding(heads, format, page_size, keys, values);
    let mut expected = vec![0.0; asked.len() * padded(heads.columns())];
    let asked_rows = cache_rows(&asked);
    reference::attention(
        &reference_queries,
        heads,
        &asked_rows,
        &reference_cache,
        &mut expected,
    );

    for splits in [1, 2, 4] {
        let mut recorder = gpu.recorder();
        match by {
            By::Query => single.record_single(&mut recorder, asked.len(), splits),
            By::Tile => tile.record(&mut recorder, asked.len(), splits),
        }
        if splits > 1 {
            combine.record(&mut recorder, asked.len(), splits);
        }
        gpu.submit(recorder)?;
        // Scores below 3 · sqrt(256) = 48 err by a few units of 48 · 2⁻²⁴ = 3e-6, which exp passes on as a relative
        // error of the weights; values are below 3. Padding must be zero.
        let found = gpu.read_padded(&out, 0..asked.len())?;
        let what = format!(
            "attention of {heads:?} {} {lengths:?} in {splits}",
            format.name()
        );
        close(&what, &found, &expected, |_| 2e-5)?;
    }
    Ok(())
}

fn step_rows(places: &[(usize, usize)]) -> Vec<StepRow> {
    let row = |&(sequence, position): &(usize, usize)| StepRow {
        token: TokenSource::Id(0),
        position: position as u32,
        sequence: sequence as u32,
        wants_logits: false,
        draw: 0,
    };
    places.iter().map(row).collect()
}
