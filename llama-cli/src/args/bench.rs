//! Flags of `bench`.

use std::num::NonZeroUsize;

use clap::Args;

use super::shape::Shape;
use super::{DeviceArgs, LoraArgs, ModelArgs, OutputArgs};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Tokens of the prompt; 0 leaves its test out
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) prompt: usize,
    /// Tokens generated one by one; 0 leaves their test out
    #[arg(long = "gen", value_name = "N", default_value_t = 128)]
    pub(crate) generated: usize,
    /// Tokens that the cache holds when a test begins; several, by commas or by repeating the flag, are as many tests
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0")]
    pub(crate) depth: Vec<usize>,
    /// How often each test is timed, after a run that does not count
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) reps: NonZeroUsize,
    /// Make weights on the device, with no file: 7b, 13b, 70b, 110m, tiny, or hidden,layers,heads,kv,ffn,vocab
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["model", "lora"])]
    pub(crate) synthetic: Option<Shape>,
    /// Also the time of every kernel, by timestamps around each dispatch
    #[arg(long)]
    pub(crate) profile: bool,
    /// Comma-separated values on stdout
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
