//! Reading back behind: the few words that each step leaves are copied to a ring of buffers and fetched while later steps
//! run, so that no step waits for the host.
//!
//! Only ids come back this way, in the order of their steps. What a step computes is not known here.

use super::{device::Gpu, landing::Landing, recorder::Recorder, tensor::Tensor};
use crate::Error;

/// A ring of read-backs under way. Made by [`Gpu::read_behind`], which allocates all that it will ever use.
#[derive(Debug)]
pub struct ReadBehind {
    slots: Vec<Landing>,
    /// Ids of a submission at most.
    max_rows: usize,
    /// The slot of the next submission.
    next: usize,
    /// How many submissions before it have not been fetched.
    live: usize,
    /// What came of the last fetch.
    ids: Vec<u32>,
}

impl Gpu {
    /// A ring in which up to `depth` submissions, each with up to `rows` ids, may be under way.
    ///
    /// # Errors
    /// Those of an allocation.
    pub fn read_behind(&self, label: &str, rows: usize, depth: usize) -> Result<ReadBehind, Error> {
        let slot = |_| Landing::new(self, label, 4 * rows as u64);
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
        slot.forget(gpu)?;
        if rows == 0 || rows > self.max_rows {
            let expected = format!("from 1 to {}", self.max_rows);
            return Err(shape("rows", expected, rows));
        }
        recorder.copy_out(ids, 0..rows, slot.buffer());
        let Some(submission) = gpu.submit_recorded(recorder)? else {
            return Ok(());
        };
        slot.expect(gpu, 4 * rows as u64, submission)?;
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
            let ids = &mut self.ids;
            self.slots[oldest].fetch(gpu, |bytes| {
                let words = bytes.chunks_exact(4);
                ids.extend(words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])));
            })?;
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

fn shape(what: &str, expected: String, found: usize) -> Error {
    Error::Shape {
        op: "read_behind",
        what: what.to_owned(),
        expected,
        found: found.to_string(),
    }
}
