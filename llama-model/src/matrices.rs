//! The model's matrices as they are held: which of a checkpoint's tensors each one joins.
//!
//! q, k and v are the rows of one matrix, gate and up of another: one dispatch in place of three and two. What a
//! kernel joins stands side by side: the two values that RoPE turns together, and a gate with what it gates.

use std::ops::Range;

use llama_weights::{DType, Hyperparameters, LayerPart, TensorRole};

use crate::placement::Span;

/// One matrix on the GPU.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MatrixPlan {
    /// For messages and debuggers, as in `layer 3 query+key+value`.
    pub(crate) name: String,
    /// Where its rows come from, from the top.
    pub(crate) parts: Vec<Rows>,
    pub(crate) columns: usize,
}

/// Some rows of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rows {
    /// A tensor's.
    Of(TensorRole, Range<usize>),
    /// A row of the first, then one of the second, and so on; both have as many.
    Alternating([(TensorRole, Range<usize>); 2]),
}

/// What is beside what in a matrix of several tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// One tensor under the other.
    Stacked,
    /// The first two alternate.
    Alternating,
    /// Of the first two, halves of each head of this many rows alternate: rotate-half order becomes that of adjacent
    /// pairs. The rest is stacked.
    Rotary(usize),
}

/// The four matrices of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerPlan {
    /// `[(n_heads + 2 n_kv_heads) head_dim, hidden_size]`, the values that RoPE turns together adjacent
    pub(crate) qkv: MatrixPlan,
    /// `[hidden_size, n_heads head_dim]`
    pub(crate) attention_output: MatrixPlan,
    /// `[2 ffn_size, hidden_size]`, gate and up alternating
    pub(crate) gate_up: MatrixPlan,
    /// `[hidden_size, ffn_size]`
    pub(crate) down: MatrixPlan,
}

impl MatrixPlan {
    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(Rows::len).sum()
    }

    /// What the file stores its parts in, each with its rows.
    pub(crate) fn stored<E>(
        &self,
        stored: impl Fn(TensorRole) -> Result<DType, E>,
    ) -> Result<Vec<(Vec<DType>, usize)>, E> {
        let of_part = |part: &Rows| {
            let types = part.roles().map(&stored).collect::<Result<_, E>>()?;
            Ok((types, part.len()))
        };
        self.parts.iter().map(of_part).collect()
    }

    fn new(h: &Hyperparameters, name: String, roles: &[TensorRole], order: Order) -> Self {
        // Every role here exists in a model of any shape, so each has two sizes.
        let shape = |role: &TensorRole| match h.tensor_shape(*role).as_deref() {
            Some(&[rows, columns]) => (rows, columns),
            _ => (0, 0),
        };
        Self {
            name,
            parts: order.rows(roles, |role| shape(role).0),
            columns: roles.first().map_or(0, |role| shape(role).1),
        }
    }
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Of(_, rows) => rows.len(),
            Self::Alternating([(_, first), (_, second)]) => first.len() + second.len(),
        }
    }

    /// The tensors that they come from.
    pub(crate) fn roles(&self) -> impl Iterator<Item = TensorRole> {
        let (first, second) = match self {
            Self::Of(role, _) => (*role, None),
            Self::Alternating([(first, _), (second, _)]) => (*first, Some(*second)),
        };
        std::iter::once(first).chain(second)
    }
}

impl Order {
    /// The rows of tensors, each with as many as `count` says, in this order.
    fn rows(self, roles: &[TensorRole], count: impl Fn(&TensorRole) -> usize) -> Vec<Rows> {
        let whole = |role: &TensorRole| (*role, 0..count(role));
        let stacked = |roles: &[TensorRole]| {
            let rows = roles.iter().map(whole);
            rows.map(|(role, rows)| Rows::Of(role, rows)).collect()
        };
        let (mut arranged, rest): (Vec<Rows>, &[TensorRole]) = match (self, roles) {
            (Self::Alternating, [first, second, rest @ ..]) => {
                (vec![Rows::Alternating([whole(first), whole(second)])], rest)
            }
            (Self::Rotary(head_dim), [query, key, rest @ ..]) => {
                let heads = [query, key].into_iter().flat_map(|role| {
                    (0..count(role)).step_by(head_dim.max(1)).map(move |first| {
                        let (middle, end) = (first + head_dim / 2, first + head_dim);
                        Rows::Alternating([(*role, first..middle), (*role, middle..end)])
                    })
                });
                (heads.collect(), rest)
            }
            (_, roles) => (Vec::new(), roles),
        };
        arranged.append(&mut stacked(rest));
        arranged
    }
}

/// Biases are arranged as the rows of their matrices are.
pub(crate) fn qkv_bias(h: &Hyperparameters, index: usize) -> Vec<Rows> {
    let parts = [
        LayerPart::QueryBias,
        LayerPart::KeyBias,
        LayerPart::ValueBias,
    ];
    bias(h, index, &parts, Order::Rotary(h.head_dim))
}

/// As [`qkv_bias`].
pub(crate) fn gate_up_bias(h: &Hyperparameters, index: usize) -> Vec<Rows> {
    let parts = [LayerPart::GateBias, LayerPart::UpBias];
    bias(h, index, &parts, Order::Alternating)
}

fn bias(h: &Hyperparameters, index: usize, parts: &[LayerPart], order: Order) -> Vec<Rows> {
    let role = |&part| TensorRole::Layer { index, part };
    let roles: Vec<TensorRole> = parts.iter().map(role).collect();
    order.rows(&roles, |role| match h.tensor_shape(*role).as_deref() {
        Some(&[length]) => length,
        _ => 0,
    })
}

/// The embedding, `[vocab_size, hidden_size]`; where embeddings are tied it is the output head too.
pub(crate) fn embedding(h: &Hyperparameters) -> MatrixPlan {
    let roles = [TensorRole::Embedding];
    MatrixPlan::new(h, "embedding".to_owned(), &roles, Order::Stacked)
}

/// The output head, `[vocab_size, hidden_size]`; `None` where embeddings are tied.
pub(crate) fn output(h: &Hyperparameters) -> Option<MatrixPlan> {
    let roles = [TensorRole::Output];
    let plan = || MatrixPlan::new(h, "output".to_owned(), &roles, Order::Stacked);
    (!h.tied_embeddings).then(plan)
}

impl LayerPlan {
    /// The matrices of layer `index`.
    pub(crate) fn layer(h: &Hyperparameters, index: usize) -> Self {
        let join = |name: &str, parts: &[LayerPart], order| {
            let role = |&part| TensorRole::Layer { index, part };
            let roles: Vec<TensorRole> = parts.iter().map(role).collect();
            MatrixPlan::new(h, format!("layer {index} {name}"), &roles, order)
        };
        Self {
            qkv: join(
                "query+key+value",
                &[LayerPart::Query, LayerPart::Key, LayerPart::Value],
                Order::Rotary(h.head_dim),
            ),
            attention_output: join(
                "attention output",
                &[LayerPart::AttentionOutput],
                Order::Stacked,
            ),
            gate_up: join(
                "gate+up",
                &[LayerPart::Gate, LayerPart::Up],
                Order::Alternating,
            ),
            down: join("down", &[LayerPart::Down], Order::Stacked),
        }
    }
}

/// Every matrix of the model, in the order of the forward pass.
pub(crate) fn all(h: &Hyperparameters) -> impl Iterator<Item = MatrixPlan> + '_ {
    std::iter::once(embedding(h))
        .chain(of_layers(h, 0..h.n_layers))
        .chain(output(h))
}

/// Every matrix of a device, in the order of the forward pass: of tied embeddings the last device has a copy for its output.
pub(crate) fn of_span<'a>(
    h: &'a Hyperparameters,
    span: &Span,
) -> impl Iterator<Item = MatrixPlan> + use<'a> {
    let head = output(h).or_else(|| (!span.is_first).then(|| embedding(h)));
    (span.is_first.then(|| embedding(h)).into_iter())
        .chain(of_layers(h, span.layers.clone()))
        .chain(head.filter(|_| span.is_last))
}

fn of_layers(h: &Hyperparameters, layers: Range<usize>) -> impl Iterator<Item = MatrixPlan> + '_ {
    layers.flat_map(|index| {
        let layer = LayerPlan::layer(h, index);
        [layer.qkv, layer.attention_output, layer.gate_up, layer.down]
    })
}
