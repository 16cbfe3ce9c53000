//! The way from a file's rows to the planes that a weight matrix is held in, and back.

mod k;
mod quants;

use std::borrow::Cow;

use half::f16;

use crate::WeightFormat;

/// Rows of a weight matrix as they lie on the GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes<'a> {
    /// Values or quants: [`WeightFormat::data_row_bytes`] per row.
    pub data: Cow<'a, [u8]>,
    /// Scales: [`WeightFormat::scale_row_bytes`] per row; empty for formats without.
    pub scales: Vec<u8>,
}

impl<'a> Planes<'a> {
    /// Brings whole rows of a file into the GPU's planes; borrows where the two are the same.
    ///
    /// # Panics
    /// If `file` is not a whole number of rows, or the format cannot have this many columns.
    pub fn pack(format: WeightFormat, columns: usize, file: &'a [u8]) -> Self {
        assert!(
            format.takes_columns(columns),
            "{} rows have no {columns} columns",
            format.name()
        );
        let file_row = format.file_row_bytes(columns);
        assert!(
            file.len().is_multiple_of(file_row),
            "{} bytes are no whole number of rows of {file_row}",
            file.len()
        );
        let rows = file.len() / file_row;
        let data_row = format.data_row_bytes(columns);
        let scale_row = format.scale_row_bytes(columns);
        if scale_row == 0 && data_row == file_row {
            return Self {
                data: Cow::Borrowed(file),
                scales: Vec::new(),
            };
        }
        let mut data = Vec::with_capacity(rows * data_row);
        let mut scales = Vec::with_capacity(rows * scale_row);
        for row in file.chunks_exact(file_row) {
            if scale_row == 0 {
                data.extend_from_slice(row);
            } else {
                for block in row.chunks_exact(format.file_block_bytes()) {
                    split(format, block, &mut data, &mut scales);
                }
                scales.resize(scales.len().next_multiple_of(scale_row), 0);
            }
            data.resize(data.len().next_multiple_of(data_row), 0);
        }
        Self {
            data: Cow::Owned(data),
            scales,
        }
    }

    /// The rows as a file has them: [`Planes::pack`] undone.
    ///
    /// # Panics
    /// If the planes are not of this format and number of columns.
    pub fn unpack(&self, format: WeightFormat, columns: usize) -> Vec<u8> {
        let file_row = format.file_row_bytes(columns);
        let data_rows = self.data.chunks_exact(format.data_row_bytes(columns));
        let scale_row = format.scale_row_bytes(columns);
        let mut file = Vec::with_capacity(data_rows.len() * file_row);
        if scale_row == 0 {
            for row in data_rows {
                file.extend_from_slice(&row[..file_row]);
            }
            return file;
        }
        assert_eq!(
            data_rows.len() * scale_row,
            self.scales.len(),
            "the planes have different numbers of rows"
        );
        let data_block = format.data_row_bytes(format.block_columns());
        for (data, scales) in data_rows.zip(self.scales.chunks_exact(scale_row)) {
            let blocks = data.chunks_exact(data_block);
            for (data, record) in blocks.zip(scales.chunks_exact(format.record_bytes())) {
                join(format, data, record, &mut file);
            }
        }
        file
    }
}

/// Appends a block of a file to the planes.
fn split(format: WeightFormat, block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    match format {
        WeightFormat::F32 | WeightFormat::F16 => data.extend_from_slice(block),
        WeightFormat::Q8_0 | WeightFormat::Q4_0 => {
            let (scale, quants) = block.split_at(size_of::<f16>());
            scales.extend_from_slice(scale);
            data.extend_from_slice(quants);
        }
        WeightFormat::Int4 => {
            let (record, nibbles) = block.split_at(4);
            scales.extend_from_slice(record);
            data.extend_from_slice(nibbles);
        }
        WeightFormat::Q5_1 => k::split_q5_1(block, data, scales),
        WeightFormat::Q2K => k::split_q2_k(block, data, scales),
        WeightFormat::Q4K => k::split_q4_k(block, data, scales),
        WeightFormat::Q5K => k::split_q5_k(block, data, scales),
        WeightFormat::Q6K => k::split_q6_k(block, data, scales),
    }
}

/// Appends what [`split`] took apart to a file.
fn join(format: WeightFormat, data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    match format {
        WeightFormat::Q5_1 => k::join_q5_1(data, record, file),
        WeightFormat::Q2K => k::join_q2_k(data, record, file),
        WeightFormat::Q4K => k::join_q4_k(data, record, file),
        WeightFormat::Q5K => k::join_q5_k(data, record, file),
        WeightFormat::Q6K => k::join_q6_k(data, record, file),
        WeightFormat::F32
        | WeightFormat::F16
        | WeightFormat::Q8_0
        | WeightFormat::Q4_0
        | WeightFormat::Int4 => {
            file.extend_from_slice(record);
            file.extend_from_slice(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packed_rows_come_back(format in prop::sample::select(&WeightFormat::ALL[..]), rows in 0_usize..5, columns in 1_usize..300, seed: u8) {
            let columns = columns.next_multiple_of(format.block_columns());
            let file: Vec<u8> = (0..rows * format.file_row_bytes(columns)).map(|i| ((i * i / 7) as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let planes = Planes::pack(format, columns, &file);
            prop_assert_eq!(planes.data.len(), rows * format.data_row_bytes(columns));
            prop_assert_eq!(planes.scales.len(), rows * format.scale_row_bytes(columns));
            prop_assert_eq!(planes.unpack(format, columns), file);
        }
    }

    #[test]
    fn every_row_of_every_plane_begins_on_16_bytes() {
        for format in WeightFormat::ALL {
            for columns in (1..1200).filter(|columns| format.takes_columns(*columns)) {
                assert_eq!(
                    format.data_row_bytes(columns) % 16,
                    0,
                    "{} {columns}",
                    format.name()
                );
                assert_eq!(
                    format.scale_row_bytes(columns) % 16,
                    0,
                    "{} {columns}",
                    format.name()
                );
            }
        }
    }

    #[test]
    fn a_row_without_padding_is_not_copied() {
        let file = vec![7; WeightFormat::F16.file_row_bytes(64) * 3];
        assert!(matches!(
            Planes::pack(WeightFormat::F16, 64, &file).data,
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn padding_is_zero() {
        let file = vec![0xff; WeightFormat::F32.file_row_bytes(3) * 2];
        let planes = Planes::pack(WeightFormat::F32, 3, &file);
        assert_eq!(planes.data[..12], [0xff; 12]);
        assert_eq!(planes.data[12..128], [0; 116]);
    }
}
