//! Writes a checkpoint as one GGUF file of version 3, little-endian, as llama.cpp reads it: tensor by tensor, every core at work, with memory
//! for a few chunks of rows whatever the model's size.
//!
//! What goes into the metadata is `metadata`'s, which tensor gets which type `plan`'s. The header is written last: a file that was cut off
//! is no GGUF file.

mod fault;
mod metadata;
mod plan;

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};

use super::listing::{self, ALIGNMENT};
use crate::encode::encode;
use crate::format::assign::row_order;
use crate::parallel::in_order;
use crate::pieces::RowOrder;
use crate::values::largest;
use crate::{Checkpoint, DType, TensorView, Vocabulary, quant};

pub use fault::GgufWriteError;
pub use plan::GgufTensor;

/// Values that a thread converts at once, but for longer rows: 1 MiB of f32.
const AT_ONCE: usize = 1 << 18;

/// What a GGUF file is to hold besides the checkpoint's weights and hyperparameters.
#[derive(Clone, Copy, Debug)]
pub struct GgufOptions<'a> {
    /// The type of matrices: F32, F16, Q8_0, Q4_0, Q6_K or Q4_K; see [`GgufWriter`] for what is not so.
    pub dtype: DType,
    /// The vocabulary and chat template; without it the file says `no_vocab`.
    pub vocabulary: Option<&'a Vocabulary>,
    /// The model's name, for people.
    pub name: Option<&'a str>,
}

/// A GGUF file that is to be written.
///
/// Matrices get the type that is asked for, but:
/// - with Q4_K the output matrix, which is the embedding where they are tied, is Q6_K;
/// - where rows are no multiple of 256, Q5_0 stands in for Q4_K and Q8_0 for Q6_K, as with llama.cpp, and F16 where they are no multiple of 32;
/// - a matrix with a weight beyond f16's range (65,504) is F32, which shows as it is written.
///
/// Norms and biases are F32. Tensors that are stored in their type already are copied as they are, and
/// Q4_0 and Q5_0 become Q8_0, Q3_K becomes Q6_K of the same values.
pub struct GgufWriter<'a> {
    checkpoint: &'a Checkpoint,
    metadata: Vec<u8>,
    n_keys: u64,
    tensors: Vec<GgufTensor>,
}

impl<'a> GgufWriter<'a> {
    /// Plans the file: nothing of the weights is read.
    ///
    /// # Errors
    /// [`GgufWriteError::DType`] for a type that is not written, [`GgufWriteError::Vocabulary`] for one that does not fit the model,
    /// [`GgufWriteError::RopeScaling`] for one that GGUF has no words for.
    pub fn new(
        checkpoint: &'a Checkpoint,
        options: &GgufOptions<'_>,
    ) -> Result<Self, GgufWriteError> {
        let tensors = plan::tensors(checkpoint, options.dtype)?;
        let (metadata, n_keys) = metadata::write(checkpoint, options)?;
        Ok(Self {
            checkpoint,
            metadata,
            n_keys,
            tensors,
        })
    }

    /// Every tensor, in the file's order; after [`GgufWriter::write`] with the type that it was written in.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// Bytes of the whole file; after [`GgufWriter::write`] as it was written.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        let data = self.tensors.iter().map(|tensor| aligned(tensor.n_bytes()));
        self.header_bytes() + data.sum::<u64>()
    }

    /// Writes the file to the beginning of `out`, which is left at its end. `progress` is given the bytes of the checkpoint that have been converted, up to
    /// [`Checkpoint::weight_bytes`], and can break it off; the count steps back where a tensor must be begun again in F32.
    ///
    /// # Errors
    /// [`GgufWriteError::NotFinite`] for a tensor with NaN or infinity, [`GgufWriteError::Cancelled`] where `progress` says so,
    /// [`GgufWriteError::Write`] where `out` does. What was written then is no GGUF file.
    pub fn write(
        &mut self,
        out: &mut (impl Write + Seek),
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), GgufWriteError> {
        let header_bytes = self.header_bytes();
        out.seek(SeekFrom::Start(header_bytes))?;
        let mut at = header_bytes;
        let mut done = 0;
        for index in 0..self.tensors.len() {
            let tensor = &self.tensors[index];
            let mut tell = |bytes| match progress(done + bytes) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(GgufWriteError::Cancelled),
            };
            let fits = write_tensor(self.checkpoint, tensor, out, &mut tell)?;
            if !fits {
                self.tensors[index].dtype = DType::F32;
                out.seek(SeekFrom::Start(at))?;
                write_tensor(self.checkpoint, &self.tensors[index], out, &mut tell)?;
            }
            let n_bytes = self.tensors[index].n_bytes();
            pad(out, aligned(n_bytes) - n_bytes)?;
            at += aligned(n_bytes);
            done += self
                .view(&self.tensors[index])
                .map_or(0, |view| view.n_bytes());
        }
        out.rewind()?;
        self.write_header(out)?;
        out.seek(SeekFrom::Start(at))?;
        out.flush()?;
        Ok(())
    }

    fn view(&self, tensor: &GgufTensor) -> Option<TensorView<'a>> {
        self.checkpoint.tensor(tensor.role)
    }

    /// Does not depend on the tensors' types.
    fn header_bytes(&self) -> u64 {
        let tensors = self.tensors.iter().map(GgufTensor::header_bytes);
        aligned(4 + 4 + 8 + 8 + self.metadata.len() as u64 + tensors.sum::<u64>())
    }

    fn write_header(&self, out: &mut impl Write) -> io::Result<()> {
        let mut header = super::MAGIC.to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend(self.n_keys.to_le_bytes());
        header.extend(&self.metadata);
        let mut offset = 0u64;
        for tensor in &self.tensors {
            header.extend((tensor.name.len() as u64).to_le_bytes());
            header.extend(tensor.name.as_bytes());
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            // Columns first.
            let sizes = tensor.shape.iter().rev();
            header.extend(sizes.flat_map(|&size| (size as u64).to_le_bytes()));
            header.extend(listing::number(tensor.dtype).to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset += aligned(tensor.n_bytes());
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        out.write_all(&header)
    }
}

impl std::fmt::Debug for GgufWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GgufWriter")
            .field("tensors", &self.tensors.len())
            .field("n_bytes", &self.n_bytes())
            .finish_non_exhaustive()
    }
}

fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let zeros = [0; ALIGNMENT as usize];
    out.write_all(&zeros[..bytes as usize])
}

/// What becomes of a chunk of rows.
enum Chunk {
    Bytes { encoded: Vec<u8>, read: u64 },
    NotFinite,
    BeyondRange,
}

/// Writes one tensor; false where a weight is beyond its type's range, and then `out` is anywhere.
fn write_tensor(
    checkpoint: &Checkpoint,
    tensor: &GgufTensor,
    out: &mut impl Write,
    tell: &mut dyn FnMut(u64) -> Result<(), GgufWriteError>,
) -> Result<bool, GgufWriteError> {
    let Some(view) = checkpoint.tensor(tensor.role) else {
        return Ok(true); // Impossible: it is one of the checkpoint's.
    };
    let order = row_order(tensor.role, checkpoint.hyperparameters(), true);
    let mut read_before = 0;
    let mut fits = true;
    in_order(
        chunks(&view, order),
        |rows| convert(&view, rows, tensor.dtype, order),
        |chunk| match chunk {
            Chunk::Bytes { encoded, read } if fits => {
                out.write_all(&encoded)?;
                read_before += read;
                tell(read_before)
            }
            Chunk::BeyondRange => {
                fits = false;
                tell(0)
            }
            Chunk::Bytes { .. } => tell(0),
            Chunk::NotFinite => Err(GgufWriteError::NotFinite {
                tensor: view.name().to_owned(),
            }),
        },
    )?;
    Ok(fits)
}

/// Ranges of rows, of whole heads where their rows change places.
fn chunks(view: &TensorView<'_>, order: RowOrder) -> impl Iterator<Item = Range<usize>> + use<> {
    let unit = match order {
        RowOrder::Interleaved { head_dim } if view.shape().len() == 2 => head_dim,
        _ => 1,
    };
    let (rows, columns) = (view.n_rows(), view.n_columns());
    let step = (AT_ONCE / columns.max(1)).max(1).next_multiple_of(unit);
    (0..rows)
        .step_by(step)
        .map(move |start| start..(start + step).min(rows))
}

fn convert(view: &TensorView<'_>, rows: Range<usize>, dtype: DType, order: RowOrder) -> Chunk {
    let stored = view.rows(rows.clone());
    let read = stored.len() as u64;
    let mut values = Vec::new();
    view.rows_f32(rows, &mut values);
    let Some(largest) = largest(&values) else {
        return Chunk::NotFinite;
    };
    if view.shape().len() == 1 {
        reorder(&mut values, 1, order);
    }
    let mut encoded = Vec::new();
    match (view.dtype(), dtype) {
        (from, to) if from == to && view.shape().len() == 2 => encoded = stored.into_owned(),
        (DType::Q4_0, DType::Q8_0) => quant::q4_0_to_q8_0(&stored, &mut encoded),
        (DType::Q5_0, DType::Q8_0) => quant::q5_0_to_q8_0(&stored, &mut encoded),
        (DType::Q3K, DType::Q6K) => quant::q3_k_to_q6_k(&stored, &mut encoded),
        (_, DType::F32) => encode(dtype, &values, &mut encoded),
        _ if largest > half::f16::MAX.to_f32() => return Chunk::BeyondRange,
        _ => encode(dtype, &values, &mut encoded),
    }
    if view.shape().len() == 2 {
        let row_bytes = dtype.row_bytes(view.n_columns()).unwrap_or(1);
        reorder(&mut encoded, row_bytes, order);
    }
    Chunk::Bytes { encoded, read }
}

/// Rows of `length` items, half-split, put in the order that the file has.
fn reorder<T: Copy>(items: &mut [T], length: usize, order: RowOrder) {
    if order == RowOrder::HalfSplit {
        return;
    }
    let half_split = items.to_vec();
    for (row, items_of_row) in half_split.chunks_exact(length.max(1)).enumerate() {
        let to = order.stored(row) * length;
        items[to..to + length].copy_from_slice(items_of_row);
    }
}
