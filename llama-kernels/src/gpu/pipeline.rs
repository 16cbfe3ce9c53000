//! Pipelines, compiled when first asked for and kept, and binding by name.
//!
//! A variant of the record (`trust`) is made without wgpu's run-time checks, for the operations of this crate alone: they
//! bind what they have measured. Every other module is made with them.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use wgpu::{BindGroupLayoutEntry, BindingType, BufferBindingType, ErrorFilter, ShaderStages};

use super::{
    bind::{Bind, Dispatch},
    device::Gpu,
    fault::one_line,
};
use crate::{BindingClass, Error, KernelSource, KvFormat, Variant, WeightFormat, selection};

/// Threads that compile at once: drivers hold locks of their own, and each compiler needs memory.
const MAX_COMPILERS: usize = 8;

/// One variant, compiled for a device.
#[derive(Debug)]
pub struct Pipeline {
    variant: &'static Variant,
    pub(super) compute: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// The pipelines of one device, by variant and the overrides' bits.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: Mutex<HashMap<Key, Arc<Pipeline>>>,
    /// The driver's cache, where the caller keeps one.
    pub(super) cache: OnceLock<wgpu::PipelineCache>,
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
        self.made(variant, overrides, true)
    }

    /// The pipeline of a variant for an operation, which has checked what it binds: without run-time checks where the
    /// variant is trusted. Compiled at the first call.
    ///
    /// # Errors
    /// As [`Gpu::checked_pipeline`].
    pub(crate) fn pipeline(&self, variant: &'static Variant) -> Result<Arc<Pipeline>, Error> {
        self.pipeline_with(variant, &[])
    }

    /// [`Gpu::pipeline`] with values in place of those of the variant's line in `kernels.toml`.
    ///
    /// # Errors
    /// As [`Gpu::checked_pipeline`].
    pub(crate) fn pipeline_with(
        &self,
        variant: &'static Variant,
        overrides: &[(&'static str, f64)],
    ) -> Result<Arc<Pipeline>, Error> {
        self.made(variant, overrides, self.checks(variant))
    }

    /// Compiles what operations on weights of these formats and a cache of that one will run, several at once: a session
    /// that is made afterwards finds its pipelines ready. What is missing from here is compiled when first asked for.
    ///
    /// # Errors
    /// As [`Gpu::checked_pipeline`], of the first that fails.
    pub fn prepare(&self, weights: &[WeightFormat], kv: KvFormat) -> Result<(), Error> {
        let mut wanted: Vec<&'static Variant> = Vec::new();
        for format in weights {
            for selected in selection(self.capabilities(), *format, kv) {
                let variant = selected.variant.filter(|variant| !wanted.contains(variant));
                wanted.extend(variant);
            }
        }
        let next = AtomicUsize::new(0);
        let compile = || -> Result<(), Error> {
            while let Some(variant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.pipeline(variant)?;
            }
            Ok(())
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(MAX_COMPILERS).min(wanted.len());
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(compile)).collect();
            let own = compile();
            (others.into_iter())
                .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .fold(own, Result::and)
        })
    }

    /// Pipelines compiled since the device was made: a count that rises between two moments tells of a wait there.
    pub fn pipeline_count(&self) -> usize {
        let made = &self.shared().pipelines.made;
        made.lock().unwrap_or_else(PoisonError::into_inner).len()
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
        let pipelines = || {
            self.shared()
                .pipelines
                .made
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(pipeline) = pipelines().get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        // Compiled outside the lock, so that threads compile different pipelines at once; of two equal ones the first stays.
        let compiled = Arc::new(self.compile(variant, &constants, checks)?);
        Ok(Arc::clone(pipelines().entry(key).or_insert(compiled)))
    }

    fn compile(
        &self,
        variant: &'static Variant,
        constants: &[(&str, f64)],
        checks: bool,
    ) -> Result<Pipeline, Error> {
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
        let device = self.device();
        self.scoped(
            || {
                let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some(&id),
                    entries: &entries,
                });
                let pipeline_layout =
                    device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                        label: Some(&id),
                        bind_group_layouts: &[Some(&layout)],
                        immediate_size: 0,
                    });
                let module = module(device, variant, checks);
                let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(&id),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some(variant.entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants,
                        // Kernels write workgroup memory before they read it.
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: self.shared().pipelines.cache.get(),
                });
                Pipeline {
                    variant,
                    compute,
                    layout,
                }
            },
            |reason| Error::Pipeline {
                variant: id.clone(),
                adapter: self.adapter().name.clone(),
                reason,
            },
        )
    }

    /// Runs a call, and turns what its error scopes caught into an error.
    fn scoped<T>(
        &self,
        call: impl FnOnce() -> T,
        error: impl FnOnce(String) -> Error,
    ) -> Result<T, Error> {
        let shared = self.shared();
        let (value, caught) = shared.faults.guard(|| {
            let scopes = [
                ErrorFilter::OutOfMemory,
                ErrorFilter::Internal,
                ErrorFilter::Validation,
            ]
            .map(|filter| shared.device.push_error_scope(filter));
            let value = call();
            let caught: Vec<_> = scopes
                .into_iter()
                .rev()
                .map(|scope| pollster::block_on(scope.pop()))
                .collect();
            (value, caught.into_iter().flatten().next())
        })?;
        self.heed()?;
        match caught {
            Some(caught) => Err(error(one_line(&caught.to_string()))),
            None => Ok(value),
        }
    }
}

/// A variant's shader module, with or without wgpu's run-time checks.
#[expect(
    unsafe_code,
    reason = "checks cost time in every kernel, and loop bounds up to a hundred times as much"
)]
fn module(device: &wgpu::Device, variant: &'static Variant, checks: bool) -> wgpu::ShaderModule {
    let id = variant.id();
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&id),
        source: wgpu::ShaderSource::Wgsl(KernelSource::of(variant).wgsl().into()),
    };
    if checks {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: an unchecked module must not index outside its bindings, loop without end, or divide by zero.
    // - It is bound and dispatched by this crate's operations alone (`Gpu::pipeline`); callers' buffers get checked modules.
    // - Sizes: what a kernel is told of them in its uniforms, the operation took from the tensors it binds, whose shapes it
    //   compared, and no operation records more rows than they hold (`ops/shape.rs`). Kernels compare each invocation's
    //   place with those sizes before they use it.
    // - Indices that are data: the step buffer's rows, sequences and positions are checked against its layout when written
    //   (`StepBuffer::write`), pages are clamped to the cache, tokens compared with the matrix piece, and chosen rows with
    //   the length of `chosen`.
    // - Loops run to such sizes or to a position, which `StepBuffer::new` holds below 2^31; divisors are such sizes too, and
    //   the operations refuse zero.
    // - The very text passed its trials with the checks on and off (`Variant::is_trusted`), or the caller of
    //   `Gpu::unchecked` answers for it.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
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
        let bind_group = gpu.scoped(
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
