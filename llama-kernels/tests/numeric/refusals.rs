//! What operations refuse, with the whole sentence.

use crate::Check;
use crate::compare::equal;
use crate::inputs::{Random, step, step_row, tensor, weights};
use libtest_mimic::{Failed, Trial};
use llama_kernels::{
    Error, Gpu, GpuOptions, KvCache, KvFormat, WeightFormat, ops, reference::Heads,
};

pub(crate) fn trials(gpu: &Gpu, options: &GpuOptions, on: &str) -> Vec<Trial> {
    let checks: [(&str, Check); 3] = [
        ("columns that do not fit", columns),
        ("impossible heads", impossible_heads),
        ("more rows than a tensor holds", rows_over),
    ];
    let trial = |(name, check): (&str, Check)| {
        let gpu = gpu.clone();
        Trial::test(format!("{name} {on}"), move || check(&gpu))
    };
    let mut trials: Vec<Trial> = checks.into_iter().map(trial).collect();
    let options = options.clone();
    trials.push(Trial::test(
        format!("nothing allocated in a step {on}"),
        move || allocations(&Gpu::new(&options)?),
    ));
    trials
}

fn sentence<T>(result: Result<T, Error>) -> String {
    result
        .err()
        .map_or_else(|| "no error".to_string(), |error| error.to_string())
}

fn columns(gpu: &Gpu) -> Result<(), Failed> {
    let (weight, _) = weights(gpu, WeightFormat::F16, 5, 64, &mut Random(1))?;
    let (x, out) = (gpu.tensor("x", 2, 63)?, gpu.tensor("out", 2, 5)?);
    let options = ops::MatmulOptions::default();
    let (wide, narrow) = (gpu.tensor("wide", 2, 64)?, gpu.tensor("narrow", 1, 5)?);
    let biased = ops::MatmulOptions {
        bias: Some(&x),
        ..options
    };
    let found = [
        sentence(ops::Matmul::new(gpu, &weight, &x, &out, options)),
        sentence(ops::Matmul::new(gpu, &weight, &wide, &narrow, options)),
        sentence(ops::Matvec::new(gpu, &weight, &wide, &out, biased)),
        sentence(ops::RmsNorm::new(gpu, &x, &wide, &x, 1e-5)),
        sentence(ops::SwiGlu::new(gpu, &x, &out)),
        sentence(ops::Argmax::new(gpu, &x, &gpu.ids("chosen", 1)?)),
    ];
    let expected = [
        "matmul: columns of x: expected 64, found 63",
        "matmul: rows of out: expected at least 2, found 1",
        "matvec: columns of the bias: expected 5, found 63",
        "rms_norm: columns of scale: expected 63, found 64",
        "swiglu: columns of gate_up: expected 10, found 63",
        "argmax: rows of chosen: expected at least 2, found 1",
    ];
    equal("errors", &found, &expected.map(str::to_string))
}

fn impossible_heads(gpu: &Gpu) -> Result<(), Failed> {
    let heads = |n_heads, n_kv_heads, head_dim| Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    };
    let made = |heads: Heads, pages: usize| -> Result<String, Error> {
        let rows = [step_row(0, 0, true)];
        let angles = vec![0.0; heads.head_dim / 2 * 2];
        let step = step(gpu, &rows, &[&[0]], 16, heads.head_dim / 2, &angles)?;
        let cache = KvCache::new(
            gpu,
            "cache",
            KvFormat::F32,
            pages,
            16,
            heads.n_kv_heads.max(1),
            heads.head_dim.max(2),
        )?;
        let qkv = gpu.tensor("qkv", 1, heads.qkv_columns().max(1))?;
        let out = gpu.tensor("out", 1, heads.columns().max(1))?;
        let (rows, columns) = ops::Attention::partials(heads);
        let partials = gpu.tensor("partials", rows, columns)?;
        Ok(sentence(ops::Attention::new(
            gpu, &qkv, &step, &cache, heads, &partials, &out,
        )))
    };
    let found = [
        made(heads(4, 3, 8), 1)?,
        made(heads(4, 0, 8), 1)?,
        made(heads(2, 1, 7), 1)?,
        made(heads(1, 1, 258), 1)?,
        made(heads(1, 1, 8), 0)?,
    ];
    let expected = [
        "attention: key and value heads: expected a divisor of the 4 query heads, found 3",
        "attention: key and value heads: expected a divisor of the 4 query heads, found 0",
        "attention: values per head: expected an even number above 0, found 7",
        "attention: values per head: expected at most 256, found 258",
        "attention: pages of the cache: expected at least 1, found 0",
    ];
    equal("errors", &found, &expected.map(str::to_string))
}

fn rows_over(gpu: &Gpu) -> Result<(), Failed> {
    let (x, _) = tensor(gpu, "x", 64, &Random(3).values(2 * 64))?;
    let (scale, _) = tensor(gpu, "scale", 64, &Random(4).values(64))?;
    let out = gpu.tensor("out", 2, 64)?;
    let norm = ops::RmsNorm::new(gpu, &x, &scale, &out, 1e-5)?;
    let mut recorder = gpu.recorder();
    norm.record(&mut recorder, 3);
    let found = sentence(gpu.submit(recorder));
    let expected = "rms_norm: rows: expected at most 2, found 3".to_string();
    equal("errors", &[found], &[expected])
}

/// Recording and submitting a step allocates nothing on the GPU, which no other trial uses.
fn allocations(gpu: &Gpu) -> Result<(), Failed> {
    let mut random = Random(5);
    let (weight, _) = weights(gpu, WeightFormat::Q8_0, 70, 64, &mut random)?;
    let (x, _) = tensor(gpu, "x", 64, &random.values(9 * 64))?;
    let (scale, _) = tensor(gpu, "scale", 64, &random.values(64))?;
    let (normed, out) = (gpu.tensor("normed", 9, 64)?, gpu.tensor("out", 9, 70)?);
    let norm = ops::RmsNorm::new(gpu, &x, &scale, &normed, 1e-5)?;
    let product = ops::Matmul::new(gpu, &weight, &normed, &out, ops::MatmulOptions::default())?;
    let before = (gpu.allocation_count(), gpu.allocated_bytes());
    for rows in [1, 9, 4] {
        let mut recorder = gpu.recorder();
        norm.record(&mut recorder, rows);
        product.record(&mut recorder, rows);
        gpu.submit(recorder)?;
    }
    gpu.wait()?;
    let after = (gpu.allocation_count(), gpu.allocated_bytes());
    equal("allocations and bytes", &[after], &[before])
}
