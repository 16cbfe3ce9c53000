//! A buffer that the device copies into and the host then reads, again and again: what comes back without a wait at once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wgpu::{BufferAsyncError, BufferUsages, MapMode, SubmissionIndex};

use super::{device::Gpu, fault::one_line, memory::Allocation};
use crate::Error;

/// One such buffer.
#[derive(Debug)]
pub(super) struct Landing {
    staging: Allocation,
    /// Bytes of the mapping under way.
    bytes: u64,
    /// The submission after which the buffer is mapped; `None` where it is not, and will not be.
    ///
    /// A mapping is never called off: wgpu would let the next one of the same buffer answer too early, for the submission
    /// of the first. One that nobody wants is waited for when the buffer's turn comes again.
    under_way: Option<SubmissionIndex>,
    told: Told,
}

/// What wgpu's callback says of a mapping, on whichever thread polls.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    shared: Arc<(Mutex<Option<Mapped>>, Condvar)>,
}

pub(super) type Mapped = Result<(), BufferAsyncError>;

impl Landing {
    pub(super) fn new(gpu: &Gpu, label: &str, bytes: u64) -> Result<Self, Error> {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Ok(Self {
            staging: Allocation::new(gpu, label, bytes, usage)?,
            bytes: 0,
            under_way: None,
            told: Told::default(),
        })
    }

    /// The buffer, for a copy into it. What came before must have been fetched or forgotten.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        self.staging.buffer()
    }

    /// Has the first bytes mapped, at least one, once a submission that copies into them is done.
    pub(super) fn expect(
        &mut self,
        gpu: &Gpu,
        bytes: u64,
        submission: SubmissionIndex,
    ) -> Result<(), Error> {
        let told = self.told.clone();
        self.bytes = bytes;
        gpu.shared().faults.guard(|| {
            let staging = self.staging.buffer();
            staging.map_async(MapMode::Read, 0..bytes, move |outcome| told.tell(outcome));
        })?;
        self.under_way = Some(submission);
        Ok(())
    }

    /// Waits for the mapping under way, and gives what it shows to `take`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Timeout`], after which it may be asked again; faults of the device.
    pub(super) fn fetch<T>(
        &mut self,
        gpu: &Gpu,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        let Some(submission) = self.under_way.clone() else {
            return Ok(None);
        };
        gpu.wait_for(submission)?;
        let outcome = self.told.wait(gpu)?;
        self.under_way = None;
        outcome.map_err(|error| driver(&error.to_string()))?;
        let staging = self.staging.buffer();
        gpu.shared().faults.guard(|| {
            let taken = match staging.get_mapped_range(0..self.bytes) {
                Ok(view) => Ok(Some(take(&view))),
                Err(error) => Err(driver(&error.to_string())),
            };
            staging.unmap();
            taken
        })?
    }

    /// Waits for the mapping under way, if there is one, and drops what it shows.
    pub(super) fn forget(&mut self, gpu: &Gpu) -> Result<(), Error> {
        self.fetch(gpu, |_| ()).map(drop)
    }
}

impl Told {
    pub(super) fn tell(&self, outcome: Mapped) {
        let (said, condition) = &*self.shared;
        *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        condition.notify_all();
    }

    /// What was told, once. A wait for the submission polls, which runs the callback, unless another thread's poll took it
    /// and is about to run it.
    ///
    /// # Errors
    /// [`Error::Timeout`] where nothing is told within the device's limit.
    pub(super) fn wait(&self, gpu: &Gpu) -> Result<Mapped, Error> {
        let limit = gpu.shared().timeout;
        let (said, condition) = &*self.shared;
        let outcome = said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = condition.wait_timeout_while(outcome, limit, |said| said.is_none());
        let mut outcome = waited.unwrap_or_else(PoisonError::into_inner).0;
        outcome.take().ok_or(Error::Timeout { limit })
    }
}

pub(super) fn driver(reason: &str) -> Error {
    Error::Driver {
        reason: one_line(reason),
    }
}
