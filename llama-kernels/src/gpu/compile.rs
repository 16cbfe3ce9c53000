//! Compilation of pipelines, on a few threads behind the caller's back: what a session runs is known one after the other,
//! and drivers take from milliseconds to seconds for each.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{fault::Faults, pipeline::Pipeline};
use crate::{Error, KernelSource, Variant};

/// Threads that compile at once: drivers hold locks of their own, and each compiler needs memory.
const MAX_WORKERS: usize = 8;

/// What compiles for one device. It keeps neither the device's buffers nor the `Gpu` alive.
#[derive(Debug)]
pub(super) struct Compiler {
    device: wgpu::Device,
    faults: Arc<Faults>,
    adapter: String,
    /// The driver's cache, where the caller keeps one.
    pub(super) cache: OnceLock<wgpu::PipelineCache>,
    queue: Mutex<Queue>,
    nanoseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<Pipeline>>,
    workers: Vec<JoinHandle<()>>,
    /// Workers that have not found the queue empty yet.
    busy: usize,
}

impl Compiler {
    pub(super) fn new(device: &wgpu::Device, faults: &Arc<Faults>, adapter: &str) -> Arc<Self> {
        Arc::new(Self {
            device: device.clone(),
            faults: Arc::clone(faults),
            adapter: adapter.to_owned(),
            cache: OnceLock::new(),
            queue: Mutex::default(),
            nanoseconds: AtomicU64::new(0),
        })
    }

    /// Has a pipeline compiled soon. Where no thread can be had, whoever first needs it compiles it.
    pub(super) fn enqueue(self: &Arc<Self>, pipeline: &Arc<Pipeline>) {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let mut queue = self.queue();
        queue.waiting.push_back(Arc::clone(pipeline));
        if queue.busy < workers.min(MAX_WORKERS) {
            let compiler = Arc::clone(self);
            let worker = thread::Builder::new().name("pipelines".to_owned());
            if let Ok(worker) = worker.spawn(move || compiler.work()) {
                queue.busy += 1;
                queue.workers.retain(|worker| !worker.is_finished());
                queue.workers.push(worker);
            }
        }
    }

    /// Forgets what waits, and waits for what is being compiled.
    pub(super) fn close(&self) {
        let workers = {
            let mut queue = self.queue();
            queue.waiting.clear();
            std::mem::take(&mut queue.workers)
        };
        for worker in workers {
            // A worker that panicked has told nobody anything.
            let _ = worker.join();
        }
    }

    /// The time that all threads took.
    pub(super) fn time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    fn work(&self) {
        loop {
            let pipeline = {
                let mut queue = self.queue();
                match queue.waiting.pop_front() {
                    Some(pipeline) => pipeline,
                    None => {
                        queue.busy -= 1;
                        return;
                    }
                }
            };
            // The pipeline keeps an error for whom it concerns.
            let _ = pipeline.compute(self);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles a variant now.
    pub(super) fn compile(
        &self,
        variant: &'static Variant,
        constants: &[(&str, f64)],
        checks: bool,
        layout: &wgpu::BindGroupLayout,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let begin = Instant::now();
        let id = variant.id();
        let device = &self.device;
        let make = || {
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&id),
                bind_group_layouts: &[Some(layout)],
                immediate_size: 0,
            });
            let module = module(device, variant, checks);
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&id),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(variant.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    // Kernels write workgroup memory before they read it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.cache.get(),
            })
        };
        let compiled = self.faults.scoped(device, make, |reason| Error::Pipeline {
            variant: id.clone(),
            adapter: self.adapter.clone(),
            reason,
        });
        // Half a millennium fits.
        let nanoseconds = begin.elapsed().as_nanos() as u64;
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        compiled
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
