//! From the tensors that files list to the tensors that the model needs: by role, each checked for shape and type.
//!
//! The same for every format; what differs is [`Naming`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::checkpoint::{Place, Stored};
use crate::error::Excerpt;
use crate::mapping::Mapping;
use crate::pieces::{Piece, RowOrder};
use crate::{DType, Error, Hyperparameters, LayerPart, TensorRole};

/// A tensor as files list it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The type, or the name that the file gives to one that is not read.
    pub(crate) dtype: Result<DType, String>,
    /// Rows first.
    pub(crate) shape: Vec<usize>,
    /// Not empty; they cover the tensor and lie in their files.
    pub(crate) pieces: Vec<Piece>,
}

/// What one format calls tensors, and how it has the rows of queries and keys.
pub(crate) struct Naming {
    pub(crate) tensor_name: fn(TensorRole) -> String,
    /// Whether a tensor that no role asks for carries nothing, given whether embeddings are tied.
    pub(crate) is_redundant: fn(&str, bool) -> bool,
    pub(crate) interleaved: bool,
    /// What to do where only the output matrix is missing.
    pub(crate) without_output: &'static str,
}

/// The entries of all files of a checkpoint, by name.
pub(crate) struct Entries<'a> {
    /// The checkpoint, for messages.
    pub(crate) path: &'a Path,
    pub(crate) files: Vec<Mapping>,
    pub(crate) by_name: BTreeMap<String, Entry>,
    /// Matrices that several entries made, checked.
    pub(crate) packed: BTreeMap<TensorRole, Stored>,
}

impl Entries<'_> {
    /// Gives every role its tensor, checked for shape and type.
    pub(crate) fn assign(
        mut self,
        naming: &Naming,
        h: &Hyperparameters,
        warnings: &mut Vec<String>,
    ) -> Result<(Vec<Mapping>, BTreeMap<TensorRole, Stored>), Error> {
        let mut tensors = std::mem::take(&mut self.packed);
        let mut missing = Vec::new();
        for role in h.roles() {
            if tensors.contains_key(&role) {
                continue;
            }
            let name = (naming.tensor_name)(role);
            match self.by_name.remove(&name) {
                Some(entry) => {
                    tensors.insert(role, self.stored(naming, h, role, entry)?);
                }
                None => missing.push(name),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingTensors {
                path: self.path.to_owned(),
                expected: tensors.len() + missing.len(),
                advice: if missing == [(naming.tensor_name)(TensorRole::Output)] {
                    naming.without_output
                } else {
                    "weights and configuration are of different models, or files are missing"
                },
                missing,
            });
        }
        self.warn_of_the_rest(naming, h, warnings);
        Ok((self.files, tensors))
    }

    fn stored(
        &self,
        naming: &Naming,
        h: &Hyperparameters,
        role: TensorRole,
        entry: Entry,
    ) -> Result<Stored, Error> {
        let path = || {
            let file = entry.pieces.first().map(|piece| &self.files[piece.file]);
            file.map_or(self.path, Mapping::path).to_owned()
        };
        let expected = h.tensor_shape(role).unwrap_or_default();
        if entry.shape != expected {
            return Err(Error::TensorShape {
                path: path(),
                tensor: entry.name,
                expected,
                found: entry.shape,
            });
        }
        let order = row_order(role, h, naming.interleaved);
        // Elements of a vector are put in order one by one, which those of a block cannot be.
        let must_be_float = entry.shape.len() == 1 && order != RowOrder::HalfSplit;
        let dtype = match entry.dtype {
            Ok(dtype) if !(must_be_float && dtype.is_quantized()) => dtype,
            ref other => {
                return Err(Error::TensorType {
                    path: path(),
                    found: match other {
                        Ok(dtype) => dtype.name().to_uppercase(),
                        Err(name) => name.clone(),
                    },
                    tensor: entry.name,
                });
            }
        };
        Ok(Stored {
            name: entry.name,
            dtype,
            shape: entry.shape,
            place: Place::Files {
                pieces: entry.pieces,
                order,
            },
        })
    }

    /// Tensors that the configuration has no place for: a bias of a model "without biases" or a layer too many would
    /// change the result, so the user hears of them.
    fn warn_of_the_rest(&self, naming: &Naming, h: &Hyperparameters, warnings: &mut Vec<String>) {
        let mut unknown =
            (self.by_name.keys()).filter(|name| !(naming.is_redundant)(name, h.tied_embeddings));
        if let Some(first) = unknown.next() {
            warnings.push(format!(
                "{}: {} tensors have no place in the configured model and are ignored, {} first",
                self.path.display(),
                unknown.count() + 1,
                Excerpt(first)
            ));
        }
    }
}

/// The order of a tensor's rows in a format that has those of queries and keys interleaved, or has them half-split.
pub(super) fn row_order(role: TensorRole, h: &Hyperparameters, interleaved: bool) -> RowOrder {
    match role {
        TensorRole::Layer {
            part: LayerPart::Query | LayerPart::Key | LayerPart::QueryBias | LayerPart::KeyBias,
            ..
        } if interleaved => RowOrder::Interleaved {
            head_dim: h.head_dim,
        },
        _ => RowOrder::HalfSplit,
    }
}
