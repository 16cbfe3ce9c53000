//! A model made ready to compute: adapter, weights and one session, as the device flags say.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use llama_kernels::{AdapterChoice, Checks, Gpu, GpuOptions};
use llama_model::{
    KvChoice, LoadOptions, Model, Progress, Session, SessionOptions, WeightChoice, fit, memory_plan,
};
use llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use serde::Serialize;

use crate::args::{AdapterArgs, DeviceArgs, Dtype, KvDtype};
use crate::failure::usage;
use crate::interrupt::{Interrupted, Interrupts, Watch};
use crate::memory;
use crate::notice::Notices;
use crate::opening::Opening;
use crate::pipeline_file::PipelineFile;
use crate::progress::Bar;
use crate::startup::Startup;

/// A context is no longer than this unless --ctx-size says so.
pub(crate) const MOST_CONTEXT: usize = 4096;

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) session: Session,
    pub(crate) adapter: Adapter,
    pub(crate) load_ms: f64,
    /// Behind the session, so that every pipeline that it made is written.
    _pipelines: Option<PipelineFile>,
}

/// The adapter in an answer's JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Adapter {
    name: String,
    backend: String,
}

impl Engine {
    /// Awaits the adapter, loads the weights and allocates all that the session will ever need.
    pub(crate) fn start(
        checkpoint: &Checkpoint,
        opening: Opening,
        args: &DeviceArgs,
        context: usize,
        notices: Notices,
        interrupts: &Interrupts,
        startup: &mut Startup,
    ) -> Result<Self> {
        let begin = Instant::now();
        let Device {
            gpu,
            adapter,
            pipelines,
        } = Device::open(opening, args, notices)?;
        startup.done("adapter");
        let (weights, kv) = (args.dtype.into(), args.kv_dtype.into());
        let h = checkpoint.hyperparameters();
        let fits_into = |bytes| fit(h, checkpoint, weights, kv, context, bytes);
        memory::there(&gpu).map_or(Ok(()), fits_into)?;
        let watch = interrupts.watch();
        let model = load(&gpu, checkpoint, weights, notices, &watch)
            .map_err(|error| ran_out(error, fits_into))?;
        watch.end()?;
        startup.done("weights");
        let options = SessionOptions {
            context,
            kv,
            chunk: None,
        };
        let session =
            (model.session(&options)).map_err(|error| ran_out(error.into(), fits_into))?;
        startup.done(&format!(
            "session with {} pipelines (compiled in {:.0}, several at once)",
            gpu.pipeline_count(),
            gpu.pipeline_time().as_secs_f64() * 1e3
        ));
        let load_ms = milliseconds(begin);
        describe(&adapter, &model, &session, load_ms, notices);
        Ok(Self {
            session,
            adapter,
            load_ms,
            _pipelines: pipelines,
        })
    }
}

impl Adapter {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.backend)
    }
}

/// An adapter that is open, and where its pipelines are kept.
pub(crate) struct Device {
    pub(crate) gpu: Gpu,
    pub(crate) adapter: Adapter,
    pub(crate) pipelines: Option<PipelineFile>,
}

impl Device {
    /// Awaits the adapter.
    pub(crate) fn open(opening: Opening, args: &DeviceArgs, notices: Notices) -> Result<Self> {
        let gpu = opening.finish()?;
        let pipelines = match args.no_pipeline_cache {
            true => None,
            false => PipelineFile::open(&gpu, notices),
        };
        let adapter = gpu.adapter();
        if adapter.is_software {
            notices.note(format_args!(
                "no GPU is used: {} computes on the processor, slowly",
                adapter.name
            ));
        }
        let adapter = Adapter {
            name: adapter.name.clone(),
            backend: adapter.backend.to_string(),
        };
        Ok(Self {
            gpu,
            adapter,
            pipelines,
        })
    }
}

/// Memory that ran out, as what would fit into as much as there was; any other error as it is.
fn ran_out(
    error: anyhow::Error,
    fits_into: impl Fn(u64) -> Result<(), llama_model::Error>,
) -> anyhow::Error {
    let there = match error.downcast_ref() {
        Some(llama_model::Error::Gpu(llama_kernels::Error::OutOfMemory { allocated, .. })) => {
            *allocated
        }
        _ => return error,
    };
    match fits_into(there) {
        Ok(()) => error,
        Err(does_not_fit) => does_not_fit.into(),
    }
}

pub(crate) fn gpu_options(args: &AdapterArgs) -> GpuOptions {
    let adapter = match &args.adapter {
        None => AdapterChoice::Best,
        Some(text) => text
            .parse()
            .map_or_else(|_| AdapterChoice::Name(text.clone()), AdapterChoice::Index),
    };
    GpuOptions {
        adapter,
        checks: match args.kernel_checks {
            true => Checks::Always,
            false => Checks::Trusted,
        },
        ..GpuOptions::default()
    }
}

/// Puts a checkpoint's weights on the GPU.
pub(crate) fn load(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    weights: WeightChoice,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<Model> {
    watched(notices, watch, checkpoint.weight_bytes(), |progress| {
        Model::load(gpu, checkpoint, &LoadOptions { weights }, progress)
    })
}

/// Makes weights of a shape on the GPU.
pub(crate) fn synthesize(
    gpu: &Gpu,
    h: &Hyperparameters,
    weights: WeightChoice,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<Model> {
    let plan = memory_plan(h, DType::F16, weights, KvChoice::Auto, 1);
    watched(notices, watch, plan.weight_bytes, |progress| {
        Model::synthetic(gpu, h, weights, 0, progress)
    })
}

/// Loads with a progress bar, until a signal comes.
fn watched(
    notices: Notices,
    watch: &Watch<'_>,
    total: u64,
    load: impl FnOnce(&mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<Model, llama_model::Error>,
) -> Result<Model> {
    let bar = Bar::loading(notices, total);
    let loaded = load(&mut |progress| {
        bar.set(progress.bytes_done);
        watch.flow()
    });
    match (loaded, watch.noted()) {
        (Err(llama_model::Error::Cancelled), Some(signal)) => Err(Interrupted(signal).into()),
        (loaded, _) => {
            watch.check()?;
            Ok(loaded?)
        }
    }
}

/// For `-v`.
pub(crate) fn describe(
    adapter: &Adapter,
    model: &Model,
    session: &Session,
    load_ms: f64,
    notices: Notices,
) {
    notices.detail(format_args!("adapter: {adapter}"));
    notices.detail(format_args!(
        "weights: {} bytes, mostly {:?}, loaded in {load_ms:.0} ms",
        model.weight_bytes(),
        model.weight_format()
    ));
    for held in model.held_otherwise() {
        notices.detail(format_args!("held otherwise: {held}"));
    }
    notices.detail(format_args!(
        "context: {} positions, {} bytes of keys and values in {:?}",
        session.context(),
        session.kv_bytes(),
        session.kv_format()
    ));
}

/// How many positions a session gets: what is asked for, else the model's own limit, at most 4096.
pub(crate) fn context_size(asked: Option<usize>, h: &Hyperparameters, notices: Notices) -> usize {
    let limit = context_limit(h);
    match (asked, limit) {
        (Some(asked), Some(limit)) if asked > limit => {
            notices.warn(format_args!(
                "--ctx-size {asked} is more than the {limit} positions that the model was made for: answers may lose their sense beyond that"
            ));
            asked
        }
        (Some(asked), _) => asked,
        (None, limit) => limit.map_or(MOST_CONTEXT, |limit| limit.min(MOST_CONTEXT)),
    }
}

/// The model's own limit; dynamic scaling has none.
pub(crate) fn context_limit(h: &Hyperparameters) -> Option<usize> {
    match h.rope_scaling {
        RopeScaling::Dynamic { .. } => None,
        _ => Some(h.max_position_embeddings),
    }
}

/// Refuses a prompt that the context cannot hold, before anything is loaded.
pub(crate) fn fits(prompt_ids: &[u32], context: usize) -> Result<()> {
    match prompt_ids.len() {
        0 => Err(usage("the prompt is empty: expected at least one token")),
        tokens if tokens > context => Err(usage(format!(
            "the prompt has {tokens} tokens and the context holds {context}: shorten the prompt or give a larger --ctx-size"
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

impl From<Dtype> for WeightChoice {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Auto => Self::Auto,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Q8_0 => Self::Q8_0,
            Dtype::Q4_0 => Self::Q4_0,
        }
    }
}

impl From<KvDtype> for KvChoice {
    fn from(dtype: KvDtype) -> Self {
        match dtype {
            KvDtype::Auto => Self::Auto,
            KvDtype::F32 => Self::F32,
            KvDtype::F16 => Self::F16,
            KvDtype::Q8_0 => Self::Q8_0,
        }
    }
}
