//! Four-bit matrices as GPTQ and AWQ pack them, and how their rows come out: in blocks of [`DType::Int4`], or as numbers in f32.
//!
//! Both store the transpose of what is handed out: a line of a file holds eight inputs (GPTQ) or one (AWQ) of every output. So rows are made for a
//! tile of them at once, and of each line the tile's words are read together. Which tensors a matrix consists of is the format's business.

use std::ops::Range;

use half::{bf16, f16};

use crate::DType;
use crate::mapping::Mapping;
use crate::quant::{BLOCK, INT4_BYTES};

/// Rows that are made together: 256 bytes of each line, and a tile of 11,008 inputs takes 350 KiB of the processor's cache.
const TILE: usize = 64;
/// Nibbles of a word.
pub(crate) const PACK: usize = 8;

/// A matrix of `rows` outputs and `columns` inputs: `w[r, c] = scale[g, r] · (quant[c, r] − zero[g, r])`, where g is the group of input c.
///
/// Invariants, the reader's to check: every span lies within its file, every group is below `n_groups`, `rows` is a multiple of [`PACK`],
/// and so is `columns` with [`Packing::Inputs`].
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) packing: Packing,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) n_groups: usize,
    /// `[columns / 8, rows]` or `[columns, rows / 8]` words.
    pub(crate) quants: Span,
    /// `[n_groups, rows / 8]` words.
    pub(crate) zeros: Span,
    /// Whether every word of zeros was stored less 0x11111111.
    pub(crate) zeros_less_one: bool,
    /// `[n_groups, rows]` of `scale_type`.
    pub(crate) scales: Span,
    /// F16, BF16 or F32.
    pub(crate) scale_type: DType,
    pub(crate) groups: Groups,
}

/// Which way a word's eight nibbles go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// GPTQ: inputs `8 k` to `8 k + 7` of one output, the first lowest.
    Inputs,
    /// AWQ's GEMM: outputs `8 k` to `8 k + 7` of one input; from the lowest nibble on they are the outputs 0, 2, 4, 6, 1, 3, 5, 7.
    Outputs,
}

/// Where a tensor begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Index of the file in the checkpoint.
    pub(crate) file: usize,
    /// Byte of the file.
    pub(crate) offset: usize,
}

/// The group of each input.
#[derive(Debug)]
pub(crate) enum Groups {
    /// Input c belongs to group `c / size`.
    Of(usize),
    /// Input c belongs to the c-th of these.
    Listed(Box<[u32]>),
    /// Inputs are handed out in an order in which every 32 belong to one group: `order[i]` is the input that column i holds, and `groups[i / 32]`
    /// its group.
    Sorted {
        order: Box<[u32]>,
        groups: Box<[u32]>,
    },
}

/// Why a matrix does not come out in blocks of [`DType::Int4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NoBlocks {
    /// Of 32 columns some belong to one group and some to another.
    Groups,
    /// A block's scale is an f16, which does not hold a scale of this matrix exactly.
    Scales,
}

/// The rows of a matrix in mapped files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedRows<'a> {
    pub(crate) files: &'a [Mapping],
    pub(crate) packed: &'a Packed,
}

impl Groups {
    /// The groups of inputs as a file lists them; sorted where that makes blocks of 32 with one group each, and nothing less does.
    pub(crate) fn listed(groups: Vec<u32>) -> Self {
        if let Some(size) = even_size(&groups) {
            return Self::Of(size);
        }
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_by_key(|&column| groups[column as usize]);
        let group_of = |column: &u32| groups[*column as usize];
        let blocks = order.chunks(BLOCK);
        let of_one = |block: &[u32]| {
            block.len() == BLOCK && group_of(&block[0]) == group_of(&block[BLOCK - 1])
        };
        if !blocks.clone().all(of_one) {
            return Self::Listed(groups.into());
        }
        Self::Sorted {
            groups: blocks.map(|block| group_of(&block[0])).collect(),
            order: order.into(),
        }
    }

    /// The same, with the model's own order of columns.
    fn unsorted(self) -> Self {
        let Self::Sorted { order, groups } = self else {
            return self;
        };
        let mut listed = vec![0; order.len()];
        for (at, &column) in order.iter().enumerate() {
            listed[column as usize] = groups[at / BLOCK];
        }
        Self::Listed(listed.into())
    }

    /// Whether columns, as they are handed out, make blocks of 32 with one group each.
    fn make_blocks(&self, columns: usize) -> bool {
        match self {
            // A single group may be of any size.
            Self::Of(size) => {
                columns.is_multiple_of(BLOCK) && (size.is_multiple_of(BLOCK) || *size >= columns)
            }
            Self::Sorted { .. } => true,
            Self::Listed(_) => false,
        }
    }

    /// The group of a block of 32 columns, where they belong to one.
    fn of_block(&self, block: usize) -> usize {
        match self {
            Self::Of(size) => block * BLOCK / size,
            Self::Listed(groups) => groups[block * BLOCK] as usize,
            Self::Sorted { groups, .. } => groups[block] as usize,
        }
    }
}

/// The size of groups that follow each other, all of one size but for the last.
fn even_size(groups: &[u32]) -> Option<usize> {
    let size = groups.iter().take_while(|&&group| group == 0).count();
    let even = |(column, &group): (usize, &u32)| Some(group as usize) == column.checked_div(size);
    groups.iter().enumerate().all(even).then_some(size)
}

impl<'a> PackedRows<'a> {
    /// The order of columns in blocks, where it is not the model's own.
    pub(crate) fn column_order(&self) -> Option<&'a [u32]> {
        match &self.packed.groups {
            Groups::Sorted { order, .. } => Some(order),
            _ => None,
        }
    }

    /// Rows in blocks of [`DType::Int4`], one after the other.
    pub(crate) fn blocks(&self, rows: Range<usize>) -> Vec<u8> {
        let Packed {
            columns, groups, ..
        } = self.packed;
        let row_bytes = columns / BLOCK * INT4_BYTES;
        let mut bytes = vec![0; rows.len() * row_bytes];
        for start in rows.clone().step_by(TILE) {
            let tile = start..rows.end.min(start + TILE);
            let out = &mut bytes[(start - rows.start) * row_bytes..];
            let mut heads = [[0; 4]; TILE];
            let mut nibbles = [[0; BLOCK / 2]; TILE];
            let mut last = None;
            for block in 0..columns / BLOCK {
                let group = groups.of_block(block);
                if last != Some(group) {
                    self.heads(group, tile.clone(), &mut heads);
                    last = Some(group);
                }
                self.nibbles(block, tile.clone(), &mut nibbles);
                for row in 0..tile.len() {
                    let at = row * row_bytes + block * INT4_BYTES;
                    out[at..at + 4].copy_from_slice(&heads[row]);
                    out[at + 4..at + INT4_BYTES].copy_from_slice(&nibbles[row]);
                }
            }
        }
        bytes
    }

    /// Rows in f32, in the model's own order of columns, one after the other.
    pub(crate) fn floats(&self, rows: Range<usize>, out: &mut Vec<f32>) {
        let columns = self.packed.columns;
        out.clear();
        out.resize(rows.len() * columns, 0.0);
        for start in rows.clone().step_by(TILE) {
            let tile = start..rows.end.min(start + TILE);
            let out = &mut out[(start - rows.start) * columns..];
            let mut scales = [(0.0, 0.0); TILE];
            let mut last = None;
            for column in 0..columns {
                let group = self.group_of_column(column);
                if last != Some(group) {
                    for (row, scale) in tile.clone().zip(&mut scales) {
                        *scale = (self.scale(group, row), f32::from(self.zero(group, row)));
                    }
                    last = Some(group);
                }
                for (index, (row, &(scale, zero))) in tile.clone().zip(&scales).enumerate() {
                    let quant = f32::from(self.quant(column, row));
                    out[index * columns + column] = (quant - zero) * scale;
                }
            }
        }
    }

    /// The group of one of the model's columns, where groups were not sorted.
    fn group_of_column(&self, column: usize) -> usize {
        match &self.packed.groups {
            Groups::Of(size) => column / size,
            Groups::Listed(groups) => groups[column] as usize,
            // Such a matrix comes out in blocks.
            Groups::Sorted { .. } => 0,
        }
    }

    /// Scale and zero of each row, as a block begins with them.
    fn heads(&self, group: usize, rows: Range<usize>, out: &mut [[u8; 4]; TILE]) {
        for (row, head) in rows.zip(out) {
            let scale = f16::from_f32(self.scale(group, row));
            let ([a, b], [c, d]) = (
                scale.to_le_bytes(),
                u16::from(self.zero(group, row)).to_le_bytes(),
            );
            *head = [a, b, c, d];
        }
    }

    /// The 32 nibbles of each row, as a block ends with them: column j in the low nibble of byte j, column 16 + j in its high one.
    fn nibbles(&self, block: usize, rows: Range<usize>, out: &mut [[u8; BLOCK / 2]; TILE]) {
        let first = block * BLOCK;
        match (self.packed.packing, &self.packed.groups) {
            (Packing::Inputs, Groups::Sorted { order, .. }) => {
                for j in 0..BLOCK / 2 {
                    let columns = [first + j, first + BLOCK / 2 + j].map(|at| order[at] as usize);
                    let [low, high] =
                        columns.map(|column| words(self.line(column / PACK, rows.clone())));
                    let [low_place, high_place] = columns.map(|column| 4 * (column % PACK));
                    for ((bytes, low), high) in out.iter_mut().zip(low).zip(high) {
                        bytes[j] = (low >> low_place & 15 | (high >> high_place & 15) << 4) as u8;
                    }
                }
            }
            (Packing::Inputs, _) => {
                let [a, b, c, d] =
                    [0, 1, 2, 3].map(|line| words(self.line(first / PACK + line, rows.clone())));
                let pairs = a.zip(c).zip(b.zip(d));
                for (bytes, ((a, c), (b, d))) in out.iter_mut().zip(pairs) {
                    let [a, b, c, d] = [a, b, c, d].map(spread);
                    bytes[..8].copy_from_slice(&(a | c << 4).to_le_bytes());
                    bytes[8..].copy_from_slice(&(b | d << 4).to_le_bytes());
                }
            }
            (Packing::Outputs, groups) => {
                let octets = rows.start / PACK..rows.end.div_ceil(PACK);
                let lines: [&[u8]; BLOCK] = std::array::from_fn(|at| {
                    let column = match groups {
                        Groups::Sorted { order, .. } => order[first + at] as usize,
                        _ => first + at,
                    };
                    self.line(column, octets.clone())
                });
                for octet in octets.clone() {
                    let bytes = eight_outputs(lines.map(|line| word(line, octet - octets.start)));
                    for (row, bytes) in (octet * PACK..).zip(bytes) {
                        if rows.contains(&row) {
                            out[row - rows.start] = bytes;
                        }
                    }
                }
            }
        }
    }

    fn quant(&self, column: usize, row: usize) -> u8 {
        let (line, at, place) = match self.packed.packing {
            Packing::Inputs => (column / PACK, row, column % PACK),
            Packing::Outputs => (column, row / PACK, OUTPUT_PLACES[row % PACK]),
        };
        (word(self.line(line, at..at + 1), 0) >> (4 * place)) as u8 & 15
    }

    fn zero(&self, group: usize, row: usize) -> u8 {
        let at = group * (self.packed.rows / PACK) + row / PACK;
        let mut zeros = word(self.words(self.packed.zeros, at..at + 1), 0);
        if self.packed.zeros_less_one {
            // With the carry: a zero of 0 was stored with the borrow.
            zeros = zeros.wrapping_add(0x1111_1111);
        }
        let place = match self.packed.packing {
            Packing::Inputs => row % PACK,
            Packing::Outputs => OUTPUT_PLACES[row % PACK],
        };
        (zeros >> (4 * place)) as u8 & 15
    }

    fn scale(&self, group: usize, row: usize) -> f32 {
        let at = group * self.packed.rows + row;
        let bytes = self.bytes(self.packed.scales);
        scale_at(bytes, self.packed.scale_type, at)
    }

    /// Some words of a line of quants.
    fn line(&self, line: usize, words: Range<usize>) -> &'a [u8] {
        let length = match self.packed.packing {
            Packing::Inputs => self.packed.rows,
            Packing::Outputs => self.packed.rows / PACK,
        };
        let start = line * length;
        self.words(self.packed.quants, start + words.start..start + words.end)
    }

    fn words(&self, span: Span, words: Range<usize>) -> &'a [u8] {
        &self.bytes(span)[4 * words.start..4 * words.end]
    }

    fn bytes(&self, span: Span) -> &'a [u8] {
        &self.files[span.file].bytes()[span.offset..]
    }
}

impl Packed {
    /// The type that rows come out in, settled: blocks where those hold the file's numbers as they are, else f32 with the reason.
    pub(crate) fn settle(self, files: &[Mapping]) -> (Self, DType, Option<NoBlocks>) {
        let reason = if !self.groups.make_blocks(self.columns) {
            NoBlocks::Groups
        } else if !self.scales_are_halves(files) {
            NoBlocks::Scales
        } else {
            return (self, DType::Int4, None);
        };
        let groups = self.groups.unsorted();
        (Self { groups, ..self }, DType::F32, Some(reason))
    }

    /// Bytes of its tensors.
    pub(crate) fn file_bytes(&self) -> u64 {
        let words = (self.rows / PACK) as u64 * (self.columns + self.n_groups) as u64;
        let scales = (self.n_groups * self.rows * self.scale_type.block_bytes()) as u64;
        4 * words + scales
    }

    /// Whether f16 holds every scale exactly; one that is no number is the file's own, and passes.
    fn scales_are_halves(&self, files: &[Mapping]) -> bool {
        let bytes = &files[self.scales.file].bytes()[self.scales.offset..];
        let exact = |at| {
            let scale = scale_at(bytes, self.scale_type, at);
            f16::from_f32(scale).to_f32() == scale || !scale.is_finite()
        };
        self.scale_type == DType::F16 || (0..self.n_groups * self.rows).all(exact)
    }
}

/// Where in a word of AWQ the nibble of each output stands, counted from the lowest.
const OUTPUT_PLACES: [usize; PACK] = [0, 4, 1, 5, 2, 6, 3, 7];

fn word(bytes: &[u8], at: usize) -> u32 {
    let b = &bytes[4 * at..4 * at + 4];
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let words = bytes.chunks_exact(4);
    words.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Of words of 32 inputs, the 32 nibbles of each of their eight outputs.
fn eight_outputs(words: [u32; BLOCK]) -> [[u8; BLOCK / 2]; PACK] {
    const EVEN: u32 = 0x0f0f_0f0f;
    let mut bytes = [[0; BLOCK / 2]; PACK];
    for j in 0..BLOCK / 2 {
        let (low, high) = (words[j], words[BLOCK / 2 + j]);
        // The nibbles of both at even places, and at odd ones.
        let even = (low & EVEN | (high & EVEN) << 4).to_le_bytes();
        let odd = (low >> 4 & EVEN | high & !EVEN).to_le_bytes();
        for (output, place) in OUTPUT_PLACES.into_iter().enumerate() {
            bytes[output][j] = [even, odd][place % 2][place / 2];
        }
    }
    bytes
}

/// The eight nibbles of a word in a byte each, lowest first.
fn spread(word: u32) -> u64 {
    let mut x = u64::from(word);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

fn scale_at(bytes: &[u8], dtype: DType, at: usize) -> f32 {
    let half = || [bytes[2 * at], bytes[2 * at + 1]];
    match dtype {
        DType::F16 => f16::from_le_bytes(half()).to_f32(),
        DType::BF16 => bf16::from_le_bytes(half()).to_f32(),
        _ => f32::from_bits(word(bytes, at)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(groups: &Groups) -> String {
        match groups {
            Groups::Of(size) => format!("of {size}"),
            Groups::Listed(_) => "listed".to_owned(),
            Groups::Sorted { .. } => "sorted".to_owned(),
        }
    }

    #[test]
    fn groups_of_neighbours_are_known_by_their_size() {
        let of = |columns: u32, size: u32| {
            Groups::listed((0..columns).map(|column| column / size).collect())
        };
        for (columns, size) in [(64, 32), (64, 16), (96, 64), (40, 24), (64, 64)] {
            assert_eq!(sizes(&of(columns, size)), format!("of {size}"));
        }
        // One group is as large as there are columns.
        assert_eq!(sizes(&of(64, 128)), "of 64");
        assert!(of(96, 64).make_blocks(96));
        assert!(of(64, 128).make_blocks(64));
        assert!(!of(64, 16).make_blocks(64));
        assert!(
            !of(40, 40).make_blocks(40),
            "40 columns are not whole blocks"
        );
    }

    #[test]
    fn groups_that_fill_no_blocks_keep_their_columns() {
        // 31 of one group, 33 of the other.
        let mut groups: Vec<u32> = (0..64).map(|column| column % 2).collect();
        groups[0] = 1;
        assert_eq!(sizes(&Groups::listed(groups)), "listed");
        // Whole groups, but not whole blocks.
        let groups = (0..40).map(|column| column % 2).collect();
        assert_eq!(sizes(&Groups::listed(groups)), "listed");
    }

    #[test]
    fn nibbles_become_bytes_lowest_first() {
        assert_eq!(spread(0xfedc_ba98), 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(spread(0), 0);
        assert_eq!(spread(u32::MAX), 0x0f0f_0f0f_0f0f_0f0f);
    }

    proptest! {
        #[test]
        fn sorted_groups_are_those_of_their_columns(
            groups in (1u32..5, 1u32..4).prop_flat_map(|(n, blocks)| {
                let size = blocks * BLOCK as u32;
                Just((0..n * size).map(|column| column / size).collect::<Vec<_>>()).prop_shuffle()
            })
        ) {
            let found = Groups::listed(groups.clone());
            if let Groups::Sorted { order, groups: of_blocks } = &found {
                let mut all = order.to_vec();
                for (at, &column) in order.iter().enumerate() {
                    prop_assert_eq!(groups[column as usize], of_blocks[at / BLOCK]);
                }
                // Stable: within a group, columns stay in order.
                let pairs = order.windows(2);
                let ordered = |pair: &[u32]| {
                    let [a, b] = [pair[0], pair[1]].map(|column| (groups[column as usize], column));
                    a < b
                };
                prop_assert!(pairs.into_iter().all(ordered));
                all.sort_unstable();
                prop_assert!(all.into_iter().eq(0..groups.len() as u32));
                let Groups::Listed(listed) = found.unsorted() else {
                    return Err(TestCaseError::fail("sorted groups do not become listed"));
                };
                prop_assert_eq!(listed.to_vec(), groups);
            } else {
                let size = groups.iter().filter(|&&group| group == 0).count();
                prop_assert_eq!(sizes(&found), format!("of {size}"));
            }
        }
    }
}
