//! A model made ready to compute: adapters, weights and one session, as the device flags say.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use llama_kernels::Gpu;
use llama_model::{
    KvChoice, LoadOptions, Model, Placement, Progress, Session, SessionOptions, WeightChoice,
    memory_plan,
};
use llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};

use crate::args::{DeviceArgs, Dtype, KvDtype};
use crate::devices::{Adapter, Devices};
use crate::failure::usage;
use crate::interrupt::{Interrupted, Interrupts, Watch};
use crate::notice::Notices;
use crate::opening::Opening;
use crate::pipeline_file::PipelineFile;
use crate::placing::Placing;
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
    _pipelines: Vec<PipelineFile>,
}

impl Engine {
    /// Awaits the adapters, loads the weights and allocates all that the session will ever need.
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
        let Devices {
            gpus,
            adapter,
            pipelines,
        } = Devices::open(opening, args, notices)?;
        startup.done("adapter");
        let placing = Placing {
            hyperparameters: checkpoint.hyperparameters(),
            stored: checkpoint.into(),
            context,
            args: &args.memory,
        };
        let placement = placing.place(&gpus, notices)?;
        let watch = interrupts.watch();
        let model = load(placement, checkpoint, placing.weights(), notices, &watch)
            .map_err(|error| placing.ran_out(error, &gpus))?;
        watch.end()?;
        startup.done("weights");
        let options = SessionOptions {
            context,
            kv: placing.kv(),
            chunk: None,
        };
        let session =
            (model.session(&options)).map_err(|error| placing.ran_out(error.into(), &gpus))?;
        let compiled = gpus.iter().map(|gpu| gpu.pipeline_time().as_secs_f64());
        startup.done(&format!(
            "session with {} pipelines (compiled in {:.0}, several at once)",
            gpus.iter().map(Gpu::pipeline_count).sum::<usize>(),
            compiled.sum::<f64>() * 1e3
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

/// Puts a checkpoint's weights where they are to lie.
pub(crate) fn load(
    placement: Placement,
    checkpoint: &Checkpoint,
    weights: WeightChoice,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<Model> {
    watched(notices, watch, checkpoint.weight_bytes(), |progress| {
        Model::load(placement, checkpoint, &LoadOptions { weights }, progress)
    })
}

/// Makes weights of a shape where they are to lie.
pub(crate) fn synthesize(
    placement: Placement,
    h: &Hyperparameters,
    weights: WeightChoice,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<Model> {
    let plan = memory_plan(h, DType::F16, weights, KvChoice::Auto, 1);
    watched(notices, watch, plan.weight_bytes, |progress| {
        Model::synthetic(placement, h, weights, 0, progress)
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
            Dtype::Q4K => Self::Q4K,
            Dtype::Q6K => Self::Q6K,
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
