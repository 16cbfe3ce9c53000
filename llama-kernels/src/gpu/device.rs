//! The device: making it, submitting to it, waiting for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use wgpu::SubmissionIndex;

use super::{
    adapter::{self, AdapterDescription, Checks, GpuOptions},
    compile::Compiler,
    fault::{Faults, one_line},
    memory::Memory,
    pipeline::Pipelines,
    profile::Gathering,
    recorder::Recorder,
    transfer::ReadBack,
};
use crate::{Capabilities, Error, Variant, kernel};

/// Submissions under way at most; one more waits for the oldest. With the 16 MiB that an upload stages per submission this
/// bounds wgpu's staging memory to 128 MiB.
const MAX_IN_FLIGHT: usize = 8;

/// A GPU device, with everything that is shared by what is made from it. Cheap to clone; usable from any thread.
#[derive(Debug, Clone)]
pub struct Gpu {
    shared: Arc<Shared>,
    preferred: Option<&'static Variant>,
    checking: Checking,
}

/// Which modules a handle makes with run-time checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checking {
    Ask(Checks),
    /// Only by [`Gpu::unchecked`].
    Never,
}

/// A submission that may not be done.
#[derive(Debug, Clone)]
struct InFlight {
    /// Counts up; wgpu's index cannot be compared.
    serial: u64,
    index: SubmissionIndex,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) faults: Arc<Faults>,
    pub(super) memory: Arc<Memory>,
    pub(super) pipelines: Pipelines,
    pub(super) read_back: Mutex<ReadBack>,
    adapter: AdapterDescription,
    capabilities: Capabilities,
    pub(super) timeout: Duration,
    in_flight: Mutex<VecDeque<InFlight>>,
    /// How many submissions there have been.
    submissions: AtomicU64,
    /// How many dispatches there have been.
    pub(super) dispatches: AtomicU64,
    pub(super) gathering: Gathering,
    /// Bytes given to the queue since the last submit.
    pub(super) staged: AtomicUsize,
}

impl Gpu {
    /// Opens the chosen adapter with all its limits.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] and [`Error::NoDevice`].
    pub fn new(options: &GpuOptions) -> Result<Self, Error> {
        let found = adapter::enumerate(options.backends);
        let descriptions: Vec<AdapterDescription> = found
            .iter()
            .map(|(_, description)| description.clone())
            .collect();
        let index = adapter::choose(&options.adapter, &descriptions)?;
        let (adapter, description) = &found[index];
        let features = adapter::features(adapter) & options.features;
        #[expect(
            unsafe_code,
            reason = "wgpu marks cooperative matrices as experimental"
        )]
        let experimental_features =
            if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
                // SAFETY: nothing else experimental is asked for. Shaders with cooperative matrices are this crate's own,
                // of text that naga validated, on tiles of workgroup memory that the kernel sizes itself.
                unsafe { wgpu::ExperimentalFeatures::enabled() }
            } else {
                wgpu::ExperimentalFeatures::disabled()
            };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("llama-kernels"),
            required_features: features,
            experimental_features,
            required_limits: adapter.limits(),
            // Few large buffers: blocks to share would be mostly empty.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
                Error::NoDevice {
                    adapter: description.name.clone(),
                    reason: one_line(&error.to_string()),
                }
            })?;
        Ok(Self::with_parts(
            description.clone(),
            device,
            queue,
            options,
        ))
    }

    /// Uses a device that the caller made; its features and limits decide what runs. Takes over the device's handlers
    /// of uncaptured errors and of loss.
    pub fn from_device(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::with_parts(
            AdapterDescription::new(0, adapter),
            device,
            queue,
            &GpuOptions::default(),
        )
    }

    fn with_parts(
        mut adapter: AdapterDescription,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &GpuOptions,
    ) -> Self {
        let mut capabilities =
            adapter::capabilities(&device.adapter_info(), device.features(), &device.limits());
        if let Some(limit) = options.binding_limit {
            capabilities.limits.binding_bytes = capabilities.limits.binding_bytes.min(limit);
        }
        capabilities.cooperative_matrix = adapter.capabilities.cooperative_matrix.filter(|_| {
            let features = device.features();
            features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        });
        adapter.capabilities = capabilities.clone();
        if let Some(limit) = options.memory_limit {
            adapter.memory_bytes = Some(adapter.memory_bytes.map_or(limit, |all| all.min(limit)));
        }
        let faults = Faults::watch(&device);
        let compiler = Compiler::new(&device, &faults, &adapter.name);
        let shared = Shared {
            faults,
            memory: Arc::new(Memory::default()),
            pipelines: Pipelines::new(compiler),
            read_back: Mutex::new(ReadBack::default()),
            adapter,
            capabilities,
            timeout: options.timeout,
            in_flight: Mutex::new(VecDeque::new()),
            submissions: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            gathering: Gathering::default(),
            staged: AtomicUsize::new(0),
            device,
            queue,
        };
        Self {
            shared: Arc::new(shared),
            preferred: None,
            checking: Checking::Ask(options.checks),
        }
    }

    /// The machine's adapters, best or not.
    pub fn adapters(options: &GpuOptions) -> Vec<AdapterDescription> {
        adapter::enumerate(options.backends)
            .into_iter()
            .map(|(_, description)| description)
            .collect()
    }

    /// The adapter that the device is of.
    pub fn adapter(&self) -> &AdapterDescription {
        &self.shared.adapter
    }

    /// Bytes of memory that the device may use, where that is known.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.shared.adapter.memory_bytes
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// The wgpu device, for work of the caller's own beside this crate's.
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// Bytes of the buffers that live now.
    pub fn allocated_bytes(&self) -> u64 {
        self.shared.memory.bytes()
    }

    /// Buffers made since the device was: a count that rises between two moments tells of an allocation there.
    pub fn allocation_count(&self) -> u64 {
        self.shared.memory.count()
    }

    /// Dispatches recorded since the device was made: what a step costs in launches.
    pub fn dispatch_count(&self) -> u64 {
        self.shared.dispatches.load(Ordering::Relaxed)
    }

    /// A handle on the same device whose [`select`](Self::select) takes `variant` wherever it answers the request:
    /// tests run each variant by it.
    #[must_use]
    pub fn preferring(&self, variant: &'static Variant) -> Self {
        Self {
            preferred: Some(variant),
            ..self.clone()
        }
    }

    /// A handle on the same device whose operations run every variant without wgpu's run-time checks, whatever the record
    /// says: trials make the record by it.
    ///
    /// # Safety
    /// No kernel that the handle's operations run may index outside its buffers, divide by zero, or loop without end.
    #[expect(unsafe_code, reason = "the promise is the caller's")]
    #[must_use]
    pub unsafe fn unchecked(&self) -> Self {
        Self {
            checking: Checking::Never,
            ..self.clone()
        }
    }

    /// Whether this handle's operations run a variant with wgpu's run-time checks.
    pub fn checks(&self, variant: &Variant) -> bool {
        match self.checking {
            Checking::Ask(Checks::Always) => true,
            Checking::Ask(Checks::Trusted) => !variant.is_trusted(),
            Checking::Never => false,
        }
    }

    /// The variant that [`preferring`](Self::preferring) was given.
    pub fn preferred(&self) -> Option<&'static Variant> {
        self.preferred
    }

    /// The best variant of a kernel on this device; see [`select`](crate::select).
    ///
    /// # Errors
    /// [`Error::NoVariant`], with what each candidate lacks.
    pub fn select(&self, kernel: &str, slots: &[(&str, &str)]) -> Result<&'static Variant, Error> {
        let answers = |variant: &Variant| {
            variant.kernel == kernel
                && slots
                    .iter()
                    .all(|(slot, choice)| variant.slot(slot) == Some(*choice))
        };
        let preferred = self
            .preferred
            .filter(|variant| answers(variant) && self.capabilities().missing(variant).is_none());
        if let Some(variant) =
            preferred.or_else(|| kernel::select(kernel, slots, self.capabilities()))
        {
            return Ok(variant);
        }
        let lacking: Vec<String> = (kernel::variants().iter().filter(|variant| answers(variant)))
            .filter_map(|variant| {
                Some(format!(
                    "{}: {}",
                    variant.id(),
                    self.capabilities().missing(variant)?
                ))
            })
            .collect();
        let request: Vec<String> = slots
            .iter()
            .map(|(slot, choice)| format!("{slot} {choice}"))
            .collect();
        Err(Error::NoVariant {
            kernel: kernel.to_owned(),
            request: if request.is_empty() {
                "any format".to_owned()
            } else {
                request.join(", ")
            },
            reason: if lacking.is_empty() {
                "kernels.toml lists none".to_owned()
            } else {
                lacking.join("; ")
            },
        })
    }

    /// An empty list of commands.
    pub fn recorder(&self) -> Recorder {
        if !self.shared.gathering.is_on() {
            return Recorder::new(self);
        }
        self.profiling_recorder().unwrap_or_else(|error| {
            let mut recorder = Recorder::new(self);
            recorder.refuse(error);
            recorder
        })
    }

    /// Runs what was recorded. Returns when it is queued, not when it is done.
    ///
    /// # Errors
    /// What recording ran into; a fault of the device, also one of earlier work that came to light since.
    pub fn submit(&self, recorder: Recorder) -> Result<(), Error> {
        self.submit_recorded(recorder).map(|_| ())
    }

    /// [`Gpu::submit`]; gives what [`Gpu::wait_for`] waits for, `None` where nothing was recorded.
    pub(super) fn submit_recorded(
        &self,
        recorder: Recorder,
    ) -> Result<Option<SubmissionIndex>, Error> {
        let gathering = &self.shared.gathering;
        if gathering.is_on() && recorder.timestamps.is_some() {
            let (profile, submission) = self.submit_timed(recorder)?;
            gathering.add(profile);
            return Ok(submission);
        }
        let mut last = None;
        for commands in recorder.finish()? {
            last = Some(self.submit_commands(Some(commands))?);
        }
        Ok(last)
    }

    /// Waits until everything submitted is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] when one submission takes longer than the options allow; [`Error::DeviceLost`],
    /// [`Error::OutOfMemory`] and [`Error::Driver`] for faults on the way.
    pub fn wait(&self) -> Result<(), Error> {
        // They stay listed until they are done: another thread's wait must not miss them.
        let pending: Vec<InFlight> = self.in_flight().iter().cloned().collect();
        for submission in &pending {
            self.wait_for(submission.index.clone())?;
        }
        if let Some(last) = pending.last() {
            self.in_flight().retain(|one| one.serial > last.serial);
        }
        self.heed()
    }

    /// Submits one command buffer, or with none what `write_buffer` staged. Gives what [`Gpu::wait_for`] waits for.
    pub(super) fn submit_commands(
        &self,
        commands: Option<wgpu::CommandBuffer>,
    ) -> Result<SubmissionIndex, Error> {
        let shared = &self.shared;
        shared.staged.store(0, Ordering::Relaxed);
        let index = shared.faults.guard(|| shared.queue.submit(commands))?;
        // A refused submission has an index all the same, and waiting for that is an error of its own.
        shared.faults.check()?;
        let oldest = {
            let mut in_flight = self.in_flight();
            in_flight.push_back(InFlight {
                serial: shared.submissions.fetch_add(1, Ordering::Relaxed),
                index: index.clone(),
            });
            if in_flight.len() > MAX_IN_FLIGHT {
                in_flight.pop_front()
            } else {
                None
            }
        };
        if let Some(oldest) = oldest {
            self.wait_for(oldest.index)?;
        }
        self.heed()?;
        Ok(index)
    }

    /// See [`Faults::heed`].
    pub(super) fn heed(&self) -> Result<(), Error> {
        self.shared.faults.heed(&self.shared.device)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits until one submission is done.
    pub(super) fn wait_for(&self, index: SubmissionIndex) -> Result<(), Error> {
        let timeout = self.shared.timeout;
        let poll = wgpu::PollType::Wait {
            submission_index: Some(index),
            timeout: Some(timeout),
        };
        match self.shared.faults.guard(|| self.shared.device.poll(poll))? {
            Ok(_) => self.shared.faults.check(),
            Err(wgpu::PollError::Timeout) => Err(Error::Timeout { limit: timeout }),
            Err(error) => Err(Error::Driver {
                reason: one_line(&error.to_string()),
            }),
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, VecDeque<InFlight>> {
        self.shared
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
