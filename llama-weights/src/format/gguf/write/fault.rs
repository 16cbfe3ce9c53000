//! Why a GGUF file is not written.

use crate::DType;
use crate::error::Excerpt;

/// A GGUF file that cannot be written. The message of every variant is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufWriteError {
    /// A type that has no quantizer here.
    #[error(
        "type of the matrices: expected f32, f16, q8_0, q4_0, q6_k or q4_k, found {found}; choose one of these"
    )]
    DType {
        /// What was asked for.
        found: DType,
    },
    /// A scaling of the rotary embedding that GGUF has no words for: dynamic, and the parameters of llama3.
    #[error(
        "rope_scaling: expected none or linear, found {found}, which GGUF files cannot say; keep the checkpoint as it is"
    )]
    RopeScaling {
        /// The scaling.
        found: &'static str,
    },
    /// A vocabulary that does not fit the model, or that a reader would refuse.
    #[error(
        "{origin}: {field}: expected {expected}, found {found}; vocabulary and weights are of different models"
    )]
    Vocabulary {
        /// Where the vocabulary is from.
        origin: String,
        /// What is wrong in it.
        field: &'static str,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A tensor with a value that is no number.
    #[error(
        "{}: expected finite values, found NaN or infinity; download the checkpoint again",
        Excerpt(tensor)
    )]
    NotFinite {
        /// Its name in the checkpoint.
        tensor: String,
    },
    /// The output refused.
    #[error("expected to write the file, found: {0}")]
    Write(#[from] std::io::Error),
    /// Broken off by whoever is told of the progress.
    #[error("broken off")]
    Cancelled,
}
