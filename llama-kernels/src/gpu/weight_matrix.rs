//! A weight matrix on the GPU: as many row pieces as the binding limit makes necessary, each with its planes.

use std::ops::Range;

use wgpu::BufferUsages;

use super::{bind::Bind, device::Gpu, memory::Allocation};
use crate::{BLOCK, Error, Planes, WeightFormat, padded};

/// Bytes of a file's rows repacked at a time, which bounds the host memory of an upload.
const PACK_BYTES: usize = 16 << 20;

/// Rows that a kernel computes together.
const UNIT_ROWS: usize = 4;

/// `[rows, columns]` of a weight format.
#[derive(Debug)]
pub struct WeightMatrix {
    label: String,
    format: WeightFormat,
    rows: usize,
    columns: usize,
    pieces: Vec<WeightPiece>,
}

/// Some consecutive rows of a matrix, in buffers of their own; a kernel runs once per piece and numbers its rows from 0.
#[derive(Debug)]
pub struct WeightPiece {
    rows: Range<usize>,
    data: Allocation,
    scales: Option<Allocation>,
}

impl WeightMatrix {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// [`Error::Shape`] for a number of columns that the format cannot have; [`Error::BindingTooLarge`] where four
    /// rows are above the limit; [`Error::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        label: &str,
        format: WeightFormat,
        rows: usize,
        columns: usize,
    ) -> Result<Self, Error> {
        if !format.takes_columns(columns) {
            return Err(Error::Shape {
                op: "weight matrix",
                what: format!("columns of {label}"),
                expected: format!("a multiple of {BLOCK} for {}", format.name()),
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
        if piece_rows == 0 && rows > 0 {
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
                BufferUsages::STORAGE | BufferUsages::COPY_DST,
            )
        };
        let pieces = (0..rows)
            .step_by(piece_rows)
            .map(|first| {
                let rows = first..first.saturating_add(piece_rows).min(rows);
                let data = plane("data", &rows, data_row)?;
                let scales = if scale_row == 0 {
                    None
                } else {
                    Some(plane("scales", &rows, scale_row)?)
                };
                Ok(WeightPiece { rows, data, scales })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            label: label.to_owned(),
            format,
            rows,
            columns,
            pieces,
        })
    }

    /// Writes rows from `first_row` on. `file` holds whole rows in the file's layout: f32 or f16 little-endian, or ggml's
    /// q8_0 or q4_0 blocks. It is repacked and uploaded in bounded chunks.
    ///
    /// # Errors
    /// [`Error::Shape`] if `file` is no whole number of rows or there are not so many; faults of the device.
    pub fn write_rows(&self, gpu: &Gpu, first_row: usize, file: &[u8]) -> Result<(), Error> {
        let file_row = self.format.file_row_bytes(self.columns);
        if !file.len().is_multiple_of(file_row) {
            return Err(self.shape(
                "bytes for",
                &format!("a multiple of {file_row}"),
                file.len(),
            ));
        }
        let end = first_row.saturating_add(file.len() / file_row);
        if end > self.rows {
            return Err(self.shape("rows of", &format!("at most {}", self.rows), end));
        }
        let (data_row, scale_row) = (
            self.format.data_row_bytes(self.columns),
            self.format.scale_row_bytes(self.columns),
        );
        for piece in &self.pieces {
            let begin = piece.rows.start.max(first_row);
            let end = piece.rows.end.min(end);
            if begin >= end {
                continue;
            }
            let part = &file[(begin - first_row) * file_row..(end - first_row) * file_row];
            let chunk_rows = (PACK_BYTES / file_row).max(1);
            for (index, chunk) in part.chunks(chunk_rows * file_row).enumerate() {
                let row = begin - piece.rows.start + index * chunk_rows;
                let planes = Planes::pack(self.format, self.columns, chunk);
                gpu.write(piece.data.buffer(), (row * data_row) as u64, &planes.data)?;
                if let Some(scales) = &piece.scales {
                    gpu.write(scales.buffer(), (row * scale_row) as u64, &planes.scales)?;
                }
            }
        }
        Ok(())
    }

    /// How it is held.
    pub fn format(&self) -> WeightFormat {
        self.format
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
