//! Hyperparameters from the metadata of a file of the architecture `llama`.
//!
//! Keys and defaults are those of llama.cpp. What would change the result and is not implemented is an error, never ignored.

use std::collections::BTreeMap;

use super::metadata::Metadata;
use super::names::tensor_name;
use super::vocabulary::special_ids;
use crate::format::assign::Entry;
use crate::format::fields::Integers;
use crate::hyperparameters::limit;
use crate::{Error, Hyperparameters, LayerPart, RopeScaling, TensorRole};

pub(super) const ARCHITECTURE: &str = "general.architecture";
pub(super) const CONTEXT: &str = "llama.context_length";
pub(super) const HIDDEN: &str = "llama.embedding_length";
pub(super) const LAYERS: &str = "llama.block_count";
pub(super) const FFN: &str = "llama.feed_forward_length";
pub(super) const HEADS: &str = "llama.attention.head_count";
pub(super) const KV_HEADS: &str = "llama.attention.head_count_kv";
pub(super) const HEAD_DIM: &str = "llama.attention.key_length";
pub(super) const VALUE_DIM: &str = "llama.attention.value_length";
pub(super) const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";
pub(super) const ROTATED: &str = "llama.rope.dimension_count";
pub(super) const ROPE_BASE: &str = "llama.rope.freq_base";
pub(super) const SCALING: &str = "llama.rope.scaling.type";
pub(super) const FACTOR: &str = "llama.rope.scaling.factor";
const OLD_FACTOR: &str = "llama.rope.scale_linear";
pub(super) const VOCABULARY: &str = "llama.vocab_size";

/// The hyperparameters of a file with these tensors.
pub(super) fn read(
    metadata: &Metadata<'_>,
    tensors: &BTreeMap<String, Entry>,
) -> Result<Hyperparameters, Error> {
    refuse_other_models(metadata)?;
    let hidden_size = metadata.size(HIDDEN, limit::HIDDEN_SIZE)?;
    let n_heads = metadata.size(HEADS, limit::HEADS)?;
    let head_dim = head_dim(metadata, hidden_size, n_heads)?;
    let vocab_size = vocab_size(metadata, tensors)?;
    let special = special_ids(metadata, vocab_size)?;
    let has = |role| tensors.contains_key(&tensor_name(role));
    // A model that has one of them has all: those that are missing are named when roles get their tensors.
    let has_any = |parts: &[LayerPart]| {
        let roles = parts
            .iter()
            .map(|&part| TensorRole::Layer { index: 0, part });
        roles.into_iter().any(has)
    };
    let hyperparameters = Hyperparameters {
        hidden_size,
        n_layers: metadata.size(LAYERS, limit::LAYERS)?,
        n_heads,
        n_kv_heads: metadata
            .integer(KV_HEADS, 1, limit::HEADS)?
            .unwrap_or(n_heads),
        head_dim,
        ffn_size: metadata.size(FFN, limit::FFN_SIZE)?,
        vocab_size,
        max_position_embeddings: metadata.size(CONTEXT, limit::POSITIONS)?,
        rms_norm_eps: metadata
            .number(EPSILON)?
            .ok_or_else(|| metadata.fault(EPSILON, "a number"))? as f32,
        rope_theta: metadata.number(ROPE_BASE)?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(metadata)?,
        tied_embeddings: !has(TensorRole::Output),
        attention_bias: has_any(&[
            LayerPart::QueryBias,
            LayerPart::KeyBias,
            LayerPart::ValueBias,
            LayerPart::AttentionOutputBias,
        ]),
        mlp_bias: has_any(&[LayerPart::GateBias, LayerPart::UpBias, LayerPart::DownBias]),
        bos_token_id: special.bos,
        eos_token_ids: special.ends,
    };
    hyperparameters.check().map_err(|violation| {
        metadata.fault_found(key(violation.field), violation.expected, violation.found)
    })?;
    Ok(hyperparameters)
}

fn refuse_other_models(metadata: &Metadata<'_>) -> Result<(), Error> {
    if metadata.text(ARCHITECTURE)? != Some("llama") {
        return Err(metadata.fault(ARCHITECTURE, "\"llama\""));
    }
    const KIND: &str = "general.type";
    if !matches!(metadata.text(KIND)?, None | Some("model")) {
        return Err(metadata.fault(KIND, "\"model\""));
    }
    const EXPERTS: &str = "llama.expert_count";
    if metadata
        .integer(EXPERTS, 0, u64::from(u32::MAX))?
        .unwrap_or(0)
        > 0
    {
        return Err(metadata.fault(EXPERTS, "none, since a mixture of experts is another model"));
    }
    const CAUSAL: &str = "llama.attention.causal";
    if metadata.flag(CAUSAL)? == Some(false) {
        return Err(metadata.fault(
            CAUSAL,
            "true, since every position attends to those before it alone",
        ));
    }
    Ok(())
}

fn head_dim(metadata: &Metadata<'_>, hidden_size: usize, n_heads: usize) -> Result<usize, Error> {
    let head_dim = match metadata.integer(HEAD_DIM, 1, limit::HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
        None => {
            return Err(metadata.fault(
                HEADS,
                format!("a divisor of {HIDDEN} ({hidden_size}), or {HEAD_DIM} beside it"),
            ));
        }
    };
    for (other, why) in [
        (VALUE_DIM, "as long as keys"),
        (ROTATED, "since every dimension of a head is rotated"),
    ] {
        let found = metadata.integer(other, 1, limit::HEAD_DIM)?;
        if found.is_some_and(|found| found != head_dim) {
            return Err(metadata.fault(other, format!("{head_dim}, {why}")));
        }
    }
    Ok(head_dim)
}

/// The vocabulary's size: where the file does not say, the rows of the embedding.
fn vocab_size(metadata: &Metadata<'_>, tensors: &BTreeMap<String, Entry>) -> Result<usize, Error> {
    if let Some(size) = metadata.integer(VOCABULARY, 1, limit::VOCAB_SIZE)? {
        return Ok(size);
    }
    let name = tensor_name(TensorRole::Embedding);
    let rows = tensors.get(&name).and_then(|entry| entry.shape.first());
    match rows {
        Some(&rows) if (1..=limit::VOCAB_SIZE).contains(&(rows as u64)) => Ok(rows),
        Some(rows) => Err(metadata.fault_found(
            VOCABULARY,
            format!("an integer from 1 to {}", limit::VOCAB_SIZE),
            format!("nothing, and {rows} rows of {name}"),
        )),
        None => Err(metadata.fault_found(
            VOCABULARY,
            format!("an integer from 1 to {}", limit::VOCAB_SIZE),
            format!("nothing, and no {name}"),
        )),
    }
}

fn rope_scaling(metadata: &Metadata<'_>) -> Result<RopeScaling, Error> {
    let factor = match metadata.number(FACTOR)? {
        Some(factor) => Some(factor),
        None => metadata.number(OLD_FACTOR)?,
    };
    match metadata.text(SCALING)? {
        Some("none") => Ok(RopeScaling::None),
        None | Some("linear") => Ok(match factor {
            // llama.cpp reads 0 as none.
            None | Some(0.0 | 1.0) => RopeScaling::None,
            Some(factor) => RopeScaling::Linear { factor },
        }),
        Some(_) => Err(metadata.fault(
            SCALING,
            "\"none\" or \"linear\", since no other scaling of a GGUF file is implemented",
        )),
    }
}

/// The key in the file of a field of [`Hyperparameters`].
fn key(field: &str) -> &str {
    match field {
        "hidden_size" => HIDDEN,
        "n_layers" => LAYERS,
        "n_heads" => HEADS,
        "n_kv_heads" => KV_HEADS,
        "head_dim" => HEAD_DIM,
        "ffn_size" => FFN,
        "vocab_size" => VOCABULARY,
        "max_position_embeddings" => CONTEXT,
        "rms_norm_eps" => EPSILON,
        "rope_theta" => ROPE_BASE,
        "rope_scaling.factor" => FACTOR,
        "bos_token_id" => super::vocabulary::BOS,
        "eos_token_ids" => super::vocabulary::EOS,
        other => other,
    }
}
