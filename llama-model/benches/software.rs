//! A software adapter against plain loops on the same cores: generation against a stream read, a prompt against an sgemm.
//!
//! The shape is that of 110 million parameters. All in one run, medians, the loops measured again around every format: a machine
//! that others use too speeds up and slows down. A hardware adapter is measured the same way, but then the ratios mean nothing.
//!
//! `cargo bench -p llama-model --bench software [-- --json FILE]`

use std::error::Error;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Hyperparameters, RopeScaling};
use llama_model::{
    GenerationOptions, KvChoice, Model, Sampler, SamplerOptions, SessionOptions, WeightChoice,
};
use serde::Serialize;

const THREADS: usize = 2;
const PROMPT: usize = 512;
const GENERATED: usize = 32;
const RUNS: usize = 5;
/// Words that the stream read reads: 512 MiB, far beyond any cache.
const STREAM_WORDS: usize = 64 << 20;

/// What a format is to reach of each loop.
struct Target {
    dtype: &'static str,
    choice: WeightChoice,
    generation: f64,
    prompt: f64,
}

const TARGETS: [Target; 3] = [
    Target {
        dtype: "f16",
        choice: WeightChoice::F16,
        generation: 0.20,
        prompt: 0.25,
    },
    Target {
        dtype: "q8_0",
        choice: WeightChoice::Q8_0,
        generation: 0.18,
        prompt: 0.20,
    },
    Target {
        dtype: "q4_0",
        choice: WeightChoice::Q4_0,
        generation: 0.11,
        prompt: 0.20,
    },
];

#[derive(Debug, Serialize)]
struct Ratios {
    adapter: String,
    stream_gb_per_s: f64,
    sgemm_gflops: f64,
    rows: Vec<Ratio>,
}

#[derive(Debug, Serialize)]
struct Ratio {
    dtype: &'static str,
    test: String,
    tokens_per_second: f64,
    ratio: f64,
    target: f64,
}

/// A format's rates before they are held against the loops' medians.
struct Measured<'a> {
    target: &'a Target,
    generated_per_second: f64,
    bytes: f64,
    prompt_per_second: f64,
    operations: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::new(&GpuOptions::default())?;
    let stream = Stream::new();
    let mut sgemm = Sgemm::new();
    let mut streams = Vec::new();
    let mut products = Vec::new();
    let mut loops = || {
        for _ in 0..RUNS {
            streams.push(stream.gb_per_second());
            products.push(sgemm.gflops());
        }
    };
    let mut measured = Vec::new();
    loops();
    for target in &TARGETS {
        measured.push(measure(&gpu, target)?);
        loops();
    }
    let (stream_gb_per_s, sgemm_gflops) = (median(&mut streams), median(&mut products));
    let rows = measured.iter().flat_map(|m| {
        [
            Ratio {
                dtype: m.target.dtype,
                test: format!("tg{GENERATED}"),
                tokens_per_second: m.generated_per_second,
                ratio: m.generated_per_second * m.bytes / 1e9 / stream_gb_per_s,
                target: m.target.generation,
            },
            Ratio {
                dtype: m.target.dtype,
                test: format!("pp{PROMPT}"),
                tokens_per_second: m.prompt_per_second,
                ratio: m.prompt_per_second * m.operations / 1e9 / sgemm_gflops,
                target: m.target.prompt,
            },
        ]
    });
    let ratios = Ratios {
        adapter: gpu.adapter().name.clone(),
        stream_gb_per_s,
        sgemm_gflops,
        rows: rows.collect(),
    };
    ratios.print();
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--json") {
        let path = arguments.get(at + 1).ok_or("--json: expected a file")?;
        std::fs::write(path, serde_json::to_string_pretty(&ratios)? + "\n")?;
    }
    Ok(())
}

impl Ratios {
    fn print(&self) {
        println!("adapter {}", self.adapter);
        println!(
            "{THREADS} threads: stream read {:.2} GB/s, sgemm {:.1} GFLOP/s\n",
            self.stream_gb_per_s, self.sgemm_gflops
        );
        println!("test   weights   tokens/s   of the loop   to reach");
        for row in &self.rows {
            println!(
                "{:<6} {:<7} {:>10.2} {:>13.3} {:>10.2}",
                row.test, row.dtype, row.tokens_per_second, row.ratio, row.target
            );
        }
    }
}

fn measure<'a>(gpu: &Gpu, target: &'a Target) -> Result<Measured<'a>, Box<dyn Error>> {
    let model = Model::synthetic(gpu, &shape(), target.choice, 0, &mut |_| {
        ControlFlow::Continue(())
    })?;
    let mut session = model.session(&SessionOptions {
        context: PROMPT + GENERATED,
        kv: KvChoice::F16,
        chunk: None,
    })?;
    let mut sampler = Sampler::new(&SamplerOptions {
        temperature: 0.0,
        ..SamplerOptions::default()
    })?;
    let options = GenerationOptions {
        max_tokens: Some(GENERATED),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| i * 61 % 32_000).collect();
    let mut prompts = Vec::new();
    let mut generations = Vec::new();
    // The first run compiles the kernels and does not count.
    for run in 0..=RUNS {
        session.truncate(0);
        let begin = Instant::now();
        session.prefill(&prompt)?;
        let prompt_seconds = begin.elapsed().as_secs_f64();
        session.truncate(0);
        let begin = Instant::now();
        session.prefill(&prompt[..1])?;
        for token in session.generate(&mut sampler, &options) {
            black_box(token?);
        }
        let generation_seconds = begin.elapsed().as_secs_f64();
        if run > 0 {
            prompts.push(PROMPT as f64 / prompt_seconds);
            generations.push(GENERATED as f64 / generation_seconds);
        }
    }
    Ok(Measured {
        target,
        generated_per_second: median(&mut generations),
        bytes: model.decode_bytes(KvChoice::F16, GENERATED / 2) as f64,
        prompt_per_second: median(&mut prompts),
        operations: model.prefill_operations(PROMPT, 0) as f64 / PROMPT as f64,
    })
}

/// 110 million parameters in layers and output.
fn shape() -> Hyperparameters {
    Hyperparameters {
        hidden_size: 768,
        n_layers: 12,
        n_heads: 12,
        n_kv_heads: 12,
        head_dim: 64,
        ffn_size: 2048,
        vocab_size: 32_000,
        max_position_embeddings: 4096,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    }
}

/// A plain sum over memory by several threads.
struct Stream {
    words: Vec<u64>,
}

impl Stream {
    fn new() -> Self {
        Self {
            words: (0..STREAM_WORDS as u64).collect(),
        }
    }

    fn gb_per_second(&self) -> f64 {
        let begin = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts = self.words.chunks(STREAM_WORDS.div_ceil(THREADS));
            let threads: Vec<_> = parts
                .map(|part| {
                    scope.spawn(|| part.iter().fold(0u64, |sum, word| sum.wrapping_add(*word)))
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .fold(0, u64::wrapping_add)
        });
        black_box(sum);
        (8 * STREAM_WORDS) as f64 / 1e9 / begin.elapsed().as_secs_f64()
    }
}

/// The product of the shape's widest layer matrix with a prompt, in f32 by several threads.
struct Sgemm {
    weight: Vec<f32>,
    x: Vec<f32>,
    out: Vec<f32>,
}

impl Sgemm {
    /// Rows and columns of the weight.
    const ROWS: usize = 2 * 2048;
    const COLUMNS: usize = 768;

    fn new() -> Self {
        let noise = |length: usize| (0..length).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
        Self {
            weight: noise(Self::ROWS * Self::COLUMNS),
            x: noise(PROMPT * Self::COLUMNS),
            out: vec![0.0; PROMPT * Self::ROWS],
        }
    }

    /// out = x Wᵀ, all row-major.
    #[expect(unsafe_code, reason = "the crate's only function takes pointers")]
    fn gflops(&mut self) -> f64 {
        let begin = Instant::now();
        let (rows, columns) = (Self::ROWS as isize, Self::COLUMNS as isize);
        // SAFETY: each pointer is of a vector that holds every element that its size and strides reach: out is
        // [PROMPT, ROWS], x [PROMPT, COLUMNS] and W [ROWS, COLUMNS], whose transpose is read by swapped strides.
        unsafe {
            gemm::gemm(
                PROMPT,
                Self::ROWS,
                Self::COLUMNS,
                self.out.as_mut_ptr(),
                1,
                rows,
                false,
                self.x.as_ptr(),
                1,
                columns,
                self.weight.as_ptr(),
                columns,
                1,
                0.0f32,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(THREADS),
            );
        }
        black_box(&self.out);
        let operations = (2 * PROMPT * Self::ROWS * Self::COLUMNS) as f64;
        operations / 1e9 / begin.elapsed().as_secs_f64()
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
