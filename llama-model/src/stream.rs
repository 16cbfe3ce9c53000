//! Layers whose matrices stay in host memory: in every step they go to the device one after the other, through two slots.
//!
//! While the device computes one layer, the host fills mapped memory with the next and has it copied into the other slot. The
//! device's queue keeps the order: a slot is written again only after the layer that was in it. Norms and biases are small and stay
//! on the device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use llama_kernels::{Gpu, HostRows, Section, Stage, Upload, WeightFormat, WeightMatrix};

use crate::Error;
use crate::matrices::MatrixPlan;
use crate::memory::matrix_bytes;

/// Layers that a device has room for.
pub(crate) const SLOTS: usize = 2;
/// Mapped buffers through which they come: one is filled while others are copied from.
pub(crate) const STAGES: usize = 4;
/// Bytes of one at most, unless two rows are more.
const STAGE_BYTES: usize = 8 << 20;

/// Matrices in a layer.
pub(crate) const MATRICES: usize = 4;

/// The streamed layers of a device.
pub(crate) struct Stream {
    /// Those of a layer, then those of the next.
    matrices: Vec<HostMatrix>,
    /// Held for as long as a step sends layers, so that the steps of two sessions do not mix in the slots.
    upload: Mutex<Upload>,
    bytes: u64,
}

/// A matrix in host memory, and where it goes.
#[derive(Debug)]
pub(crate) struct HostMatrix {
    /// In a slot: other layers' matrices lie there too.
    pub(crate) matrix: WeightMatrix,
    pub(crate) pieces: Pieces,
}

/// Rows of a matrix, each piece from some row on.
pub(crate) type Pieces = Vec<(usize, HostRows)>;

/// Which memory a matrix of a streamed layer has: that of the layer's slot, of the matrix's number in the layer, and of its formats.
pub(crate) type SlotKey = (usize, usize, Vec<Section>);

/// The memory that streamed layers share, by format: layers may differ in that.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    matrices: Vec<(SlotKey, WeightMatrix)>,
}

/// The stream while one step has it.
pub(crate) struct Sending<'a> {
    matrices: &'a [HostMatrix],
    upload: MutexGuard<'a, Upload>,
}

impl Stream {
    /// Of matrices layer by layer.
    pub(crate) fn new(gpu: &Gpu, matrices: Vec<HostMatrix>) -> Result<Self, Error> {
        let pieces = matrices.iter().flat_map(|host| &host.pieces);
        let bytes: Vec<u64> = pieces.map(|(_, rows)| rows.bytes()).collect();
        let longest = bytes.iter().max().copied().unwrap_or(0);
        // It was in memory, so its bytes can be counted there.
        let upload = gpu.upload(STAGES, longest as usize)?;
        Ok(Self {
            bytes: bytes.iter().sum(),
            upload: Mutex::new(upload),
            matrices,
        })
    }

    /// Begins to send; whoever else wants to waits until this is dropped.
    pub(crate) fn begin(&self) -> Sending<'_> {
        Sending {
            matrices: &self.matrices,
            upload: self.upload.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Host memory of all its layers.
    pub(crate) fn host_bytes(&self) -> u64 {
        self.bytes
    }
}

impl Sending<'_> {
    /// Has a layer, counted among the streamed ones, copied into its slot before whatever is submitted next. What the slot held is
    /// gone: its layer must have been submitted.
    pub(crate) fn send(&mut self, layer: usize) -> Result<(), Error> {
        let of_layer = self.matrices.chunks(MATRICES).nth(layer);
        for HostMatrix { matrix, pieces } in of_layer.into_iter().flatten() {
            for (first_row, rows) in pieces {
                let mut stage = self.stage(matrix, *first_row, rows.rows())?;
                if let Err(error) = stage.fill(rows) {
                    self.upload.give_back(stage);
                    return Err(error.into());
                }
                self.upload.send(stage, matrix, *first_row)?;
            }
        }
        Ok(())
    }

    fn stage(
        &mut self,
        matrix: &WeightMatrix,
        first_row: usize,
        rows: usize,
    ) -> Result<Stage, Error> {
        loop {
            if let Some(stage) = self.upload.stage(matrix, first_row, rows)? {
                return Ok(stage);
            }
            self.upload.wait()?;
        }
    }
}

impl Slots {
    /// The memory of matrix number `kind` of a layer for a streamed layer, which is counted among those of its device.
    pub(crate) fn matrix(
        &mut self,
        gpu: &Gpu,
        layer: usize,
        kind: usize,
        sections: &[Section],
        plan: &MatrixPlan,
    ) -> Result<WeightMatrix, Error> {
        let key = (layer % SLOTS, kind, sections.to_vec());
        if let Some((_, matrix)) = self.matrices.iter().find(|(of, _)| *of == key) {
            return Ok(matrix.clone());
        }
        let label = format!("slot {} {}", key.0, plan.name);
        let matrix = WeightMatrix::of_sections(gpu, &label, sections, plan.columns)?;
        self.matrices.push((key, matrix.clone()));
        Ok(matrix)
    }
}

/// How many rows of a matrix are sent at once.
pub(crate) fn rows_at_once(format: WeightFormat, columns: usize) -> usize {
    let row = matrix_bytes(format, 1, columns).max(1);
    usize::try_from(STAGE_BYTES as u64 / row).map_or(2, |rows| rows.max(2))
}

/// Bytes of a mapped buffer for a section.
pub(crate) fn stage_bytes(section: &Section, columns: usize) -> u64 {
    let rows = rows_at_once(section.format, columns).min(section.rows);
    matrix_bytes(section.format, rows, columns)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("matrices", &self.matrices.len())
            .field("host_bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
