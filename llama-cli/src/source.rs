//! Where the parts of a model come from: a path that the user names, or the demo model inside this program.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Result;
use llama_chat_template::{ChatTemplate, TemplateSource};
use llama_tokenizer::{PieceList, Tokenizer};
use llama_weights::{Checkpoint, Vocabulary};
use tempfile::TempDir;

use crate::args::{Lora, LoraArgs, ModelArgs, TemplateFormat};
use crate::demo;
use crate::failure::usage;
use crate::hub;
use crate::lora;
use crate::notice::Notices;
use crate::truncation;
use crate::vocabulary;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Demo,
    Path(PathBuf),
    /// In the Hub's cache: its name and its directory.
    Hub {
        name: String,
        path: PathBuf,
    },
}

/// A checkpoint, and the directory that goes when it is closed.
#[derive(Debug)]
pub(crate) struct Opened {
    checkpoint: Checkpoint,
    /// Behind the checkpoint, so that it is dropped after it.
    _directory: Option<TempDir>,
}

impl Deref for Opened {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl Source {
    /// The model that the flags name: a path where there is one of that name, else a repository in the Hub's cache. One
    /// line says so where it is the demo model.
    pub(crate) fn new(args: ModelArgs, notices: Notices) -> Result<Self> {
        let Some(model) = args.model else {
            notices.note("no --model given: the built-in demo model answers");
            return Ok(Self::Demo);
        };
        Ok(match hub::resolve(&model, notices)? {
            Some(resolved) => Self::Hub {
                name: resolved.reference.to_string(),
                path: resolved.path,
            },
            None => Self::Path(model),
        })
    }

    /// The model that a word of the command line names: as `--model` takes it, or `demo`, where nothing else has that name.
    pub(crate) fn named(model: PathBuf, notices: Notices) -> Result<Self> {
        if model == Path::new("demo") && !model.exists() {
            return Ok(Self::Demo);
        }
        Self::new(ModelArgs { model: Some(model) }, notices)
    }

    /// Where its files lie.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Demo => None,
            Self::Path(path) | Self::Hub { path, .. } => Some(path),
        }
    }

    /// What a report calls it: its repository, or the last part of its path.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Demo => "demo".to_owned(),
            Self::Hub { name, .. } => name.clone(),
            Self::Path(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// The weights, mapped and checked, with the adapters on top; what is odd about them is on stderr.
    pub(crate) fn checkpoint(&self, adapters: &LoraArgs, notices: Notices) -> Result<Opened> {
        let (mut checkpoint, directory) = match self.path() {
            None => demo::checkpoint()?,
            Some(path) => {
                truncation::watch(path)?;
                (Checkpoint::open(path)?, None)
            }
        };
        for warning in checkpoint.warnings() {
            notices.warn(warning);
        }
        for Lora { place, scale } in &adapters.lora {
            let resolved = hub::resolve(place, notices)?;
            let directory = resolved.map_or_else(|| place.clone(), |resolved| resolved.path);
            let adapter = checkpoint.add_lora(&directory, *scale)?;
            notices.detail(format_args!("lora: {}", lora::Described::from(adapter)));
        }
        Ok(Opened {
            checkpoint,
            _directory: directory,
        })
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        self.tokenizer_of(self.vocabulary()?)
    }

    /// The tokenizer, or `None` where the model comes without one. A broken one is an error.
    pub(crate) fn tokenizer_if_any(&self) -> Result<Option<Tokenizer>> {
        let vocabulary = self.vocabulary()?;
        match self.path() {
            Some(path) if vocabulary.is_none() && !lies_in(&tokenizer_directory(path)) => Ok(None),
            _ => self.tokenizer_of(vocabulary).map(Some),
        }
    }

    /// Pieces, special ids and chat template as plain data, to be written into another file; `None` where the model comes without a tokenizer.
    pub(crate) fn plain_vocabulary(&self, notices: Notices) -> Result<Option<Vocabulary>> {
        let Some(path) = self.path() else {
            return vocabulary::from_files(demo::pieces()?, demo::template_source()?, notices)
                .map(Some);
        };
        if let Some(own) = self.vocabulary()? {
            return Ok(Some(own));
        }
        let directory = tokenizer_directory(path);
        if !lies_in(&directory) {
            return Ok(None);
        }
        let pieces = PieceList::from_dir(&directory)?;
        vocabulary::from_files(pieces, TemplateSource::from_dir(path)?, notices).map(Some)
    }

    /// The tokenizer, and the chat format: the one asked for, else Llama 2's own where the model's template is that or none, else
    /// the model's. A vocabulary that lies in the weights is read once for both.
    pub(crate) fn tokenizer_and_template(
        &self,
        format: Option<TemplateFormat>,
    ) -> Result<(Tokenizer, ChatTemplate)> {
        let vocabulary = self.vocabulary()?;
        let template = self.template(vocabulary.as_ref(), format);
        // Of two faults the tokenizer's is told.
        Ok((self.tokenizer_of(vocabulary)?, template?))
    }

    /// The vocabulary that a file of weights holds itself: a GGUF file's.
    fn vocabulary(&self) -> Result<Option<Vocabulary>> {
        match self.path() {
            // Whoever reads the tokenizer's files says it better where there is nothing.
            Some(path) if path.exists() => Ok(Vocabulary::open(path)?),
            _ => Ok(None),
        }
    }

    fn tokenizer_of(&self, vocabulary: Option<Vocabulary>) -> Result<Tokenizer> {
        Ok(match (vocabulary, self.path()) {
            (Some(vocabulary), _) => vocabulary::tokenizer(vocabulary)?,
            (None, Some(path)) => Tokenizer::from_dir(&tokenizer_directory(path))?,
            (None, None) => demo::tokenizer()?,
        })
    }

    fn template(
        &self,
        vocabulary: Option<&Vocabulary>,
        format: Option<TemplateFormat>,
    ) -> Result<ChatTemplate> {
        match format {
            Some(TemplateFormat::Llama2) => Ok(ChatTemplate::native()),
            None => Ok(match (vocabulary, self.path()) {
                (Some(vocabulary), _) => vocabulary::template(vocabulary)?,
                (None, Some(path)) => ChatTemplate::from_dir(path)?,
                (None, None) => demo::template()?,
            }),
            Some(TemplateFormat::Jinja) => {
                let template = match (vocabulary, self.path()) {
                    (Some(vocabulary), _) => vocabulary::jinja_template(vocabulary)?,
                    (None, Some(path)) => ChatTemplate::jinja_from_dir(path)?,
                    (None, None) => demo::jinja_template()?,
                };
                template.ok_or_else(|| {
                    let place = match self.path() {
                        Some(path) => path.display().to_string(),
                        None => "the built-in demo model".to_owned(),
                    };
                    usage(format!(
                        "{place}: expected a chat_template for --format jinja, found none; --format llama2 needs none"
                    ))
                })
            }
        }
    }
}

/// Where the tokenizer of a model lies: beside its weights, or one level up, where Meta's download script leaves the one
/// of all sizes.
fn tokenizer_directory(model: &Path) -> PathBuf {
    let above = model.join("..");
    let is_meta = model.join("params.json").exists();
    if is_meta && !lies_in(model) && above.join("tokenizer.model").exists() {
        above
    } else {
        model.to_owned()
    }
}

fn lies_in(directory: &Path) -> bool {
    ["tokenizer.json", "tokenizer.model"]
        .iter()
        .any(|name| directory.join(name).exists())
}
