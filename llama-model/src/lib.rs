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
mod placement;
mod probability;
mod random;
mod rope;
mod sampler;
mod scratch;
mod session;
mod stage;
mod stop;
mod stream;
mod synthetic;

pub use batch::Batch;
pub use error::Error;
pub use fit::{PlacementRequest, fit};
pub use generation::{FinishReason, Generation, GenerationOptions};
pub use holding::{HeldOtherwise, HeldReason, KvChoice, WeightChoice};
pub use memory::{DeviceMemory, MemoryPlan, PlacementPlan, Stored, memory_plan, placement_plan};
pub use model::{LoadOptions, Model, Progress, SessionOptions};
pub use placement::{Placement, Share};
pub use probability::{log_probability, perplexity};
pub use sampler::{Candidate, Sampler, SamplerOptions};
pub use session::Session;
pub use stop::{Held, StopStrings};

pub use llama_kernels;
pub use llama_weights;
