//! The names of tensors in GGUF files of the architecture `llama`.

use crate::{LayerPart, TensorRole};

/// Factors of the rotary frequencies, which Llama 3.1's scaling is written as.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The name that llama.cpp gives a tensor.
pub(super) fn tensor_name(role: TensorRole) -> String {
    match role {
        TensorRole::Embedding => "token_embd.weight".to_owned(),
        TensorRole::OutputNorm => "output_norm.weight".to_owned(),
        TensorRole::Output => "output.weight".to_owned(),
        TensorRole::Layer { index, part } => format!("blk.{index}.{}", part_name(part)),
    }
}

fn part_name(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "attn_norm.weight",
        LayerPart::Query => "attn_q.weight",
        LayerPart::Key => "attn_k.weight",
        LayerPart::Value => "attn_v.weight",
        LayerPart::AttentionOutput => "attn_output.weight",
        LayerPart::FfnNorm => "ffn_norm.weight",
        LayerPart::Gate => "ffn_gate.weight",
        LayerPart::Up => "ffn_up.weight",
        LayerPart::Down => "ffn_down.weight",
        LayerPart::QueryBias => "attn_q.bias",
        LayerPart::KeyBias => "attn_k.bias",
        LayerPart::ValueBias => "attn_v.bias",
        LayerPart::AttentionOutputBias => "attn_output.bias",
        LayerPart::GateBias => "ffn_gate.bias",
        LayerPart::UpBias => "ffn_up.bias",
        LayerPart::DownBias => "ffn_down.bias",
    }
}

/// Tensors that may be present and carry nothing: factors of the rotary frequencies, which are all 1 where a file was opened, and the
/// tables that old converters wrote.
pub(super) fn is_redundant(name: &str, _tied_embeddings: bool) -> bool {
    name == ROPE_FACTORS || name.ends_with("attn_rot_embd")
}
