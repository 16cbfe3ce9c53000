//! Flags of the commands that run a model: which adapter, how much context, which formats.

use std::num::NonZeroUsize;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::values::{LayerCounts, parse_layers};

/// The adapters of a run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct NamedAdapters {
    /// Which adapter: its index in `doctor`, or a part of its name; by default the best
    #[arg(
        long,
        value_name = "INDEX|NAME,…",
        env = "LLAMA_ADAPTER",
        hide_env_values = true,
        long_help = "Which adapter: its index in `doctor`, or a part of its name; by default the best. Several, separated by commas, \
                     share the model's layers"
    )]
    pub(crate) adapter: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct AdapterArgs {
    #[command(flatten)]
    pub(crate) named: NamedAdapters,
    /// Keep run-time checks in every kernel; by default those that passed their trials run without
    #[arg(long, env = "LLAMA_KERNEL_CHECKS", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) kernel_checks: bool,
}

/// What is held how, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct MemoryArgs {
    /// Positions of prompt and answer together; by default the model's limit, at most 4096
    #[arg(
        short,
        long,
        value_name = "N",
        env = "LLAMA_CTX_SIZE",
        hide_env_values = true
    )]
    pub(crate) ctx_size: Option<NonZeroUsize>,
    /// How weights are held on the GPU
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "LLAMA_DTYPE",
        hide_env_values = true,
        hide_possible_values = true,
        long_help = "How weights are held on the GPU: auto, f32, f16, q8_0, q6_k, q4_k or q4_0. auto is the file's own format; \
                     bf16 becomes f16 where every value is in its range, else f32; f32 becomes f16. q4_k and q6_k are made \
                     slowly, some 50 MB/s a core: `quantize` makes a file of them once"
    )]
    pub(crate) dtype: Dtype,
    /// How keys and values are held
    #[arg(
        long,
        value_enum,
        default_value_t,
        env = "LLAMA_KV_DTYPE",
        hide_env_values = true,
        hide_possible_values = true,
        long_help = "How keys and values are held: auto, f32, f16 or q8_0. auto is f32 with --dtype f32, else f16"
    )]
    pub(crate) kv_dtype: KvDtype,
    /// Layers that stay in the adapters' memory; the others are copied there in every step, which is slow
    #[arg(
        long,
        value_name = "N",
        env = "LLAMA_GPU_LAYERS",
        hide_env_values = true,
        long_help = "How many layers stay in the adapters' memory; by default all. The others stay in host memory and are copied to \
                     the adapter in every step: slow, but larger models run"
    )]
    pub(crate) gpu_layers: Option<usize>,
    /// Layers of each of several adapters; by default in proportion to memory
    #[arg(
        long,
        value_name = "N,N,…",
        env = "LLAMA_SPLIT",
        hide_env_values = true,
        value_parser = parse_layers
    )]
    pub(crate) split: Option<LayerCounts>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// Compile every kernel anew, and keep nothing of it in the cache directory
    #[arg(long, env = "LLAMA_NO_PIPELINE_CACHE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) no_pipeline_cache: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    #[default]
    Auto,
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q6_k")]
    Q6K,
    #[value(name = "q4_k")]
    Q4K,
    #[value(name = "q4_0")]
    Q4_0,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KvDtype {
    #[default]
    Auto,
    F32,
    F16,
    #[value(name = "q8_0")]
    Q8_0,
}
