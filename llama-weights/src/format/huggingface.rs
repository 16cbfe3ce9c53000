//! Hugging Face directories: `config.json`, `generation_config.json`, and `model.safetensors`, `pytorch_model.bin` or shards of these.
//!
//! Query and key rows are half-split here, which is the order that the crate promises: nothing is permuted. Matrices of four bits, as GPTQ and AWQ
//! store them in several tensors each, are joined first.

mod config;
mod container;
mod index;
mod names;
mod packed;
mod quantization;

use std::collections::BTreeMap;
use std::path::Path;

use self::index::Index;
use self::quantization::Quantization;
use super::Format;
use super::assign::{Entries, Entry, Naming};
use crate::mapping::Mapping;
use crate::{Checkpoint, Error, Hyperparameters};

pub(super) use container::Container;
pub(crate) use names::tensor_name;

const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";

/// transformers' names and row order.
const NAMING: Naming = Naming {
    tensor_name,
    is_redundant: names::is_redundant,
    interleaved: false,
    without_output: "if the model's output is its embedding, set tie_word_embeddings to true in config.json",
};

/// Opens a directory that [`super::open`] took for this format.
pub(super) fn open(directory: &Path, container: Container) -> Result<Checkpoint, Error> {
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
    let mut weights = if container.is_sharded(directory) {
        sharded(directory, container, &h, &mut warnings)?
    } else {
        single(directory, container)?
    };
    let quantization = match config.quantization {
        Some(quantization) => Some(quantization),
        None => Quantization::beside(directory, &mut warnings)?,
    };
    packed::join(&mut weights, quantization, &h, &mut warnings)?;
    let (files, tensors) = weights.assign(&NAMING, &h, &mut warnings)?;
    Ok(Checkpoint {
        format: Format::HuggingFace,
        hyperparameters: h,
        generation_config,
        declared_dtype: config.declared_dtype,
        warnings,
        files,
        tensors,
        adapters: Vec::new(),
    })
}

fn single(directory: &Path, container: Container) -> Result<Entries<'_>, Error> {
    let (file, entries) = container.open(&directory.join(container.single()), 0)?;
    let by_name = |entry: Entry| (entry.name.clone(), entry);
    Ok(Entries {
        path: directory,
        files: vec![file],
        by_name: entries.into_iter().map(by_name).collect(),
        packed: BTreeMap::new(),
    })
}

fn sharded<'a>(
    directory: &'a Path,
    container: Container,
    h: &Hyperparameters,
    warnings: &mut Vec<String>,
) -> Result<Entries<'a>, Error> {
    let path = directory.join(container.index());
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
        packed: BTreeMap::new(),
    };
    let mut bytes = Some(0);
    for shard in &shards {
        let (file, entries) = container.open(&directory.join(shard), weights.files.len())?;
        let counted = container.data_bytes(&file, &entries);
        bytes = bytes.zip(counted).map(|(all, more)| all + more);
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
    if let (Some(total), Some(bytes)) = (index.total_size, bytes) {
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
    for name in h.roles().flat_map(names::of_role) {
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
