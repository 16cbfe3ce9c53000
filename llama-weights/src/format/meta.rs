//! Meta's directories: `params.json`, and `consolidated.NN.pth` for each model-parallel shard.
//!
//! A shard holds its part of every matrix; the parts are joined as rows are read, and nothing is copied here. Query and key rows
//! are interleaved in these files. Which shards there are the files themselves say: nothing else does.

mod names;
mod params;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::Path;

use self::names::{Split, split, tensor_name};
use self::params::Params;
use super::Format;
use super::assign::{Entries, Entry, Naming};
use super::torch_archive;
use crate::mapping::Mapping;
use crate::{Checkpoint, DType, Error, Hyperparameters, TensorRole};

const PARAMS: &str = "params.json";
/// Meta's largest model has 16; two digits in a file's name allow 100.
const SHARD_LIMIT: usize = 100;

/// Meta's names and row order.
const NAMING: Naming = Naming {
    tensor_name,
    is_redundant: names::is_redundant,
    interleaved: true,
    without_output: "weights and params.json are of different models, or files are missing",
};

/// Whether a directory of these names is taken for this format.
pub(super) fn is_directory_of(names: &[OsString]) -> bool {
    names
        .iter()
        .any(|name| name == PARAMS || shard_number(&name.to_string_lossy()).is_some())
}

/// Opens a directory that [`super::open`] took for this format.
pub(super) fn open(directory: &Path) -> Result<Checkpoint, Error> {
    let mut warnings = Vec::new();
    let params = Params::read(&directory.join(PARAMS), &mut warnings)?;
    let shards = Shards::open(directory, &params)?;
    let h = params.hyperparameters(shards.vocab_size())?;
    let (files, tensors) = shards.join(&h)?.assign(&NAMING, &h, &mut warnings)?;
    Ok(Checkpoint {
        format: Format::Meta,
        hyperparameters: h,
        generation_config: None,
        declared_dtype: None,
        warnings,
        files,
        tensors,
        adapters: Vec::new(),
    })
}

fn shard_name(number: usize) -> String {
    format!("consolidated.{number:02}.pth")
}

fn shard_number(name: &str) -> Option<usize> {
    let number = name
        .strip_prefix("consolidated.")?
        .strip_suffix(".pth")?
        .parse()
        .ok()?;
    // "+1", "001" and their like are other names.
    (number < SHARD_LIMIT && shard_name(number) == name).then_some(number)
}

/// All shards, in order.
struct Shards<'a> {
    directory: &'a Path,
    files: Vec<Mapping>,
    /// By name, for each file.
    tensors: Vec<BTreeMap<String, Entry>>,
}

impl<'a> Shards<'a> {
    fn open(directory: &'a Path, params: &Params) -> Result<Self, Error> {
        let numbers = present(directory)?;
        let mut shards = Self {
            directory,
            files: Vec::new(),
            tensors: Vec::new(),
        };
        for &number in &numbers {
            let path = directory.join(shard_name(number));
            let (file, entries) = torch_archive::open(&path, shards.files.len())?;
            shards.files.push(file);
            let by_name = |entry: Entry| (entry.name.clone(), entry);
            shards
                .tensors
                .push(entries.into_iter().map(by_name).collect());
            // The first of them tells how many there are; a gap is seen before the rest is opened.
            if shards.files.len() == 1 {
                shards.expect_all(&numbers, params)?;
            }
        }
        Ok(shards)
    }

    /// Every shard is there: up to the highest number, and as many as the embedding's columns take.
    fn expect_all(&self, numbers: &BTreeSet<usize>, params: &Params) -> Result<(), Error> {
        let by_name = numbers.last().map_or(1, |last| last + 1);
        let by_width = match self.embedding_shape() {
            Some([_, columns]) if columns > 0 && params.dim.is_multiple_of(columns) => {
                params.dim / columns
            }
            _ => 1,
        };
        let expected = match by_width {
            2..=SHARD_LIMIT => by_width.max(by_name),
            _ => by_name,
        };
        missing(self.directory, numbers, expected)
    }

    /// Of the first shard.
    fn embedding_shape(&self) -> Option<[usize; 2]> {
        let name = tensor_name(TensorRole::Embedding);
        let entry = self.tensors.first()?.get(&name)?;
        entry.shape.as_slice().try_into().ok()
    }

    /// Rows of the embedding, which every shard has all of.
    fn vocab_size(&self) -> Option<usize> {
        self.embedding_shape().map(|[rows, _]| rows)
    }

    /// Tensors as they are when the shards' parts are put side by side.
    fn join(mut self, h: &Hyperparameters) -> Result<Entries<'a>, Error> {
        self.refuse_lack(h)?;
        let mut by_name = BTreeMap::new();
        for role in h.roles() {
            let name = tensor_name(role);
            let mut parts: VecDeque<Entry> = self
                .tensors
                .iter_mut()
                .filter_map(|tensors| tensors.remove(&name))
                .collect();
            if split(role) == Split::Repeated {
                parts.truncate(1);
            }
            // A tensor that no shard has is missed with the others, later.
            if let Some(first) = parts.pop_front() {
                let shape = h.tensor_shape(role).unwrap_or_default();
                by_name.insert(name, self.join_parts(split(role), shape, first, parts)?);
            }
        }
        // What no role asks for stays, to be named in a warning.
        by_name.extend(self.tensors.into_iter().flatten());
        Ok(Entries {
            path: self.directory,
            files: self.files,
            by_name,
            packed: BTreeMap::new(),
        })
    }

    /// No shard lacks what another has.
    fn refuse_lack(&self, h: &Hyperparameters) -> Result<(), Error> {
        for (file, tensors) in self.files.iter().zip(&self.tensors) {
            let elsewhere = |name: &String| {
                !tensors.contains_key(name) && self.tensors.iter().any(|t| t.contains_key(name))
            };
            let missing: Vec<String> = h.roles().map(tensor_name).filter(elsewhere).collect();
            if !missing.is_empty() {
                return Err(Error::MissingTensors {
                    path: file.path().to_owned(),
                    expected: h.roles().count(),
                    missing,
                    advice: "the shards are not of one checkpoint, download them again",
                });
            }
        }
        Ok(())
    }

    /// The tensor of `shape` whose parts are `first`, of the first shard, and `rest`, of the others in order.
    fn join_parts(
        &self,
        split: Split,
        shape: Vec<usize>,
        first: Entry,
        rest: VecDeque<Entry>,
    ) -> Result<Entry, Error> {
        let shards = 1 + rest.len();
        let dimension = usize::from(split == Split::Columns);
        if !shape[dimension].is_multiple_of(shards) {
            return Err(Error::UnevenShards {
                path: self.directory.to_owned(),
                tensor: first.name,
                shards,
                size: shape[dimension],
            });
        }
        let mut part_shape = shape.clone();
        part_shape[dimension] /= shards;
        self.expect_shape(0, &first, &part_shape)?;

        let mut joined = Entry { shape, ..first };
        for (shard, part) in (1..).zip(rest) {
            self.expect_shape(shard, &part, &part_shape)?;
            if part.dtype != joined.dtype {
                return Err(Error::ShardTypes {
                    path: self.files[shard].path().to_owned(),
                    tensor: part.name,
                    expected: type_name(&joined.dtype),
                    first: self.files[0].name(),
                    found: type_name(&part.dtype),
                });
            }
            let begin = shard * part_shape[dimension];
            joined
                .pieces
                .extend(part.pieces.into_iter().map(|mut piece| {
                    let range = match split {
                        Split::Columns => &mut piece.blocks,
                        Split::Rows | Split::Repeated => &mut piece.rows,
                    };
                    *range = begin + range.start..begin + range.end;
                    piece
                }));
        }
        Ok(joined)
    }

    fn expect_shape(&self, shard: usize, part: &Entry, expected: &[usize]) -> Result<(), Error> {
        if part.shape == expected {
            return Ok(());
        }
        Err(Error::TensorShape {
            path: self.files[shard].path().to_owned(),
            tensor: part.name.clone(),
            expected: expected.to_vec(),
            found: part.shape.clone(),
        })
    }
}

fn type_name(dtype: &Result<DType, String>) -> String {
    match dtype {
        Ok(dtype) => dtype.name().to_uppercase(),
        Err(name) => name.clone(),
    }
}

/// Numbers of the shards in a directory; at least one.
fn present(directory: &Path) -> Result<BTreeSet<usize>, Error> {
    let io = |source| Error::io(directory, source);
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        numbers.extend(shard_number(&name.to_string_lossy()));
    }
    if numbers.is_empty() {
        missing(directory, &numbers, 1)?;
    }
    Ok(numbers)
}

fn missing(directory: &Path, numbers: &BTreeSet<usize>, expected: usize) -> Result<(), Error> {
    let missing: Vec<String> = (0..expected)
        .filter(|number| !numbers.contains(number))
        .map(shard_name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::MissingShards {
        path: directory.join(PARAMS),
        expected,
        missing,
    })
}
