//! Where the rows of a stored tensor lie: rectangles of mapped files, and the order in which a file has the rows of a head.
//!
//! A tensor that one file holds is one piece; a format that cuts tensors (model-parallel shards) gives several. Rows are lent
//! where a file has them as they are wanted, else put together row by row. What the bytes mean is not known here.

use std::borrow::Cow;
use std::ops::Range;

use crate::mapping::Mapping;

/// A rectangle of a tensor, and where one file has it. A row counts blocks of the tensor's type, which are elements for the
/// floats; a vector is rows of one block.
///
/// Invariants, the reader's to check: [`Piece::end`] lies within the file, and the pieces of a tensor cover it once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Index of the file in the checkpoint.
    pub(crate) file: usize,
    /// The file's byte at which the piece's first block begins.
    pub(crate) offset: usize,
    /// Bytes from a row to the next, and from a block to the next in its row.
    pub(crate) strides: [usize; 2],
    /// Rows of the tensor, as stored.
    pub(crate) rows: Range<usize>,
    /// Blocks of each of these rows.
    pub(crate) blocks: Range<usize>,
}

/// The order of the rows of each head in a query or key tensor, stored in that order and always handed out half-split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// Row `i` is turned together with row `i + head_dim / 2` (rotate-half); also every tensor that is not turned.
    HalfSplit,
    /// Row `2 i` is turned together with row `2 i + 1`, as in GGUF and Meta's files.
    Interleaved {
        /// Rows of a head, even.
        head_dim: usize,
    },
}

/// The rows of one tensor in mapped files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedRows<'a> {
    pub(crate) files: &'a [Mapping],
    pub(crate) pieces: &'a [Piece],
    pub(crate) order: RowOrder,
    pub(crate) row_bytes: usize,
    pub(crate) block_bytes: usize,
}

impl Piece {
    /// A whole tensor that lies in one run of bytes.
    pub(crate) fn whole(
        file: usize,
        offset: usize,
        rows: usize,
        blocks: usize,
        block_bytes: usize,
    ) -> Self {
        Self {
            file,
            offset,
            strides: [blocks * block_bytes, block_bytes],
            rows: 0..rows,
            blocks: 0..blocks,
        }
    }

    /// The file's byte after the piece's last, or `None` where that leaves usize.
    pub(crate) fn end(&self, block_bytes: usize) -> Option<usize> {
        let [row, block] = self.strides;
        if self.rows.is_empty() || self.blocks.is_empty() {
            return Some(self.offset);
        }
        (self.rows.len() - 1)
            .checked_mul(row)?
            .checked_add((self.blocks.len() - 1).checked_mul(block)?)?
            .checked_add(self.offset)?
            .checked_add(block_bytes)
    }

    /// Copies the piece's part of a stored row to where the row has it.
    fn copy_row(&self, file: &[u8], row: usize, block_bytes: usize, out: &mut [u8]) {
        let [row_stride, block_stride] = self.strides;
        let start = self.offset + (row - self.rows.start) * row_stride;
        let out = &mut out[self.blocks.start * block_bytes..self.blocks.end * block_bytes];
        if block_stride == block_bytes {
            out.copy_from_slice(&file[start..start + out.len()]);
            return;
        }
        for (index, block) in out.chunks_exact_mut(block_bytes).enumerate() {
            let start = start + index * block_stride;
            block.copy_from_slice(&file[start..start + block_bytes]);
        }
    }
}

impl RowOrder {
    /// The stored row that is handed out as `row`.
    pub(crate) fn stored(self, row: usize) -> usize {
        match self {
            Self::HalfSplit => row,
            Self::Interleaved { head_dim } => {
                let (within, half) = (row % head_dim, head_dim / 2);
                row - within + 2 * (within % half) + within / half
            }
        }
    }
}

impl<'a> MappedRows<'a> {
    /// Whether every piece lies within its file.
    pub(crate) fn lie_in_their_files(&self) -> bool {
        self.pieces.iter().all(|piece| {
            let end = piece.end(self.block_bytes);
            end.is_some_and(|end| end <= self.files[piece.file].bytes().len())
        })
    }

    /// Rows in half-split order: lent where one piece has them so, else copied.
    pub(crate) fn get(&self, rows: Range<usize>) -> Cow<'a, [u8]> {
        if let Some(lent) = self.lent(&rows) {
            return Cow::Borrowed(lent);
        }
        let mut bytes = vec![0; rows.len() * self.row_bytes];
        for (row, out) in rows.zip(bytes.chunks_exact_mut(self.row_bytes.max(1))) {
            let row = self.order.stored(row);
            for piece in self.pieces.iter().filter(|piece| piece.rows.contains(&row)) {
                piece.copy_row(self.files[piece.file].bytes(), row, self.block_bytes, out);
            }
        }
        Cow::Owned(bytes)
    }

    fn lent(&self, rows: &Range<usize>) -> Option<&'a [u8]> {
        let holds = |piece: &&Piece| {
            piece.rows.start <= rows.start
                && rows.end <= piece.rows.end
                && piece.strides == [self.row_bytes, self.block_bytes]
                && piece.blocks.len() * self.block_bytes == self.row_bytes
        };
        if self.order != RowOrder::HalfSplit {
            return None;
        }
        let piece = self.pieces.iter().find(holds)?;
        let start = piece.offset + (rows.start - piece.rows.start) * self.row_bytes;
        Some(&self.files[piece.file].bytes()[start..start + rows.len() * self.row_bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mapped files of these bytes.
    fn files(contents: &[&[u8]]) -> Vec<Mapping> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |(index, bytes): (usize, &&[u8])| {
            let path = directory.path().join(index.to_string());
            std::fs::write(&path, bytes).expect("a written file");
            Mapping::open(&path).expect("a mapped file")
        };
        contents.iter().enumerate().map(write).collect()
    }

    fn piece(file: usize, offset: usize, strides: [usize; 2], shape: [Range<usize>; 2]) -> Piece {
        let [rows, blocks] = shape;
        Piece {
            file,
            offset,
            strides,
            rows,
            blocks,
        }
    }

    /// Rows of 4 blocks of 1 byte.
    fn narrow<'a>(files: &'a [Mapping], pieces: &'a [Piece], order: RowOrder) -> MappedRows<'a> {
        let rows = MappedRows {
            files,
            pieces,
            order,
            row_bytes: 4,
            block_bytes: 1,
        };
        assert!(rows.lie_in_their_files());
        rows
    }

    /// The 24 bytes of a tensor of 6 rows.
    const WHOLE: [u8; 24] = {
        let mut bytes = [0; 24];
        let mut i = 0;
        while i < 24 {
            bytes[i] = i as u8;
            i += 1;
        }
        bytes
    };

    #[test]
    fn one_run_of_bytes_is_lent() {
        let files = files(&[b"header", &[b"pad", &WHOLE[..]].concat()]);
        let pieces = [Piece::whole(1, 3, 6, 4, 1)];
        let rows = narrow(&files, &pieces, RowOrder::HalfSplit);
        for range in [0..6, 2..5, 6..6] {
            let got = rows.get(range.clone());
            assert!(matches!(got, Cow::Borrowed(_)));
            assert_eq!(*got, WHOLE[4 * range.start..4 * range.end]);
        }
    }

    #[test]
    fn shards_of_rows_are_lent_each_and_copied_across() {
        let files = files(&[&WHOLE[..8], &WHOLE[8..]]);
        let pieces = [
            piece(0, 0, [4, 1], [0..2, 0..4]),
            piece(1, 0, [4, 1], [2..6, 0..4]),
        ];
        let rows = narrow(&files, &pieces, RowOrder::HalfSplit);
        assert!(matches!(rows.get(0..2), Cow::Borrowed(_)));
        assert!(matches!(rows.get(3..6), Cow::Borrowed(_)));
        let across = rows.get(1..4);
        assert!(matches!(across, Cow::Owned(_)));
        assert_eq!(*across, WHOLE[4..16]);
    }

    #[test]
    fn shards_of_columns_are_put_together_row_by_row() {
        let columns = |range: Range<usize>| -> Vec<u8> {
            let rows = WHOLE.chunks(4);
            rows.flat_map(|row| row[range.clone()].to_vec()).collect()
        };
        let files = files(&[&columns(0..3), &columns(3..4)]);
        let pieces = [
            piece(0, 0, [3, 1], [0..6, 0..3]),
            piece(1, 0, [1, 1], [0..6, 3..4]),
        ];
        let rows = narrow(&files, &pieces, RowOrder::HalfSplit);
        assert_eq!(*rows.get(0..6), WHOLE);
        assert_eq!(*rows.get(4..5), WHOLE[16..20]);
        assert_eq!(rows.get(6..6).len(), 0);
    }

    #[test]
    fn offsets_and_strides_are_obeyed() {
        // A view of a larger storage, and a transposed one.
        let files = files(&[&WHOLE]);
        let view = [piece(0, 5, [8, 1], [0..2, 0..4])];
        let rows = narrow(&files, &view, RowOrder::HalfSplit);
        assert_eq!(*rows.get(0..2), [5, 6, 7, 8, 13, 14, 15, 16]);
        let transposed = [piece(0, 0, [1, 6], [0..6, 0..4])];
        let rows = narrow(&files, &transposed, RowOrder::HalfSplit);
        assert_eq!(*rows.get(1..3), [1, 7, 13, 19, 2, 8, 14, 20]);
    }

    #[test]
    fn interleaved_heads_come_out_half_split() {
        // Two heads of 6 rows; stored 0 1 2 3 4 5 are the pairs (0, 1), (2, 3), (4, 5).
        let order = RowOrder::Interleaved { head_dim: 6 };
        let stored: Vec<usize> = (0..12).map(|row| order.stored(row)).collect();
        assert_eq!(stored, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);

        let files = files(&[&WHOLE[..8], &WHOLE[8..]]);
        let pieces = [
            piece(0, 0, [4, 1], [0..2, 0..4]),
            piece(1, 0, [4, 1], [2..6, 0..4]),
        ];
        let rows = narrow(&files, &pieces, order);
        let expected: Vec<u8> = [0, 2, 4, 1, 3, 5]
            .into_iter()
            .flat_map(|row| WHOLE[4 * row..4 * row + 4].to_vec())
            .collect();
        assert_eq!(*rows.get(0..6), expected);
        assert_eq!(*rows.get(2..4), expected[8..16]);
    }

    #[test]
    fn an_end_beyond_the_file_or_beyond_usize_is_seen() {
        let files = files(&[&WHOLE]);
        let lies = |piece: Piece| {
            MappedRows {
                files: &files,
                pieces: &[piece],
                order: RowOrder::HalfSplit,
                row_bytes: 4,
                block_bytes: 1,
            }
            .lie_in_their_files()
        };
        assert!(lies(Piece::whole(0, 0, 6, 4, 1)));
        assert!(!lies(Piece::whole(0, 1, 6, 4, 1)));
        assert!(!lies(piece(0, 0, [usize::MAX, 1], [0..3, 0..1])));
        assert!(!lies(piece(0, usize::MAX, [1, 1], [0..1, 0..1])));
        assert!(lies(piece(0, 24, [1, 1], [0..0, 0..1])));
    }
}
