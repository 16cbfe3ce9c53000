//! LoRA adapters as Hugging Face's `peft` saves them: `adapter_config.json`, and `adapter_model.safetensors` or, until 2023,
//! `adapter_model.bin`.
//!
//! The names of the tensors say what is changed, the configuration by how much; both must agree. What this crate would merge otherwise
//! than `peft` does is refused, never ignored. Query and key rows are half-split, as in all of transformers' files.

mod config;
mod fault;
mod names;
mod pattern;

use std::collections::BTreeMap;
use std::path::Path;

use self::config::Config;
use self::names::{Modules, Part};
use super::assign::Entry;
use super::{listing, names_in, safetensors, torch_archive};
use crate::checkpoint::{Place, Stored};
use crate::lora::{Change, LoraAdapter, Product};
use crate::mapping::Mapping;
use crate::pieces::RowOrder;
use crate::{Error, Hyperparameters, TensorRole, TensorValues};

pub use fault::LoraFault;

const CONFIG: &str = "adapter_config.json";
const SAFETENSORS: &str = "adapter_model.safetensors";
const TORCH: &str = "adapter_model.bin";

/// Opens an adapter for a base of this shape.
pub(crate) fn open(
    directory: &Path,
    h: &Hyperparameters,
    scale: f32,
) -> Result<LoraAdapter, Error> {
    if !scale.is_finite() {
        return Err(Error::Field {
            origin: directory.display().to_string(),
            field: "scale".to_owned(),
            expected: "a finite number".to_owned(),
            found: scale.to_string(),
            advice: "give the adapter another scale",
        });
    }
    let is_safetensors = find(directory)?;
    let config = Config::read(&directory.join(CONFIG))?;
    let (file, entries) = if is_safetensors {
        safetensors::open(&directory.join(SAFETENSORS), 0)?
    } else {
        torch_archive::open(&directory.join(TORCH), 0)?
    };
    refuse_repetition(&file, &entries)?;
    let parts = Assembly {
        file: &file,
        config: &config,
        h,
        modules: Modules::of(h),
    };
    let changes = parts.changes(entries)?;
    for (&role, change) in &changes {
        refuse_no_numbers(&file, role, change)?;
    }
    Ok(LoraAdapter {
        directory: directory.to_owned(),
        file,
        scale,
        rank: config.rank,
        alpha: config.alpha,
        rank_stabilized: config.rank_stabilized,
        base_model: config.base_model,
        changes,
    })
}

/// Whether the tensors are in a safetensors file; it wins where both are there, as in peft.
fn find(directory: &Path) -> Result<bool, Error> {
    let fault = |found| Error::Lora {
        path: directory.to_owned(),
        fault: LoraFault::NoAdapter { found },
    };
    let metadata = std::fs::metadata(directory).map_err(|source| Error::io(directory, source))?;
    if !metadata.is_dir() {
        return Err(fault("no directory".to_owned()));
    }
    let names = names_in(directory)?;
    let has = |name: &str| names.iter().any(|other| other == name);
    if has(CONFIG) && (has(SAFETENSORS) || has(TORCH)) {
        return Ok(has(SAFETENSORS));
    }
    Err(fault(listing(names)))
}

/// Views of one storage could make an adapter of any size out of a small file.
fn refuse_repetition(file: &Mapping, entries: &[Entry]) -> Result<(), Error> {
    let bytes = |entry: &Entry| {
        let element = (entry.dtype.as_ref()).map_or(1, |dtype| dtype.block_bytes() as u64);
        let elements = (entry.shape.iter()).fold(1u64, |n, &size| n.saturating_mul(size as u64));
        elements.saturating_mul(element)
    };
    let found = (entries.iter().map(bytes)).fold(0, u64::saturating_add);
    let files = file.bytes().len() as u64;
    if found > files.saturating_mul(2) {
        return Err(Error::Repetition {
            path: file.path().to_owned(),
            files,
            found,
        });
    }
    Ok(())
}

/// One NaN in a product would spoil a whole matrix.
fn refuse_no_numbers(file: &Mapping, role: TensorRole, change: &Change) -> Result<(), Error> {
    let product = change.product.iter().flat_map(|it| [&it.right, &it.left]);
    for stored in change.replacement.iter().chain(product) {
        let values = TensorValues::of(role, &stored.view(std::slice::from_ref(file)));
        if !values.is_finite() {
            return Err(Error::Lora {
                path: file.path().to_owned(),
                fault: LoraFault::NotFinite {
                    tensor: values.name,
                    nan: values.nan,
                    infinite: values.infinite,
                },
            });
        }
    }
    Ok(())
}

/// The tensors of one role, as the file names them.
#[derive(Default)]
struct Parts {
    a: Option<Entry>,
    b: Option<Entry>,
    whole: Option<Entry>,
}

/// What tensors are put together by.
struct Assembly<'a> {
    file: &'a Mapping,
    config: &'a Config,
    h: &'a Hyperparameters,
    modules: Modules,
}

impl Assembly<'_> {
    fn changes(&self, entries: Vec<Entry>) -> Result<BTreeMap<TensorRole, Change>, Error> {
        let mut parts: BTreeMap<TensorRole, Parts> = BTreeMap::new();
        for entry in entries {
            let (role, part) = self.role(&entry.name)?;
            let parts = parts.entry(role).or_default();
            let place = match part {
                Part::A => &mut parts.a,
                Part::B => &mut parts.b,
                Part::Whole { .. } => &mut parts.whole,
            };
            *place = Some(entry);
        }
        let mut changes = BTreeMap::new();
        for (role, parts) in parts {
            changes.insert(role, self.change(role, parts)?);
        }
        self.expect_all(&changes)?;
        Ok(changes)
    }

    /// The tensor of the base that one of the adapter's is for.
    fn role(&self, name: &str) -> Result<(TensorRole, Part), Error> {
        let tensor = || name.to_owned();
        let Some((role, part)) = self.modules.find(name) else {
            if self.h.tied_embeddings && names::is_output(name) {
                return self.fault(LoraFault::TiedEmbedding { tensor: tensor() });
            }
            return self.fault(LoraFault::Unknown { tensor: tensor() });
        };
        if self.h.tied_embeddings && role == TensorRole::Embedding {
            return self.fault(LoraFault::TiedEmbedding { tensor: tensor() });
        }
        let module = names::module(role);
        let weight = self.modules.weight_of(&module);
        let targeted = weight.is_some_and(|weight| self.config.targets(&module, weight));
        match part {
            Part::A | Part::B if !targeted => {
                self.fault(LoraFault::NotTargeted { tensor: tensor() })
            }
            // peft wraps the modules that it has a product for, and these alone.
            Part::Whole { wrapped } if wrapped != targeted => {
                self.fault(LoraFault::Unknown { tensor: tensor() })
            }
            part => Ok((role, part)),
        }
    }

    fn change(&self, role: TensorRole, parts: Parts) -> Result<Change, Error> {
        let shape = self.h.tensor_shape(role).unwrap_or_default();
        let replacement = (parts.whole)
            .map(|whole| self.stored(whole, &shape))
            .transpose()?;
        let product = match (parts.a, parts.b) {
            (Some(a), Some(b)) => Some(self.product(role, a, b)?),
            (None, None) => None,
            (Some(lone), None) | (None, Some(lone)) => {
                return self.fault(LoraFault::Lone {
                    missing: names::other(&lone.name),
                    tensor: lone.name,
                });
            }
        };
        Ok(Change {
            replacement,
            product,
        })
    }

    fn product(&self, role: TensorRole, a: Entry, b: Entry) -> Result<Product, Error> {
        let module = names::module(role);
        let rank = self.config.rank_of(&module);
        let (rows, columns) = match self.h.tensor_shape(role).as_deref() {
            Some(&[rows, columns]) => (rows, columns),
            _ => (0, 0),
        };
        let (left, right) = if role == TensorRole::Embedding {
            // A row of A has a weight of each token.
            let a = self.stored(a, &[rank, rows][..])?;
            let b = self.stored(b, &[columns, rank][..])?;
            (transposed(a), transposed(b))
        } else {
            let a = self.stored(a, &[rank, columns][..])?;
            (self.stored(b, &[rows, rank][..])?, a)
        };
        Ok(Product {
            left,
            right,
            scaling: self.config.scaling_of(&module, rank),
        })
    }

    /// A tensor of this shape, of a type that is read.
    fn stored(&self, entry: Entry, shape: &[usize]) -> Result<Stored, Error> {
        if entry.shape != shape {
            return self.fault(LoraFault::Shape {
                tensor: entry.name,
                expected: shape.to_vec(),
                found: entry.shape,
            });
        }
        match entry.dtype {
            Ok(dtype) => Ok(Stored {
                name: entry.name,
                dtype,
                shape: entry.shape,
                place: Place::Files {
                    pieces: entry.pieces,
                    order: RowOrder::HalfSplit,
                },
            }),
            Err(found) => Err(Error::TensorType {
                path: self.file.path().to_owned(),
                tensor: entry.name,
                found,
            }),
        }
    }

    /// Every module that the configuration names has its product, and there is one at least.
    fn expect_all(&self, changes: &BTreeMap<TensorRole, Change>) -> Result<(), Error> {
        let is_there =
            |role: &TensorRole| (changes.get(role)).is_some_and(|it| it.product.is_some());
        let targets =
            (self.modules.roles()).filter(|&role| self.config.targets(&names::module(role), role));
        let (there, missing): (Vec<_>, Vec<_>) = targets.partition(is_there);
        if missing.is_empty() && !there.is_empty() {
            return Ok(());
        }
        self.fault(LoraFault::Modules {
            expected: there.len() + missing.len(),
            missing: missing.into_iter().map(names::module).collect(),
        })
    }

    fn fault<T>(&self, fault: LoraFault) -> Result<T, Error> {
        Err(Error::Lora {
            path: self.file.path().to_owned(),
            fault,
        })
    }
}

/// Its columns as rows.
fn transposed(mut stored: Stored) -> Stored {
    stored.shape.reverse();
    if let Place::Files { pieces, .. } = &mut stored.place {
        for piece in pieces {
            // A row counts elements: no type of an adapter has blocks.
            piece.strides.reverse();
            std::mem::swap(&mut piece.rows, &mut piece.blocks);
        }
    }
    stored
}
