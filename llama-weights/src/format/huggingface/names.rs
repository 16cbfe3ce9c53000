//! The names of tensors in Hugging Face checkpoints.

use crate::{LayerPart, TensorRole};

/// The name that transformers gives a tensor.
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

/// What GPTQ and AWQ put in a matrix's place; the last is GPTQ's alone.
pub(super) const PACKED_PARTS: [&str; 4] = ["qweight", "qzeros", "scales", "g_idx"];

/// What GPTQ and AWQ call a part of a matrix, its bias among them; the embedding, and what is no matrix, they leave alone.
pub(super) fn packed_name(role: TensorRole, part: &str) -> Option<String> {
    let name = tensor_name(role);
    let matrix = name.strip_suffix("weight")?;
    (role != TensorRole::Embedding && !role.is_norm()).then(|| format!("{matrix}{part}"))
}

/// Every name under which a role's tensor, or a part of it, may be stored.
pub(super) fn of_role(role: TensorRole) -> impl Iterator<Item = String> {
    let packed = PACKED_PARTS
        .into_iter()
        .filter_map(move |part| packed_name(role, part));
    std::iter::once(tensor_name(role)).chain(packed)
}

/// Tensors that may be present and carry nothing: tables of the rotary embedding, which is computed, and the output matrix
/// of a tied model, which is the embedding.
pub(super) fn is_redundant(name: &str, tied_embeddings: bool) -> bool {
    [
        "rotary_emb.inv_freq",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
        "rope.freqs",
    ]
    .iter()
    .any(|suffix| name.ends_with(suffix))
        || (tied_embeddings && name == tensor_name(TensorRole::Output))
}
