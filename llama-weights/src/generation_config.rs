//! What `generation_config.json` says about sampling. Reading it is the format's business, obeying it the caller's.

/// The sampling values that a checkpoint recommends. A field is `None` where the file does not say.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// `false` is greedy.
    pub do_sample: Option<bool>,
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Nucleus sampling.
    pub top_p: Option<f32>,
    /// Candidates kept; 0 is off.
    pub top_k: Option<usize>,
    /// Smallest probability kept, relative to the largest.
    pub min_p: Option<f32>,
    /// Repetition penalty; 1 is off.
    pub repetition_penalty: Option<f32>,
    /// Ids that end a generation; may be empty.
    pub eos_token_ids: Vec<u32>,
    /// Longest sequence, prompt included.
    pub max_length: Option<usize>,
}
