//! `inspect`: what a checkpoint holds, and the memory that it needs. No adapter, no tokenizer.

mod plan;

use anyhow::Result;
use llama_model::{KvChoice, WeightChoice, memory_plan};
use llama_weights::{Checkpoint, GenerationConfig, Hyperparameters, RopeScaling, TensorView};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::engine::{self, MOST_CONTEXT};
use crate::failure::BadModel;
use crate::lora::Described;
use crate::notice::Notices;
use crate::output::Output;
use crate::size::gibibytes;
use crate::source::Source;
use plan::Plan;

#[derive(Debug, Serialize)]
struct Report {
    format: String,
    files: Vec<String>,
    hyperparameters: Value,
    generation_config: Option<Value>,
    parameters: u64,
    /// Bytes of all tensors as the files store them.
    stored_bytes: u64,
    tensors: Vec<Tensor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lora: Vec<Described>,
    memory: Vec<Memory>,
    plan: Plan,
    held_otherwise: Vec<Held>,
    warnings: Vec<String>,
    /// Only with `--check`: every tensor that holds a value that is no finite number.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_finite: Option<Vec<NotFinite>>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: u64,
    /// LoRA adapters change it; type and bytes are the file's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    adapted: bool,
}

/// GPU memory of the model and one session.
#[derive(Debug, Serialize)]
struct Memory {
    dtype: &'static str,
    context: usize,
    weight_bytes: u64,
    kv_bytes: u64,
    activation_bytes: u64,
    total_bytes: u64,
}

/// A matrix that a dtype cannot hold.
#[derive(Debug, Serialize)]
struct Held {
    dtype: &'static str,
    what: String,
}

#[derive(Debug, Serialize)]
struct NotFinite {
    name: String,
    nan: u64,
    infinite: u64,
}

/// Matrices of a dtype that are listed one by one as held otherwise; the JSON has all.
const MOST_HELD: usize = 6;

const DTYPES: [(&str, WeightChoice); 7] = [
    ("auto", WeightChoice::Auto),
    ("f32", WeightChoice::F32),
    ("f16", WeightChoice::F16),
    ("q8_0", WeightChoice::Q8_0),
    ("q6_k", WeightChoice::Q6K),
    ("q4_k", WeightChoice::Q4K),
    ("q4_0", WeightChoice::Q4_0),
];

pub(crate) fn run(args: InspectArgs) -> Result<()> {
    let notices = Notices::new(&args.output);
    let source = Source::new(args.model.clone(), notices)?;
    let mut report = Report::new(&*source.checkpoint(&args.lora, notices)?, &args, notices)?;
    if source == Source::Demo {
        // Its file lies inside the program.
        report.files.clear();
    }
    let mut output = Output::new();
    if args.output.json {
        output.json(&report)?;
    } else {
        report.print(&mut output)?;
    }
    match report.not_finite.as_deref() {
        Some([first, rest @ ..]) => Err(BadModel(format!(
            "{}: expected finite values, found {} NaN and {} infinite{}; download the checkpoint again",
            first.name,
            first.nan,
            first.infinite,
            if rest.is_empty() { String::new() } else { format!(", and more in {} other tensors", rest.len()) }
        ))
        .into()),
        _ => Ok(()),
    }
}

impl Report {
    fn new(checkpoint: &Checkpoint, args: &InspectArgs, notices: Notices) -> Result<Self> {
        let h = checkpoint.hyperparameters();
        let tensors: Vec<Tensor> = (checkpoint.tensors())
            .map(|(_, view)| Tensor::from(view))
            .collect();
        Ok(Self {
            plan: Plan::new(checkpoint, args, notices)?,
            format: checkpoint.format().to_string(),
            files: checkpoint
                .files()
                .map(|path| path.display().to_string())
                .collect(),
            hyperparameters: hyperparameters(h),
            generation_config: checkpoint.generation_config().map(generation_config),
            parameters: h.parameter_count(),
            stored_bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            tensors,
            lora: checkpoint.adapters().iter().map(Described::from).collect(),
            memory: memory(checkpoint),
            held_otherwise: held_otherwise(checkpoint),
            warnings: checkpoint.warnings().to_vec(),
            not_finite: args.check.then(|| not_finite(checkpoint)),
        })
    }

    fn print(&self, output: &mut Output) -> Result<()> {
        output.line(&format!("format      {}", self.format))?;
        for file in &self.files {
            output.line(&format!("file        {file}"))?;
        }
        output.line(&format!("parameters  {}", self.parameters))?;
        output.line(&format!("stored      {}", gibibytes(self.stored_bytes)))?;
        output.line("\nhyperparameters")?;
        print_fields(&self.hyperparameters, output)?;
        if let Some(config) = &self.generation_config {
            output.line("\ngeneration config")?;
            print_fields(config, output)?;
        }
        output.line("\ntensors")?;
        for Tensor {
            name,
            dtype,
            shape,
            adapted,
            ..
        } in &self.tensors
        {
            let adapted = if *adapted { "  adapted" } else { "" };
            output.line(&format!("  {name:<52} {dtype:<5} {shape:?}{adapted}"))?;
        }
        if !self.lora.is_empty() {
            output.line("\nLoRA adapters")?;
        }
        for adapter in &self.lora {
            output.line(&format!("  {adapter}"))?;
        }
        output.line("\nmemory on the GPU")?;
        output.line(&format!(
            "  {:<6}{:>8}{:>14}{:>18}{:>14}{:>14}",
            "dtype", "context", "weights", "keys and values", "activations", "all"
        ))?;
        for row in &self.memory {
            output.line(&format!(
                "  {:<6}{:>8}{:>14}{:>18}{:>14}{:>14}",
                row.dtype,
                row.context,
                gibibytes(row.weight_bytes),
                gibibytes(row.kv_bytes),
                gibibytes(row.activation_bytes),
                gibibytes(row.total_bytes)
            ))?;
        }
        for of_dtype in self.held_otherwise.chunk_by(|a, b| a.dtype == b.dtype) {
            for Held { dtype, what } in of_dtype.iter().take(MOST_HELD) {
                output.line(&format!("  with {dtype}, held otherwise: {what}"))?;
            }
            if let Some(Held { dtype, .. }) = of_dtype.get(MOST_HELD) {
                let more = of_dtype.len() - MOST_HELD;
                output.line(&format!("  with {dtype}, held otherwise: {more} more"))?;
            }
        }
        self.plan.print(output)?;
        if let Some(not_finite) = &self.not_finite {
            output.line("\nvalues")?;
            for NotFinite {
                name,
                nan,
                infinite,
            } in not_finite
            {
                output.line(&format!("  {name}: {nan} NaN, {infinite} infinite"))?;
            }
            if not_finite.is_empty() {
                output.line("  all finite")?;
            }
        }
        Ok(())
    }
}

impl From<TensorView<'_>> for Tensor {
    fn from(view: TensorView<'_>) -> Self {
        let dtype = view.merged_from().unwrap_or(view.dtype());
        // Whole blocks, or it would not have been opened.
        let row = dtype.row_bytes(view.n_columns()).unwrap_or_default();
        Self {
            name: view.name().to_owned(),
            dtype: dtype.to_string(),
            shape: view.shape().to_vec(),
            bytes: view.n_rows() as u64 * row as u64,
            adapted: view.merged_from().is_some(),
        }
    }
}

fn print_fields(value: &Value, output: &mut Output) -> Result<()> {
    for (name, value) in value.as_object().into_iter().flatten() {
        output.line(&format!("  {name:<26} {value}"))?;
    }
    Ok(())
}

fn memory(checkpoint: &Checkpoint) -> Vec<Memory> {
    let h = checkpoint.hyperparameters();
    let limit = engine::context_limit(h).unwrap_or(MOST_CONTEXT);
    let mut contexts = vec![512.min(limit), MOST_CONTEXT.min(limit), limit];
    contexts.dedup();
    let row = |(dtype, weights): (&'static str, WeightChoice), context: usize| {
        let plan = memory_plan(h, checkpoint, weights, KvChoice::Auto, context);
        Memory {
            dtype,
            context,
            weight_bytes: plan.weight_bytes,
            kv_bytes: plan.kv_bytes,
            activation_bytes: plan.activation_bytes,
            total_bytes: plan.total(),
        }
    };
    DTYPES
        .iter()
        .flat_map(|&dtype| contexts.iter().map(move |&context| row(dtype, context)))
        .collect()
}

fn held_otherwise(checkpoint: &Checkpoint) -> Vec<Held> {
    let h = checkpoint.hyperparameters();
    let held = |(dtype, weights): (&'static str, WeightChoice)| {
        let plan = memory_plan(h, checkpoint, weights, KvChoice::Auto, 1);
        plan.held_otherwise.into_iter().map(move |held| Held {
            dtype,
            what: held.to_string(),
        })
    };
    DTYPES.into_iter().flat_map(held).collect()
}

fn not_finite(checkpoint: &Checkpoint) -> Vec<NotFinite> {
    checkpoint
        .check_values()
        .filter(|values| values.nan > 0 || values.infinite > 0)
        .map(|values| NotFinite {
            name: values.name,
            nan: values.nan,
            infinite: values.infinite,
        })
        .collect()
}

fn hyperparameters(h: &Hyperparameters) -> Value {
    json!({
        "hidden_size": h.hidden_size,
        "n_layers": h.n_layers,
        "n_heads": h.n_heads,
        "n_kv_heads": h.n_kv_heads,
        "head_dim": h.head_dim,
        "ffn_size": h.ffn_size,
        "vocab_size": h.vocab_size,
        "max_position_embeddings": h.max_position_embeddings,
        "rms_norm_eps": shortest(h.rms_norm_eps),
        "rope_theta": h.rope_theta,
        "rope_scaling": rope_scaling(&h.rope_scaling),
        "tied_embeddings": h.tied_embeddings,
        "attention_bias": h.attention_bias,
        "mlp_bias": h.mlp_bias,
        "bos_token_id": h.bos_token_id,
        "eos_token_ids": h.eos_token_ids,
    })
}

fn rope_scaling(scaling: &RopeScaling) -> Value {
    match *scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({ "type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor } => json!({ "type": "dynamic", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
    }
}

fn generation_config(config: &GenerationConfig) -> Value {
    json!({
        "do_sample": config.do_sample,
        "temperature": config.temperature.map(shortest),
        "top_p": config.top_p.map(shortest),
        "top_k": config.top_k,
        "min_p": config.min_p.map(shortest),
        "repetition_penalty": config.repetition_penalty.map(shortest),
        "eos_token_ids": config.eos_token_ids,
        "max_length": config.max_length,
    })
}

/// The number that a person wrote: 1e-5, not the f32 nearest to it in full.
fn shortest(value: f32) -> Option<f64> {
    value.to_string().parse().ok()
}
