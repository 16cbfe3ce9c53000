//! Where the time goes: a timestamp before and after each dispatch.
//!
//! Each dispatch becomes a pass of its own, so a profiled step is slower than the same step unprofiled; the spans tell
//! shares, not the step's length.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use wgpu::{BufferUsages, ComputePassTimestampWrites, QuerySet, SubmissionIndex};

use super::{device::Gpu, memory::Allocation, recorder::Recorder};
use crate::Error;

/// Queries of one set; WebGPU allows no more.
const MAX_QUERIES: u32 = 4096;

/// The time of every dispatch of a recorder, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The dispatches.
    pub spans: Vec<Span>,
    /// Dispatches after the 2,048th, which were not timed.
    pub untimed: usize,
}

/// The time of one dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The dispatch's label.
    pub label: String,
    /// From its begin to its end, in nanoseconds of the device's clock.
    pub nanoseconds: f64,
}

impl Profile {
    /// Nanoseconds by label, the longest first.
    pub fn by_label(&self) -> Vec<(&str, f64)> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for span in &self.spans {
            *sums.entry(&span.label).or_default() += span.nanoseconds;
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        sums
    }
}

/// The queries of one profiled recorder.
#[derive(Debug)]
pub(super) struct Timestamps {
    queries: QuerySet,
    resolved: Allocation,
    labels: Vec<String>,
    untimed: usize,
}

impl Timestamps {
    /// The two queries of the next dispatch; `None` when all are used.
    pub(super) fn next(&mut self, label: &str) -> Option<ComputePassTimestampWrites<'_>> {
        let first = self.used();
        if first + 2 > MAX_QUERIES {
            self.untimed += 1;
            return None;
        }
        self.labels.push(label.to_owned());
        Some(ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..self.used(), self.resolved.buffer(), 0);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "never more than MAX_QUERIES"
    )]
    fn used(&self) -> u32 {
        2 * self.labels.len() as u32
    }
}

/// What [`Gpu::profiled`] gathers while it runs.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    is_on: AtomicBool,
    profile: Mutex<Profile>,
}

impl Gathering {
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    fn profile(&self) -> MutexGuard<'_, Profile> {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, profile: Profile) {
        let mut gathered = self.profile();
        gathered.spans.extend(profile.spans);
        gathered.untimed += profile.untimed;
    }
}

impl Gpu {
    /// Runs `work`, and times every dispatch that is recorded and submitted meanwhile, by whichever handle on this device: for
    /// work whose recorders are not the caller's. Each submission is waited for, so nothing overlaps.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the device has no timestamps, before anything runs; else those of `work`.
    pub fn profiled<T, E: From<Error>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<(T, Profile), E> {
        // Made and thrown away: it says whether there are timestamps.
        self.profiling_recorder()?;
        let gathering = &self.shared().gathering;
        gathering.is_on.store(true, Ordering::Relaxed);
        let result = work();
        gathering.is_on.store(false, Ordering::Relaxed);
        let profile = std::mem::take(&mut *gathering.profile());
        result.map(|value| (value, profile))
    }

    /// A recorder that times each dispatch, for [`Gpu::submit_profiled`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the device has no timestamps; those of an allocation.
    pub fn profiling_recorder(&self) -> Result<Recorder, Error> {
        if !self.capabilities().timestamps {
            let adapter = self.adapter().name.clone();
            return Err(Error::Unsupported {
                adapter,
                what: "timestamps",
                call: "profiling",
            });
        }
        let queries = self.device().create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: MAX_QUERIES,
        });
        let usage = BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC;
        let resolved = Allocation::new(self, "profile", u64::from(MAX_QUERIES) * 8, usage)?;
        let mut recorder = Recorder::new(self);
        recorder.timestamps = Some(Timestamps {
            queries,
            resolved,
            labels: Vec::new(),
            untimed: 0,
        });
        Ok(recorder)
    }

    /// Runs what a [`profiling_recorder`](Self::profiling_recorder) recorded, waits, and gives the times.
    ///
    /// # Errors
    /// Those of [`Gpu::submit`] and of a read.
    pub fn submit_profiled(&self, recorder: Recorder) -> Result<Profile, Error> {
        Ok(self.submit_timed(recorder)?.0)
    }

    /// [`Gpu::submit_profiled`]; also gives what [`Gpu::wait_for`] waits for.
    pub(super) fn submit_timed(
        &self,
        mut recorder: Recorder,
    ) -> Result<(Profile, Option<SubmissionIndex>), Error> {
        let timestamps = recorder.timestamps.take();
        recorder.split();
        let submission = self.submit_recorded(recorder)?;
        let timestamps = timestamps.filter(|timestamps| !timestamps.labels.is_empty());
        let Some(timestamps) = timestamps else {
            self.wait()?;
            return Ok((Profile::default(), submission));
        };
        let mut encoder = self
            .device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("profile"),
            });
        timestamps.resolve(&mut encoder);
        self.submit_commands(Some(encoder.finish()))?;

        let bytes = self.read(
            timestamps.resolved.buffer(),
            0..u64::from(timestamps.used()) * 8,
        )?;
        let period = f64::from(self.queue().get_timestamp_period());
        let ticks: Vec<u64> = (bytes.chunks_exact(8))
            .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a span is far below 2^53 ticks")]
        let spans = (timestamps.labels.into_iter().zip(ticks.chunks_exact(2)))
            .map(|(label, ends)| Span {
                label,
                nanoseconds: ends[1].saturating_sub(ends[0]) as f64 * period,
            })
            .collect();
        let profile = Profile {
            spans,
            untimed: timestamps.untimed,
        };
        Ok((profile, submission))
    }
}
