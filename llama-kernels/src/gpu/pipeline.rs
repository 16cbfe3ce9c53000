//! Pipelines, made when first asked for and kept, and binding by name. How they are compiled is in `compile`.
//!
//! A variant of the record (`trust`) is made without wgpu's run-time checks, for the operations of this crate alone: they
//! bind what they have measured. Every other module is made with them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use wgpu::{BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages};

use super::{
    bind::{Bind, Dispatch},
    compile::Compiler,
    device::Gpu,
};
use crate::{BindingClass, Error, Variant};

/// One variant of a device, compiled or about to be.
#[derive(Debug)]
pub struct Pipeline {
    variant: &'static Variant,
    constants: Vec<(&'static str, f64)>,
    checks: bool,
    layout: wgpu::BindGroupLayout,
    compiled: OnceLock<Result<wgpu::ComputePipeline, Error>>,
}

/// The pipelines of one device, by variant and the overrides' bits.
#[derive(Debug)]
pub(super) struct Pipelines {
    made: Mutex<HashMap<Key, Arc<Pipeline>>>,
    pub(super) compiler: Arc<Compiler>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    variant: String,
    overrides: Vec<(&'static str, u64)>,
    checks: bool,
}

impl Gpu {
    /// The pipeline of a variant for buffers of the caller's own, with wgpu's run-time checks; compiled at the first call.
    /// `overrides` are values in place of those of the variant's line in `kernels.toml`.
    ///
    /// # Errors
    /// [`Error::Pipeline`] if the driver refuses it, [`Error::Binding`] for an override that the variant does not declare;
    /// faults of the device.
    pub fn checked_pipeline(
        &self,
        variant: &'static Variant,
        overrides: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>, Error> {
        let pipeline = self.made(variant, overrides, true)?;
        pipeline.compute(&self.shared().pipelines.compiler)?;
        Ok(pipeline)
    }

    /// The pipeline of a variant for an operation, which has checked what it binds: without run-time checks where the
    /// variant is trusted. It is compiled on a thread behind the caller's back, and waited for where it is first run.
    ///
    /// # Errors
    /// [`Error::Binding`] for an override that the variant does not declare; faults of the device.
    pub(crate) fn pipeline(&self, variant: &'static Variant) -> Result<Arc<Pipeline>, Error> {
        self.pipeline_with(variant, &[])
    }

    /// [`Gpu::pipeline`] with values in place of those of the variant's line in `kernels.toml`.
    ///
    /// # Errors
    /// As [`Gpu::pipeline`].
    pub(crate) fn pipeline_with(
        &self,
        variant: &'static Variant,
        overrides: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>, Error> {
        self.made(variant, overrides, self.checks(variant))
    }

    /// Waits until every pipeline that was asked for is compiled, and compiles what no thread has begun with. Without this
    /// call a step waits where it first runs a kernel.
    ///
    /// # Errors
    /// [`Error::Pipeline`] of the first that the driver refused; faults of the device.
    pub fn finish_pipelines(&self) -> Result<(), Error> {
        let pipelines = &self.shared().pipelines;
        let all: Vec<Arc<Pipeline>> = pipelines.made().values().cloned().collect();
        for pipeline in all {
            pipeline.compute(&pipelines.compiler)?;
        }
        Ok(())
    }

    /// Pipelines asked for since the device was made: a count that rises between two moments tells of a wait there.
    pub fn pipeline_count(&self) -> usize {
        self.shared().pipelines.made().len()
    }

    /// The time that compiling took, of all threads together.
    pub fn pipeline_time(&self) -> Duration {
        self.shared().pipelines.compiler.time()
    }

    fn made(
        &self,
        variant: &'static Variant,
        overrides: &[(&'static str, f64)],
        checks: bool,
    ) -> Result<Arc<Pipeline>, Error> {
        let constants = constants(variant, overrides)?;
        let overrides = constants
            .iter()
            .map(|(name, value)| (*name, value.to_bits()));
        let key = Key {
            variant: variant.id(),
            overrides: overrides.collect(),
            checks,
        };
        let pipelines = &self.shared().pipelines;
        if let Some(pipeline) = pipelines.made().get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(Pipeline {
            variant,
            constants,
            checks,
            layout: self.layout(variant)?,
            compiled: OnceLock::new(),
        });
        // Another thread may have been here meanwhile: the first stays.
        match pipelines.made().entry(key) {
            Entry::Occupied(first) => Ok(Arc::clone(first.get())),
            Entry::Vacant(place) => {
                pipelines.compiler.enqueue(&pipeline);
                Ok(Arc::clone(place.insert(pipeline)))
            }
        }
    }

    fn layout(&self, variant: &Variant) -> Result<wgpu::BindGroupLayout, Error> {
        let id = variant.id();
        let entries: Vec<BindGroupLayoutEntry> = (variant.bindings.iter())
            .map(|binding| BindGroupLayoutEntry {
                binding: binding.binding,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer {
                    ty: match binding.class {
                        BindingClass::Uniform => BufferBindingType::Uniform,
                        BindingClass::Read => BufferBindingType::Storage { read_only: true },
                        BindingClass::ReadWrite => BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: std::num::NonZeroU64::new(binding.min_size.into()),
                },
                count: None,
            })
            .collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor {
            label: Some(&id),
            entries: &entries,
        };
        let shared = self.shared();
        shared.faults.scoped(
            &shared.device,
            || shared.device.create_bind_group_layout(&descriptor),
            |reason| Error::Pipeline {
                variant: id.clone(),
                adapter: self.adapter().name.clone(),
                reason,
            },
        )
    }
}

impl Pipelines {
    pub(super) fn new(compiler: Arc<Compiler>) -> Self {
        Self {
            made: Mutex::default(),
            compiler,
        }
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Key, Arc<Pipeline>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        // No thread may be in the driver when the process ends.
        self.compiler.close();
    }
}

/// The values of a variant's overrides: the caller's, else its line's; those with only a default in WGSL are left out.
fn constants(
    variant: &Variant,
    given: &[(&'static str, f64)],
) -> Result<Vec<(&'static str, f64)>, Error> {
    for (name, _) in given {
        if !variant
            .overrides
            .iter()
            .any(|declared| declared.name == *name)
        {
            return Err(binding_error(
                variant,
                name,
                "the variant declares no such override",
            ));
        }
    }
    Ok(variant
        .overrides
        .iter()
        .filter_map(|declared| {
            let given = given
                .iter()
                .find(|(name, _)| *name == declared.name)
                .map(|(_, value)| *value);
            Some((declared.name, given.or(declared.value)?))
        })
        .collect())
}

impl Pipeline {
    /// The variant that it runs.
    pub fn variant(&self) -> &'static Variant {
        self.variant
    }

    /// What the driver made of it; compiled here where no thread has begun with it.
    pub(super) fn compute(&self, compiler: &Compiler) -> Result<&wgpu::ComputePipeline, Error> {
        self.compiled
            .get_or_init(|| {
                compiler.compile(self.variant, &self.constants, self.checks, &self.layout)
            })
            .as_ref()
            .map_err(Error::clone)
    }

    /// Binds buffers by the names of the WGSL variables: each of the variant's bindings once, and nothing else.
    ///
    /// # Errors
    /// [`Error::Binding`] for a name that is missing, unknown or given twice, a buffer that is too small, and a buffer
    /// that is written under one name and bound under another.
    pub fn bind<'a>(
        self: &Arc<Self>,
        gpu: &Gpu,
        label: &str,
        bindings: impl IntoIterator<Item = (&'static str, Bind<'a>)>,
    ) -> Result<Dispatch, Error> {
        let given: Vec<(&'static str, Bind<'a>)> = bindings.into_iter().collect();
        self.check(&given)?;
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (self.variant.bindings.iter())
            .filter_map(|binding| {
                let (_, bind) = given.iter().find(|(name, _)| *name == binding.name)?;
                Some(wgpu::BindGroupEntry {
                    binding: binding.binding,
                    resource: bind.buffer.as_entire_binding(),
                })
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor {
            label: Some(label),
            layout: &self.layout,
            entries: &entries,
        };
        let bind_group = gpu.shared().faults.scoped(
            gpu.device(),
            || gpu.device().create_bind_group(&descriptor),
            |reason| binding_error(self.variant, "*", &reason),
        )?;
        Ok(Dispatch {
            label: label.to_owned(),
            pipeline: Arc::clone(self),
            bind_group,
        })
    }

    fn check(&self, given: &[(&'static str, Bind<'_>)]) -> Result<(), Error> {
        let variant = self.variant;
        for (index, (name, bind)) in given.iter().enumerate() {
            let Some(binding) = variant
                .bindings
                .iter()
                .find(|binding| binding.name == *name)
            else {
                return Err(binding_error(
                    variant,
                    name,
                    "the variant has no such binding",
                ));
            };
            if given[..index].iter().any(|(other, _)| other == name) {
                return Err(binding_error(variant, name, "it is given twice"));
            }
            let size = bind.buffer.size();
            if size < u64::from(binding.min_size) {
                let problem = format!("expected at least {} bytes, found {size}", binding.min_size);
                return Err(binding_error(variant, name, &problem));
            }
            let shared = given
                .iter()
                .find(|(other, same)| other != name && same.buffer == bind.buffer);
            if let (BindingClass::ReadWrite, Some((other, _))) = (binding.class, shared) {
                let problem = format!("it is written, and `{other}` is the same buffer");
                return Err(binding_error(variant, name, &problem));
            }
        }
        match variant
            .bindings
            .iter()
            .find(|binding| !given.iter().any(|(name, _)| *name == binding.name))
        {
            Some(missing) => Err(binding_error(
                variant,
                missing.name,
                "no buffer is given for it",
            )),
            None => Ok(()),
        }
    }
}

fn binding_error(variant: &Variant, name: &str, problem: &str) -> Error {
    Error::Binding {
        variant: variant.id(),
        name: name.to_owned(),
        problem: problem.to_owned(),
    }
}
