//! How weights and cache are held on the GPU: the user's choice, and where a matrix departs from it.
//!
//! The one place where what a file stores ([`llama_weights::DType`]) and what kernels exist for
//! ([`WeightFormat`]) meet.

use llama_kernels::{BLOCK, KvFormat, Section, WeightFormat};
use llama_weights::DType;

/// How matrices are to be held. Norms and biases are held in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightChoice {
    /// As the file stores them where kernels exist for that, or in another format of the same values (q5_0 in q8_0, q3_k in q6_k, q4_1
    /// in q5_1); f32 and bf16 become f16.
    #[default]
    Auto,
    /// 4 bytes a weight.
    F32,
    /// 2 bytes a weight.
    F16,
    /// 8.5 bits a weight, in blocks of 32.
    Q8_0,
    /// 4.5 bits a weight, in blocks of 32.
    Q4_0,
    /// 4.5 bits a weight, in blocks of 256: nearer to the file's values than q4_0, and slower to make. Rows that these do not divide are
    /// held in q8_0.
    Q4K,
    /// 6.6 bits a weight, in blocks of 256; else as `Q4K`.
    Q6K,
}

/// How the KV cache is to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvChoice {
    /// f32 where weights were asked for in f32, else f16.
    #[default]
    Auto,
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value; alone moves the logits of small random models by 1.5e-4 to 8e-4 of the largest.
    F16,
    /// 8.5 bits a value, in blocks of 32 of a head, which is padded to whole blocks.
    Q8_0,
}

/// A matrix that is held in another format than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOtherwise {
    /// The matrix, as in `layer 3 down`.
    pub matrix: String,
    /// What it is held in.
    pub format: WeightFormat,
    /// Why.
    pub reason: HeldReason,
}

/// Why a matrix is held in another format than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldReason {
    /// The format's blocks hold so many weights of a row, of which the rows are no multiple.
    RowLength {
        /// Weights of a row.
        columns: usize,
        /// Weights of a block.
        block: usize,
    },
    /// The file stores weights of the matrix in this type, beside others of another type that kernels join with them: they were
    /// converted.
    Stored(DType),
    /// LoRA adapters change weights that the file stores in this type: quantized anew, they would lose most of the change. The
    /// matrix's other rows are held as they would be.
    Adapted(DType),
    /// A weight is too large for f16 (65,504), or a block's scale is.
    BeyondRange,
    /// The tensors that the matrix joins have their columns in different orders, as no act-order of GPTQ leaves those of one input.
    ColumnOrders,
}

impl HeldOtherwise {
    /// Of a matrix whose first rows are held in `first`, as all are, but where adapters change some.
    pub(crate) fn new(matrix: String, first: WeightFormat, reason: HeldReason) -> Self {
        let format = match reason {
            HeldReason::Adapted(_) => WeightFormat::F16,
            _ => first,
        };
        Self {
            matrix,
            format,
            reason,
        }
    }
}

impl std::fmt::Display for HeldOtherwise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { matrix, format, .. } = self;
        let format = format.name();
        match self.reason {
            HeldReason::RowLength { columns, block } => write!(
                f,
                "{matrix} is held in {format}: rows of {columns} are not a multiple of {block}"
            ),
            HeldReason::Stored(dtype) => write!(
                f,
                "{matrix} is held in {format}: the file stores what kernels join in {dtype} and another type"
            ),
            HeldReason::Adapted(dtype) => write!(
                f,
                "{matrix} is held in {format} where LoRA adapters change it: quantized to {dtype} anew it would lose most of that"
            ),
            HeldReason::BeyondRange => write!(
                f,
                "{matrix} is held in {format}: a weight is beyond the range of f16"
            ),
            HeldReason::ColumnOrders => write!(
                f,
                "{matrix} is held in {format}: the tensors that it joins have their columns in different orders"
            ),
        }
    }
}

impl WeightChoice {
    /// The format for rows whose tensors are stored as `stored`, their length and range aside: `Err` says which type no format holds
    /// with the others.
    pub(crate) fn format(self, stored: &[DType]) -> Result<WeightFormat, DType> {
        match (self, stored) {
            (Self::F32, _) => Ok(WeightFormat::F32),
            (Self::F16, _) => Ok(WeightFormat::F16),
            (Self::Q8_0, _) => Ok(WeightFormat::Q8_0),
            (Self::Q4_0, _) => Ok(WeightFormat::Q4_0),
            (Self::Q4K, _) => Ok(WeightFormat::Q4K),
            (Self::Q6K, _) => Ok(WeightFormat::Q6K),
            (Self::Auto, [DType::F32 | DType::F16 | DType::BF16, ..] | []) => {
                match stored.iter().find(|dtype| dtype.is_quantized()) {
                    Some(quantized) => Err(*quantized),
                    None => Ok(WeightFormat::F16),
                }
            }
            (Self::Auto, [first, ..]) => BLOCKS
                .into_iter()
                .find(|format| stored.iter().all(|dtype| holds_exactly(*format, *dtype)))
                .ok_or(*first),
        }
    }
}

impl KvChoice {
    /// The format, given what was asked for the weights.
    pub fn format(self, weights: WeightChoice) -> KvFormat {
        match (self, weights) {
            (Self::F32, _) | (Self::Auto, WeightChoice::F32) => KvFormat::F32,
            (Self::Q8_0, _) => KvFormat::Q8_0,
            (Self::F16, _) | (Self::Auto, _) => KvFormat::F16,
        }
    }
}

/// The formats of a matrix, whose consecutive `parts` of so many rows are stored in such types, each row with `columns` weights; and
/// why it is not what was asked for: blocks that do not divide a row, or with [`WeightChoice::Auto`] types that no kernel joins.
///
/// Parts of different types are sections of different formats, of which all but the last have a multiple of four rows.
pub(crate) fn hold(
    choice: WeightChoice,
    parts: &[(Vec<DType>, usize)],
    columns: usize,
) -> (Vec<Section>, Option<HeldReason>) {
    let rows = parts.iter().map(|(_, rows)| rows).sum();
    let all_in = |format, reason| (vec![Section { format, rows }], Some(reason));
    let in_halves = |reason| all_in(WeightFormat::F16, reason);
    let mut sections: Vec<Section> = Vec::new();
    for (stored, rows) in parts {
        let format = match choice.format(stored) {
            Ok(format) => format,
            Err(dtype) => return in_halves(HeldReason::Stored(dtype)),
        };
        if !format.takes_columns(columns) {
            let block = format.block_columns();
            let smaller = match WeightFormat::Q8_0 {
                eight if block > BLOCK && eight.takes_columns(columns) => eight,
                _ => WeightFormat::F16,
            };
            return all_in(smaller, HeldReason::RowLength { columns, block });
        }
        match sections.last_mut() {
            Some(last) if last.format == format => last.rows += rows,
            Some(last) if !last.rows.is_multiple_of(4) => {
                let dtype = stored.first().copied().unwrap_or(DType::F16);
                return in_halves(HeldReason::Stored(dtype));
            }
            _ => sections.push(Section {
                format,
                rows: *rows,
            }),
        }
    }
    (sections, None)
}

/// Why a matrix is held otherwise: for what [`hold`] found, or because adapters change tensors of it that the file stores as `changed`.
pub(crate) fn reason(
    choice: WeightChoice,
    found: Option<HeldReason>,
    changed: &[DType],
) -> Option<HeldReason> {
    let quantized = changed.iter().find(|dtype| dtype.is_quantized());
    match (choice, quantized, found) {
        (_, _, Some(HeldReason::RowLength { .. })) => found,
        (WeightChoice::Auto, Some(dtype), _) => Some(HeldReason::Adapted(*dtype)),
        _ => found,
    }
}

/// The formats of blocks, the smallest first.
const BLOCKS: [WeightFormat; 8] = [
    WeightFormat::Q2K,
    WeightFormat::Q4_0,
    WeightFormat::Q4K,
    WeightFormat::Int4,
    WeightFormat::Q5K,
    WeightFormat::Q5_1,
    WeightFormat::Q6K,
    WeightFormat::Q8_0,
];

/// Whether blocks of a file's type can be blocks of the format with the same values.
fn holds_exactly(format: WeightFormat, stored: DType) -> bool {
    match format {
        WeightFormat::F32 | WeightFormat::F16 => false,
        WeightFormat::Int4 => stored == DType::Int4,
        WeightFormat::Q8_0 => matches!(stored, DType::Q8_0 | DType::Q5_0 | DType::Q4_0),
        WeightFormat::Q4_0 => stored == DType::Q4_0,
        WeightFormat::Q5_1 => matches!(stored, DType::Q5_1 | DType::Q4_1),
        WeightFormat::Q2K => stored == DType::Q2K,
        WeightFormat::Q4K => stored == DType::Q4K,
        WeightFormat::Q5K => matches!(stored, DType::Q5K | DType::Q4K),
        WeightFormat::Q6K => matches!(stored, DType::Q6K | DType::Q3K),
    }
}

/// The file's type whose bytes rows of this format take as they are.
pub(crate) fn stored_as(format: WeightFormat) -> Option<DType> {
    match format {
        WeightFormat::F32 => Some(DType::F32),
        WeightFormat::F16 => Some(DType::F16),
        WeightFormat::Q8_0 => Some(DType::Q8_0),
        WeightFormat::Q4_0 => Some(DType::Q4_0),
        WeightFormat::Q5_1 => Some(DType::Q5_1),
        WeightFormat::Q2K => Some(DType::Q2K),
        WeightFormat::Q4K => Some(DType::Q4K),
        WeightFormat::Q5K => Some(DType::Q5K),
        WeightFormat::Q6K => Some(DType::Q6K),
        WeightFormat::Int4 => Some(DType::Int4),
    }
}
