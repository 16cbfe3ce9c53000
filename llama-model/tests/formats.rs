//! One model in every form that torch writes (`llama-weights/tests/golden/torch/generate.py`): the logits of transformers, and the
//! same from Meta's one and two shards and from `.bin` files as from safetensors.

mod adapter;

use std::ops::ControlFlow;
use std::path::PathBuf;

use libtest_mimic::{Arguments, Failed};
use llama_model::llama_kernels::Gpu;
use llama_model::llama_weights::Checkpoint;
use llama_model::{KvChoice, LoadOptions, Model, SessionOptions, WeightChoice};
use safetensors::SafeTensors;

const SAFETENSORS: &str = "hf";

fn main() {
    let mut trials = vec![adapter::trial("safetensors/transformers", |gpu| {
        let golden = Golden::read()?;
        // As parity.rs has it.
        let logits = logits(gpu, SAFETENSORS, WeightChoice::F32, &golden.ids)?;
        expect_close(&logits, &golden.logits, 2e-4)
    })];
    for form in ["meta-1", "meta-2", "bin-1", "bin-2"] {
        for (held, weights) in [
            ("f32", WeightChoice::F32),
            ("f16", WeightChoice::F16),
            ("q8_0", WeightChoice::Q8_0),
        ] {
            trials.push(adapter::trial(format!("{form}/{held}"), move |gpu| {
                let ids = Golden::read()?.ids;
                let expected = logits(gpu, SAFETENSORS, weights, &ids)?;
                expect_close(&logits(gpu, form, weights, &ids)?, &expected, 1e-6)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

struct Golden {
    ids: Vec<u32>,
    /// `[ids.len(), vocab_size]`
    logits: Vec<f32>,
}

impl Golden {
    fn read() -> Result<Self, Failed> {
        let bytes = std::fs::read(folder("golden.safetensors"))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let ids = file.tensor("input_ids")?.data().chunks_exact(8);
        let logits = file.tensor("logits")?.data().chunks_exact(4);
        Ok(Self {
            // Ids are small: the lower half of each i64 holds it.
            ids: ids
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            logits: logits
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        })
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../llama-weights/tests/golden/torch")
        .join(name)
}

/// Of every position.
fn logits(gpu: &Gpu, form: &str, weights: WeightChoice, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    let checkpoint = Checkpoint::open(&folder(form))?;
    let go_on = &mut |_| ControlFlow::Continue(());
    let model = Model::load(gpu, &checkpoint, &LoadOptions { weights }, go_on)?;
    let mut session = model.session(&SessionOptions {
        context: ids.len(),
        kv: KvChoice::F32,
        chunk: None,
    })?;
    let mut all = Vec::new();
    session.logits_of_all(ids, &mut |_, logits| {
        all.extend_from_slice(logits);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Every value within `tolerance` of the largest expected one.
fn expect_close(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), Failed> {
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let differences = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
    // NaN is the largest here: it must not pass.
    let worst = differences.max_by(f32::total_cmp).unwrap_or(f32::NAN) / largest;
    if found.len() == expected.len() && worst <= tolerance {
        return Ok(());
    }
    let message = format!(
        "{} logits, expected {}: off by {worst:.2e} of the largest, allowed {tolerance:.1e}",
        found.len(),
        expected.len()
    );
    Err(message.into())
}
