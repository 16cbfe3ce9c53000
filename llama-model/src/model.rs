//! A model whose weights lie on GPUs, and what it can be asked.
//!
//! Loading is in `load`, one step of the transformer in `forward`.

use std::ops::ControlFlow;
use std::sync::Arc;

use llama_kernels::{Gpu, Tensor, WeightFormat, WeightMatrix};
use llama_weights::{Checkpoint, Hyperparameters};

use crate::batch::Batch;
use crate::columns::Orders;
use crate::engine::Engine;
use crate::holding::{HeldOtherwise, KvChoice, WeightChoice};
use crate::load::load;
use crate::placement::{Placement, Share, Span};
use crate::stream::Stream;
use crate::synthetic::synthesize;
use crate::{Error, Session, memory};

/// A Llama 2 model on one GPU or several. Cheap to clone: clones share the weights.
#[derive(Debug, Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// At least one.
    stages: Vec<StageWeights>,
    hyperparameters: Hyperparameters,
    eos_token_ids: Vec<u32>,
    choice: WeightChoice,
    loaded: Loaded,
}

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// How matrices are held on the GPU.
    pub weights: WeightChoice,
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the checkpoint's tensors that are on the GPU or on their way there.
    pub bytes_done: u64,
    /// Bytes of all of them, as the file stores them.
    pub bytes_total: u64,
}

/// What a session is made for.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Positions, prompt and generated tokens together; for a [`Batch`], of each sequence.
    pub context: usize,
    /// How the KV cache is held.
    pub kv: KvChoice,
    /// Tokens of a prompt per step; `None` is as many as 128 MiB of activations hold, at most 512.
    /// Results do not depend on it, to rounding.
    pub chunk: Option<usize>,
}

/// The weights of one device, in the order of use.
#[derive(Debug)]
pub(crate) struct StageWeights {
    pub(crate) gpu: Gpu,
    pub(crate) span: Span,
    /// `[vocab_size, hidden_size]`, on the first device
    pub(crate) embedding: Option<WeightMatrix>,
    /// Those of the span; matrices of streamed layers are slots.
    pub(crate) layers: Vec<LayerWeights>,
    /// On the last device.
    pub(crate) head: Option<HeadWeights>,
    /// What goes into the slots.
    pub(crate) stream: Option<Stream>,
}

/// The weights behind the layers.
#[derive(Debug)]
pub(crate) struct HeadWeights {
    /// `[1, hidden_size]`
    pub(crate) norm: Tensor,
    /// `[vocab_size, hidden_size]`; with tied embeddings it is the embedding, or on another device a copy
    pub(crate) output: WeightMatrix,
    /// The order of the output head's columns, `[hidden_size]` ids; `None` is the model's own
    pub(crate) order: Option<Tensor>,
}

/// The weights of one layer. Biases are there where the model has them.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    /// `[1, hidden_size]`
    pub(crate) attention_norm: Tensor,
    /// `[(n_heads + 2 n_kv_heads) head_dim, hidden_size]`, rotation pairs adjacent
    pub(crate) qkv: WeightMatrix,
    /// `[1, (n_heads + 2 n_kv_heads) head_dim]`
    pub(crate) qkv_bias: Option<Tensor>,
    /// `[hidden_size, n_heads head_dim]`
    pub(crate) attention_output: WeightMatrix,
    /// `[1, hidden_size]`
    pub(crate) attention_output_bias: Option<Tensor>,
    /// `[1, hidden_size]`
    pub(crate) ffn_norm: Tensor,
    /// `[2 ffn_size, hidden_size]`, gate and up alternating
    pub(crate) gate_up: WeightMatrix,
    /// `[1, 2 ffn_size]`
    pub(crate) gate_up_bias: Option<Tensor>,
    /// `[hidden_size, ffn_size]`
    pub(crate) down: WeightMatrix,
    /// `[1, hidden_size]`
    pub(crate) down_bias: Option<Tensor>,
    /// Where the columns of a matrix are not in the model's own order; the norm before it then has its order too.
    pub(crate) orders: Orders,
}

/// What loading found out.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The format that most bytes are held in.
    pub(crate) format: WeightFormat,
    pub(crate) held_otherwise: Vec<HeldOtherwise>,
    pub(crate) weight_bytes: u64,
}

impl Model {
    /// Puts a checkpoint's weights on a GPU, or as a [`Placement`] says, in pieces of some 8 MiB, and reports after each.
    ///
    /// # Errors
    /// [`Error::Placement`] where the layers are not placed, [`Error::Cancelled`] where `progress` breaks, [`Error::Gpu`] where memory or the device
    /// fails, [`Error::MissingTensor`] where the checkpoint lacks one.
    pub fn load(
        placement: impl Into<Placement>,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self, Error> {
        let parts = (placement.into()).parts(checkpoint.hyperparameters().n_layers)?;
        let (stages, loaded) = load(parts, checkpoint, options.weights, progress)?;
        Ok(Self {
            inner: Arc::new(Inner {
                stages,
                hyperparameters: checkpoint.hyperparameters().clone(),
                eos_token_ids: checkpoint.eos_token_ids(),
                choice: options.weights,
                loaded,
            }),
        })
    }

    /// A model of any shape with seeded noise for weights, made on the GPU: no file is read and nothing is uploaded. Its
    /// matrices are held as a file in f16 would be; the same seed gives the same weights everywhere. Reports after each matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] where the hyperparameters do not fit together, [`Error::Placement`] where the layers are not placed, [`Error::Cancelled`] where `progress` breaks,
    /// [`Error::Gpu`] where memory or the device fails.
    pub fn synthetic(
        placement: impl Into<Placement>,
        hyperparameters: &Hyperparameters,
        weights: WeightChoice,
        seed: u64,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self, Error> {
        hyperparameters.validate()?;
        let parts = (placement.into()).parts(hyperparameters.n_layers)?;
        let (stages, loaded) = synthesize(parts, hyperparameters, weights, seed, progress)?;
        Ok(Self {
            inner: Arc::new(Inner {
                stages,
                hyperparameters: hyperparameters.clone(),
                eos_token_ids: hyperparameters.eos_token_ids.clone(),
                choice: weights,
                loaded,
            }),
        })
    }

    /// A conversation with this model: its own KV cache and position. All GPU memory that it will
    /// ever use is allocated here.
    ///
    /// # Errors
    /// [`Error::NoContext`] for a context of 0, [`Error::KvTooLarge`] before anything is allocated
    /// where the adapter cannot hold the cache, [`Error::Gpu`] where memory runs out after all.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        Ok(Session::new(Engine::new(self, options, 1)?))
    }

    /// Several sequences that go through the model in common steps.
    ///
    /// # Errors
    /// As [`Model::session`].
    pub fn batch(&self, options: &SessionOptions, sequences: usize) -> Result<Batch, Error> {
        Ok(Batch::new(Engine::new(self, options, sequences.max(1))?))
    }

    /// The model's shape.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.inner.hyperparameters
    }

    /// The tokens that end a sequence.
    pub fn eos_token_ids(&self) -> &[u32] {
        &self.inner.eos_token_ids
    }

    /// The format that most of the weights are held in.
    pub fn weight_format(&self) -> WeightFormat {
        self.inner.loaded.format
    }

    /// The matrices that are held in another format than was asked for, and why.
    pub fn held_otherwise(&self) -> &[HeldOtherwise] {
        &self.inner.loaded.held_otherwise
    }

    /// Bytes of all weights as they are held, each once, those in host memory included.
    pub fn weight_bytes(&self) -> u64 {
        self.inner.loaded.weight_bytes
    }

    /// Bytes that a decode step must read, once each: the weights with one row of the embedding in place of all, and the
    /// keys and values of the `position` tokens before it. The limit of tokens per second is the adapter's bytes per
    /// second over this. Activations stay in caches and are not in it.
    pub fn decode_bytes(&self, kv: KvChoice, position: usize) -> u64 {
        let h = self.hyperparameters();
        let embedding = self
            .stages()
            .iter()
            .find_map(|stage| stage.embedding.as_ref());
        memory::decode_bytes(
            h,
            self.weight_bytes(),
            (embedding.filter(|_| !h.tied_embeddings)).and_then(|table| table.format_at(0)),
            kv.format(self.inner.choice),
            position,
        )
    }

    /// Floating-point operations of `tokens` tokens behind `position` others whose last one's logits are wanted: two for
    /// each weight of a layer and token, two for each weight of the output, four for each value of a query and position that
    /// it attends to. Norms, rotations and softmax are not in it.
    pub fn prefill_operations(&self, tokens: usize, position: usize) -> u64 {
        memory::prefill_operations(self.hyperparameters(), tokens, position)
    }

    /// The GPU that holds the weights; of several the first.
    pub fn gpu(&self) -> &Gpu {
        &self.stages()[0].gpu
    }

    /// The GPUs that hold the weights, in the order of the layers.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> {
        self.stages().iter().map(|stage| &stage.gpu)
    }

    /// Each GPU's share of the layers.
    pub fn shares(&self) -> impl Iterator<Item = Share> {
        self.stages().iter().map(|stage| Share {
            layers: stage.span.layers.len(),
            streamed: stage.span.streamed,
        })
    }

    /// Host memory of streamed layers, in bytes.
    pub fn host_bytes(&self) -> u64 {
        let streams = self
            .stages()
            .iter()
            .filter_map(|stage| stage.stream.as_ref());
        streams.map(Stream::host_bytes).sum()
    }

    pub(crate) fn stages(&self) -> &[StageWeights] {
        &self.inner.stages
    }

    pub(crate) fn weight_choice(&self) -> WeightChoice {
        self.inner.choice
    }
}
