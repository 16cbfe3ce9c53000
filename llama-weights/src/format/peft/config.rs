//! `adapter_config.json`. Defaults of absent keys are those of peft's `LoraConfig`.
//!
//! Keys that matter in training alone are ignored. What makes an adapter more, or less, than products that are added to matrices, is an error.

use std::path::Path;

use regex::Regex;

use super::names;
use super::pattern::{self, Names};
use crate::error::Excerpt;
use crate::format::fields::{Fields, Integers};
use crate::{Error, TensorRole};

/// Larger ranks than this are full matrices of every known model.
const RANK_LIMIT: u64 = 1 << 16;
/// The largest models have some 1,000 modules.
const PATTERN_LIMIT: usize = 4096;
const MERGE: &str = "merge the adapter into its base with peft and give the merged model";

/// What `adapter_config.json` says.
pub(super) struct Config {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) rank_stabilized: bool,
    pub(super) base_model: Option<String>,
    targets: Names,
    excluded: Option<Names>,
    saved: Vec<Regex>,
    /// `layers_to_transform`; `None` is all.
    layers: Option<Vec<u64>>,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        // Of two equal keys the last counts, as in Python.
        let fields = Fields::read(path, &mut Vec::new())?;
        refuse_other_methods(&fields)?;
        Ok(Self {
            rank: rank(&fields, "r")?.unwrap_or(8),
            alpha: alpha(&fields, "lora_alpha")?.unwrap_or(8.0),
            rank_stabilized: fields.flag("use_rslora")?.unwrap_or(false),
            base_model: fields.text("base_model_name_or_path")?.map(str::to_owned),
            // What peft takes for this architecture.
            targets: names_of(&fields, "target_modules")?
                .unwrap_or_else(|| Names::List(vec!["q_proj".to_owned(), "v_proj".to_owned()])),
            excluded: names_of(&fields, "exclude_modules")?,
            saved: expressions(&fields, "modules_to_save", pattern::around)?,
            layers: layers(&fields)?,
            ranks: by_module(&fields, "rank_pattern", rank)?,
            alphas: by_module(&fields, "alpha_pattern", alpha)?,
        })
    }

    /// Whether the adapter has a product for a tensor of a module.
    pub(super) fn targets(&self, module: &str, role: TensorRole) -> bool {
        let excluded = (self.excluded.as_ref()).is_some_and(|names| names.hold(module))
            || self.saved.iter().any(|saved| saved.is_match(module));
        if excluded || !names::takes_product(role) || !self.targets.hold(module) {
            return false;
        }
        match (&self.targets, role, &self.layers) {
            (Names::AllLinear, TensorRole::Embedding | TensorRole::Output, _) => false,
            // An expression says itself which layers it means; so does a module's whole name.
            (Names::List(names), TensorRole::Layer { index, .. }, Some(layers)) => {
                layers.contains(&(index as u64)) || names.iter().any(|name| name == module)
            }
            (Names::List(names), _, Some(_)) => names.iter().any(|name| name == module),
            _ => true,
        }
    }

    pub(super) fn rank_of(&self, module: &str) -> usize {
        let own = self.ranks.iter().find(|(key, _)| key.is_match(module));
        own.map_or(self.rank, |(_, rank)| *rank)
    }

    /// What the product of a module, of this rank, is multiplied by.
    pub(super) fn scaling_of(&self, module: &str, rank: usize) -> f32 {
        let own = self.alphas.iter().find(|(key, _)| key.is_match(module));
        let alpha = own.map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = rank as f64;
        let scaling = alpha
            / if self.rank_stabilized {
                rank.sqrt()
            } else {
                rank
            };
        scaling as f32
    }
}

fn refuse_other_methods(fields: &Fields) -> Result<(), Error> {
    if fields.text("peft_type")? != Some("LORA") {
        return Err(fields.fault_advised("peft_type", "\"LORA\"", MERGE));
    }
    if !matches!(fields.text("task_type")?, None | Some("CAUSAL_LM")) {
        let advice = "give an adapter that was trained for generating text";
        return Err(fields.fault_advised("task_type", "\"CAUSAL_LM\" or null", advice));
    }
    if !matches!(
        fields.text("bias")?,
        None | Some("none" | "all" | "lora_only")
    ) {
        return Err(fields.fault("bias", "\"none\", \"all\" or \"lora_only\""));
    }
    for key in ["use_dora", "use_qalora", "lora_bias", "fan_in_fan_out"] {
        if fields.flag(key)? == Some(true) {
            return Err(fields.fault_advised(key, "false", MERGE));
        }
    }
    // Each makes another method of it.
    let others = [
        "alora_invocation_tokens",
        "arrow_config",
        "kasa_config",
        "layer_replication",
        "megatron_config",
        "monteclora_config",
        "target_parameters",
        "trainable_token_indices",
        "use_bdlora",
        "velora_config",
    ];
    for key in others {
        if !fields.is_empty(key) {
            return Err(fields.fault_advised(key, "null", MERGE));
        }
    }
    refuse_changed_base(fields)
}

/// Some initializations take what the factors begin with out of the base's own weights.
fn refuse_changed_base(fields: &Fields) -> Result<(), Error> {
    const KEY: &str = "init_lora_weights";
    let expected =
        "true, false, \"gaussian\", \"orthogonal\" or \"eva\", which leave the base as it is";
    match fields.get(KEY) {
        None => return Ok(()),
        Some(value) if value.is_boolean() => return Ok(()),
        Some(_) => {}
    }
    match fields.text(KEY)? {
        Some("gaussian" | "orthogonal" | "eva") => Ok(()),
        _ => Err(fields.fault_advised(KEY, expected, MERGE)),
    }
}

fn rank(fields: &Fields, key: &str) -> Result<Option<usize>, Error> {
    fields.integer(key, 1, RANK_LIMIT)
}

fn alpha(fields: &Fields, key: &str) -> Result<Option<f64>, Error> {
    // f32 is what it ends in.
    match fields.number(key)? {
        Some(alpha) if (alpha as f32).is_finite() => Ok(Some(alpha)),
        Some(_) => Err(fields.fault(key, "a number in the range of f32")),
        None => Ok(None),
    }
}

/// A list of names, or an expression.
fn names_of(fields: &Fields, key: &str) -> Result<Option<Names>, Error> {
    if let Some(list) = fields.texts(key) {
        return Ok(Some(Names::List(list)));
    }
    match fields.get(key) {
        None => Ok(None),
        Some(value) if !value.is_string() => {
            Err(fields.fault(key, "a list of strings, or a regular expression"))
        }
        Some(_) => match fields.text(key)? {
            Some(text) if text.eq_ignore_ascii_case("all-linear") => Ok(Some(Names::AllLinear)),
            Some(text) => match Names::matching(text) {
                Ok(names) => Ok(Some(names)),
                Err(pattern::Refused) => Err(not_an_expression(fields, key, text)),
            },
            None => Ok(None),
        },
    }
}

fn expressions(
    fields: &Fields,
    key: &str,
    compile: fn(&str) -> Result<Regex, pattern::Refused>,
) -> Result<Vec<Regex>, Error> {
    if fields.get(key).is_none() {
        return Ok(Vec::new());
    }
    let Some(list) = fields.texts(key) else {
        return Err(fields.fault(key, "a list of strings"));
    };
    expect_few(fields, key, list.len())?;
    let compiled = list
        .iter()
        .map(|text| compile(text).map_err(|pattern::Refused| not_an_expression(fields, key, text)));
    compiled.collect()
}

/// Values by expressions for modules. Where several match, the first counts; peft writes them in the order of their names.
fn by_module<T>(
    fields: &Fields,
    key: &str,
    value: fn(&Fields, &str) -> Result<Option<T>, Error>,
) -> Result<Vec<(Regex, T)>, Error> {
    let Some(patterns) = fields.nested(key)? else {
        return Ok(Vec::new());
    };
    let mut keys: Vec<&str> = patterns.keys().collect();
    keys.sort_unstable();
    expect_few(fields, key, keys.len())?;
    let mut found = Vec::new();
    for of in keys {
        let expression =
            pattern::key(of).map_err(|pattern::Refused| not_an_expression(fields, key, of))?;
        if let Some(value) = value(&patterns, of)? {
            found.push((expression, value));
        }
    }
    Ok(found)
}

fn expect_few(fields: &Fields, key: &str, found: usize) -> Result<(), Error> {
    if found <= PATTERN_LIMIT {
        return Ok(());
    }
    let expected = format!("at most {PATTERN_LIMIT} entries");
    Err(fields.fault_found(key, expected, found.to_string()))
}

fn not_an_expression(fields: &Fields, key: &str, text: &str) -> Error {
    let expected = "a regular expression of moderate size, without look-around and back-references";
    fields.fault_found(key, expected, Excerpt(text).to_string())
}

/// One number or a list; an empty list means all.
fn layers(fields: &Fields) -> Result<Option<Vec<u64>>, Error> {
    const KEY: &str = "layers_to_transform";
    let Some(value) = fields.get(KEY) else {
        return Ok(None);
    };
    let numbers = match value.as_array() {
        Some(list) => list.iter().map(serde_json::Value::as_u64).collect(),
        None => value.as_u64().map(|number| vec![number]),
    };
    match numbers {
        Some(numbers) => Ok((!numbers.is_empty()).then_some(numbers)),
        None => Err(fields.fault(KEY, "a layer's number or a list of them")),
    }
}
