#![doc = include_str!("../README.md")]

mod batch;
mod columns;
mod convert;
mod engine;
mod error;
mod fit;
mod forward;
mod generation;
mod holding;
mod load;
mod matrices;
mod memory;
mod model;
mod pages;
mod pieces;
mod probability;
mod random;
mod rope;
mod sampler;
mod scratch;
mod session;
mod stop;
mod synthetic;

pub use batch::Batch;
pub use error::Error;
pub use fit::fit;
pub use generation::{FinishReason, Generation, GenerationOptions};
pub use holding::{HeldOtherwise, HeldReason, KvChoice, WeightChoice};
pub use memory::{MemoryPlan, Stored, memory_plan};
pub use model::{LoadOptions, Model, Progress, SessionOptions};
pub use probability::{log_probability, perplexity};
pub use sampler::{Candidate, Sampler, SamplerOptions};
pub use session::Session;
pub use stop::{Held, StopStrings};

pub use llama_kernels;
pub use llama_weights;
