//! The names of tensors in peft's files: `base_model.model.`, transformers' name of a module, and what is stored of it.

use std::collections::BTreeMap;

use crate::format::huggingface::tensor_name;
use crate::{Hyperparameters, LayerPart, TensorRole};

const PREFIX: &str = "base_model.model.";

/// What is stored of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The factor that the input meets first, `[rank, columns]`; of an embedding `[rank, vocab_size]`.
    A,
    /// The other factor, `[rows, rank]`; of an embedding `[hidden_size, rank]`.
    B,
    /// The tensor itself, trained.
    Whole {
        /// The module has a product, too.
        wrapped: bool,
    },
}

/// The tensors of a base, by the names that transformers gives them.
pub(super) struct Modules {
    by_name: BTreeMap<String, TensorRole>,
}

impl Modules {
    pub(super) fn of(h: &Hyperparameters) -> Self {
        Self {
            by_name: h.roles().map(|role| (tensor_name(role), role)).collect(),
        }
    }

    /// All tensors of the base, in the order of their names.
    pub(super) fn roles(&self) -> impl Iterator<Item = TensorRole> {
        self.by_name.values().copied()
    }

    /// The matrix, or the norm, of a module.
    pub(super) fn weight_of(&self, module: &str) -> Option<TensorRole> {
        self.by_name.get(&format!("{module}.weight")).copied()
    }

    /// Which tensor of the base one of an adapter is for.
    pub(super) fn find(&self, name: &str) -> Option<(TensorRole, Part)> {
        let name = name.strip_prefix(PREFIX)?;
        let factors = [
            (".lora_A.weight", Part::A),
            (".lora_B.weight", Part::B),
            (".lora_embedding_A", Part::A),
            (".lora_embedding_B", Part::B),
        ];
        for (suffix, part) in factors {
            if let Some(module) = name.strip_suffix(suffix) {
                let role = self.weight_of(module)?;
                let of_embedding = !suffix.ends_with(".weight");
                return (of_embedding == (role == TensorRole::Embedding)).then_some((role, part));
            }
        }
        for parameter in ["weight", "bias"] {
            let Some(module) = name.strip_suffix(&format!(".base_layer.{parameter}")) else {
                continue;
            };
            let role = *self.by_name.get(&format!("{module}.{parameter}"))?;
            return Some((role, Part::Whole { wrapped: true }));
        }
        let role = *self.by_name.get(name)?;
        Some((role, Part::Whole { wrapped: false }))
    }
}

/// transformers' name of the module that a tensor belongs to.
pub(super) fn module(role: TensorRole) -> String {
    let name = tensor_name(role);
    name.rsplit_once('.')
        .map_or(name.clone(), |(module, _)| module.to_owned())
}

/// Whether peft can have a product for a tensor: for the matrices of linear and embedding modules.
pub(super) fn takes_product(role: TensorRole) -> bool {
    match role {
        TensorRole::Embedding | TensorRole::Output => true,
        TensorRole::OutputNorm => false,
        TensorRole::Layer { part, .. } => is_linear(part),
    }
}

fn is_linear(part: LayerPart) -> bool {
    matches!(
        part,
        LayerPart::Query
            | LayerPart::Key
            | LayerPart::Value
            | LayerPart::AttentionOutput
            | LayerPart::Gate
            | LayerPart::Up
            | LayerPart::Down
    )
}

/// Whether a name is for the output matrix, which a tied model does not have.
pub(super) fn is_output(name: &str) -> bool {
    let module = module(TensorRole::Output);
    (name.strip_prefix(PREFIX)).is_some_and(|name| name.starts_with(&format!("{module}.")))
}

/// The name of the other factor.
pub(super) fn other(factor: &str) -> String {
    let pairs = [
        (".lora_A.weight", ".lora_B.weight"),
        (".lora_B.weight", ".lora_A.weight"),
        (".lora_embedding_A", ".lora_embedding_B"),
        (".lora_embedding_B", ".lora_embedding_A"),
    ];
    let named = pairs
        .iter()
        .find_map(|(of, other)| Some(format!("{}{other}", factor.strip_suffix(of)?)));
    named.unwrap_or_default()
}
