#![doc = include_str!("../README.md")]

mod checkpoint;
mod difference;
mod dtype;
mod encode;
mod error;
mod format;
mod generation_config;
mod hyperparameters;
mod lora;
mod mapping;
mod packed;
mod parallel;
mod pieces;
pub mod quant;
mod role;
mod synthetic;
mod tensor;
mod values;

pub use checkpoint::Checkpoint;
pub use difference::Difference;
pub use dtype::DType;
pub use error::Error;
pub use format::Format;
pub use format::gguf::{
    GgufFault, GgufOptions, GgufTensor, GgufWriteError, GgufWriter, Vocabulary, VocabularyPiece,
};
pub use format::peft::LoraFault;
pub use format::pickle::PickleFault;
pub use format::safetensors::HeaderFault;
pub use format::torch_archive::ArchiveFault;
pub use generation_config::GenerationConfig;
pub use hyperparameters::{Hyperparameters, RopeScaling};
pub use lora::LoraAdapter;
pub use role::{LayerPart, TensorRole};
pub use tensor::TensorView;
pub use values::TensorValues;
