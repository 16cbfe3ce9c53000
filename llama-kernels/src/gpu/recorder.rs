//! Commands in the order in which they run. Records, and decides where one command buffer ends; submits nothing.

use std::{ops::Range, sync::atomic::Ordering};

use super::{bind::Dispatch, device::Gpu, profile::Timestamps, tensor::Tensor};
use crate::Error;

/// Dispatches of one command buffer. Drivers reset a GPU whose command buffer runs for about two seconds, so long steps
/// are several; each costs some 20 µs.
const MAX_DISPATCHES: usize = 64;

/// A list of commands for [`Gpu::submit`]. Recording never fails: the first fault is kept and comes back there.
#[derive(Debug)]
pub struct Recorder {
    gpu: Gpu,
    finished: Vec<wgpu::CommandBuffer>,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    dispatches: usize,
    refused: Option<Error>,
    pub(super) timestamps: Option<Timestamps>,
}

impl Recorder {
    pub(super) fn new(gpu: &Gpu) -> Self {
        Self {
            gpu: gpu.clone(),
            finished: Vec::new(),
            encoder: None,
            pass: None,
            dispatches: 0,
            refused: None,
            timestamps: None,
        }
    }

    /// Runs a kernel in x × y × z workgroups; in none, if one of them is 0.
    pub fn dispatch(&mut self, dispatch: &Dispatch, [x, y, z]: [u32; 3]) {
        if self.refused.is_some() || x == 0 || y == 0 || z == 0 {
            return;
        }
        let limit = self.gpu.capabilities().limits.workgroups;
        if x.max(y).max(z) > limit {
            self.refuse(Error::TooManyWorkgroups {
                label: dispatch.label.clone(),
                x,
                y,
                z,
                limit,
            });
            return;
        }
        let compiler = &self.gpu.shared().pipelines.compiler;
        let pipeline = match dispatch.pipeline.compute(compiler) {
            Ok(pipeline) => pipeline,
            Err(error) => return self.refuse(error),
        };
        if self.dispatches == MAX_DISPATCHES {
            self.split();
        }
        self.dispatches += 1;
        let total = &self.gpu.shared().dispatches;
        total.fetch_add(1, Ordering::Relaxed);
        if self.timestamps.is_some() {
            // A pass of its own: timestamps are taken where passes begin and end.
            self.pass = None;
        }
        let pass = match &mut self.pass {
            Some(pass) => pass,
            None => {
                let timestamp_writes = self
                    .timestamps
                    .as_mut()
                    .and_then(|timestamps| timestamps.next(&dispatch.label));
                let descriptor = wgpu::ComputePassDescriptor {
                    label: Some(&dispatch.label),
                    timestamp_writes,
                };
                let encoder = self.encoder.get_or_insert_with(|| encoder(&self.gpu));
                self.pass
                    .insert(encoder.begin_compute_pass(&descriptor).forget_lifetime())
            }
        };
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }

    /// Runs a kernel in `groups` workgroups folded into x and y; the kernel computes `group_id.y · groups.x + group_id.x`
    /// and returns where that is past its own count.
    pub fn dispatch_groups(&mut self, dispatch: &Dispatch, groups: u32) {
        let limit = self.gpu.capabilities().limits.workgroups;
        let y = groups.div_ceil(limit);
        self.dispatch(dispatch, [groups.div_ceil(y.max(1)), y, 1]);
    }

    /// Copies whole rows between tensors of one stride.
    pub fn copy_rows(
        &mut self,
        from: &Tensor,
        from_rows: Range<usize>,
        to: &Tensor,
        to_row: usize,
    ) {
        if self.refused.is_some() {
            return;
        }
        let target = to_row..to_row.saturating_add(from_rows.len());
        let ranges = from.byte_range("copy_rows", &from_rows).and_then(|source| {
            if from.stride() != to.stride() {
                let (expected, found) = (from.stride().to_string(), to.stride().to_string());
                return Err(Error::Shape {
                    op: "copy_rows",
                    what: format!("stride of {}", to.label()),
                    expected,
                    found,
                });
            }
            Ok((source, to.byte_range("copy_rows", &target)?))
        });
        match ranges {
            Ok((source, target)) => {
                self.pass = None;
                let encoder = self.encoder.get_or_insert_with(|| encoder(&self.gpu));
                let bytes = source.end - source.start;
                encoder.copy_buffer_to_buffer(
                    from.buffer(),
                    source.start,
                    to.buffer(),
                    target.start,
                    Some(bytes),
                );
            }
            Err(error) => self.refuse(error),
        }
    }

    /// Copies whole rows to the begin of a buffer that has room for them.
    pub(super) fn copy_out(&mut self, from: &Tensor, rows: Range<usize>, to: &wgpu::Buffer) {
        if self.refused.is_some() {
            return;
        }
        match from.byte_range("copy_out", &rows) {
            Ok(source) => {
                self.pass = None;
                let encoder = self.encoder.get_or_insert_with(|| encoder(&self.gpu));
                let bytes = source.end - source.start;
                encoder.copy_buffer_to_buffer(from.buffer(), source.start, to, 0, Some(bytes));
            }
            Err(error) => self.refuse(error),
        }
    }

    /// Ends the command buffer here, so that the device may begin with it before the rest is there.
    pub fn split(&mut self) {
        self.pass = None;
        self.dispatches = 0;
        if let Some(encoder) = self.encoder.take() {
            self.finished.push(encoder.finish());
        }
    }

    /// Keeps an error, if it is the first, for [`Gpu::submit`] to return; nothing recorded after it runs.
    pub fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    /// The command buffers in their order.
    pub(super) fn finish(mut self) -> Result<Vec<wgpu::CommandBuffer>, Error> {
        self.split();
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self.finished),
        }
    }
}

fn encoder(gpu: &Gpu) -> wgpu::CommandEncoder {
    gpu.device()
        .create_command_encoder(&wgpu::CommandEncoderDescriptor {
            label: Some("step"),
        })
}
