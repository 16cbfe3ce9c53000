//! What is bound: buffers by name, small argument structs, and the finished pair of pipeline and bind group.

use std::sync::Arc;

use bytemuck::NoUninit;
use wgpu::BufferUsages;

use super::{device::Gpu, memory::Allocation, pipeline::Pipeline};
use crate::Error;

/// A whole buffer, to bind under a name.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
}

impl<'a> Bind<'a> {
    pub(super) fn of(allocation: &'a Allocation) -> Self {
        Self {
            buffer: allocation.buffer(),
        }
    }

    /// A buffer of the caller's own; its usages have to suit the binding.
    pub fn buffer(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer }
    }
}

/// An operation's arguments that do not change: a uniform buffer, written once.
#[derive(Debug)]
pub struct Uniform {
    allocation: Allocation,
}

impl Uniform {
    /// The arguments, to bind.
    pub fn binding(&self) -> Bind<'_> {
        Bind::of(&self.allocation)
    }
}

impl Gpu {
    /// A uniform buffer holding `value`, whose layout is that of the WGSL struct.
    ///
    /// # Errors
    /// Those of an allocation and of a write.
    pub fn uniform<T: NoUninit>(&self, label: &str, value: &T) -> Result<Uniform, Error> {
        let mut bytes = bytemuck::bytes_of(value).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let allocation = Allocation::new(self, label, bytes.len() as u64, usage)?;
        self.write(allocation.buffer(), 0, &bytes)?;
        Ok(Uniform { allocation })
    }
}

/// A pipeline with its buffers: all that a recorder needs but the number of workgroups. It keeps the buffers alive.
#[derive(Debug)]
pub struct Dispatch {
    pub(super) label: String,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) bind_group: wgpu::BindGroup,
}

impl Dispatch {
    /// What profiles and errors call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The pipeline, and with it the variant that runs.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }
}
