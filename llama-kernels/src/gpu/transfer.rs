//! Bytes to the device and back, in bounded pieces.

use std::{
    ops::Range,
    sync::{PoisonError, atomic::Ordering, mpsc},
};

use wgpu::{BufferUsages, MapMode};

use super::{device::Gpu, fault::one_line, memory::Allocation};
use crate::Error;

/// Bytes given to the queue before a submit; wgpu holds a copy of them until that submit is done.
const CHUNK_BYTES: usize = 16 << 20;

/// The buffer through which reads come back; kept, so that reading allocates only when a read is larger than all
/// before it.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    staging: Option<Allocation>,
}

impl Gpu {
    /// Makes room for reads of this many bytes at once, so that later reads allocate nothing.
    ///
    /// # Errors
    /// Those of an allocation.
    pub fn reserve_read_back(&self, bytes: u64) -> Result<(), Error> {
        let mut read_back = self
            .shared()
            .read_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        read_back.reserve(self, bytes).map(|_| ())
    }

    /// Copies bytes to a buffer. `offset` and the length are multiples of 4.
    pub(super) fn write(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let shared = self.shared();
        for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            let at = offset + (index * CHUNK_BYTES) as u64;
            shared
                .faults
                .guard(|| shared.queue.write_buffer(buffer, at, chunk))?;
            // Counted over all writes: a thousand small ones would hold as much as a large one.
            let staged = shared.staged.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
            if staged >= CHUNK_BYTES {
                self.submit_commands(None)?;
            }
        }
        shared.faults.check()
    }

    /// Waits for all submitted work and copies a buffer's bytes. Both ends of `range` are multiples of 4.
    pub(super) fn read(&self, buffer: &wgpu::Buffer, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let bytes = range.end - range.start;
        if bytes == 0 {
            self.wait()?;
            return Ok(Vec::new());
        }
        let mut read_back = self
            .shared()
            .read_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let staging = read_back.reserve(self, bytes)?.buffer().clone();
        let shared = self.shared();
        let commands = shared.faults.guard(|| {
            let mut encoder =
                shared
                    .device
                    .create_command_encoder(&wgpu::CommandEncoderDescriptor {
                        label: Some("read back"),
                    });
            encoder.copy_buffer_to_buffer(buffer, range.start, &staging, 0, Some(bytes));
            encoder.finish()
        })?;
        let submission = self.submit_commands(Some(commands))?;

        let (sender, receiver) = mpsc::channel();
        shared.faults.guard(|| {
            staging.map_async(MapMode::Read, 0..bytes, move |result| {
                // The receiver is gone only where `read` returned early.
                let _ = sender.send(result);
            });
        })?;
        // The wait polls, which runs the callbacks of buffers whose copies are done; another thread's poll may have taken
        // this one and be about to run it. Until it has, the buffer is not unmapped: on an error it is dropped.
        let waited = self.wait_for(submission);
        let mapped = waited.map(|()| receiver.recv_timeout(shared.timeout));
        if !matches!(mapped, Ok(Ok(Ok(())))) {
            read_back.staging = None;
        }
        let mapped = mapped?;
        match mapped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return Err(Error::Driver {
                    reason: one_line(&error.to_string()),
                });
            }
            Err(_) => {
                return Err(Error::Driver {
                    reason: "a read-back buffer was not mapped".to_owned(),
                });
            }
        }
        let view = staging.slice(0..bytes).get_mapped_range();
        let copied = view
            .map(|view| view.to_vec())
            .map_err(|error| Error::Driver {
                reason: one_line(&error.to_string()),
            });
        staging.unmap();
        copied
    }
}

impl ReadBack {
    fn reserve(&mut self, gpu: &Gpu, bytes: u64) -> Result<&Allocation, Error> {
        let staging = match self.staging.take() {
            Some(staging) if staging.buffer().size() >= bytes => staging,
            smaller => {
                drop(smaller);
                Allocation::new(
                    gpu,
                    "read back",
                    bytes,
                    BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                )?
            }
        };
        Ok(self.staging.insert(staging))
    }
}
