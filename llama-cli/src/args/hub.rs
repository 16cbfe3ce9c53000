//! Flags of the commands that work with the Hub and its cache.

use clap::{Args, Subcommand};

use super::OutputArgs;
use crate::hub::{Reference, Repository, Revision};

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Which repository, as meta-llama/Llama-2-7b-chat-hf
    #[arg(value_name = "ORG/NAME")]
    pub(crate) repository: Reference,
    /// A branch, a tag or a commit; by default main. ORG/NAME@REVISION says the same
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<Revision>,
    /// Which weights, by name: `*.bin`, `*Q4_K_M.gguf`; repeatable. By default the safetensors files.
    /// Configuration and tokenizer come along
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ModelsAction>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// Remove a repository from the cache, with all its revisions
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Which repository
    #[arg(value_name = "ORG/NAME")]
    pub(crate) repository: Repository,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
