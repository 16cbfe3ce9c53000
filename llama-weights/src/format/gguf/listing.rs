//! The tensors of one GGUF file: each checked against the file's length, its neighbours and its type's blocks.

use super::fault::GgufFault;
use super::header::TensorInfo;
use super::metadata::{Metadata, Value};
use crate::DType;
use crate::format::assign::Entry;
use crate::pieces::Piece;

/// Where the file does not say otherwise.
pub(super) const ALIGNMENT: u64 = 32;
/// Largest alignment that is read; larger ones would be holes.
const MOST_ALIGNMENT: u64 = 1 << 20;
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";

/// The file's alignment, or `None` where it is none.
pub(super) fn alignment(metadata: &Metadata<'_>) -> Option<u64> {
    match metadata.get(ALIGNMENT_KEY).map(Value::as_u64) {
        None => Some(ALIGNMENT),
        Some(Some(n)) if n.is_power_of_two() && (8..=MOST_ALIGNMENT).contains(&n) => Some(n),
        Some(_) => None,
    }
}

/// What [`alignment`] takes.
pub(super) fn alignments() -> String {
    format!("a power of two from 8 to {MOST_ALIGNMENT}")
}

/// The entries of tensors whose data begins after `header` bytes, aligned; `file` is the file's index in the checkpoint, and `length` its
/// bytes.
pub(super) fn entries(
    tensors: Vec<TensorInfo<'_>>,
    header: u64,
    alignment: u64,
    file: usize,
    length: u64,
) -> Result<Vec<Entry>, GgufFault> {
    let data = header.next_multiple_of(alignment);
    let mut placed = tensors
        .into_iter()
        .map(|info| Placed::new(info, alignment))
        .collect::<Result<Vec<_>, _>>()?;
    check_names(&mut placed)?;
    check_layout(&mut placed, data, length)?;
    placed
        .into_iter()
        .map(|placed| Ok(placed.entry(data, file)))
        .collect()
}

/// A tensor whose type is read and whose bytes can be counted.
struct Placed<'a> {
    name: &'a str,
    dtype: DType,
    sizes: Vec<u64>,
    offset: u64,
    bytes: u64,
}

impl<'a> Placed<'a> {
    fn new(info: TensorInfo<'a>, alignment: u64) -> Result<Self, GgufFault> {
        let TensorInfo {
            name,
            sizes,
            kind,
            offset,
        } = info;
        let tensor = || name.to_owned();
        let dtype = dtype(kind).map_err(|known| GgufFault::TensorType {
            tensor: tensor(),
            found: kind,
            name: known,
        })?;
        let (block, block_bytes) = (dtype.block_elements() as u64, dtype.block_bytes() as u64);
        let columns = sizes.first().copied().unwrap_or(0);
        // In elements of four bytes at most, so that no count of this tensor leaves 64 bits.
        let elements = (sizes.iter()).try_fold(4u64, |product, &n| product.checked_mul(n));
        let Some(elements) = elements.filter(|&product| product > 0).map(|n| n / 4) else {
            return Err(GgufFault::Sizes {
                tensor: tensor(),
                found: sizes,
            });
        };
        if !columns.is_multiple_of(block) {
            return Err(GgufFault::RowLength {
                tensor: tensor(),
                dtype,
                block,
                found: columns,
            });
        }
        if !offset.is_multiple_of(alignment) {
            return Err(GgufFault::Misaligned {
                tensor: tensor(),
                alignment,
                found: offset,
            });
        }
        Ok(Self {
            name,
            dtype,
            sizes,
            offset,
            bytes: elements / block * block_bytes,
        })
    }

    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    /// The tensor, which lies within the file: all numbers are below its length.
    fn entry(self, data: u64, file: usize) -> Entry {
        let narrow = |n: u64| n as usize;
        let shape: Vec<usize> = self.sizes.iter().rev().map(|&n| narrow(n)).collect();
        let (block, block_bytes) = (self.dtype.block_elements(), self.dtype.block_bytes());
        let offset = narrow(data + self.offset);
        let piece = match shape[..] {
            [rows, columns] => Piece::whole(file, offset, rows, columns / block, block_bytes),
            _ => Piece::whole(
                file,
                offset,
                narrow(self.bytes) / block_bytes,
                1,
                block_bytes,
            ),
        };
        Entry {
            name: self.name.to_owned(),
            dtype: Ok(self.dtype),
            shape,
            pieces: vec![piece],
        }
    }
}

fn check_names(tensors: &mut [Placed<'_>]) -> Result<(), GgufFault> {
    tensors.sort_by_key(|tensor| tensor.name);
    match tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(GgufFault::DuplicateTensor {
            tensor: pair[0].name.to_owned(),
        }),
        None => Ok(()),
    }
}

/// No two tensors share bytes, and the last one ends within the file. Holes are what alignment leaves, and harmless.
fn check_layout(tensors: &mut [Placed<'_>], data: u64, length: u64) -> Result<(), GgufFault> {
    tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    let mut last: Option<&Placed<'_>> = None;
    for tensor in tensors.iter() {
        if let Some(previous) = last.filter(|previous| previous.end() > tensor.offset) {
            return Err(GgufFault::Overlap {
                tensor: tensor.name.to_owned(),
                previous: previous.name.to_owned(),
                expected: previous.end(),
                found: tensor.offset,
            });
        }
        last = Some(tensor);
    }
    match last {
        Some(last) if data.saturating_add(last.end()) > length => Err(GgufFault::Truncated {
            tensor: last.name.to_owned(),
            expected: data.saturating_add(last.end()),
            found: length,
        }),
        _ => Ok(()),
    }
}

/// The types that are read, with their numbers.
const TYPES: [(u32, DType); 13] = [
    (0, DType::F32),
    (1, DType::F16),
    (2, DType::Q4_0),
    (3, DType::Q4_1),
    (6, DType::Q5_0),
    (7, DType::Q5_1),
    (8, DType::Q8_0),
    (10, DType::Q2K),
    (11, DType::Q3K),
    (12, DType::Q4K),
    (13, DType::Q5K),
    (14, DType::Q6K),
    (30, DType::BF16),
];

/// The type of a number, or the name of one that is not read.
fn dtype(number: u32) -> Result<DType, Option<&'static str>> {
    let known = TYPES.iter().find(|(other, _)| *other == number);
    known.map(|&(_, dtype)| dtype).ok_or_else(|| unread(number))
}

/// The number of a type.
pub(super) fn number(dtype: DType) -> u32 {
    let known = TYPES.iter().find(|(_, other)| *other == dtype);
    known.map_or(0, |&(number, _)| number)
}

fn unread(number: u32) -> Option<&'static str> {
    Some(match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return None,
    })
}
