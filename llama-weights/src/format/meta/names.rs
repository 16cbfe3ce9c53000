//! The names of tensors in Meta's checkpoints, and how model-parallel shards split them.

use crate::{LayerPart, TensorRole};

/// Which part of a tensor a shard holds; from fairscale's layers, which Meta's code builds the model of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Rows of it (`ColumnParallelLinear`).
    Rows,
    /// Columns of it (`RowParallelLinear`, `ParallelEmbedding`).
    Columns,
    /// All of it.
    Repeated,
}

pub(super) fn split(role: TensorRole) -> Split {
    match role {
        TensorRole::Embedding => Split::Columns,
        TensorRole::Output => Split::Rows,
        TensorRole::Layer { part, .. } => match part {
            LayerPart::Query
            | LayerPart::Key
            | LayerPart::Value
            | LayerPart::Gate
            | LayerPart::Up => Split::Rows,
            LayerPart::AttentionOutput | LayerPart::Down => Split::Columns,
            // Norms, and biases, which these models do not have.
            _ => Split::Repeated,
        },
        TensorRole::OutputNorm => Split::Repeated,
    }
}

pub(super) fn tensor_name(role: TensorRole) -> String {
    match role {
        TensorRole::Embedding => "tok_embeddings.weight".to_owned(),
        TensorRole::OutputNorm => "norm.weight".to_owned(),
        TensorRole::Output => "output.weight".to_owned(),
        TensorRole::Layer { index, part } => format!("layers.{index}.{}", part_name(part)),
    }
}

fn part_name(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "attention_norm.weight",
        LayerPart::Query => "attention.wq.weight",
        LayerPart::Key => "attention.wk.weight",
        LayerPart::Value => "attention.wv.weight",
        LayerPart::AttentionOutput => "attention.wo.weight",
        LayerPart::FfnNorm => "ffn_norm.weight",
        LayerPart::Gate => "feed_forward.w1.weight",
        LayerPart::Up => "feed_forward.w3.weight",
        LayerPart::Down => "feed_forward.w2.weight",
        LayerPart::QueryBias => "attention.wq.bias",
        LayerPart::KeyBias => "attention.wk.bias",
        LayerPart::ValueBias => "attention.wv.bias",
        LayerPart::AttentionOutputBias => "attention.wo.bias",
        LayerPart::GateBias => "feed_forward.w1.bias",
        LayerPart::UpBias => "feed_forward.w3.bias",
        LayerPart::DownBias => "feed_forward.w2.bias",
    }
}

/// A table of the rotary embedding, which is computed.
pub(super) fn is_redundant(name: &str, _tied_embeddings: bool) -> bool {
    name == "rope.freqs"
}
