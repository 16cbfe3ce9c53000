//! LoRA adapters as reports and answers show them.

use llama_weights::{Checkpoint, LoraAdapter};
use serde::Serialize;

/// An adapter in an answer's JSON.
#[derive(Debug, Serialize)]
pub(crate) struct InUse {
    path: String,
    scale: f64,
}

/// An adapter in a report's JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    path: String,
    scale: f64,
    base_model: Option<String>,
    rank: usize,
    alpha: f64,
    rank_stabilized: bool,
    /// How many matrices it adds a product to.
    matrices: usize,
    /// How many tensors it replaces.
    replaced: usize,
}

/// Those that a checkpoint has taken on.
pub(crate) fn in_use(checkpoint: &Checkpoint) -> Vec<InUse> {
    let adapters = checkpoint.adapters().iter();
    adapters
        .map(|adapter| InUse {
            path: adapter.directory().display().to_string(),
            scale: shortest(adapter.scale()),
        })
        .collect()
}

impl From<&LoraAdapter> for Described {
    fn from(adapter: &LoraAdapter) -> Self {
        Self {
            path: adapter.directory().display().to_string(),
            scale: shortest(adapter.scale()),
            base_model: adapter.base_model().map(str::to_owned),
            rank: adapter.rank(),
            alpha: adapter.alpha(),
            rank_stabilized: adapter.rank_stabilized(),
            matrices: adapter.matrices().count(),
            replaced: adapter.replaced().count(),
        }
    }
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            scale,
            rank,
            alpha,
            matrices,
            ..
        } = self;
        write!(
            f,
            "{path}: scale {scale}, rank {rank}, alpha {alpha}{}, matrices changed: {matrices}",
            if self.rank_stabilized {
                " (rank-stabilized)"
            } else {
                ""
            }
        )?;
        if self.replaced > 0 {
            write!(f, ", tensors replaced: {}", self.replaced)?;
        }
        match &self.base_model {
            Some(base) => write!(f, "; trained on {base:?}"),
            None => Ok(()),
        }
    }
}

/// The number that a person wrote, not the f32 nearest to it in full.
fn shortest(scale: f32) -> f64 {
    scale.to_string().parse().unwrap_or(f64::from(scale))
}
