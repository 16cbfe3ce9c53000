//! An open checkpoint: hyperparameters, and every tensor by its role. Which format it came from no longer matters.

use std::collections::BTreeMap;
use std::path::Path;

use crate::format::{self, Format};
use crate::lora::{LoraAdapter, Merged};
use crate::mapping::Mapping;
use crate::packed::{Packed, PackedRows};
use crate::pieces::{MappedRows, Piece, RowOrder};
use crate::synthetic::Seeded;
use crate::tensor::Rows;
use crate::values::TensorValues;
use crate::{DType, Error, GenerationConfig, Hyperparameters, TensorRole, TensorView, Vocabulary};

/// A checked checkpoint. Every tensor that the hyperparameters ask for is there, in the right shape and a readable type.
///
/// Files stay mapped while it lives; the system pages them in when rows are read. Do not write to them or cut them
/// meanwhile: reading a page that is gone raises SIGBUS, which ends the process unless it handles that, as with every mapped file.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) format: Format,
    pub(crate) hyperparameters: Hyperparameters,
    pub(crate) generation_config: Option<GenerationConfig>,
    pub(crate) declared_dtype: Option<DType>,
    pub(crate) warnings: Vec<String>,
    pub(crate) files: Vec<Mapping>,
    pub(crate) tensors: BTreeMap<TensorRole, Stored>,
    pub(crate) adapters: Vec<LoraAdapter>,
}

/// A tensor of [`Checkpoint`], without a borrow.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) enum Place {
    /// In mapped files, cut as the pieces say.
    Files {
        pieces: Vec<Piece>,
        order: RowOrder,
    },
    /// In several tensors of mapped files, which hold a matrix of four bits.
    Packed(Packed),
    Nowhere(Seeded),
}

impl Checkpoint {
    /// Opens a checkpoint; what it is is told by content. Reads headers and configuration, maps the rest: nothing
    /// is allocated in proportion to the weights.
    ///
    /// # Errors
    /// See [`Error`]: everything that is missing, damaged, contradictory or not supported is found here, except
    /// values (see [`Checkpoint::check_values`]).
    pub fn open(path: &Path) -> Result<Self, Error> {
        format::open(path)
    }

    /// Random weights of any shape: values of matrices and biases have mean 0 and standard deviation 0.02, norms lie
    /// around 1. Rows are made when they are read. With a quantized `dtype`, one-dimensional tensors are F32 and matrices whose rows are no
    /// multiple of its block are F16.
    ///
    /// # Errors
    /// [`Error::Field`] where the hyperparameters do not fit together.
    pub fn synthetic(
        hyperparameters: Hyperparameters,
        dtype: DType,
        seed: u64,
    ) -> Result<Self, Error> {
        hyperparameters.validate()?;
        let tensors = hyperparameters
            .roles()
            .filter_map(|role| Some((role, hyperparameters.tensor_shape(role)?)))
            .map(|(role, shape)| {
                let dtype = match (dtype.is_quantized(), shape.as_slice()) {
                    (true, [_, columns]) if dtype.row_bytes(*columns).is_none() => DType::F16,
                    (true, [_]) => DType::F32,
                    _ => dtype,
                };
                let stored = Stored {
                    name: format::huggingface::tensor_name(role),
                    dtype,
                    shape,
                    place: Place::Nowhere(Seeded::new(seed, role, dtype)),
                };
                (role, stored)
            })
            .collect();
        Ok(Self {
            format: Format::Synthetic,
            hyperparameters,
            generation_config: None,
            declared_dtype: Some(dtype),
            warnings: Vec::new(),
            files: Vec::new(),
            tensors,
            adapters: Vec::new(),
        })
    }

    /// Shape and constants of the model, validated.
    #[must_use]
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    /// The sampling values that come with the checkpoint.
    #[must_use]
    pub fn generation_config(&self) -> Option<&GenerationConfig> {
        self.generation_config.as_ref()
    }

    /// Ids that end a generation: those of the generation config where it names any, else those of the hyperparameters.
    #[must_use]
    pub fn eos_token_ids(&self) -> Vec<u32> {
        self.generation_config
            .as_ref()
            .map(|config| &config.eos_token_ids)
            .filter(|ids| !ids.is_empty())
            .unwrap_or(&self.hyperparameters.eos_token_ids)
            .clone()
    }

    /// The vocabulary in the checkpoint's own metadata: a GGUF file's, `None` for every other format, whose tokenizers have files of
    /// their own. Read when it is asked for.
    ///
    /// # Errors
    /// [`Error::Field`] for a vocabulary that is damaged or not of SentencePiece's kind.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>, Error> {
        match (self.format, self.files.first()) {
            (Format::Gguf, Some(file)) => format::gguf::vocabulary_of(file),
            _ => Ok(None),
        }
    }

    /// What is odd but no reason to refuse: one sentence each, for the user to see.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the checkpoint was read from.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The mapped files, in the order of their names; none for synthetic weights.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(Mapping::path)
    }

    /// The type that the configuration declares (`torch_dtype`), which the stored tensors need not have.
    #[must_use]
    pub fn declared_dtype(&self) -> Option<DType> {
        self.declared_dtype
    }

    /// One tensor, or `None` where a model of this shape has no such tensor (a tied output, a bias).
    #[must_use]
    pub fn tensor(&self, role: TensorRole) -> Option<TensorView<'_>> {
        self.tensors
            .get(&role)
            .map(|stored| self.view(role, stored))
    }

    /// Every tensor, in the order of the forward pass.
    pub fn tensors(&self) -> impl Iterator<Item = (TensorRole, TensorView<'_>)> {
        self.tensors
            .iter()
            .map(|(&role, stored)| (role, self.view(role, stored)))
    }

    /// Bytes of all tensors as stored; of those that adapters change, as merged, in f32.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.tensors().map(|(_, view)| view.n_bytes()).sum()
    }

    /// Bytes that the files have of all tensors, which for matrices of four bits are others than they are read as.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let bytes = self.tensors.values().map(|stored| match &stored.place {
            Place::Packed(packed) => packed.file_bytes(),
            _ => stored.view(&self.files).n_bytes(),
        });
        bytes.sum()
    }

    /// Reads every value, tensor by tensor as the iterator is advanced, and says which tensors hold NaN or infinity.
    pub fn check_values(&self) -> impl Iterator<Item = TensorValues> {
        self.tensors()
            .map(|(role, view)| TensorValues::of(role, &view))
    }

    fn view<'a>(&'a self, role: TensorRole, stored: &'a Stored) -> TensorView<'a> {
        let adapters = &self.adapters[..];
        let merged = Merged { adapters, role };
        TensorView {
            merged: Some(merged).filter(Merged::changes_it),
            ..stored.view(&self.files)
        }
    }
}

impl Stored {
    /// The tensor in the files that it lies in.
    pub(crate) fn view<'a>(&'a self, files: &'a [Mapping]) -> TensorView<'a> {
        let rows = match &self.place {
            Place::Files { pieces, order } => {
                let block_bytes = self.dtype.block_bytes();
                let rows = MappedRows {
                    files,
                    pieces,
                    order: *order,
                    row_bytes: match self.shape[..] {
                        [_, columns] => columns / self.dtype.block_elements() * block_bytes,
                        _ => block_bytes,
                    },
                    block_bytes,
                };
                debug_assert!(rows.lie_in_their_files());
                Rows::Mapped(rows)
            }
            Place::Packed(packed) => Rows::Packed(PackedRows { files, packed }),
            Place::Nowhere(seeded) => Rows::Made(*seeded),
        };
        TensorView {
            name: &self.name,
            dtype: self.dtype,
            shape: &self.shape,
            rows,
            merged: None,
        }
    }
}
