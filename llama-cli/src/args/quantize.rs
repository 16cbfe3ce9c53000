//! Flags of `quantize`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use llama_weights::DType;

use super::{LoraArgs, OutputArgs};

#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// A Hugging Face or Meta directory, a GGUF file, or ORG/NAME from the Hub's cache; `demo`, where nothing has that name, is the built-in model
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The GGUF file to be written
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// How matrices are written
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) dtype: WrittenDtype,
    /// Replace OUT where it exists, once the new file is whole
    #[arg(long)]
    pub(crate) force: bool,
    /// Read the file again and print each tensor's error: relative to the root mean square of its values, and the largest
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WrittenDtype {
    /// 16 bits a weight
    F16,
    /// 8.5 bits a weight
    #[value(name = "q8_0")]
    Q8_0,
    /// 4.5 bits a weight, by plain rounding
    #[value(name = "q4_0")]
    Q4_0,
    /// 4.5 bits a weight and 6.56 in the output matrix, by search: better than q4_0 (llama.cpp's Q4_K_S, but for what that mixes in)
    #[value(name = "q4_k")]
    Q4K,
    /// 6.56 bits a weight, by search
    #[value(name = "q6_k")]
    Q6K,
}

impl From<WrittenDtype> for DType {
    fn from(dtype: WrittenDtype) -> Self {
        match dtype {
            WrittenDtype::F16 => Self::F16,
            WrittenDtype::Q8_0 => Self::Q8_0,
            WrittenDtype::Q4_0 => Self::Q4_0,
            WrittenDtype::Q4K => Self::Q4K,
            WrittenDtype::Q6K => Self::Q6K,
        }
    }
}
