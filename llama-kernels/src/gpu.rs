//! The runtime over wgpu: device, memory, pipelines and command recording.
//!
//! What is computed is not decided here (`ops`), nor which variants exist (`kernel`). Nothing here reads environment
//! variables or prints; every fault of the device comes back as an [`Error`](crate::Error).

mod adapter;
mod behind;
mod bind;
mod bridge;
mod compile;
mod device;
mod fault;
mod kv_cache;
mod landing;
mod memory;
mod pipeline;
mod pipeline_cache;
mod profile;
mod recorder;
mod step;
mod tensor;
mod transfer;
mod upload;
mod weight_matrix;

pub use adapter::{AdapterChoice, AdapterDescription, Checks, GpuOptions};
pub use behind::ReadBehind;
pub use bind::{Bind, Dispatch, Uniform};
pub use bridge::Bridge;
pub use device::Gpu;
pub use kv_cache::KvCache;
pub use pipeline::Pipeline;
pub use profile::{Profile, Span};
pub use recorder::Recorder;
pub use step::{StepBuffer, StepLayout, StepRow, TokenSource};
pub use tensor::Tensor;
pub use upload::{HostRows, Stage, Upload};
pub use weight_matrix::{Section, WeightMatrix, WeightPiece};
