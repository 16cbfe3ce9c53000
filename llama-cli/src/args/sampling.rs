//! Flags that say how the next token is chosen and when to stop.
//!
//! What a flag does not say comes from the model's generation_config.json, and last from the
//! constants of `crate::sampling`.

use clap::Args;

use super::values::{MaxTokens, at_least_zero, more_than_zero, non_empty, probability};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// How many tokens at most; -1 is until the end of the answer or of the context
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        allow_negative_numbers = true,
        env = "LLAMA_MAX_TOKENS",
        hide_env_values = true
    )]
    pub(crate) max_tokens: Option<MaxTokens>,
    /// 0 always takes the likeliest token [default: the model's, else 0.6]
    #[arg(
        long = "temp",
        visible_alias = "temperature",
        value_name = "T",
        value_parser = at_least_zero,
        allow_negative_numbers = true,
        env = "LLAMA_TEMP",
        hide_env_values = true
    )]
    pub(crate) temperature: Option<f32>,
    /// Only the K likeliest tokens; 0 is off [default: the model's, else off]
    #[arg(long, value_name = "K", env = "LLAMA_TOP_K", hide_env_values = true)]
    pub(crate) top_k: Option<usize>,
    /// Only the likeliest tokens that together reach P; 1 is off, 0 is greedy [default: the model's, else 0.9]
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true, env = "LLAMA_TOP_P", hide_env_values = true)]
    pub(crate) top_p: Option<f32>,
    /// Only tokens at least P times as likely as the likeliest; 0 is off [default: the model's, else off]
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true, env = "LLAMA_MIN_P", hide_env_values = true)]
    pub(crate) min_p: Option<f32>,
    /// Above 1 makes tokens of the recent text less likely; 1 is off [default: the model's, else off]
    #[arg(
        long,
        value_name = "X",
        value_parser = more_than_zero,
        allow_negative_numbers = true,
        env = "LLAMA_REPEAT_PENALTY",
        hide_env_values = true
    )]
    pub(crate) repeat_penalty: Option<f32>,
    /// How many recent tokens the repeat penalty looks at
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        env = "LLAMA_REPEAT_LAST_N",
        hide_env_values = true
    )]
    pub(crate) repeat_last_n: usize,
    /// The same seed gives the same text; random by default, shown with -v and in the JSON
    #[arg(
        short,
        long,
        value_name = "N",
        env = "LLAMA_SEED",
        hide_env_values = true
    )]
    pub(crate) seed: Option<u64>,
    /// Stop before this text would appear; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = non_empty, allow_hyphen_values = true, env = "LLAMA_STOP", hide_env_values = true)]
    pub(crate) stop: Vec<String>,
    /// Take the end-of-sequence token as an ordinary one: it may be chosen and does not stop
    #[arg(long, env = "LLAMA_IGNORE_EOS", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) ignore_eos: bool,
}
