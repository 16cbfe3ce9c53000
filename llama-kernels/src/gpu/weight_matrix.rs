//! A weight matrix on the GPU: as many row pieces as the binding limit makes necessary, each with its planes.

use std::{ops::Range, sync::Arc};

use wgpu::BufferUsages;

use super::{bind::Bind, device::Gpu, memory::Allocation};
use crate::{BLOCK, Error, Planes, WeightFormat, padded};

/// Bytes of a file's rows repacked at a time, which bounds the host memory of an upload.
const PACK_BYTES: usize = 16 << 20;

/// Rows that a kernel computes together.
const UNIT_ROWS: usize = 4;

/// `[rows, columns]`, in one weight format or in sections of several. Clones share the memory.
#[derive(Debug, Clone)]
pub struct WeightMatrix {
    label: String,
    rows: usize,
    columns: usize,
    pieces: Arc<[WeightPiece]>,
}

/// Consecutive rows of a matrix that are in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Their format.
    pub format: WeightFormat,
    /// How many.
    pub rows: usize,
}

/// Some consecutive rows of a matrix, in one format and buffers of their own; a kernel runs once per piece and numbers its rows
/// from 0.
#[derive(Debug)]
pub struct WeightPiece {
    format: WeightFormat,
    rows: Range<usize>,
    data: Allocation,
    scales: Option<Allocation>,
}

impl WeightMatrix {
    /// A matrix of zeros in one format.
    ///
    /// # Errors
    /// As [`WeightMatrix::of_sections`].
    pub fn new(
        gpu: &Gpu,
        label: &str,
        format: WeightFormat,
        rows: usize,
        columns: usize,
    ) -> Result<Self, Error> {
        Self::of_sections(gpu, label, &[Section { format, rows }], columns)
    }

    /// A matrix of zeros whose rows are in the formats of `sections`, from the top.
    ///
    /// # Errors
    /// [`Error::Shape`] for a number of columns that a format cannot have, or a section that does not end the matrix and has not
    /// a multiple of four rows; [`Error::BindingTooLarge`] where four rows are above the limit; [`Error::OutOfMemory`].
    pub fn of_sections(
        gpu: &Gpu,
        label: &str,
        sections: &[Section],
        columns: usize,
    ) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut first = 0;
        for (index, section) in sections.iter().enumerate() {
            let last = index + 1 == sections.len();
            if !last && !section.rows.is_multiple_of(UNIT_ROWS) {
                return Err(Error::Shape {
                    op: "weight matrix",
                    what: format!("rows of section {index} of {label}"),
                    expected: format!("a multiple of {UNIT_ROWS}"),
                    found: section.rows.to_string(),
                });
            }
            let rows = first..first + section.rows;
            first = rows.end;
            pieces.extend(pieces_of(gpu, label, section.format, rows, columns)?);
        }
        Ok(Self {
            label: label.to_owned(),
            rows: first,
            columns,
            pieces: pieces.into(),
        })
    }

    /// Writes rows from `first_row` on, which are in one format. `file` holds whole rows in the file's layout: f32 or f16
    /// little-endian, or blocks as [`WeightFormat::file_block_bytes`] says. It is repacked and uploaded in bounded chunks.
    ///
    /// # Errors
    /// [`Error::Shape`] if `file` is no whole number of rows, there are not so many or they are in several formats; faults of the
    /// device.
    pub fn write_rows(&self, gpu: &Gpu, first_row: usize, file: &[u8]) -> Result<(), Error> {
        let Some(format) = self.format_at(first_row) else {
            return match file {
                [] => Ok(()),
                _ => Err(self.shape("first row of", &format!("below {}", self.rows), first_row)),
            };
        };
        let file_row = format.file_row_bytes(self.columns);
        if !file.len().is_multiple_of(file_row) {
            return Err(self.shape(
                "bytes for",
                &format!("a multiple of {file_row}"),
                file.len(),
            ));
        }
        let end = first_row.saturating_add(file.len() / file_row);
        let limit = self.format_end(first_row);
        if end > limit {
            return Err(self.shape("rows of", &format!("at most {limit}"), end));
        }
        let (data_row, scale_row) = (
            format.data_row_bytes(self.columns),
            format.scale_row_bytes(self.columns),
        );
        for piece in self.pieces.iter() {
            let begin = piece.rows.start.max(first_row);
            let end = piece.rows.end.min(end);
            if begin >= end {
                continue;
            }
            let part = &file[(begin - first_row) * file_row..(end - first_row) * file_row];
            let chunk_rows = (PACK_BYTES / file_row).max(1);
            for (index, chunk) in part.chunks(chunk_rows * file_row).enumerate() {
                let row = begin - piece.rows.start + index * chunk_rows;
                let planes = Planes::pack(format, self.columns, chunk);
                gpu.write(piece.data.buffer(), (row * data_row) as u64, &planes.data)?;
                if let Some(scales) = &piece.scales {
                    gpu.write(scales.buffer(), (row * scale_row) as u64, &planes.scales)?;
                }
            }
        }
        Ok(())
    }

    /// The format that a row is held in; `None` where there is no such row.
    pub fn format_at(&self, row: usize) -> Option<WeightFormat> {
        let piece = self.pieces.iter().find(|piece| piece.rows.contains(&row));
        piece.map(WeightPiece::format)
    }

    /// The row behind those that are from `row` on in one format.
    pub fn format_end(&self, row: usize) -> usize {
        let format = self.format_at(row);
        let behind = self.pieces.iter().filter(|piece| piece.rows.end > row);
        let same = behind.take_while(|piece| Some(piece.format) == format);
        same.last().map_or(row, |piece| piece.rows.end)
    }

    /// Bytes on the GPU.
    pub fn bytes(&self) -> u64 {
        let bytes = |piece: &WeightPiece| {
            let row = piece.format.data_row_bytes(self.columns)
                + piece.format.scale_row_bytes(self.columns);
            row as u64 * piece.rows.len() as u64
        };
        self.pieces.iter().map(bytes).sum()
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, without padding.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Blocks of a row, the padding included.
    pub fn blocks(&self) -> usize {
        padded(self.columns) / BLOCK
    }

    /// Its pieces, by row.
    pub fn pieces(&self) -> &[WeightPiece] {
        &self.pieces
    }

    fn shape(&self, what: &str, expected: &str, found: usize) -> Error {
        Error::Shape {
            op: "weight matrix",
            what: format!("{what} {}", self.label),
            expected: expected.to_owned(),
            found: found.to_string(),
        }
    }
}

impl WeightPiece {
    /// How it is held.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// The number in the matrix of its first row.
    pub fn first_row(&self) -> usize {
        self.rows.start
    }

    /// Its rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The buffers of its planes: data, and scales where the format has them.
    pub(super) fn planes(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let scales = self.scales.as_ref().map(Allocation::buffer);
        std::iter::once(self.data.buffer()).chain(scales)
    }

    /// Its planes under the names that weight slots use.
    pub fn bindings(&self) -> impl Iterator<Item = (&'static str, Bind<'_>)> {
        let scales = self
            .scales
            .as_ref()
            .map(|scales| ("weight_scales", Bind::of(scales)));
        std::iter::once(("weight_data", Bind::of(&self.data))).chain(scales)
    }
}

/// The pieces of a section.
fn pieces_of(
    gpu: &Gpu,
    label: &str,
    format: WeightFormat,
    rows: Range<usize>,
    columns: usize,
) -> Result<Vec<WeightPiece>, Error> {
    if !format.takes_columns(columns) {
        let multiple = format.block_columns();
        return Err(Error::Shape {
            op: "weight matrix",
            what: format!("columns of {label}"),
            expected: format!("a multiple of {multiple} for {}", format.name()),
            found: columns.to_string(),
        });
    }
    let (data_row, scale_row) = (
        format.data_row_bytes(columns),
        format.scale_row_bytes(columns),
    );
    let limit = usize::try_from(gpu.capabilities().limits.binding_bytes).unwrap_or(usize::MAX);
    // Kernels join rows of a unit of four: a piece that does not end the matrix holds whole units.
    let piece_rows = limit / data_row / UNIT_ROWS * UNIT_ROWS;
    if piece_rows == 0 && !rows.is_empty() {
        return Err(Error::BindingTooLarge {
            label: format!("{UNIT_ROWS} rows of {label}"),
            asked: (UNIT_ROWS * data_row) as u64,
            limit: limit as u64,
        });
    }
    let piece_rows = piece_rows.max(UNIT_ROWS);
    let plane = |name: &str, rows: &Range<usize>, row_bytes: usize| {
        let label = format!("{label} {name} {}..{}", rows.start, rows.end);
        Allocation::new(
            gpu,
            &label,
            (rows.len() * row_bytes) as u64,
            BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        )
    };
    (rows.clone().step_by(piece_rows))
        .map(|first| {
            let rows = first..first.saturating_add(piece_rows).min(rows.end);
            let data = plane("data", &rows, data_row)?;
            let scales = match scale_row {
                0 => None,
                _ => Some(plane("scales", &rows, scale_row)?),
            };
            Ok(WeightPiece {
                format,
                rows,
                data,
                scales,
            })
        })
        .collect()
}
