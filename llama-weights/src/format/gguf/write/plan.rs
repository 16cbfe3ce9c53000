//! Which tensors a file gets, and in which type each.

use super::fault::GgufWriteError;
use crate::encode::is_written;
use crate::format::gguf::names::tensor_name;
use crate::{Checkpoint, DType, TensorRole};

/// A tensor of a GGUF file that is to be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GgufTensor {
    /// Its place in the model.
    pub role: TensorRole,
    /// llama.cpp's name.
    pub name: String,
    /// `[rows, columns]`, or `[length]`.
    pub shape: Vec<usize>,
    /// The type in the file.
    pub dtype: DType,
}

impl GgufTensor {
    /// Bytes in the file, without what aligns the next one.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        // Sizes are within `hyperparameters::limit` and rows are whole blocks, so that nothing leaves u64.
        let elements: u64 = self.shape.iter().map(|&size| size as u64).product();
        elements / self.dtype.block_elements() as u64 * self.dtype.block_bytes() as u64
    }

    /// Of what the header says of it: name, dimensions, type, offset.
    pub(super) fn header_bytes(&self) -> u64 {
        (8 + self.name.len() + 4 + 8 * self.shape.len() + 4 + 8) as u64
    }
}

/// Every tensor of a checkpoint, in the order of the forward pass.
pub(super) fn tensors(
    checkpoint: &Checkpoint,
    dtype: DType,
) -> Result<Vec<GgufTensor>, GgufWriteError> {
    if !is_written(dtype) || dtype == DType::Q5_0 {
        return Err(GgufWriteError::DType { found: dtype });
    }
    let tied = checkpoint.hyperparameters().tied_embeddings;
    let planned = checkpoint.tensors().map(|(role, view)| {
        let is_output = role == TensorRole::Output || (tied && role == TensorRole::Embedding);
        GgufTensor {
            role,
            name: tensor_name(role),
            shape: view.shape().to_vec(),
            dtype: match *view.shape() {
                [_, columns] if dtype == DType::Q4K && is_output => holding(DType::Q6K, columns),
                [_, columns] => holding(dtype, columns),
                _ => DType::F32,
            },
        }
    });
    Ok(planned.collect())
}

/// The type, or what stands in for it where rows are not whole blocks.
fn holding(dtype: DType, columns: usize) -> DType {
    let stand_in = match dtype {
        DType::Q4K => DType::Q5_0,
        DType::Q6K => DType::Q8_0,
        _ => DType::F16,
    };
    [dtype, stand_in]
        .into_iter()
        .find(|dtype| dtype.row_bytes(columns).is_some())
        .unwrap_or(DType::F16)
}
