//! Which sampling values count: the flags, else the model's generation_config.json, else the constants here.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use anyhow::Result;
use llama_model::{GenerationOptions, SamplerOptions};
use llama_weights::GenerationConfig;

use crate::args::SamplingArgs;
use crate::failure::BadModel;

const TEMPERATURE: f32 = 0.6;
const TOP_P: f32 = 0.9;

/// How an answer is made and when it ends.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    pub(crate) options: SamplerOptions,
    pub(crate) generation: GenerationOptions,
    pub(crate) stops: Vec<String>,
}

impl Sampling {
    /// The flags over what the model recommends.
    pub(crate) fn new(args: SamplingArgs, config: Option<&GenerationConfig>) -> Result<Self> {
        let recommended = recommended(config);
        recommended
            .validate()
            .map_err(|error| BadModel(format!("generation_config.json: {error}")))?;
        let options = SamplerOptions {
            temperature: args.temperature.unwrap_or(recommended.temperature),
            top_k: args.top_k.unwrap_or(recommended.top_k),
            top_p: args.top_p.unwrap_or(recommended.top_p),
            min_p: args.min_p.unwrap_or(recommended.min_p),
            repeat_penalty: args.repeat_penalty.unwrap_or(recommended.repeat_penalty),
            repeat_last_n: args.repeat_last_n,
            seed: args.seed.unwrap_or_else(random_seed),
        };
        options.validate()?;
        Ok(Self {
            options,
            generation: GenerationOptions {
                max_tokens: args.max_tokens.and_then(|count| count.0),
                ignore_eos: args.ignore_eos,
                ..GenerationOptions::default()
            },
            stops: args.stop,
        })
    }

    /// Where the model's configuration names no end of sequence, the tokenizer's is one.
    pub(crate) fn fall_back_to_eos(&mut self, named: &[u32], of_tokenizer: Option<u32>) {
        if named.is_empty() && !self.generation.ignore_eos {
            self.generation.stop_ids.extend(of_tokenizer);
        }
    }
}

/// What the model says, field by field; `do_sample: false` is greedy whatever the rest says.
fn recommended(config: Option<&GenerationConfig>) -> SamplerOptions {
    let says = config.cloned().unwrap_or_default();
    SamplerOptions {
        temperature: match says.do_sample {
            Some(false) => 0.0,
            _ => says.temperature.unwrap_or(TEMPERATURE),
        },
        top_k: says.top_k.unwrap_or(0),
        top_p: says.top_p.unwrap_or(TOP_P),
        min_p: says.min_p.unwrap_or(0.0),
        repeat_penalty: says.repetition_penalty.unwrap_or(1.0),
        ..SamplerOptions::default()
    }
}

/// 32 bits: short enough to be typed again, exact in every JSON reader. The standard library's hasher
/// is keyed by the system's random numbers.
fn random_seed() -> u64 {
    RandomState::new().hash_one(()) >> 32
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn sampling(flags: &[&str], config: Option<GenerationConfig>) -> Sampling {
        let args = Flags::try_parse_from(["test"].iter().chain(flags))
            .expect("good flags")
            .sampling;
        Sampling::new(args, config.as_ref()).expect("good values")
    }

    fn config(change: impl FnOnce(&mut GenerationConfig)) -> Option<GenerationConfig> {
        let mut config = GenerationConfig::default();
        change(&mut config);
        Some(config)
    }

    #[test]
    fn without_a_config_the_constants_count() {
        let options = sampling(&["--seed", "7"], None).options;
        let expected = SamplerOptions {
            temperature: 0.6,
            top_k: 0,
            top_p: 0.9,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: 7,
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn the_config_counts_before_the_constants_field_by_field() {
        let says = config(|c| {
            c.temperature = Some(0.8);
            c.top_k = Some(40);
            c.repetition_penalty = Some(1.1);
        });
        let options = sampling(&[], says).options;
        assert_eq!(
            (options.temperature, options.top_k, options.top_p),
            (0.8, 40, 0.9)
        );
        assert_eq!(options.repeat_penalty, 1.1);
    }

    #[test]
    fn do_sample_false_is_greedy_and_a_flag_is_stronger() {
        let greedy = || {
            config(|c| {
                c.do_sample = Some(false);
                c.temperature = Some(0.6);
            })
        };
        assert_eq!(sampling(&[], greedy()).options.temperature, 0.0);
        assert_eq!(
            sampling(&["--temp", "0.7"], greedy()).options.temperature,
            0.7
        );
        assert_eq!(
            sampling(
                &["--temperature", "0"],
                config(|c| c.do_sample = Some(true))
            )
            .options
            .temperature,
            0.0
        );
    }

    #[test]
    fn a_bad_value_in_the_config_is_the_models_fault() {
        let args = Flags::try_parse_from(["test"]).expect("no flags").sampling;
        let error = Sampling::new(args, config(|c| c.temperature = Some(-1.0)).as_ref())
            .expect_err("below zero");
        assert!(error.is::<BadModel>());
        assert!(
            error
                .to_string()
                .starts_with("generation_config.json: sampling option temperature is -1"),
            "{error}"
        );
    }

    #[test]
    fn the_tokenizers_end_counts_where_the_model_names_none() {
        let mut made = sampling(&[], None);
        made.fall_back_to_eos(&[7], Some(2));
        assert!(made.generation.stop_ids.is_empty());
        made.fall_back_to_eos(&[], Some(2));
        assert_eq!(made.generation.stop_ids, [2]);
        let mut ignoring = sampling(&["--ignore-eos"], None);
        ignoring.fall_back_to_eos(&[], Some(2));
        assert!(ignoring.generation.stop_ids.is_empty());
    }

    #[test]
    fn counts_and_stops_come_from_the_flags_alone() {
        let made = sampling(
            &["-n", "-1", "--stop", "a", "--stop", "-b", "--ignore-eos"],
            None,
        );
        assert_eq!(
            made.generation,
            GenerationOptions {
                max_tokens: None,
                ignore_eos: true,
                stop_ids: Vec::new()
            }
        );
        assert_eq!(made.stops, ["a", "-b"]);
        assert_eq!(sampling(&["-n", "0"], None).generation.max_tokens, Some(0));
    }
}
