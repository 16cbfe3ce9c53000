//! Rows of weights on their way to the device: a ring of mapped buffers, filled on any thread, copied from there.
//!
//! `Queue::write_buffer` would allocate as many bytes anew with every call and copy once more. What is written into the
//! buffers, and by whom, is the caller's business.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::mpsc::{Receiver, Sender, channel},
};

use wgpu::{BufferAsyncError, BufferUsages, BufferViewMut, MapMode, SubmissionIndex};

use super::{device::Gpu, fault::one_line, memory::Allocation, weight_matrix::WeightMatrix};
use crate::{Error, Planes, WeightFormat};

/// A ring of buffers of one size. Made by [`Gpu::upload`]; allocates nothing afterwards.
#[derive(Debug)]
pub struct Upload {
    gpu: Gpu,
    bytes: usize,
    slots: Vec<Allocation>,
    /// Slots that are mapped and not lent.
    free: Vec<usize>,
    /// Slots that the device copies from, the oldest first.
    under_way: VecDeque<(usize, SubmissionIndex)>,
    mapped: Receiver<(usize, Result<(), BufferAsyncError>)>,
    tell: Sender<(usize, Result<(), BufferAsyncError>)>,
}

/// Memory for some rows of a matrix as they lie on the device, to be written whole: mapped and lent by an [`Upload`], or the
/// host's own.
#[derive(Debug)]
pub struct Stage {
    memory: StageMemory,
    format: WeightFormat,
    columns: usize,
    rows: usize,
}

#[derive(Debug)]
enum StageMemory {
    Lent { slot: usize, view: BufferViewMut },
    Host(Vec<u8>),
}

/// Rows of a matrix as they lie on the device, kept in host memory: the plane of data, then that of scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRows {
    format: WeightFormat,
    columns: usize,
    rows: usize,
    bytes: Vec<u8>,
}

impl Gpu {
    /// A ring of `slots` buffers of `bytes` each.
    ///
    /// # Errors
    /// Those of an allocation; faults of the device.
    pub fn upload(&self, slots: usize, bytes: usize) -> Result<Upload, Error> {
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let slots = (0..slots)
            .map(|_| Allocation::new(self, "upload", bytes as u64, usage))
            .collect::<Result<Vec<_>, _>>()?;
        let (tell, mapped) = channel();
        let upload = Upload {
            gpu: self.clone(),
            bytes,
            slots,
            free: Vec::new(),
            under_way: VecDeque::new(),
            mapped,
            tell,
        };
        for slot in 0..upload.slots.len() {
            upload.map(slot)?;
        }
        Ok(upload)
    }
}

impl Upload {
    /// How many rows of a matrix one stage has room for.
    pub fn rows_at_once(&self, format: WeightFormat, columns: usize) -> usize {
        self.bytes / (format.data_row_bytes(columns) + format.scale_row_bytes(columns)).max(1)
    }

    /// Memory for `rows` rows of a matrix in the format that it has from `first_row` on; `None` where every buffer is lent or
    /// being copied from.
    ///
    /// # Errors
    /// [`Error::Shape`] for more rows than there is room for, or a first row that is not there; faults of the device.
    pub fn stage(
        &mut self,
        matrix: &WeightMatrix,
        first_row: usize,
        rows: usize,
    ) -> Result<Option<Stage>, Error> {
        let columns = matrix.columns();
        let Some(format) = matrix.format_at(first_row) else {
            let expected = format!("below {}", matrix.rows());
            return Err(refused("first row", &expected, &first_row.to_string()));
        };
        let limit = self.rows_at_once(format, columns);
        if rows > limit {
            return Err(Error::Shape {
                op: "upload",
                what: "rows at once".to_owned(),
                expected: format!("at most {limit}"),
                found: rows.to_string(),
            });
        }
        if self.free.is_empty() {
            self.gpu.heed()?;
            self.collect()?;
        }
        let Some(slot) = self.free.pop() else {
            return Ok(None);
        };
        let buffer = self.slots[slot].buffer();
        let view = self.gpu.shared().faults.guard(|| {
            (buffer.get_mapped_range_mut(..)).map_err(|error| driver(&error.to_string()))
        })??;
        Ok(Some(Stage {
            memory: StageMemory::Lent { slot, view },
            format,
            columns,
            rows,
        }))
    }

    /// Waits until a buffer that the device copies from is free again; returns at once where there is none.
    ///
    /// # Errors
    /// [`Error::Timeout`]; faults of the device.
    pub fn wait(&mut self) -> Result<(), Error> {
        match self.under_way.pop_front() {
            Some((_, oldest)) => self.gpu.wait_for(oldest)?,
            // The first mapping needs no submission, only a poll.
            None => self.gpu.heed()?,
        }
        self.collect()
    }

    /// Has the device copy a stage's rows into a matrix, from `first_row` on.
    ///
    /// # Errors
    /// [`Error::Shape`] where the stage is not of these rows' format, they are not there, or it was not lent; faults of the
    /// device.
    pub fn send(
        &mut self,
        stage: Stage,
        matrix: &WeightMatrix,
        first_row: usize,
    ) -> Result<(), Error> {
        let (format, columns, rows) = (stage.format, stage.columns, stage.rows);
        if let Err(error) = fits(&stage, matrix, first_row) {
            self.give_back(stage);
            return Err(error);
        }
        let StageMemory::Lent { slot, view } = stage.memory else {
            return Err(refused("stage", "one that was lent", "one in host memory"));
        };
        drop(view);
        let shared = self.gpu.shared();
        let staging = self.slots[slot].buffer();
        let commands = shared.faults.guard(|| {
            staging.unmap();
            let descriptor = wgpu::CommandEncoderDescriptor {
                label: Some("upload"),
            };
            let mut encoder = shared.device.create_command_encoder(&descriptor);
            let planes = [
                (0, format.data_row_bytes(columns)),
                (
                    rows * format.data_row_bytes(columns),
                    format.scale_row_bytes(columns),
                ),
            ];
            for piece in matrix.pieces() {
                let begin = piece.first_row().max(first_row);
                let end = (piece.first_row() + piece.rows()).min(first_row + rows);
                if begin >= end {
                    continue;
                }
                for (buffer, (offset, row)) in piece.planes().zip(planes) {
                    encoder.copy_buffer_to_buffer(
                        staging,
                        (offset + (begin - first_row) * row) as u64,
                        buffer,
                        ((begin - piece.first_row()) * row) as u64,
                        Some(((end - begin) * row) as u64),
                    );
                }
            }
            encoder.finish()
        })?;
        let submission = self.gpu.submit_commands(Some(commands))?;
        self.under_way.push_back((slot, submission));
        self.map(slot)
    }

    /// Takes a stage back whose rows are not wanted.
    pub fn give_back(&mut self, stage: Stage) {
        if let StageMemory::Lent { slot, view } = stage.memory {
            drop(view);
            self.free.push(slot);
        }
    }

    /// Waits until everything sent has arrived.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub fn finish(self) -> Result<(), Error> {
        self.gpu.wait()
    }

    /// Asks for a slot's memory; granted when the device no longer copies from it.
    fn map(&self, slot: usize) -> Result<(), Error> {
        let tell = self.tell.clone();
        let buffer = self.slots[slot].buffer();
        self.gpu.shared().faults.guard(|| {
            buffer.map_async(MapMode::Write, .., move |outcome| {
                // The receiver is gone where the upload was given up.
                let _ = tell.send((slot, outcome));
            });
        })
    }

    fn collect(&mut self) -> Result<(), Error> {
        for (slot, outcome) in self.mapped.try_iter() {
            outcome.map_err(|error| driver(&error.to_string()))?;
            self.under_way.retain(|(of, _)| *of != slot);
            self.free.push(slot);
        }
        Ok(())
    }
}

impl Stage {
    /// The host's own memory for `rows` rows, zeroed.
    pub fn in_host_memory(format: WeightFormat, columns: usize, rows: usize) -> Self {
        let row = format.data_row_bytes(columns) + format.scale_row_bytes(columns);
        Self {
            memory: StageMemory::Host(vec![0; rows * row]),
            format,
            columns,
            rows,
        }
    }

    /// What was written, to be kept; `None` of a stage that an [`Upload`] lent.
    pub fn into_host_rows(self) -> Option<HostRows> {
        match self.memory {
            StageMemory::Lent { .. } => None,
            StageMemory::Host(bytes) => Some(HostRows {
                format: self.format,
                columns: self.columns,
                rows: self.rows,
                bytes,
            }),
        }
    }

    /// Writes the whole stage.
    ///
    /// # Errors
    /// [`Error::Shape`] if `rows` are not as many, or of another format or number of columns.
    pub fn fill(&mut self, rows: &HostRows) -> Result<(), Error> {
        let of = |format: WeightFormat, rows, columns| {
            format!("{rows} rows of {columns} in {}", format.name())
        };
        let wanted = of(self.format, self.rows, self.columns);
        let found = of(rows.format, rows.rows, rows.columns);
        if wanted != found {
            return Err(refused("rows", &wanted, &found));
        }
        self.write(0, &rows.bytes);
        Ok(())
    }

    /// The format that its rows are in on the device.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes rows in a file's layout at the places `first`, `first + step` and so on.
    ///
    /// # Panics
    /// If `file` is no whole number of rows, a place is not there, or `step` is 0.
    pub fn put(&mut self, first: usize, step: usize, file: &[u8]) {
        let (format, columns) = (self.format, self.columns);
        let (data_row, scale_row) = (
            format.data_row_bytes(columns),
            format.scale_row_bytes(columns),
        );
        let planes = Planes::pack(format, columns, file);
        let count = planes.data.len() / data_row;
        assert!(
            count == 0 || first + (count - 1) * step < self.rows,
            "{count} rows from {first} by {step} in {}",
            self.rows
        );
        self.place(0, data_row, [first, step], &planes.data);
        self.place(
            self.rows * data_row,
            scale_row,
            [first, step],
            &planes.scales,
        );
    }

    fn place(&mut self, plane: usize, row_bytes: usize, [first, step]: [usize; 2], bytes: &[u8]) {
        if step == 1 {
            return self.write(plane + first * row_bytes, bytes);
        }
        for (index, row) in bytes.chunks_exact(row_bytes.max(1)).enumerate() {
            self.write(plane + (first + index * step) * row_bytes, row);
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let place = at..at + bytes.len();
        match &mut self.memory {
            StageMemory::Lent { view, .. } => view.slice(place).copy_from_slice(bytes),
            StageMemory::Host(memory) => memory[place].copy_from_slice(bytes),
        }
    }
}

impl HostRows {
    /// How many there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of host memory.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Gpu {
    /// Waits for all submitted work and reads rows of a matrix that are in one format, at least one.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not so many; faults of the device.
    pub fn read_rows(&self, matrix: &WeightMatrix, rows: Range<usize>) -> Result<HostRows, Error> {
        let columns = matrix.columns();
        let end = matrix.format_end(rows.start);
        let format = matrix.format_at(rows.start);
        let Some(format) = format.filter(|_| !rows.is_empty() && rows.end <= end) else {
            let expected = format!("some within {}..{end}", rows.start.min(end));
            return Err(refused("rows", &expected, &format!("{rows:?}")));
        };
        let row_bytes = [
            format.data_row_bytes(columns),
            format.scale_row_bytes(columns),
        ];
        let mut planes = [Vec::new(), Vec::new()];
        for piece in matrix.pieces() {
            let begin = piece.first_row().max(rows.start);
            let end = (piece.first_row() + piece.rows()).min(rows.end);
            if begin >= end {
                continue;
            }
            let of_planes = piece.planes().zip(row_bytes).zip(&mut planes);
            for ((buffer, row), plane) in of_planes {
                let at = |row_of_matrix: usize| ((row_of_matrix - piece.first_row()) * row) as u64;
                plane.append(&mut self.read(buffer, at(begin)..at(end))?);
            }
        }
        let [mut bytes, mut scales] = planes;
        bytes.append(&mut scales);
        Ok(HostRows {
            format,
            columns,
            rows: rows.len(),
            bytes,
        })
    }
}

/// An error unless a stage's rows are a matrix's from `first_row` on.
fn fits(stage: &Stage, matrix: &WeightMatrix, first_row: usize) -> Result<(), Error> {
    if stage.columns != matrix.columns() {
        let (expected, found) = (stage.columns.to_string(), matrix.columns().to_string());
        return Err(refused("columns of the matrix", &expected, &found));
    }
    let end = first_row.saturating_add(stage.rows);
    if end > matrix.rows() {
        let expected = format!("at most {}", matrix.rows());
        return Err(refused("rows", &expected, &end.to_string()));
    }
    for piece in matrix.pieces() {
        let meets = piece.first_row() < end && first_row < piece.first_row() + piece.rows();
        if meets && piece.format() != stage.format {
            let (expected, found) = (stage.format.name(), piece.format().name());
            return Err(refused("format of the rows", expected, found));
        }
    }
    Ok(())
}

fn refused(what: &str, expected: &str, found: &str) -> Error {
    Error::Shape {
        op: "upload",
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn driver(reason: &str) -> Error {
    Error::Driver {
        reason: one_line(reason),
    }
}
