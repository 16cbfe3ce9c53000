//! Every operation on the best adapter, at the sizes of a model of about a billion parameters.
//!
//! criterion prints bytes per second where a kernel is bound by memory (weights, cache and activations it must
//! touch), elements per second where by arithmetic (one element is one floating-point operation). A time
//! includes one submit and one wait, so small kernels show the launch. Without an adapter nothing is measured.

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use llama_kernels::{
    Error, Gpu, GpuOptions, KvCache, KvFormat, Recorder, StepBuffer, StepLayout, StepRow, Tensor,
    TokenSource, WeightFormat, WeightMatrix, ops, reference::Heads,
};

const HIDDEN: usize = 2_048;
const FFN: usize = 5_632;
const VOCABULARY: usize = 32_000;
const HEADS: Heads = Heads {
    n_heads: 32,
    n_kv_heads: 4,
    head_dim: 64,
};
const PROMPT: usize = 64;
const CONTEXT: usize = 1_024;
const PAGE: usize = 16;

const FORMATS: [WeightFormat; 10] = WeightFormat::ALL;

fn all(criterion: &mut Criterion) {
    let gpu = match Gpu::new(&GpuOptions::default()) {
        Ok(gpu) => gpu,
        Err(error) => return eprintln!("nothing measured: {error}"),
    };
    eprintln!("adapter: {}", gpu.adapter().name);
    if let Err(error) = products(criterion, &gpu)
        .and_then(|()| others(criterion, &gpu))
        .and_then(|()| attention(criterion, &gpu))
    {
        panic!("{error}");
    }
}

/// Records, submits and waits, again and again.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    gpu: &Gpu,
    name: &str,
    throughput: Throughput,
    record: impl Fn(&mut Recorder),
) {
    group.throughput(throughput);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut recorder = gpu.recorder();
            record(&mut recorder);
            gpu.submit(recorder)
                .and_then(|()| gpu.wait())
                .expect("the GPU runs");
        });
    });
}

fn products(criterion: &mut Criterion, gpu: &Gpu) -> Result<(), Error> {
    let x = gpu.tensor("x", PROMPT, HIDDEN)?;
    let out = gpu.tensor("out", PROMPT, FFN)?;
    for format in FORMATS {
        let weight = WeightMatrix::new(gpu, "weight", format, FFN, HIDDEN)?;
        let row = vec![0; format.file_row_bytes(HIDDEN)];
        for index in 0..FFN {
            weight.write_rows(gpu, index, &row)?;
        }
        let op = ops::Matmul::new(gpu, &weight, &x, &out, Default::default())?;
        let bytes = (FFN * format.file_row_bytes(HIDDEN)) as u64;
        let mut group = criterion.benchmark_group("matvec");
        measure(
            &mut group,
            gpu,
            format.name(),
            Throughput::Bytes(bytes),
            |recorder| op.record(recorder, 1),
        );
        group.finish();
        let flops = (2 * PROMPT * FFN * HIDDEN) as u64;
        let mut group = criterion.benchmark_group("matmul");
        group.sample_size(10);
        measure(
            &mut group,
            gpu,
            format.name(),
            Throughput::Elements(flops),
            |recorder| op.record(recorder, PROMPT),
        );
        group.finish();
    }
    Ok(())
}

fn others(criterion: &mut Criterion, gpu: &Gpu) -> Result<(), Error> {
    let step = step(gpu)?;
    let x = gpu.tensor("x", PROMPT, HIDDEN)?;
    let normed = gpu.tensor("normed", PROMPT, HIDDEN)?;
    let scale = gpu.tensor("scale", 1, HIDDEN)?;
    let gate_up = gpu.tensor("gate_up", PROMPT, 2 * FFN)?;
    let hidden = gpu.tensor("hidden", PROMPT, FFN)?;
    let logits = gpu.tensor("logits", 1, VOCABULARY)?;
    let chosen = gpu.ids("chosen", 1)?;
    let qkv = gpu.tensor("qkv", PROMPT, HEADS.qkv_columns())?;
    let table = WeightMatrix::new(gpu, "table", WeightFormat::F16, VOCABULARY, HIDDEN)?;

    let mut group = criterion.benchmark_group("rows");
    let touched = |tensors: &[&Tensor]| {
        let values: usize = tensors
            .iter()
            .map(|tensor| tensor.rows() * tensor.columns())
            .sum();
        Throughput::Bytes(4 * values as u64)
    };
    let embed = ops::Embed::new(gpu, &table, &step, &chosen, &x)?;
    measure(&mut group, gpu, "embed", touched(&[&x, &x]), |recorder| {
        embed.record(recorder, PROMPT)
    });
    let norm = ops::RmsNorm::new(gpu, &x, &scale, &normed, 1e-5)?;
    measure(
        &mut group,
        gpu,
        "rms_norm",
        touched(&[&x, &normed]),
        |recorder| norm.record(recorder, PROMPT),
    );
    let swiglu = ops::SwiGlu::new(gpu, &gate_up, &hidden)?;
    measure(
        &mut group,
        gpu,
        "swiglu",
        touched(&[&gate_up, &hidden]),
        |recorder| swiglu.record(recorder, PROMPT),
    );
    let gather = ops::GatherRows::new(gpu, &x, &step, &normed)?;
    measure(
        &mut group,
        gpu,
        "gather_rows",
        touched(&[&x, &normed]),
        |recorder| gather.record(recorder, PROMPT),
    );
    let argmax = ops::Argmax::new(gpu, &logits, &chosen)?;
    measure(&mut group, gpu, "argmax", touched(&[&logits]), |recorder| {
        argmax.record(recorder, 1)
    });
    group.finish();

    for format in KvFormat::ALL {
        let cache = KvCache::new(
            gpu,
            "cache",
            format,
            CONTEXT / PAGE,
            PAGE,
            HEADS.n_kv_heads,
            HEADS.head_dim,
        )?;
        let mut group = criterion.benchmark_group("heads");
        group.sample_size(10);
        let rope = ops::Rope::new(gpu, &qkv, &step, &cache, HEADS)?;
        let name = format!("rope {}", format.name());
        measure(&mut group, gpu, &name, touched(&[&qkv]), |recorder| {
            rope.record(recorder, PROMPT)
        });
        group.finish();
    }
    Ok(())
}

/// Attention of a model of 110 million parameters and of one with grouped queries: a token at two depths, by the
/// bytes of the cache that it must read once, and a prompt from its beginning, by operations (its causal half).
fn attention(criterion: &mut Criterion, gpu: &Gpu) -> Result<(), Error> {
    const MULTI_HEAD: Heads = Heads {
        n_heads: 12,
        n_kv_heads: 12,
        head_dim: 64,
    };
    const LENGTHS: [usize; 2] = [512, 4_000];
    const ROWS: usize = 512;
    let pages: Vec<u32> = (0..LENGTHS[1].div_ceil(PAGE) as u32).collect();
    for (shape, heads) in [("multi-head", MULTI_HEAD), ("grouped", HEADS)] {
        let layout = StepLayout {
            max_rows: ROWS,
            max_sequences: 1,
            pages_per_sequence: pages.len(),
            page_size: PAGE,
            rope_pairs: heads.head_dim / 2,
        };
        let step = StepBuffer::new(gpu, layout)?;
        let qkv = gpu.tensor("qkv", ROWS, heads.qkv_columns())?;
        let out = gpu.tensor("attended", ROWS, heads.columns())?;
        let (rows, columns) = ops::Attention::partials(heads);
        let partials = gpu.tensor("partials", rows, columns)?;
        for format in KvFormat::ALL {
            let (n_kv_heads, head_dim) = (heads.n_kv_heads, heads.head_dim);
            let cache = KvCache::new(
                gpu,
                "cache",
                format,
                pages.len(),
                PAGE,
                n_kv_heads,
                head_dim,
            )?;
            let op = ops::Attention::new(gpu, &qkv, &step, &cache, heads, &partials, &out)?;
            let mut group = criterion.benchmark_group(format!("attention {shape}"));
            let mut attend = |name: String, positions: std::ops::Range<usize>, throughput| {
                let rows: Vec<StepRow> = positions.map(step_row).collect();
                let angles = [1.0, 0.0].repeat(rows.len() * head_dim / 2);
                step.write(gpu, &rows, &[&pages], &angles)?;
                let reach = ops::Reach::of(&rows);
                measure(&mut group, gpu, &name, throughput, |recorder| {
                    op.record(recorder, reach)
                });
                Ok::<(), Error>(())
            };
            for length in LENGTHS {
                let bytes = 2 * length * n_kv_heads * format.row_bytes(head_dim);
                let name = format!("{} decode at {length}", format.name());
                attend(name, length - 1..length, Throughput::Bytes(bytes as u64))?;
            }
            let flops = 4 * ROWS * (ROWS + 1) / 2 * heads.columns();
            let name = format!("{} prefill of {ROWS}", format.name());
            attend(name, 0..ROWS, Throughput::Elements(flops as u64))?;
            group.finish();
        }
    }
    Ok(())
}

fn step_row(position: usize) -> StepRow {
    StepRow {
        token: TokenSource::Id(0),
        position: position as u32,
        sequence: 0,
        wants_logits: false,
        draw: 0,
    }
}

/// The last rows of a context's only sequence, all of whose logits are wanted.
fn step(gpu: &Gpu) -> Result<StepBuffer, Error> {
    let layout = StepLayout {
        max_rows: PROMPT,
        max_sequences: 1,
        pages_per_sequence: CONTEXT / PAGE,
        page_size: PAGE,
        rope_pairs: HEADS.head_dim / 2,
    };
    let rows: Vec<StepRow> = (0..PROMPT)
        .map(|row| StepRow {
            token: TokenSource::Id((row * 97 % VOCABULARY) as u32),
            position: (CONTEXT - PROMPT + row) as u32,
            sequence: 0,
            wants_logits: true,
            draw: 0,
        })
        .collect();
    let pages: Vec<u32> = (0..(CONTEXT / PAGE) as u32).collect();
    let angles = [1.0, 0.0].repeat(PROMPT * HEADS.head_dim / 2);
    let step = StepBuffer::new(gpu, layout)?;
    step.write(gpu, &rows, &[&pages], &angles)?;
    Ok(step)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    all(&mut criterion);
    criterion.final_summary();
}
