//! A model of a checkpoint, its logits of a whole prompt, and how close they are to others.

use std::ops::ControlFlow;

use libtest_mimic::Failed;
use llama_model::llama_kernels::Gpu;
use llama_model::llama_weights::Checkpoint;
use llama_model::{LoadOptions, Model, Session, WeightChoice};

/// On one device, with its weights held as asked.
pub(crate) fn load(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    weights: WeightChoice,
) -> Result<Model, Failed> {
    let go_on = &mut |_| ControlFlow::Continue(());
    Ok(Model::load(
        gpu,
        checkpoint,
        &LoadOptions { weights },
        go_on,
    )?)
}

/// Of every position, one after the other.
pub(crate) fn all_logits(session: &mut Session, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    let mut all = Vec::new();
    session.logits_of_all(ids, &mut |_, logits| {
        all.extend_from_slice(logits);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// Every value within `tolerance` of the largest expected one.
pub(crate) fn expect_close(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), Failed> {
    if found.len() != expected.len() {
        return Err(format!("{} logits, expected {}", found.len(), expected.len()).into());
    }
    let differences = found.iter().zip(expected).map(|(f, e)| (f - e).abs());
    // NaN is the largest here: it must not pass.
    let worst = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((index, difference)) = worst else {
        return Err("no logits at all".into());
    };
    let relative = difference / largest(expected);
    if relative <= tolerance {
        return Ok(());
    }
    let (found, expected) = (found[index], expected[index]);
    let message = format!(
        "logit {index} is {found}, expected {expected}: off by {relative:.2e} of the largest, allowed {tolerance:.1e}"
    );
    Err(message.into())
}

pub(crate) fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(0.0, |largest, l| largest.max(l.abs()))
}
