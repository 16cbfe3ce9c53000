//! Everything that can go wrong between a checkpoint and a token, one line each.

/// The error of this crate. Each message is one line: what, expected, found, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GPU: no memory left, device lost, a limit, a timeout.
    #[error(transparent)]
    Gpu(#[from] llama_kernels::Error),

    /// Hyperparameters that do not fit together.
    #[error(transparent)]
    Shape(#[from] llama_weights::Error),

    /// The checkpoint lacks a tensor that the hyperparameters call for.
    #[error(
        "tensor {tensor} is missing: the model's shape calls for it; download the checkpoint again"
    )]
    MissingTensor {
        /// The tensor by its role.
        tensor: String,
    },

    /// The adapter's memory is too small.
    #[error(
        "the model does not fit: it needs {needed_gib:.2} GiB of the adapter's memory (weights {weights_gib:.2}, keys and values {kv_gib:.2}), and there are {there_gib:.2} GiB; {possible}"
    )]
    DoesNotFit {
        /// All that is needed.
        needed_gib: f64,
        /// Of that, the weights.
        weights_gib: f64,
        /// Of that, the KV cache.
        kv_gib: f64,
        /// What there is.
        there_gib: f64,
        /// What would fit, in words.
        possible: String,
    },

    /// One of several adapters has too little memory for its share of the model.
    #[error(
        "the model does not fit: adapter {device} of {devices} needs {needed_gib:.2} GiB for {layers} of its layers, and there are {there_gib:.2} GiB; {possible}"
    )]
    DoesNotFitOneOf {
        /// Which, counted from 1.
        device: usize,
        /// How many there are.
        devices: usize,
        /// Layers that it computes.
        layers: usize,
        /// All that it needs.
        needed_gib: f64,
        /// What it has.
        there_gib: f64,
        /// What would fit, in words.
        possible: String,
    },

    /// Layers that do not stay on a GPU are more than the host's memory holds.
    #[error(
        "the model does not fit: {layers} of its layers would stay in host memory and need {needed_gib:.2} GiB there, and there are {there_gib:.2} GiB; choose a smaller --dtype, or more --gpu-layers"
    )]
    HostTooSmall {
        /// How many layers.
        layers: usize,
        /// What they need.
        needed_gib: f64,
        /// What there is.
        there_gib: f64,
    },

    /// Shares of the layers that are not the model's.
    #[error(
        "the layers are split as {found}: expected counts that add up to the model's {n_layers} layers, one for each of the {devices} adapters, none of them 0"
    )]
    Placement {
        /// The counts.
        found: String,
        /// Layers of the model.
        n_layers: usize,
        /// Devices that are to have a share.
        devices: usize,
    },

    /// More adapters than layers.
    #[error(
        "{devices} adapters are named and the model has {n_layers} layers: name at most as many adapters"
    )]
    FewerLayers {
        /// Adapters.
        devices: usize,
        /// Layers of the model.
        n_layers: usize,
    },

    /// The KV cache for the asked context is more than the GPU can hold.
    #[error(
        "a context of {context} needs a KV cache of {needed_gib:.2} GiB ({layer_mib:.1} MiB in each of {buffers} buffers), and the adapter's limit is {limit_mib:.1} MiB a buffer: ask for a context of at most {possible}{f16_hint}"
    )]
    KvTooLarge {
        /// Positions asked for.
        context: usize,
        /// Size of the whole cache.
        needed_gib: f64,
        /// Size of K or of V of one layer.
        layer_mib: f64,
        /// How many such buffers.
        buffers: usize,
        /// The adapter's limit for one.
        limit_mib: f64,
        /// The largest context whose buffers fit.
        possible: usize,
        /// Whether a cache in f16 would help: empty, or words to append.
        f16_hint: &'static str,
    },

    /// A session without room for a token.
    #[error("the context is 0: expected at least 1 position")]
    NoContext,

    /// A prefill of no tokens.
    #[error("the prompt is empty: expected at least one token")]
    EmptyPrompt,

    /// The tokens do not fit behind what the session holds.
    #[error(
        "the prompt does not fit: {tokens} tokens behind the {position} held make {}, and the context is {context}; shorten the prompt or enlarge the context", *.tokens as u128 + *.position as u128
    )]
    ContextFull {
        /// Tokens to be added.
        tokens: usize,
        /// Tokens already held.
        position: usize,
        /// What the session can hold.
        context: usize,
    },

    /// A token id that the model does not have.
    #[error("token id {token} is not in the vocabulary: expected an id below {vocab_size}")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Ids run from 0 to this, exclusive.
        vocab_size: usize,
    },

    /// A sequence that the batch does not have.
    #[error("sequence {sequence} is not in the batch: expected a number below {sequences}")]
    NoSequence {
        /// The number.
        sequence: usize,
        /// Sequences are numbered from 0 to this, exclusive.
        sequences: usize,
    },

    /// Generation was asked for where the session has no logits: nothing prefilled since it was
    /// made or cut back.
    #[error("the session has no logits to continue from: prefill at least one token first")]
    NoLogits,

    /// A sampling option outside its range.
    #[error("sampling option {name} is {value}: expected {expected}")]
    SamplerOption {
        /// The option, as its field is called.
        name: &'static str,
        /// What it was set to.
        value: f32,
        /// The range.
        expected: &'static str,
    },

    /// Logits that no token can be chosen from.
    #[error(
        "the logits hold {found}: expected numbers, at least one of them finite; the weights are damaged (`inspect --check` names the tensor) or the device computes wrongly"
    )]
    Logits {
        /// What was found.
        found: &'static str,
    },

    /// A stop string of no characters.
    #[error(
        "a stop string is empty: expected at least one character (it would stop before any text)"
    )]
    EmptyStopString,

    /// A callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}
