//! Hugging Face directories.

use std::path::Path;

use crate::{Checkpoint, Error, LayerPart, TensorRole};

pub(crate) fn open(path: &Path) -> Result<Checkpoint, Error> {
    Err(Error::UnknownFormat {
        path: path.to_owned(),
        found: String::new(),
    })
}

/// The tensor's name in a Hugging Face checkpoint.
pub(crate) fn tensor_name(role: TensorRole) -> String {
    match role {
        TensorRole::Embedding => "model.embed_tokens.weight".to_owned(),
        TensorRole::OutputNorm => "model.norm.weight".to_owned(),
        TensorRole::Output => "lm_head.weight".to_owned(),
        TensorRole::Layer { index, part } => format!("model.layers.{index}.{}", part_name(part)),
    }
}

fn part_name(part: LayerPart) -> &'static str {
    match part {
        LayerPart::AttentionNorm => "input_layernorm.weight",
        LayerPart::Query => "self_attn.q_proj.weight",
        LayerPart::Key => "self_attn.k_proj.weight",
        LayerPart::Value => "self_attn.v_proj.weight",
        LayerPart::AttentionOutput => "self_attn.o_proj.weight",
        LayerPart::FfnNorm => "post_attention_layernorm.weight",
        LayerPart::Gate => "mlp.gate_proj.weight",
        LayerPart::Up => "mlp.up_proj.weight",
        LayerPart::Down => "mlp.down_proj.weight",
        LayerPart::QueryBias => "self_attn.q_proj.bias",
        LayerPart::KeyBias => "self_attn.k_proj.bias",
        LayerPart::ValueBias => "self_attn.v_proj.bias",
        LayerPart::AttentionOutputBias => "self_attn.o_proj.bias",
        LayerPart::GateBias => "mlp.gate_proj.bias",
        LayerPart::UpBias => "mlp.up_proj.bias",
        LayerPart::DownBias => "mlp.down_proj.bias",
    }
}
