//! Hugging Face directories: `config.json`, `generation_config.json`, and `model.safetensors` or an index of shards.
//!
//! Query and key rows are half-split here, which is the order that the crate promises: nothing is permuted.

mod config;
mod fields;
mod index;
mod json;
mod names;

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::Dtype;

use self::index::Index;
use super::Format;
use super::safetensors::{self, Entry};
use crate::checkpoint::{Place, Stored};
use crate::error::Excerpt;
use crate::mapping::Mapping;
use crate::{Checkpoint, DType, Error, Hyperparameters, TensorRole};

pub(crate) use names::tensor_name;

pub(super) const CONFIG: &str = "config.json";
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const GENERATION_CONFIG: &str = "generation_config.json";

/// Opens a directory that [`super::open`] took for this format.
pub(super) fn open(directory: &Path) -> Result<Checkpoint, Error> {
    let mut warnings = Vec::new();
    let config = config::read(&directory.join(CONFIG), &mut warnings)?;
    let h = config.hyperparameters;
    let generation = directory.join(GENERATION_CONFIG);
    let generation_config = if generation.exists() {
        Some(config::read_generation(
            &generation,
            h.vocab_size,
            &mut warnings,
        )?)
    } else {
        None
    };
    // A dangling link to the single file is that file's error, not the index's.
    let only_index = directory.join(INDEX).exists() && !directory.join(SINGLE).exists();
    let weights = if only_index {
        Weights::sharded(directory, &h, &mut warnings)?
    } else {
        Weights::single(directory)?
    };
    let (files, tensors) = weights.assign(&h, &mut warnings)?;
    Ok(Checkpoint {
        format: Format::HuggingFace,
        hyperparameters: h,
        generation_config,
        declared_dtype: config.declared_dtype,
        warnings,
        files,
        tensors,
    })
}

/// All tensors of all files, by name.
struct Weights<'a> {
    directory: &'a Path,
    files: Vec<Mapping>,
    entries: BTreeMap<String, (usize, Entry)>,
}

impl<'a> Weights<'a> {
    fn single(directory: &'a Path) -> Result<Self, Error> {
        let (file, entries) = safetensors::open(&directory.join(SINGLE))?;
        Ok(Self {
            directory,
            files: vec![file],
            entries: entries
                .into_iter()
                .map(|entry| (entry.name.clone(), (0, entry)))
                .collect(),
        })
    }

    fn sharded(
        directory: &'a Path,
        h: &Hyperparameters,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let path = directory.join(INDEX);
        let index = Index::read(&path)?;
        let shards = index.shards();
        let missing: Vec<String> = shards
            .iter()
            .filter(|shard| !directory.join(shard).exists())
            .map(|shard| (*shard).to_owned())
            .collect();
        if !missing.is_empty() {
            return Err(Error::MissingShards {
                path,
                expected: shards.len(),
                missing,
            });
        }

        let mut weights = Self {
            directory,
            files: Vec::new(),
            entries: BTreeMap::new(),
        };
        let mut bytes = 0;
        for shard in &shards {
            let (file, entries) = safetensors::open(&directory.join(shard))?;
            let this = weights.files.len();
            weights.files.push(file);
            for entry in entries {
                bytes += entry.span.len() as u64;
                let name = entry.name.clone();
                let Some((other, _)) = weights.entries.insert(name.clone(), (this, entry)) else {
                    continue;
                };
                if !names::is_redundant(&name, h.tied_embeddings) {
                    return Err(Error::TensorInTwoShards {
                        path,
                        tensor: name,
                        first: weights.files[other].name(),
                        second: (*shard).to_owned(),
                    });
                }
            }
        }
        if let Some(total) = index.total_size {
            if total != bytes as f64 {
                warnings.push(format!(
                    "{}: metadata.total_size: expected {bytes}, the bytes of all shards, found {total}; ignored",
                    path.display()
                ));
            }
        }
        weights.check_index(&path, &index, h)?;
        Ok(weights)
    }

    /// Every tensor that is used lies where the index says.
    fn check_index(&self, path: &Path, index: &Index, h: &Hyperparameters) -> Result<(), Error> {
        for role in h.roles() {
            let name = tensor_name(role);
            let Some(shard) = index.weight_map.get(&name) else {
                continue;
            };
            let found_in = self
                .entries
                .get(&name)
                .map(|(file, _)| self.files[*file].name());
            if found_in.as_ref() != Some(shard) {
                return Err(Error::WrongShard {
                    path: path.to_owned(),
                    tensor: name,
                    shard: shard.clone(),
                    found_in,
                });
            }
        }
        Ok(())
    }

    /// Gives every role its tensor, checked for shape and type.
    fn assign(
        mut self,
        h: &Hyperparameters,
        warnings: &mut Vec<String>,
    ) -> Result<(Vec<Mapping>, BTreeMap<TensorRole, Stored>), Error> {
        let mut tensors = BTreeMap::new();
        let mut missing = Vec::new();
        for role in h.roles() {
            let name = tensor_name(role);
            match self.entries.remove(&name) {
                Some((file, entry)) => {
                    tensors.insert(role, self.stored(h, role, file, entry)?);
                }
                None => missing.push(name),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingTensors {
                path: self.directory.to_owned(),
                expected: tensors.len() + missing.len(),
                advice: if missing == [tensor_name(TensorRole::Output)] {
                    "if the model's output is its embedding, set tie_word_embeddings to true in config.json"
                } else {
                    "weights and configuration are of different models, or files are missing"
                },
                missing,
            });
        }
        self.warn_of_the_rest(h, warnings);
        Ok((self.files, tensors))
    }

    fn stored(
        &self,
        h: &Hyperparameters,
        role: TensorRole,
        file: usize,
        entry: Entry,
    ) -> Result<Stored, Error> {
        let path = || self.files[file].path().to_owned();
        let expected = h.tensor_shape(role).unwrap_or_default();
        if entry.shape != expected {
            return Err(Error::TensorShape {
                path: path(),
                tensor: entry.name,
                expected,
                found: entry.shape,
            });
        }
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(Error::TensorType {
                    path: path(),
                    tensor: entry.name,
                    found: other.to_string(),
                });
            }
        };
        Ok(Stored {
            place: Place::whole(file, entry.span.start, dtype, &entry.shape),
            name: entry.name,
            dtype,
            shape: entry.shape,
        })
    }

    /// Tensors that the configuration has no place for: a bias of a model "without biases" or a layer too many would
    /// change the result, so the user hears of them.
    fn warn_of_the_rest(&self, h: &Hyperparameters, warnings: &mut Vec<String>) {
        let mut unknown = self
            .entries
            .keys()
            .filter(|name| !names::is_redundant(name, h.tied_embeddings));
        if let Some(first) = unknown.next() {
            warnings.push(format!(
                "{}: {} tensors have no place in the configured model and are ignored, {} first",
                self.directory.display(),
                unknown.count() + 1,
                Excerpt(first)
            ));
        }
    }
}
