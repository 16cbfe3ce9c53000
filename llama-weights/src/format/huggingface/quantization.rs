//! What a configuration says of 4-bit matrices: `quantization_config` in `config.json`, or a file of its own, as AutoGPTQ
//! (`quantize_config.json`) and AutoAWQ (`quant_config.json`) wrote before.
//!
//! Whether groups were sorted by activation or zeros are symmetric, the tensors themselves tell: `desc_act` matters only where `g_idx` is
//! absent, `sym` never.

use std::path::Path;

use crate::Error;
use crate::format::fields::{Fields, Integers};
use crate::hyperparameters::limit;

/// Where it stands in `config.json`.
pub(super) const KEY: &str = "quantization_config";
/// Where else, `config.json` being silent.
const FILES: [&str; 2] = ["quantize_config.json", "quant_config.json"];

/// How the matrices of four bits are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantization {
    pub(super) method: Method,
    /// Inputs of a group; `None` is all of them.
    pub(super) group_size: Option<usize>,
    /// In `config.json` itself: then there must be such matrices.
    pub(super) in_config: bool,
}

/// Who packed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Gptq {
        /// The first form of the format stores zeros less one; `gptq_v2` as they are.
        zeros_less_one: bool,
        /// Whether groups are surely of neighbours.
        in_order: bool,
    },
    /// The layout GEMM.
    Awq,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gptq { .. } => "gptq",
            Self::Awq => "awq",
        }
    }
}

impl Quantization {
    /// What `config.json` says, if it does.
    pub(super) fn of_config(config: &Fields) -> Result<Option<Self>, Error> {
        let fields = config.nested(KEY)?;
        fields.map(|fields| Self::read(&fields, true)).transpose()
    }

    /// What a file beside it says, if there is one.
    pub(super) fn beside(
        directory: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, Error> {
        let mut files = FILES.iter().map(|name| directory.join(name));
        let Some(path) = files.find(|path| path.exists()) else {
            return Ok(None);
        };
        Self::read(&Fields::read(&path, warnings)?, false).map(Some)
    }

    fn read(fields: &Fields, in_config: bool) -> Result<Self, Error> {
        let method = match fields.text("quant_method")? {
            Some("gptq") => gptq(fields)?,
            Some("awq") => awq(fields)?,
            // AutoAWQ's own file, and AutoGPTQ's.
            None if !in_config && fields.get("w_bit").is_some() => awq(fields)?,
            None if !in_config => gptq(fields)?,
            _ => {
                return Err(fields.fault(
                    "quant_method",
                    "\"gptq\" or \"awq\", since no other quantization of safetensors is read",
                ));
            }
        };
        let bits = first_of(fields, ["bits", "w_bit"]);
        if fields.unsigned(bits) != Some(Some(4)) {
            return Err(fields.fault(
                bits,
                format!(
                    "4, since {} is read in four bits alone",
                    method.name().to_uppercase()
                ),
            ));
        }
        Ok(Self {
            method,
            group_size: group_size(fields)?,
            in_config,
        })
    }
}

fn gptq(fields: &Fields) -> Result<Method, Error> {
    let zeros_less_one = match fields.text("checkpoint_format")? {
        None | Some("gptq") => true,
        Some("gptq_v2") => false,
        Some(_) => {
            return Err(fields.fault(
                "checkpoint_format",
                "\"gptq\" or \"gptq_v2\", since no other layout of GPTQ is read",
            ));
        }
    };
    if fields.flag("is_marlin_format")? == Some(true) {
        return Err(fields.fault(
            "is_marlin_format",
            "false, since GPTQ's layout for Marlin is not read",
        ));
    }
    Ok(Method::Gptq {
        zeros_less_one,
        in_order: fields.flag("desc_act")? == Some(false),
    })
}

fn awq(fields: &Fields) -> Result<Method, Error> {
    let version = fields.text("version")?.map(str::to_lowercase);
    if !matches!(version.as_deref(), None | Some("gemm")) {
        return Err(fields.fault("version", "\"gemm\", since no other layout of AWQ is read"));
    }
    if !matches!(fields.text("backend")?, None | Some("autoawq")) {
        return Err(fields.fault(
            "backend",
            "\"autoawq\", since no other packing of AWQ is read",
        ));
    }
    if fields.flag("zero_point")? == Some(false) {
        return Err(fields.fault("zero_point", "true, since AWQ is read with its zeros alone"));
    }
    Ok(Method::Awq)
}

fn group_size(fields: &Fields) -> Result<Option<usize>, Error> {
    let key = first_of(fields, ["group_size", "q_group_size"]);
    let size = fields.get(key).and_then(serde_json::Value::as_i64);
    match size {
        Some(-1) => Ok(None),
        Some(size) if (1..=limit::FFN_SIZE as i64).contains(&size) => Ok(Some(size as usize)),
        _ => Err(fields.fault(
            key,
            format!("-1 or an integer from 1 to {}", limit::FFN_SIZE),
        )),
    }
}

/// The key that is there, or the first.
fn first_of(fields: &Fields, [first, second]: [&'static str; 2]) -> &'static str {
    match (fields.get(first), fields.get(second)) {
        (None, Some(_)) => second,
        _ => first,
    }
}
