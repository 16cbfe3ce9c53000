//! The chat template of a model: which of the two formats it is, and rendering. Encoding is the caller's.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::jinja::Jinja;
use crate::{Error, Message, Segment, SpecialTokens, known, llama2};

/// Turns the messages of a chat into the prompt that its model was trained on.
///
/// Cheap to clone, and `Send + Sync`.
#[derive(Clone, Debug)]
pub struct ChatTemplate(Format);

#[derive(Clone, Debug)]
enum Format {
    Llama2,
    Jinja(Arc<Jinja>),
}

/// What a template may ask for besides the messages. Llama 2's own format asks for neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Whether the prompt ends where the model's answer begins: Jinja's `add_generation_prompt`.
    pub add_generation_prompt: bool,
    /// What Jinja's `strftime_now` shows, in UTC.
    pub now: SystemTime,
}

/// A prompt to be answered now.
impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            now: SystemTime::now(),
        }
    }
}

impl ChatTemplate {
    /// Llama 2's own format, as Meta's reference code writes it.
    pub fn native() -> Self {
        Self(Format::Llama2)
    }

    /// A Jinja template, whatever it says. `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] with the line where it does not compile.
    pub fn jinja(source: &str, tokens: &SpecialTokens, origin: &str) -> Result<Self, Error> {
        Jinja::compile(source, tokens, origin).map(|jinja| Self(Format::Jinja(Arc::new(jinja))))
    }

    /// The format for a model with the template `source`: Llama 2's own where the template is a published text of
    /// it, else Jinja.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::jinja`].
    pub fn from_source(source: &str, tokens: &SpecialTokens, origin: &str) -> Result<Self, Error> {
        if known::is_llama2(source) {
            Ok(Self::native())
        } else {
            Self::jinja(source, tokens, origin)
        }
    }

    /// The format for a model with this `tokenizer_config.json`: as [`ChatTemplate::from_source`], and Llama 2's own
    /// where there is no template.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] and [`Error::Config`] for a broken file, [`Error::Syntax`] for a broken template.
    pub fn from_config_json(tokenizer_config: &str, origin: &str) -> Result<Self, Error> {
        Config::parse(tokenizer_config, origin)?.default_format()
    }

    /// The Jinja template of this `tokenizer_config.json`, even where it is Llama 2's own; `None` without one.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_config_json`].
    pub fn jinja_from_config_json(
        tokenizer_config: &str,
        origin: &str,
    ) -> Result<Option<Self>, Error> {
        Config::parse(tokenizer_config, origin)?.jinja()
    }

    /// The format for the model in `dir`: as [`ChatTemplate::from_config_json`], where `chat_template.jinja` comes
    /// before the template in `tokenizer_config.json`, and special tokens are also taken from
    /// `special_tokens_map.json` and `tokenizer.json`. Each of the files may be absent.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_config_json`], and [`Error::Read`] for a file that is there but cannot be read.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        Config::read(dir)?.default_format()
    }

    /// The Jinja template of the model in `dir`, even where it is Llama 2's own; `None` without one.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_dir`].
    pub fn jinja_from_dir(dir: &Path) -> Result<Option<Self>, Error> {
        Config::read(dir)?.jinja()
    }

    /// The prompt of `messages`.
    ///
    /// # Errors
    ///
    /// Those of kind [`Refused`](crate::ErrorKind::Refused) where the format does not accept the messages; for Jinja
    /// also [`Error::OutOfFuel`] and [`Error::Render`].
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Vec<Segment>, Error> {
        match &self.0 {
            Format::Llama2 => llama2::render(messages),
            Format::Jinja(jinja) => jinja.render(messages, options),
        }
    }

    /// `llama2` or `jinja`.
    pub fn name(&self) -> &'static str {
        match self.0 {
            Format::Llama2 => "llama2",
            Format::Jinja(_) => "jinja",
        }
    }
}

impl Config {
    fn default_format(self) -> Result<ChatTemplate, Error> {
        match &self.template {
            Some(source) => ChatTemplate::from_source(source, &self.tokens, &self.origin),
            None => Ok(ChatTemplate::native()),
        }
    }

    fn jinja(self) -> Result<Option<ChatTemplate>, Error> {
        let compile = |source: &String| ChatTemplate::jinja(source, &self.tokens, &self.origin);
        self.template.as_ref().map(compile).transpose()
    }
}
