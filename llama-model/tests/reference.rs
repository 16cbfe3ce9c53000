//! The forward pass on the GPU against the same pass by the scalar functions of `llama_kernels::reference`.
//!
//! Goldens say whether the model is right; this says which side is wrong when they do not, and it needs no file.

mod adapter;

use std::ops::ControlFlow;

use libtest_mimic::{Arguments, Failed};
use llama_model::llama_kernels::reference::{
    CacheRow, Epilogue, Heads, PagedKv, attention, decode_rows, embed, matvec, rms_norm, rope,
    swiglu,
};
use llama_model::llama_kernels::{Gpu, KvFormat, WeightFormat, padded};
use llama_model::llama_weights::{
    Checkpoint, DType, Hyperparameters, LayerPart, RopeScaling, TensorRole,
};
use llama_model::{KvChoice, LoadOptions, Model, SessionOptions, WeightChoice};

const PAGE_SIZE: usize = 16;

fn main() {
    let formats = [
        (DType::F32, WeightChoice::F32, WeightFormat::F32),
        (DType::F16, WeightChoice::F16, WeightFormat::F16),
        (DType::Q8_0, WeightChoice::Q8_0, WeightFormat::Q8_0),
        (DType::Q4_0, WeightChoice::Q4_0, WeightFormat::Q4_0),
    ];
    let trials = formats.map(|(dtype, choice, format)| {
        adapter::trial(format!("forward_{}", format.name()), move |gpu| {
            compare(gpu, dtype, choice, format)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn compare(
    gpu: &Gpu,
    dtype: DType,
    choice: WeightChoice,
    format: WeightFormat,
) -> Result<(), Failed> {
    let h = Hyperparameters {
        hidden_size: 96,
        n_layers: 3,
        n_heads: 6,
        n_kv_heads: 2,
        head_dim: 32,
        ffn_size: 160,
        vocab_size: 211,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: true,
        mlp_bias: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    };
    let checkpoint = Checkpoint::synthetic(h, dtype, 5)?;
    let tokens: Vec<u32> = (0..40).map(|i| i * 29 % 211).collect();
    let expected = Reference::new(&checkpoint, format).logits(&tokens);

    let go_on = &mut |_| ControlFlow::Continue(());
    let model = Model::load(gpu, &checkpoint, &LoadOptions { weights: choice }, go_on)?;
    let mut session = model.session(&SessionOptions {
        context: 64,
        kv: KvChoice::F32,
        chunk: None,
    })?;
    let mut found = Vec::new();
    session.logits_of_all(&tokens, &mut |_, logits| {
        found.extend_from_slice(logits);
        ControlFlow::Continue(())
    })?;
    let largest = expected.iter().fold(0.0f32, |l, e| l.max(e.abs()));
    let differences = found.iter().zip(&expected).map(|(f, e)| (f - e).abs());
    let worst = differences.max_by(f32::total_cmp).unwrap_or(f32::NAN) / largest;
    // Both read the same weights; only the order of f32 sums over at most 192 columns differs.
    if found.len() == expected.len() && worst <= 1e-5 {
        return Ok(());
    }
    Err(format!("{} logits, off by {worst:.2e} of the largest", found.len()).into())
}

/// A model by the reference functions, its weights decoded to padded f32.
struct Reference<'a> {
    checkpoint: &'a Checkpoint,
    h: &'a Hyperparameters,
    heads: Heads,
    format: WeightFormat,
}

impl<'a> Reference<'a> {
    fn new(checkpoint: &'a Checkpoint, format: WeightFormat) -> Self {
        let h = checkpoint.hyperparameters();
        Self {
            checkpoint,
            h,
            heads: Heads {
                n_heads: h.n_heads,
                n_kv_heads: h.n_kv_heads,
                head_dim: h.head_dim,
            },
            format,
        }
    }

    /// Of every token, `[tokens.len(), vocab_size]`.
    fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        let h = self.h;
        let (hidden, rows) = (h.hidden_size, tokens.len());
        let zeros = |columns| vec![0.0; rows * padded(columns)];
        // Pages in an order of their own: the table is what counts.
        let pages: Vec<u32> = (0..rows.div_ceil(PAGE_SIZE) as u32).rev().collect();
        let cache_rows: Vec<CacheRow<'_>> = (0..rows)
            .map(|position| CacheRow {
                position,
                pages: &pages,
            })
            .collect();
        let angles = self.angles(rows);

        let mut x = zeros(hidden);
        embed(
            &self.matrix(&[TensorRole::Embedding]),
            hidden,
            tokens,
            &mut x,
        );
        let mut xb = zeros(hidden);
        for index in 0..h.n_layers {
            let role = |part| TensorRole::Layer { index, part };
            let weights = |parts: &[LayerPart]| {
                let roles: Vec<TensorRole> = parts.iter().copied().map(role).collect();
                match self.checkpoint.tensor(roles[0]).map(|t| t.shape().len()) {
                    Some(2) => self.matrix(&roles),
                    _ => self.vector(&roles),
                }
            };
            let norm = |part, x: &[f32], xb: &mut [f32]| {
                rms_norm(x, hidden, &self.vector(&[role(part)]), h.rms_norm_eps, xb);
            };
            norm(LayerPart::AttentionNorm, &x, &mut xb);
            let mut qkv = zeros(self.heads.qkv_columns());
            let mut bias = weights(&[
                LayerPart::QueryBias,
                LayerPart::KeyBias,
                LayerPart::ValueBias,
            ]);
            let mut matrix = weights(&[LayerPart::Query, LayerPart::Key, LayerPart::Value]);
            let turned = (h.n_heads + h.n_kv_heads) * h.head_dim;
            pairs_adjacent(&mut matrix[..turned * padded(hidden)], padded(hidden), h);
            pairs_adjacent(&mut bias[..turned], 1, h);
            matvec(
                &matrix,
                hidden,
                &xb,
                set(&bias),
                self.heads.qkv_columns(),
                &mut qkv,
            );
            let mut cache = PagedKv::new(self.heads, KvFormat::F32, pages.len(), PAGE_SIZE);
            rope(&mut qkv, self.heads, &cache_rows, &angles, &mut cache);
            let mut att = zeros(self.heads.columns());
            attention(&qkv, self.heads, &cache_rows, &cache, &mut att);
            let bias = weights(&[LayerPart::AttentionOutputBias]);
            let matrix = weights(&[LayerPart::AttentionOutput]);
            matvec(
                &matrix,
                self.heads.columns(),
                &att,
                add(&bias),
                hidden,
                &mut x,
            );

            norm(LayerPart::FfnNorm, &x, &mut xb);
            let mut gate_up = zeros(2 * h.ffn_size);
            let bias = weights(&[LayerPart::GateBias, LayerPart::UpBias]);
            let matrix = weights(&[LayerPart::Gate, LayerPart::Up]);
            matvec(
                &matrix,
                hidden,
                &xb,
                set(&bias),
                2 * h.ffn_size,
                &mut gate_up,
            );
            let gate_up: Vec<f32> = gate_up
                .chunks_exact(padded(2 * h.ffn_size))
                .flat_map(|row| alternating(row, h.ffn_size))
                .collect();
            let mut hb = zeros(h.ffn_size);
            swiglu(&gate_up, h.ffn_size, &mut hb);
            let bias = weights(&[LayerPart::DownBias]);
            matvec(
                &weights(&[LayerPart::Down]),
                h.ffn_size,
                &hb,
                add(&bias),
                hidden,
                &mut x,
            );
        }
        let norm = self.vector(&[TensorRole::OutputNorm]);
        rms_norm(&x, hidden, &norm, h.rms_norm_eps, &mut xb);
        let mut logits = zeros(h.vocab_size);
        let output = self.matrix(&[TensorRole::Output]);
        matvec(
            &output,
            hidden,
            &xb,
            Epilogue::default(),
            h.vocab_size,
            &mut logits,
        );
        let rows = logits.chunks_exact(padded(h.vocab_size));
        rows.flat_map(|row| row[..h.vocab_size].to_vec()).collect()
    }

    fn matrix(&self, roles: &[TensorRole]) -> Vec<f32> {
        let mut joined = Vec::new();
        for &role in roles {
            let view = self
                .checkpoint
                .tensor(role)
                .expect("a tensor of this shape");
            let bytes = view.rows(0..view.n_rows());
            let mut rows = Vec::new();
            decode_rows(self.format, view.n_columns(), &bytes, &mut rows);
            joined.append(&mut rows);
        }
        joined
    }

    fn vector(&self, roles: &[TensorRole]) -> Vec<f32> {
        let mut joined = Vec::new();
        for &role in roles {
            let mut values = Vec::new();
            let view = self
                .checkpoint
                .tensor(role)
                .expect("a tensor of this shape");
            view.rows_f32(0..1, &mut values);
            joined.append(&mut values);
        }
        joined
    }

    fn angles(&self, rows: usize) -> Vec<f32> {
        let mut angles = Vec::new();
        for position in 0..rows {
            for pair in 0..self.h.head_dim / 2 {
                let exponent = 2.0 * pair as f64 / self.h.head_dim as f64;
                let (sin, cos) = (position as f64 * self.h.rope_theta.powf(-exponent)).sin_cos();
                angles.extend([cos as f32, sin as f32]);
            }
        }
        angles
    }
}

/// Rotate-half order, in which the files have query and key rows of `width` values, to that of adjacent pairs.
fn pairs_adjacent(rows: &mut [f32], width: usize, h: &Hyperparameters) {
    let half = h.head_dim / 2;
    for head in rows.chunks_exact_mut(h.head_dim * width) {
        let split = head.to_vec();
        for (to, place) in head.chunks_exact_mut(width).enumerate() {
            let from = to / 2 + to % 2 * half;
            place.copy_from_slice(&split[from * width..][..width]);
        }
    }
}

/// A padded row of the gate and then up, as one in which they alternate.
fn alternating(row: &[f32], ffn: usize) -> Vec<f32> {
    let (gate, up) = row[..2 * ffn].split_at(ffn);
    let mut out: Vec<f32> = gate.iter().zip(up).flat_map(|(g, u)| [*g, *u]).collect();
    out.resize(row.len(), 0.0);
    out
}

fn set(bias: &[f32]) -> Epilogue<'_> {
    Epilogue {
        bias: Some(bias),
        accumulate: false,
    }
}

fn add(bias: &[f32]) -> Epilogue<'_> {
    Epilogue {
        bias: Some(bias),
        accumulate: true,
    }
}
