//! Rows of a tensor on one device become rows of a tensor on another: by way of host memory, since devices do not see each
//! other's.
//!
//! Whose rows they are and what they mean is the caller's business.

use wgpu::{BufferUsages, MapMode, SubmissionIndex};

use super::{
    device::Gpu,
    landing::{Landing, Told, driver},
    memory::Allocation,
    recorder::Recorder,
    tensor::Tensor,
};
use crate::{Error, padded};

/// A way from one device to another for rows of f32. Allocates all that it will ever use when it is made.
#[derive(Debug)]
pub struct Bridge {
    from: Gpu,
    to: Gpu,
    max_rows: usize,
    stride: usize,
    /// Mapped memory of the first device.
    landing: Landing,
    /// Mapped memory of the second device.
    departure: Allocation,
    told: Told,
    /// The second device's last copy out of it.
    under_way: Option<SubmissionIndex>,
}

impl Bridge {
    /// A way for up to `rows` rows of `columns` columns.
    ///
    /// # Errors
    /// Those of an allocation, on either device.
    pub fn new(from: &Gpu, to: &Gpu, rows: usize, columns: usize) -> Result<Self, Error> {
        let stride = padded(columns);
        let bytes = (rows as u64).saturating_mul(4 * stride as u64);
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        Ok(Self {
            from: from.clone(),
            to: to.clone(),
            max_rows: rows,
            stride,
            landing: Landing::new(from, "rows to another device", bytes)?,
            departure: Allocation::new(to, "rows of another device", bytes, usage)?,
            told: Told::default(),
            under_way: None,
        })
    }

    /// Runs what was recorded for the first device, waits for it, and has its first `rows` rows of `source` copied to those of
    /// `target` on the second before whatever is submitted there next.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not so many rows, or of another stride; those of [`Gpu::submit`]; faults of either
    /// device.
    pub fn cross(
        &mut self,
        mut recorder: Recorder,
        source: &Tensor,
        target: &Tensor,
        rows: usize,
    ) -> Result<(), Error> {
        for tensor in [source, target] {
            if tensor.stride() != self.stride {
                let what = format!("stride of {}", tensor.label());
                return Err(shape(what, self.stride.to_string(), tensor.stride()));
            }
            let most = self.max_rows.min(tensor.rows());
            if rows > most {
                let what = format!("rows of {}", tensor.label());
                return Err(shape(what, format!("at most {most}"), rows));
            }
        }
        // What an error left behind.
        self.landing.forget(&self.from)?;
        recorder.copy_out(source, 0..rows, self.landing.buffer());
        let Some(submission) = self.from.submit_recorded(recorder)? else {
            return Ok(());
        };
        let bytes = (4 * rows * self.stride) as u64;
        if bytes == 0 {
            return Ok(());
        }
        self.landing.expect(&self.from, bytes, submission)?;
        self.map_departure(bytes)?;
        let departure = self.departure.buffer();
        let copied = self.landing.fetch(&self.from, |rows| {
            let mut view = (departure.get_mapped_range_mut(0..bytes))
                .map_err(|error| driver(&error.to_string()))?;
            view.slice(..).copy_from_slice(rows);
            Ok(())
        });
        // Before any error is returned: the next crossing maps it again.
        let commands = self.to.shared().faults.guard(|| {
            departure.unmap();
            let descriptor = wgpu::CommandEncoderDescriptor {
                label: Some("rows of another device"),
            };
            let mut encoder = self.to.device().create_command_encoder(&descriptor);
            encoder.copy_buffer_to_buffer(departure, 0, target.buffer(), 0, Some(bytes));
            encoder.finish()
        })?;
        copied?.unwrap_or(Ok(()))?;
        self.under_way = Some(self.to.submit_commands(Some(commands))?);
        Ok(())
    }

    /// Maps the second device's memory, which its last copy may still read.
    fn map_departure(&mut self, bytes: u64) -> Result<(), Error> {
        if let Some(copy) = &self.under_way {
            self.to.wait_for(copy.clone())?;
            self.under_way = None;
        }
        let told = self.told.clone();
        let departure = self.departure.buffer();
        self.to.shared().faults.guard(|| {
            departure.map_async(MapMode::Write, 0..bytes, move |outcome| told.tell(outcome));
        })?;
        // Nothing uses it, so that a poll without a wait answers.
        self.to.heed()?;
        let outcome = self.told.wait(&self.to)?;
        outcome.map_err(|error| driver(&error.to_string()))
    }
}

fn shape(what: String, expected: String, found: usize) -> Error {
    Error::Shape {
        op: "bridge",
        what,
        expected,
        found: found.to_string(),
    }
}
