//! Which tensor of the model a stored tensor is, and the shape that the hyperparameters give it.
//!
//! Names as strings are absent on purpose: each file format has its own, under `format/`.

use crate::Hyperparameters;

/// A tensor's place in the model. The order is the order of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorRole {
    /// Token embedding, `[vocab_size, hidden_size]`.
    Embedding,
    /// One tensor of one layer.
    Layer {
        /// Layer number, from 0.
        index: usize,
        /// Which tensor of the layer.
        part: LayerPart,
    },
    /// The norm before the output matrix, `[hidden_size]`.
    OutputNorm,
    /// The output matrix ("lm head"), `[vocab_size, hidden_size]`; absent where it is tied to the embedding.
    Output,
}

/// A tensor within a layer. Matrices are `[outputs, inputs]`, row-major; `q = n_heads · head_dim`, `kv = n_kv_heads · head_dim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerPart {
    /// RMSNorm before attention, `[hidden]`.
    AttentionNorm,
    /// `[q, hidden]`, rows of a head half-split (rotate-half order), whatever the file's order was.
    Query,
    /// `[kv, hidden]`, row order as [`LayerPart::Query`].
    Key,
    /// `[kv, hidden]`.
    Value,
    /// `[hidden, q]`.
    AttentionOutput,
    /// RMSNorm before the feed-forward part, `[hidden]`.
    FfnNorm,
    /// `[ffn, hidden]`, goes through SiLU.
    Gate,
    /// `[ffn, hidden]`.
    Up,
    /// `[hidden, ffn]`.
    Down,
    /// `[q]`, only with `attention_bias`.
    QueryBias,
    /// `[kv]`, only with `attention_bias`.
    KeyBias,
    /// `[kv]`, only with `attention_bias`.
    ValueBias,
    /// `[hidden]`, only with `attention_bias`.
    AttentionOutputBias,
    /// `[ffn]`, only with `mlp_bias`.
    GateBias,
    /// `[ffn]`, only with `mlp_bias`.
    UpBias,
    /// `[hidden]`, only with `mlp_bias`.
    DownBias,
}

impl LayerPart {
    /// Every part, in order.
    pub const ALL: [LayerPart; 16] = [
        LayerPart::AttentionNorm,
        LayerPart::Query,
        LayerPart::Key,
        LayerPart::Value,
        LayerPart::AttentionOutput,
        LayerPart::FfnNorm,
        LayerPart::Gate,
        LayerPart::Up,
        LayerPart::Down,
        LayerPart::QueryBias,
        LayerPart::KeyBias,
        LayerPart::ValueBias,
        LayerPart::AttentionOutputBias,
        LayerPart::GateBias,
        LayerPart::UpBias,
        LayerPart::DownBias,
    ];

    fn exists_in(self, h: &Hyperparameters) -> bool {
        match self {
            LayerPart::QueryBias
            | LayerPart::KeyBias
            | LayerPart::ValueBias
            | LayerPart::AttentionOutputBias => h.attention_bias,
            LayerPart::GateBias | LayerPart::UpBias | LayerPart::DownBias => h.mlp_bias,
            _ => true,
        }
    }

    fn shape(self, h: &Hyperparameters) -> Vec<usize> {
        // Saturating, since the fields are public and may not have been validated.
        let q = h.n_heads.saturating_mul(h.head_dim);
        let kv = h.n_kv_heads.saturating_mul(h.head_dim);
        match self {
            LayerPart::AttentionNorm | LayerPart::FfnNorm => vec![h.hidden_size],
            LayerPart::Query => vec![q, h.hidden_size],
            LayerPart::Key | LayerPart::Value => vec![kv, h.hidden_size],
            LayerPart::AttentionOutput => vec![h.hidden_size, q],
            LayerPart::Gate | LayerPart::Up => vec![h.ffn_size, h.hidden_size],
            LayerPart::Down => vec![h.hidden_size, h.ffn_size],
            LayerPart::QueryBias => vec![q],
            LayerPart::KeyBias | LayerPart::ValueBias => vec![kv],
            LayerPart::AttentionOutputBias | LayerPart::DownBias => vec![h.hidden_size],
            LayerPart::GateBias | LayerPart::UpBias => vec![h.ffn_size],
        }
    }
}

impl TensorRole {
    /// Whether the tensor is the weight of an RMSNorm (near 1, always held in f32).
    #[must_use]
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            TensorRole::OutputNorm
                | TensorRole::Layer {
                    part: LayerPart::AttentionNorm | LayerPart::FfnNorm,
                    ..
                }
        )
    }
}

impl Hyperparameters {
    /// Every tensor that a model of this shape has, in the order of the forward pass.
    pub fn roles(&self) -> impl Iterator<Item = TensorRole> + '_ {
        let layers = (0..self.n_layers).flat_map(move |index| {
            LayerPart::ALL
                .into_iter()
                .filter(move |part| part.exists_in(self))
                .map(move |part| TensorRole::Layer { index, part })
        });
        std::iter::once(TensorRole::Embedding)
            .chain(layers)
            .chain(std::iter::once(TensorRole::OutputNorm))
            .chain((!self.tied_embeddings).then_some(TensorRole::Output))
    }

    /// The shape of a tensor (`[rows, columns]`, or `[length]`), or `None` where a model of this shape has no such
    /// tensor: a bias of a model without biases, the output of a tied model, a layer past the last.
    #[must_use]
    pub fn tensor_shape(&self, role: TensorRole) -> Option<Vec<usize>> {
        match role {
            TensorRole::Embedding => Some(vec![self.vocab_size, self.hidden_size]),
            TensorRole::OutputNorm => Some(vec![self.hidden_size]),
            TensorRole::Output => {
                (!self.tied_embeddings).then(|| vec![self.vocab_size, self.hidden_size])
            }
            TensorRole::Layer { index, part } => {
                (index < self.n_layers && part.exists_in(self)).then(|| part.shape(self))
            }
        }
    }
}
