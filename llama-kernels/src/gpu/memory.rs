//! Buffers: the size check before, the error scope around, and the count of what lives.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use wgpu::{BufferDescriptor, BufferUsages, ErrorFilter};

use super::{device::Gpu, fault::describe};
use crate::Error;

/// What was allocated through one device.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes: AtomicU64,
    count: AtomicU64,
}

impl Memory {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// A buffer that is counted while it lives.
#[derive(Debug)]
pub(super) struct Allocation {
    buffer: wgpu::Buffer,
    memory: Arc<Memory>,
}

impl Allocation {
    /// A zeroed buffer of `bytes`, at least 16, rounded up to 16.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] before anything is allocated; [`Error::OutOfMemory`]; faults of the device.
    pub(super) fn new(
        gpu: &Gpu,
        label: &str,
        bytes: u64,
        usage: BufferUsages,
    ) -> Result<Self, Error> {
        let limits = &gpu.capabilities().limits;
        let limit = if usage.contains(BufferUsages::STORAGE) {
            limits.binding_bytes
        } else if usage.contains(BufferUsages::UNIFORM) {
            limits.uniform_bytes
        } else {
            limits.buffer_bytes
        };
        let size = bytes
            .max(16)
            .checked_next_multiple_of(16)
            .unwrap_or(u64::MAX);
        if size > limit.max(16) {
            return Err(Error::BindingTooLarge {
                label: label.to_owned(),
                asked: bytes,
                limit,
            });
        }
        let shared = gpu.shared();
        let buffer = shared.faults.guard(|| {
            let scopes = [
                ErrorFilter::Internal,
                ErrorFilter::Validation,
                ErrorFilter::OutOfMemory,
            ]
            .map(|filter| shared.device.push_error_scope(filter));
            let descriptor = BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            };
            let buffer = shared.device.create_buffer(&descriptor);
            // Innermost first, as scopes are popped; all of them before any error is returned.
            let errors = scopes
                .into_iter()
                .rev()
                .map(|scope| pollster::block_on(scope.pop()))
                .collect::<Vec<_>>();
            match errors.into_iter().flatten().next() {
                Some(error) => Err(describe(&error, label, size, shared.memory.bytes())),
                None => Ok(buffer),
            }
        })??;
        gpu.heed()?;
        shared.memory.bytes.fetch_add(size, Ordering::Relaxed);
        shared.memory.count.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            buffer,
            memory: Arc::clone(&shared.memory),
        })
    }

    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.memory
            .bytes
            .fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}
