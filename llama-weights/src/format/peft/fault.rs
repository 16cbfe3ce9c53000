//! What can be wrong with an adapter's tensors. Faults of its configuration are fields'.

use crate::error::{Excerpt, listed};

/// Missing modules that a message lists.
const MODULES_LISTED: usize = 16;

/// How the files of a LoRA adapter can be wrong, or not fit the base.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoraFault {
    /// Another thing than the directory of an adapter.
    #[error(
        "expected the directory of a LoRA adapter, with adapter_config.json and adapter_model.safetensors or adapter_model.bin, \
         found {found}; give the directory that peft saved"
    )]
    NoAdapter {
        /// What is there.
        found: String,
    },
    /// A tensor that has no place in the base.
    #[error(
        "{}: expected a tensor for a module of the base model, by the name that peft gives it, found another; \
         the adapter is for a larger model or another architecture, or it was not saved by peft",
        Excerpt(tensor)
    )]
    Unknown {
        /// The tensor.
        tensor: String,
    },
    /// A factor for a module that the configuration does not name.
    #[error(
        "{}: expected factors for the modules that adapter_config.json names, found one for another; \
         the two files are not of one adapter, download both again",
        Excerpt(tensor)
    )]
    NotTargeted {
        /// The tensor.
        tensor: String,
    },
    /// One factor of a product without the other.
    #[error(
        "{}: expected {} beside it, found none; download the adapter again",
        Excerpt(tensor),
        Excerpt(missing)
    )]
    Lone {
        /// The factor that is there.
        tensor: String,
        /// The one that is not.
        missing: String,
    },
    /// Modules that the configuration names and the file has nothing for.
    #[error(
        "expected factors for {expected} modules by adapter_config.json, found {} missing{}{}; \
         the two files are not of one adapter, or the base model is another",
        missing.len(), if missing.is_empty() { "" } else { ": " }, listed(missing, MODULES_LISTED)
    )]
    Modules {
        /// How many modules of the base the configuration names.
        expected: usize,
        /// Those that the file has nothing for.
        missing: Vec<String>,
    },
    /// A tensor of another shape than base and configuration give it.
    #[error(
        "{}: expected shape {expected:?} by the base model and adapter_config.json, found {found:?}; \
         the adapter was trained on another base model, or its two files are not of one adapter",
        Excerpt(tensor)
    )]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape by the base's hyperparameters and the adapter's rank.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor with values that are no numbers.
    #[error(
        "{}: expected finite values, found {nan} NaN and {infinite} infinite; the training diverged, or the file is damaged",
        Excerpt(tensor)
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// How many values are NaN.
        nan: u64,
        /// How many are infinite.
        infinite: u64,
    },
    /// A change to one of two matrices that are one in the base.
    #[error(
        "{}: expected no change to an embedding that is the base model's output, too, found one; \
         merge the adapter into its base with peft and give the merged model",
        Excerpt(tensor)
    )]
    TiedEmbedding {
        /// The tensor.
        tensor: String,
    },
    /// Two adapters hold the same tensor whole, with different values.
    #[error(
        "{}: expected at most one adapter that replaces this tensor, found another in {}; give one of the two",
        Excerpt(tensor),
        Excerpt(earlier)
    )]
    ReplacedTwice {
        /// The tensor.
        tensor: String,
        /// The directory of the adapter that came first.
        earlier: String,
    },
}
