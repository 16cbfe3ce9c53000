//! LoRA adapters: the logits of transformers with peft for every case of `golden/lora/generate.py`, the same on a GGUF base, and what
//! changed matrices are held in.

mod adapter;
mod logits;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use llama_model::llama_kernels::{Gpu, WeightFormat};
use llama_model::llama_weights::{Checkpoint, DType, LayerPart, TensorRole};
use llama_model::{
    HeldReason, KvChoice, LoadOptions, Model, SessionOptions, WeightChoice, memory_plan,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::json;

use logits::{all_logits, expect_close, load};

/// What `cases.json` lists.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    base: String,
    adapters: Vec<Scaled>,
}

#[derive(Clone, Deserialize)]
struct Scaled {
    folder: String,
    scale: f32,
}

fn main() {
    let mut trials = peft();
    trials.push(adapter::trial("gguf_base", gguf_base));
    trials.push(adapter::trial("quantized_base/auto", quantized_base_auto));
    trials.push(adapter::trial("quantized_base/q4_0", quantized_base_q4_0));
    trials.push(adapter::trial("beyond_the_range_of_f16", beyond_range));
    trials.push(adapter::trial("progress_and_plan", progress_and_plan));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The bounds of parity.rs: 2e-4 of the largest logit with weights in f32, 2e-3 as they are held by default.
fn peft() -> Vec<Trial> {
    let file = std::fs::read(golden().join("cases.json")).expect("the golden is committed");
    let cases: Vec<Case> = serde_json::from_slice(&file).expect("the generator's form");
    assert_eq!(cases.len(), 16);
    let mut trials = Vec::new();
    for case in cases {
        for (held, weights, bound) in [
            ("f32", WeightChoice::F32, 2e-4),
            ("auto", WeightChoice::Auto, 2e-3),
        ] {
            let case = case.clone();
            let name = format!("peft/{}/{held}", case.name);
            trials.push(adapter::trial(name, move |gpu| {
                let (ids, expected) = expected(&case.name)?;
                let mut checkpoint = Checkpoint::open(&golden().join(&case.base))?;
                for Scaled { folder, scale } in &case.adapters {
                    checkpoint.add_lora(&golden().join(folder), *scale)?;
                }
                let model = load(gpu, &checkpoint, weights)?;
                expect_close(&logits(&model, &ids)?, &expected, bound)
            }));
        }
    }
    trials
}

/// The row order of the base's file does not matter: the adapter is for half-split rows.
fn gguf_base(gpu: &Gpu) -> Result<(), Failed> {
    let parent = golden().join("..");
    let logits_on = |base: &str| -> Result<Vec<f32>, Failed> {
        let mut checkpoint = Checkpoint::open(&parent.join(base))?;
        let adapter = noise(&checkpoint, &[LayerPart::Query, LayerPart::Key], 1.0)?;
        checkpoint.add_lora(adapter.path(), 0.7)?;
        logits(&load(gpu, &checkpoint, WeightChoice::F32)?, &prompt())
    };
    let safetensors = logits_on("parity/gqa-8-to-1-f16")?;
    expect_close(&logits_on("gguf/gqa-8-to-1-f16.gguf")?, &safetensors, 1e-6)?;
    let plain = Checkpoint::open(&parent.join("parity/gqa-8-to-1-f16"))?;
    let plain = logits(&load(gpu, &plain, WeightChoice::F32)?, &prompt())?;
    match expect_close(&plain, &safetensors, 0.05) {
        Ok(()) => Err("the adapter changes nothing".into()),
        Err(_) => Ok(()),
    }
}

/// What is changed is held in f16, what is not as the file has it.
fn quantized_base_auto(gpu: &Gpu) -> Result<(), Failed> {
    let (checkpoint, model) = quantized_base(gpu, WeightChoice::Auto)?;
    let layers = checkpoint.hyperparameters().n_layers;
    let held: Vec<String> = model
        .held_otherwise()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected: Vec<String> = (0..layers)
        .flat_map(|layer| {
            ["query+key+value", "down"].map(|matrix| {
                format!(
                    "layer {layer} {matrix} is held in f16 where LoRA adapters change it: quantized to q4_0 anew it would lose most of that"
                )
            })
        })
        .collect();
    assert_eq!(held, expected);
    // What is not listed is held as the file has it.
    let plan = |weights| {
        memory_plan(
            checkpoint.hyperparameters(),
            &checkpoint,
            weights,
            KvChoice::F32,
            16,
        )
    };
    assert_eq!(model.weight_bytes(), plan(WeightChoice::Auto).weight_bytes);
    assert!(model.weight_bytes() < plan(WeightChoice::F16).weight_bytes);
    // The rest is the same values in either, and f16 holds the changed ones to 11 bits.
    let in_f32 = load(gpu, &checkpoint, WeightChoice::F32)?;
    let expected = logits(&in_f32, &prompt())?;
    expect_close(&logits(&model, &prompt())?, &expected, 2e-3)
}

/// Asked for, blocks are made of the changed weights.
fn quantized_base_q4_0(gpu: &Gpu) -> Result<(), Failed> {
    let (checkpoint, model) = quantized_base(gpu, WeightChoice::Q4_0)?;
    assert_eq!(model.held_otherwise(), []);
    let role = TensorRole::Layer {
        index: 0,
        part: LayerPart::Down,
    };
    let view = checkpoint.tensor(role).expect("every model has it");
    assert_eq!(
        (view.dtype(), view.merged_from()),
        (DType::F32, Some(DType::Q4_0))
    );
    let in_f32 = load(gpu, &checkpoint, WeightChoice::F32)?;
    let expected = logits(&in_f32, &prompt())?;
    // Four bits of a block's largest: nearer than f16 would be, nothing was quantized; the change itself moves more.
    let found = logits(&model, &prompt())?;
    expect_close(&found, &expected, 0.3)?;
    match expect_close(&found, &expected, 2e-3) {
        Ok(()) => Err("the changed matrices were not quantized".into()),
        Err(_) => Ok(()),
    }
}

fn quantized_base(gpu: &Gpu, weights: WeightChoice) -> Result<(Checkpoint, Model), Failed> {
    let mut checkpoint = Checkpoint::open(&golden().join("../gguf/q4_0.gguf"))?;
    let adapter = noise(&checkpoint, &[LayerPart::Value, LayerPart::Down], 1.0)?;
    checkpoint.add_lora(adapter.path(), 1.0)?;
    // Mapped files outlive their directory on Unix alone.
    std::mem::forget(adapter);
    let model = load(gpu, &checkpoint, weights)?;
    Ok((checkpoint, model))
}

/// A sum too large for f16 is found while it is made, and the matrix held in f32.
fn beyond_range(gpu: &Gpu) -> Result<(), Failed> {
    let mut checkpoint = Checkpoint::open(&golden().join("base"))?;
    let adapter = noise(&checkpoint, &[LayerPart::Up], 1e6)?;
    checkpoint.add_lora(adapter.path(), 1.0)?;
    let model = load(gpu, &checkpoint, WeightChoice::Auto)?;
    let held: Vec<_> = (model.held_otherwise().iter())
        .map(|held| (held.matrix.as_str(), held.format, held.reason))
        .collect();
    let beyond = |matrix| (matrix, WeightFormat::F32, HeldReason::BeyondRange);
    assert_eq!(held, [beyond("layer 0 gate+up"), beyond("layer 1 gate+up")]);
    Ok(())
}

/// Progress ends at its total, and the plan is what was allocated.
fn progress_and_plan(gpu: &Gpu) -> Result<(), Failed> {
    let mut checkpoint = Checkpoint::open(&golden().join("../gguf/q4_0.gguf"))?;
    let adapter = noise(&checkpoint, &[LayerPart::Query], 1.0)?;
    checkpoint.add_lora(adapter.path(), 1.0)?;
    let mut last = None;
    let options = LoadOptions::default();
    let model = Model::load(gpu, &checkpoint, &options, &mut |progress| {
        last = Some(progress);
        ControlFlow::Continue(())
    })?;
    let last = last.expect("a report");
    assert_eq!(last.bytes_done, last.bytes_total);
    let h = checkpoint.hyperparameters();
    let plan = memory_plan(h, &checkpoint, WeightChoice::Auto, KvChoice::Auto, 16);
    assert_eq!(plan.weight_bytes, model.weight_bytes());
    assert_eq!(plan.held_otherwise, model.held_otherwise());
    Ok(())
}

/// An adapter of rank 3 for these parts of every layer; its products are noise of some `size` times the base's deviation.
fn noise(
    checkpoint: &Checkpoint,
    parts: &[LayerPart],
    size: f32,
) -> Result<tempfile::TempDir, Failed> {
    const RANK: usize = 3;
    let h = checkpoint.hyperparameters();
    let mut state = 1u32;
    let mut values = |count: usize, size: f32| -> Vec<u8> {
        let value = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            size * ((state >> 8) as f32 / (1 << 24) as f32 - 0.5)
        };
        (0..count).map(value).flat_map(f32::to_le_bytes).collect()
    };
    let mut tensors = Vec::new();
    for index in 0..h.n_layers {
        for &part in parts {
            let role = TensorRole::Layer { index, part };
            let shape = h.tensor_shape(role).expect("a matrix");
            let module = format!("base_model.model.model.layers.{index}.{}", module(part));
            let (rows, columns) = (shape[0], shape[1]);
            let deviation = 3.0 / (columns as f32).sqrt();
            let a = values(RANK * columns, 1.0);
            tensors.push((format!("{module}.lora_A.weight"), [RANK, columns], a));
            let b = values(rows * RANK, size * deviation);
            tensors.push((format!("{module}.lora_B.weight"), [rows, RANK], b));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        view.map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    let folder = tempfile::tempdir()?;
    safetensors::serialize_to_file(
        views,
        None,
        &folder.path().join("adapter_model.safetensors"),
    )?;
    let targets: Vec<&str> = parts.iter().map(|&part| module(part)).collect();
    let config =
        json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "target_modules": targets});
    std::fs::write(
        folder.path().join("adapter_config.json"),
        config.to_string(),
    )?;
    Ok(folder)
}

fn module(part: LayerPart) -> &'static str {
    match part {
        LayerPart::Query => "self_attn.q_proj",
        LayerPart::Key => "self_attn.k_proj",
        LayerPart::Value => "self_attn.v_proj",
        LayerPart::Up => "mlp.up_proj",
        LayerPart::Down => "mlp.down_proj",
        _ => unreachable!("no trial has an adapter for it"),
    }
}

fn prompt() -> Vec<u32> {
    (0..20).map(|at| 3 + at * 7 % 60).collect()
}

/// The prompt and the logits of a case.
fn expected(case: &str) -> Result<(Vec<u32>, Vec<f32>), Failed> {
    let bytes = std::fs::read(golden().join("golden.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let ids = file.tensor("input_ids")?;
    let logits = file.tensor(&format!("logits.{case}"))?;
    // Ids are small: the lower half of each i64 holds it.
    let id = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let logit = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok((
        ids.data().chunks_exact(8).map(id).collect(),
        logits.data().chunks_exact(4).map(logit).collect(),
    ))
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora")
}

/// Of every position, with an f32 cache.
fn logits(model: &Model, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    let mut session = model.session(&SessionOptions {
        context: ids.len(),
        kv: KvChoice::F32,
        chunk: None,
    })?;
    all_logits(&mut session, ids)
}
