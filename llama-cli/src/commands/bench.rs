//! `bench`: how fast a model runs here, beside what the adapter could do.

use std::time::Instant;

use anyhow::{Result, bail};
use llama_kernels::Peaks;
use llama_model::{KvChoice, Model, Placement, SessionOptions, Stored};
use llama_weights::{DType, Hyperparameters};

use crate::args::{BenchArgs, LoraArgs, ModelArgs, Shape};
use crate::bench::{Bench, Cost, KernelTimes, Kind, Limits, Report, Row, Test};
use crate::devices::Devices;
use crate::engine::{self, milliseconds};
use crate::failure::usage;
use crate::interrupt::Interrupts;
use crate::notice::Notices;
use crate::opening::Opening;
use crate::output::Output;
use crate::placing::Placing;
use crate::progress::Bar;
use crate::source::{Opened, Source};

/// Runs of the time to the first token, which is that of a prompt and varies as little.
const FIRST_TOKENS: usize = 3;

/// Tokens whose dispatches a profile times: 2,048 have room.
const PROFILED_TOKENS: usize = 8;

/// What is measured.
enum Subject {
    Synthetic(Shape),
    Opened {
        checkpoint: Box<Opened>,
        name: String,
    },
}

pub(crate) fn run(args: BenchArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let tests = Test::all(args.prompt, args.generated, &args.depth);
    if tests.is_empty() {
        bail!(usage(
            "--prompt 0 and --gen 0 leave nothing to measure: expected at least one of them above 0"
        ));
    }
    let subject = Subject::new(args.synthetic, args.model, &args.lora, notices)?;
    let h = subject.hyperparameters();
    let limit = engine::context_size(args.device.memory.ctx_size.map(Into::into), h, notices);
    let context = positions(&tests, limit)?;

    let begin = Instant::now();
    let opening = Opening::begin(&args.device.adapter)?;
    let Devices {
        gpus,
        adapter,
        // Kept to the end, so that every pipeline is written.
        pipelines: _pipelines,
    } = Devices::open(opening, &args.device, notices)?;
    let open_ms = milliseconds(begin);
    if args.profile && gpus.len() > 1 {
        bail!(usage(format!(
            "--profile: expected one adapter, found {}: name one with --adapter",
            gpus.len()
        )));
    }
    let placing = Placing {
        hyperparameters: h,
        stored: subject.stored(),
        context,
        args: &args.device.memory,
    };
    let placement = placing.place(&gpus, notices)?;
    let profiled = args.profile && gpus.iter().all(|gpu| gpu.capabilities().timestamps);
    if args.profile && !profiled {
        notices.warn("the adapter has no timestamps: there will be no profile");
    }
    let bar = Bar::spinning(notices, "measuring the adapter's limits");
    let peaks = gpus.iter().map(Peaks::measure);
    let peaks = peaks.collect::<Result<Vec<Peaks>, _>>()?;
    drop(bar);

    let begin = Instant::now();
    let watch = interrupts.watch();
    let model = subject.load(placement, placing.weights(), notices, &watch)?;
    let limits = Limits::new(peaks.into_iter().zip(model.shares()));
    let kv = placing.kv();
    let options = SessionOptions {
        context,
        kv,
        chunk: None,
    };
    let session = model.session(&options)?;
    let load_ms = open_ms + milliseconds(begin);
    engine::describe(&adapter, &model, &session, load_ms, notices);

    let mut bench = Bench::new(session, &watch)?;
    let mut rows = Vec::new();
    let mut profile = Vec::new();
    for test in tests {
        let bar = Bar::counting(notices, &test.to_string(), args.reps.get() as u64);
        bench.warm_up(test)?;
        let mut seconds = Vec::new();
        for done in 1..=args.reps.get() {
            seconds.push(bench.seconds(test)?);
            bar.set(done as u64);
        }
        let named = (subject.name(), model.weight_format().name());
        let cost = cost(&model, kv, test);
        rows.push(Row::new(test, named, &seconds, cost, limits));
        if profiled {
            let short = test.shortened(PROFILED_TOKENS);
            profile.push(KernelTimes::new(short, &bench.profile(short)?));
        }
    }
    let first = (0..args.reps.get().min(FIRST_TOKENS))
        .map(|_| bench.first_token_seconds(args.prompt))
        .collect::<Result<Vec<f64>>>()?;
    let report = Report {
        adapter,
        limits,
        rows,
        load_ms,
        first_token_ms: 1e3 * first.iter().sum::<f64>() / first.len() as f64,
        profile: profiled.then_some(profile),
    };
    let mut output = Output::new();
    if args.output.json {
        output.json(&report)?;
    } else if args.csv {
        report.csv(&mut output)?;
    } else {
        report.table(&mut output)?;
    }
    Ok(())
}

/// Positions that the longest test needs, if the context holds them.
fn positions(tests: &[Test], context: usize) -> Result<usize> {
    let needed = |test: &Test| test.positions().unwrap_or(usize::MAX);
    let Some(longest) = tests.iter().max_by_key(|test| needed(test)) else {
        return Ok(1);
    };
    if needed(longest) > context {
        bail!(usage(format!(
            "{longest} needs {} positions and the context holds {context}: shorten it or give a larger --ctx-size",
            needed(longest)
        )));
    }
    Ok(needed(longest))
}

/// What a token of a test must cost: of a generation, in its middle.
fn cost(model: &Model, kv: KvChoice, test: Test) -> Cost {
    let Test { tokens, depth, .. } = test;
    match test.kind {
        Kind::Generation => Cost {
            bytes: model.decode_bytes(kv, depth + tokens / 2) as f64,
            operations: model.prefill_operations(1, depth + tokens / 2) as f64,
        },
        Kind::Prompt => Cost {
            bytes: model.decode_bytes(kv, depth + tokens) as f64 / tokens as f64,
            operations: model.prefill_operations(tokens, depth) as f64 / tokens as f64,
        },
    }
}

impl Subject {
    fn new(
        synthetic: Option<Shape>,
        args: ModelArgs,
        lora: &LoraArgs,
        notices: Notices,
    ) -> Result<Self> {
        if let Some(shape) = synthetic {
            return Ok(Self::Synthetic(shape));
        }
        let source = Source::new(args, notices)?;
        Ok(Self::Opened {
            checkpoint: Box::new(source.checkpoint(lora, notices)?),
            name: source.name(),
        })
    }

    fn name(&self) -> &str {
        match self {
            Self::Synthetic(shape) => &shape.name,
            Self::Opened { name, .. } => name,
        }
    }

    fn hyperparameters(&self) -> &Hyperparameters {
        match self {
            Self::Synthetic(shape) => &shape.hyperparameters,
            Self::Opened { checkpoint, .. } => checkpoint.hyperparameters(),
        }
    }

    /// What matrices are stored as; made ones are f16 where no format is asked for.
    fn stored(&self) -> Stored<'_> {
        match self {
            Self::Synthetic(_) => DType::F16.into(),
            Self::Opened { checkpoint, .. } => Stored::As(checkpoint),
        }
    }

    fn load(
        &self,
        placement: Placement,
        weights: llama_model::WeightChoice,
        notices: Notices,
        watch: &crate::interrupt::Watch<'_>,
    ) -> Result<Model> {
        match self {
            Self::Synthetic(shape) => {
                engine::synthesize(placement, &shape.hyperparameters, weights, notices, watch)
            }
            Self::Opened { checkpoint, .. } => {
                engine::load(placement, checkpoint, weights, notices, watch)
            }
        }
    }
}
