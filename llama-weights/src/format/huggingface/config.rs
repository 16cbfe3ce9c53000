//! `config.json` in its 2023 and present forms, and `generation_config.json`.
//!
//! Defaults of absent keys are those of transformers' `LlamaConfig`. What would change the result and is not implemented is an
//! error, never ignored; `pretraining_tp` and the many keys of training are ignored.

use std::path::Path;

use super::quantization::Quantization;
use crate::format::fields::{Fields, Integers};
use crate::hyperparameters::limit;
use crate::{DType, Error, GenerationConfig, Hyperparameters, RopeScaling};

/// What `config.json` says.
pub(super) struct Config {
    pub(super) hyperparameters: Hyperparameters,
    pub(super) declared_dtype: Option<DType>,
    pub(super) quantization: Option<Quantization>,
}

pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Config, Error> {
    let fields = Fields::read(path, warnings)?;
    refuse_other_models(&fields)?;
    let quantization = Quantization::of_config(&fields)?;
    let rope = Rope::find(&fields)?;
    let hyperparameters = hyperparameters(&fields, &rope)?;
    hyperparameters.check().map_err(|violation| {
        fields.fault_found(
            &rope.key(violation.field),
            violation.expected,
            violation.found,
        )
    })?;
    Ok(Config {
        hyperparameters,
        declared_dtype: declared_dtype(&fields)?,
        quantization,
    })
}

fn refuse_other_models(fields: &Fields) -> Result<(), Error> {
    if fields.text("model_type")? != Some("llama") {
        return Err(fields.fault("model_type", "\"llama\""));
    }
    // "swish" is another name of the same function.
    if !matches!(fields.text("hidden_act")?, None | Some("silu" | "swish")) {
        return Err(fields.fault("hidden_act", "\"silu\""));
    }
    Ok(())
}

fn hyperparameters(fields: &Fields, rope: &Rope) -> Result<Hyperparameters, Error> {
    let hidden_size = fields.size("hidden_size", limit::HIDDEN_SIZE)?;
    let n_heads = fields.size("num_attention_heads", limit::HEADS)?;
    let vocab_size = fields.size("vocab_size", limit::VOCAB_SIZE)?;
    let max_position_embeddings = fields
        .integer("max_position_embeddings", 1, limit::POSITIONS)?
        .unwrap_or(2048);
    let head_dim = match fields.integer("head_dim", 1, limit::HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(n_heads) => hidden_size / n_heads,
        None => {
            return Err(fields.fault(
                "num_attention_heads",
                format!("a divisor of hidden_size ({hidden_size}), or a head_dim beside it"),
            ));
        }
    };
    Ok(Hyperparameters {
        hidden_size,
        n_layers: fields.size("num_hidden_layers", limit::LAYERS)?,
        n_heads,
        n_kv_heads: fields
            .integer("num_key_value_heads", 1, limit::HEADS)?
            .unwrap_or(n_heads),
        head_dim,
        ffn_size: fields.size("intermediate_size", limit::FFN_SIZE)?,
        vocab_size,
        max_position_embeddings,
        rms_norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        rope_theta: rope.theta(fields)?,
        rope_scaling: rope.scaling(fields, max_position_embeddings)?,
        tied_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
        mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
        bos_token_id: fields
            .ids("bos_token_id", vocab_size)?
            .unwrap_or_else(|| vec![1])
            .first()
            .copied(),
        eos_token_ids: fields
            .ids("eos_token_id", vocab_size)?
            .unwrap_or_else(|| vec![2]),
    })
}

/// Where the rotary embedding's parameters stand: `rope_scaling` (2023, wins as in transformers) or `rope_parameters`.
struct Rope {
    name: &'static str,
    parameters: Option<Fields>,
}

impl Rope {
    fn find(fields: &Fields) -> Result<Self, Error> {
        for name in ["rope_scaling", "rope_parameters"] {
            let parameters = fields.nested(name)?;
            if parameters.is_some() {
                return Ok(Self { name, parameters });
            }
        }
        Ok(Self {
            name: "rope_scaling",
            parameters: None,
        })
    }

    fn theta(&self, fields: &Fields) -> Result<f64, Error> {
        let own = match &self.parameters {
            Some(parameters) => parameters.number("rope_theta")?,
            None => None,
        };
        Ok(own.or(fields.number("rope_theta")?).unwrap_or(10_000.0))
    }

    fn scaling(&self, fields: &Fields, max_positions: usize) -> Result<RopeScaling, Error> {
        let Some(parameters) = &self.parameters else {
            return refuse_partial(fields).map(|()| RopeScaling::None);
        };
        refuse_partial(fields)?;
        refuse_partial(parameters)?;
        let number = |key| {
            parameters
                .number(key)?
                .ok_or_else(|| parameters.fault(key, "a number"))
        };
        let key = if parameters.get("rope_type").is_some() {
            "rope_type"
        } else {
            "type"
        };
        match parameters.text(key)? {
            Some("default") => Ok(RopeScaling::None),
            None if parameters.get("factor").is_none() => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            Some("dynamic") => Ok(RopeScaling::Dynamic {
                factor: number("factor")?,
            }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: parameters
                    .integer("original_max_position_embeddings", 1, limit::POSITIONS)?
                    .unwrap_or(max_positions),
            }),
            _ => Err(parameters.fault(
                key,
                "\"default\", \"linear\", \"dynamic\" or \"llama3\", since no other scaling is implemented",
            )),
        }
    }

    /// The key in `config.json` of a field of [`Hyperparameters`].
    fn key(&self, field: &str) -> String {
        match field {
            "n_layers" => "num_hidden_layers".to_owned(),
            "n_heads" => "num_attention_heads".to_owned(),
            "n_kv_heads" => "num_key_value_heads".to_owned(),
            "ffn_size" => "intermediate_size".to_owned(),
            "eos_token_ids" => "eos_token_id".to_owned(),
            _ => field.replacen("rope_scaling", self.name, 1),
        }
    }
}

fn refuse_partial(fields: &Fields) -> Result<(), Error> {
    const KEY: &str = "partial_rotary_factor";
    match fields.number(KEY)? {
        Some(factor) if factor != 1.0 => {
            Err(fields.fault(KEY, "1, since every dimension of a head is rotated"))
        }
        _ => Ok(()),
    }
}

/// `dtype` of the present form, else `torch_dtype`; a type that no tensor here can have is no fault of the file.
fn declared_dtype(fields: &Fields) -> Result<Option<DType>, Error> {
    let name = match fields.text("dtype")? {
        Some(name) => Some(name),
        None => fields.text("torch_dtype")?,
    };
    Ok(
        match name.map(|name| name.strip_prefix("torch.").unwrap_or(name)) {
            Some("float32" | "float") => Some(DType::F32),
            Some("float16" | "half") => Some(DType::F16),
            Some("bfloat16") => Some(DType::BF16),
            _ => None,
        },
    )
}

/// Reads `generation_config.json`.
pub(super) fn read_generation(
    path: &Path,
    vocab_size: usize,
    warnings: &mut Vec<String>,
) -> Result<GenerationConfig, Error> {
    let fields = Fields::read(path, warnings)?;
    let number = |key| Ok(fields.number(key)?.map(|number| number as f32));
    Ok(GenerationConfig {
        do_sample: fields.flag("do_sample")?,
        temperature: number("temperature")?,
        top_p: number("top_p")?,
        top_k: fields.integer("top_k", 0, u64::from(u32::MAX))?,
        min_p: number("min_p")?,
        repetition_penalty: number("repetition_penalty")?,
        eos_token_ids: fields.ids("eos_token_id", vocab_size)?.unwrap_or_default(),
        max_length: fields.integer("max_length", 0, limit::POSITIONS)?,
    })
}
