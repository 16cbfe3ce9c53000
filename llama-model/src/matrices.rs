//! The model's matrices as they are held: which of a checkpoint's tensors each one joins.
//!
//! q, k and v are the rows of one matrix, gate and up of another: one dispatch in place of three and two.

use llama_weights::{Hyperparameters, LayerPart, TensorRole};

/// One matrix on the GPU.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MatrixPlan {
    /// For messages and debuggers, as in `layer 3 query+key+value`.
    pub(crate) name: String,
    /// The tensors whose rows it holds, from the top, and how many each has.
    pub(crate) parts: Vec<(TensorRole, usize)>,
    pub(crate) columns: usize,
}

/// The four matrices of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerPlan {
    /// `[(n_heads + 2 n_kv_heads) head_dim, hidden_size]`
    pub(crate) qkv: MatrixPlan,
    /// `[hidden_size, n_heads head_dim]`
    pub(crate) attention_output: MatrixPlan,
    /// `[2 ffn_size, hidden_size]`
    pub(crate) gate_up: MatrixPlan,
    /// `[hidden_size, ffn_size]`
    pub(crate) down: MatrixPlan,
}

impl MatrixPlan {
    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows).sum()
    }

    fn new(h: &Hyperparameters, name: String, roles: &[TensorRole]) -> Self {
        // Every role here exists in a model of any shape, so each has two sizes.
        let shape = |role: &TensorRole| match h.tensor_shape(*role).as_deref() {
            Some(&[rows, columns]) => (rows, columns),
            _ => (0, 0),
        };
        Self {
            name,
            parts: roles.iter().map(|role| (*role, shape(role).0)).collect(),
            columns: roles.first().map_or(0, |role| shape(role).1),
        }
    }
}

/// The embedding, `[vocab_size, hidden_size]`; where embeddings are tied it is the output head too.
pub(crate) fn embedding(h: &Hyperparameters) -> MatrixPlan {
    MatrixPlan::new(h, "embedding".to_owned(), &[TensorRole::Embedding])
}

/// The output head, `[vocab_size, hidden_size]`; `None` where embeddings are tied.
pub(crate) fn output(h: &Hyperparameters) -> Option<MatrixPlan> {
    let plan = || MatrixPlan::new(h, "output".to_owned(), &[TensorRole::Output]);
    (!h.tied_embeddings).then(plan)
}

impl LayerPlan {
    /// The matrices of layer `index`.
    pub(crate) fn layer(h: &Hyperparameters, index: usize) -> Self {
        let join = |name: &str, parts: &[LayerPart]| {
            let role = |&part| TensorRole::Layer { index, part };
            let roles: Vec<TensorRole> = parts.iter().map(role).collect();
            MatrixPlan::new(h, format!("layer {index} {name}"), &roles)
        };
        Self {
            qkv: join(
                "query+key+value",
                &[LayerPart::Query, LayerPart::Key, LayerPart::Value],
            ),
            attention_output: join("attention output", &[LayerPart::AttentionOutput]),
            gate_up: join("gate+up", &[LayerPart::Gate, LayerPart::Up]),
            down: join("down", &[LayerPart::Down]),
        }
    }
}

/// Every matrix of the model, in the order of the forward pass.
pub(crate) fn all(h: &Hyperparameters) -> impl Iterator<Item = MatrixPlan> + '_ {
    let layers = (0..h.n_layers).flat_map(|index| {
        let layer = LayerPlan::layer(h, index);
        [layer.qkv, layer.attention_output, layer.gate_up, layer.down]
    });
    std::iter::once(embedding(h)).chain(layers).chain(output(h))
}
