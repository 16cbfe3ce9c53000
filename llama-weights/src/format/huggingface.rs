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

use self::index::Index;
use super::assign::{Entries, Entry, Naming};
use super::{Format, safetensors};
use crate::mapping::Mapping;
use crate::{Checkpoint, Error, Hyperparameters};

pub(crate) use names::tensor_name;

pub(super) const CONFIG: &str = "config.json";
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const GENERATION_CONFIG: &str = "generation_config.json";

/// transformers' names and row order.
const NAMING: Naming = Naming {
    tensor_name,
    is_redundant: names::is_redundant,
    interleaved: false,
    without_output: "if the model's output is its embedding, set tie_word_embeddings to true in config.json",
};

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
        sharded(directory, &h, &mut warnings)?
    } else {
        single(directory)?
    };
    let (files, tensors) = weights.assign(&NAMING, &h, &mut warnings)?;
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

fn single(directory: &Path) -> Result<Entries<'_>, Error> {
    let (file, entries) = safetensors::open(&directory.join(SINGLE), 0)?;
    let by_name = |entry: Entry| (entry.name.clone(), entry);
    Ok(Entries {
        path: directory,
        files: vec![file],
        by_name: entries.into_iter().map(by_name).collect(),
    })
}

fn sharded<'a>(
    directory: &'a Path,
    h: &Hyperparameters,
    warnings: &mut Vec<String>,
) -> Result<Entries<'a>, Error> {
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

    let mut weights = Entries {
        path: directory,
        files: Vec::new(),
        by_name: BTreeMap::new(),
    };
    let mut bytes = 0u64;
    for shard in &shards {
        let (file, entries) = safetensors::open(&directory.join(shard), weights.files.len())?;
        bytes += safetensors::data_bytes(&file);
        weights.files.push(file);
        for entry in entries {
            let name = entry.name.clone();
            let Some(other) = weights.by_name.insert(name.clone(), entry) else {
                continue;
            };
            if !names::is_redundant(&name, h.tied_embeddings) {
                return Err(Error::TensorInTwoShards {
                    path,
                    tensor: name,
                    first: file_of(&weights, &other),
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
    check_index(&weights, &path, &index, h)?;
    Ok(weights)
}

/// Every tensor that is used lies where the index says.
fn check_index(
    weights: &Entries<'_>,
    path: &Path,
    index: &Index,
    h: &Hyperparameters,
) -> Result<(), Error> {
    for role in h.roles() {
        let name = tensor_name(role);
        let Some(shard) = index.weight_map.get(&name) else {
            continue;
        };
        let found_in = weights
            .by_name
            .get(&name)
            .map(|entry| file_of(weights, entry));
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

/// The name of the file that holds a tensor.
fn file_of(weights: &Entries<'_>, entry: &Entry) -> String {
    let file = entry.pieces.first().map(|piece| &weights.files[piece.file]);
    file.map(Mapping::name).unwrap_or_default()
}
