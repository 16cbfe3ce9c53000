//! Where a prompt comes from: exactly one of a text, a file, ids, or stdin.

use std::path::PathBuf;

use clap::Args;

use super::values::{IdList, parse_ids};

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PromptArgs {
    /// The text; an empty one is the beginning of a sequence alone
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// A UTF-8 file that holds the text; - is stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Token ids, taken as given: no beginning-of-sequence id is put in front, no tokenizer is needed
    #[arg(long, value_name = "1,2,3", value_parser = parse_ids, allow_negative_numbers = true)]
    pub(crate) ids: Option<IdList>,
}
