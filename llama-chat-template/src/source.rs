//! A model's template as its files have it, for whoever writes it into another file (GGUF). Nothing is compiled here.

use std::path::Path;

use crate::config::Config;
use crate::{Error, SpecialTokens};

/// The text of a chat template, and the special tokens beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateSource {
    /// The template in Jinja, where there is one.
    pub template: Option<String>,
    /// What it may call special.
    pub tokens: SpecialTokens,
}

impl TemplateSource {
    /// What the files in `dir` say, each of which may be absent; they are those of [`ChatTemplate::from_dir`](crate::ChatTemplate::from_dir).
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Json`] and [`Error::Config`] for a file that is there but cannot be read.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Config::read(dir).map(Self::from)
    }

    /// What this `tokenizer_config.json` says.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] and [`Error::Config`] for a broken file.
    pub fn from_config_json(tokenizer_config: &str, origin: &str) -> Result<Self, Error> {
        Config::parse(tokenizer_config, origin).map(Self::from)
    }
}

impl From<Config> for TemplateSource {
    fn from(config: Config) -> Self {
        Self {
            template: config.template,
            tokens: config.tokens,
        }
    }
}
