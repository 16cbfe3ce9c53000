//! Reading back behind: the few words that each step leaves are copied to a ring of buffers and fetched while later steps
//! run, so that no step waits for the host.
//!
//! Only ids come back this way, in the order of their steps. What a step computes is not known here.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wgpu::{BufferAsyncError, BufferUsages, MapMode, SubmissionIndex};

use super::{device::Gpu, fault::one_line, memory::Allocation, recorder::Recorder, tensor::Tensor};
use crate::Error;

/// A ring of read-backs under way. Made by [`Gpu::read_behind`], which allocates all that it will ever use.
#[derive(Debug)]
pub struct ReadBehind {
    slots: Vec<Slot>,
    /// Ids of a submission at most.
    max_rows: usize,
    /// The slot of the next submission.
    next: usize,
    /// How many submissions before it have not been fetched.
    live: usize,
    /// What came of the last fetch.
    ids: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    staging: Allocation,
    rows: usize,
    /// The submission after which the buffer is mapped; `None` where it is not, and will not be.
    ///
    /// A mapping is never called off: wgpu would let the next one of the same buffer answer too early, for the submission
    /// of the first. One that nobody wants is waited for when its slot's turn comes again.
    under_way: Option<SubmissionIndex>,
    mapped: Arc<Mapped>,
}

/// What wgpu's callback says of a mapping, on whichever thread polls.
#[derive(Debug, Default)]
struct Mapped {
    outcome: Mutex<Option<Result<(), BufferAsyncError>>>,
    told: Condvar,
}

impl Gpu {
    /// A ring in which up to `depth` submissions, each with up to `rows` ids, may be under way.
    ///
    /// # Errors
    /// Those of an allocation.
    pub fn read_behind(&self, label: &str, rows: usize, depth: usize) -> Result<ReadBehind, Error> {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let slot = |_| {
            Ok(Slot {
                staging: Allocation::new(self, label, 4 * rows as u64, usage)?,
                rows: 0,
                under_way: None,
                mapped: Arc::default(),
            })
        };
        Ok(ReadBehind {
            slots: (0..depth).map(slot).collect::<Result<_, Error>>()?,
            max_rows: rows,
            next: 0,
            live: 0,
            ids: Vec::with_capacity(rows),
        })
    }
}

impl ReadBehind {
    /// Runs what was recorded, as [`Gpu::submit`] does, and behind it copies the first `rows` of `ids`, to be fetched
    /// later.
    ///
    /// # Errors
    /// Those of [`Gpu::submit`]; [`Error::Shape`] where there are not so many ids, or as many submissions under way as
    /// the ring holds. Nothing is under way then that was not before.
    pub fn submit(
        &mut self,
        gpu: &Gpu,
        mut recorder: Recorder,
        ids: &Tensor,
        rows: usize,
    ) -> Result<(), Error> {
        let depth = self.slots.len();
        if self.live == depth {
            let expected = format!("at most {depth}");
            return Err(shape("submissions under way", expected, depth + 1));
        }
        let slot = &mut self.slots[self.next];
        // What was forgotten.
        slot.finish(gpu)?;
        if rows == 0 || rows > self.max_rows {
            let expected = format!("from 1 to {}", self.max_rows);
            return Err(shape("rows", expected, rows));
        }
        recorder.copy_out(ids, 0..rows, slot.staging.buffer());
        let Some(submission) = gpu.submit_recorded(recorder)? else {
            return Ok(());
        };
        let mapped = Arc::clone(&slot.mapped);
        slot.rows = rows;
        gpu.shared().faults.guard(|| {
            let staging = slot.staging.buffer();
            staging.map_async(MapMode::Read, 0..4 * rows as u64, move |outcome| {
                mapped.tell(outcome);
            });
        })?;
        slot.under_way = Some(submission);
        self.next = (self.next + 1) % depth;
        self.live += 1;
        Ok(())
    }

    /// Waits for the oldest submission that was not fetched, and gives its ids; none where there is no such submission.
    ///
    /// # Errors
    /// [`Error::Timeout`], after which it may be asked again; faults of the device.
    pub fn fetch(&mut self, gpu: &Gpu) -> Result<&[u32], Error> {
        self.ids.clear();
        if self.live > 0 {
            let depth = self.slots.len();
            let oldest = (self.next + depth - self.live) % depth;
            self.slots[oldest].fetch(gpu, &mut self.ids)?;
            self.live -= 1;
        }
        Ok(&self.ids)
    }

    /// How many submissions may be fetched.
    pub fn under_way(&self) -> usize {
        self.live
    }

    /// Forgets all submissions that were not fetched. They run to their end; nobody waits for them here.
    pub fn forget(&mut self) {
        self.live = 0;
    }
}

impl Slot {
    /// Waits for the mapping under way, if there is one, and appends what it shows.
    fn fetch(&mut self, gpu: &Gpu, ids: &mut Vec<u32>) -> Result<(), Error> {
        let Some(submission) = self.under_way.clone() else {
            return Ok(());
        };
        let shared = gpu.shared();
        gpu.wait_for(submission)?;
        // The wait polls, which runs the callback, unless another thread's poll took it and is about to run it.
        let outcome = self.mapped.wait(shared.timeout);
        let outcome = outcome.ok_or(Error::Timeout {
            limit: shared.timeout,
        })?;
        self.under_way = None;
        outcome.map_err(|error| driver(&error.to_string()))?;
        let staging = self.staging.buffer();
        shared.faults.guard(|| {
            let copied = match staging.get_mapped_range(0..4 * self.rows as u64) {
                Ok(view) => {
                    let words = view.chunks_exact(4);
                    ids.extend(words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])));
                    Ok(())
                }
                Err(error) => Err(driver(&error.to_string())),
            };
            staging.unmap();
            copied
        })?
    }

    /// Waits for the mapping under way, if there is one, and drops what it shows.
    fn finish(&mut self, gpu: &Gpu) -> Result<(), Error> {
        match self.under_way {
            Some(_) => self.fetch(gpu, &mut Vec::new()),
            None => Ok(()),
        }
    }
}

impl Mapped {
    fn tell(&self, outcome: Result<(), BufferAsyncError>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.told.notify_all();
    }

    /// What was told, once; `None` where nothing is within the limit.
    fn wait(&self, limit: std::time::Duration) -> Option<Result<(), BufferAsyncError>> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .told
            .wait_timeout_while(outcome, limit, |o| o.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

fn driver(reason: &str) -> Error {
    Error::Driver {
        reason: one_line(reason),
    }
}

fn shape(what: &str, expected: String, found: usize) -> Error {
    Error::Shape {
        op: "read_behind",
        what: what.to_owned(),
        expected,
        found: found.to_string(),
    }
}
