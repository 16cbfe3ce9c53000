//! A really trained checkpoint, `../shared/data/stories260K`: logits and greedy text as transformers has them.
//!
//! The text itself is a test of the command line, which has a tokenizer.

mod adapter;

use std::ops::ControlFlow;
use std::path::PathBuf;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_model::llama_kernels::Gpu;
use llama_model::llama_weights::Checkpoint;
use llama_model::{
    GenerationOptions, KvChoice, LoadOptions, Model, Sampler, SamplerOptions, Session,
    SessionOptions, WeightChoice, log_probability,
};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    /// What follows the begin token, greedily.
    bos_only_greedy: Vec<u32>,
}

type Outcome = Result<(), Failed>;

fn main() {
    let trials = vec![
        trial("logits_and_continuation", logits_and_continuation),
        trial("story_from_the_begin_token", story),
        trial("f16_keeps_the_story", f16_keeps_the_story),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(name: &str, body: fn(&Gpu) -> Outcome) -> Trial {
    if folder().is_dir() {
        return adapter::trial(name, body);
    }
    let absent = || Ok(Completion::ignored_with("there is no stories260K"));
    Trial::ignorable_test(name, absent)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stories260K")
}

fn session(gpu: &Gpu, weights: WeightChoice) -> Result<Session, Failed> {
    let checkpoint = Checkpoint::open(&folder())?;
    let go_on = &mut |_| ControlFlow::Continue(());
    let model = Model::load(gpu, &checkpoint, &LoadOptions { weights }, go_on)?;
    Ok(model.session(&SessionOptions {
        context: 512,
        kv: KvChoice::Auto,
        chunk: None,
    })?)
}

fn greedy(session: &mut Session, prompt: &[u32], n: usize) -> Result<Vec<u32>, Failed> {
    session.prefill(prompt)?;
    let mut sampler = Sampler::new(&SamplerOptions {
        temperature: 0.0,
        ..SamplerOptions::default()
    })?;
    let options = GenerationOptions {
        max_tokens: Some(n),
        ..GenerationOptions::default()
    };
    let tokens = session.generate(&mut sampler, &options);
    Ok(tokens.collect::<Result<_, _>>()?)
}

fn expect_ids(found: &[u32], expected: &[u32]) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found:?}, expected {expected:?}").into())
}

fn logits_and_continuation(gpu: &Gpu) -> Outcome {
    let bytes = std::fs::read(folder().join("golden.safetensors"))?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let words = |name| -> Result<Vec<[u8; 4]>, Failed> {
        let data = golden.tensor(name)?.data();
        Ok(data
            .chunks_exact(4)
            .map(|b| [b[0], b[1], b[2], b[3]])
            .collect())
    };
    let ids = |name| -> Result<Vec<u32>, Failed> {
        Ok(words(name)?.into_iter().map(u32::from_le_bytes).collect())
    };
    let expected: Vec<f32> = words("logits")?
        .into_iter()
        .map(f32::from_le_bytes)
        .collect();
    let (prompt, continuation) = (ids("input_ids")?, ids("greedy")?);

    let mut session = session(gpu, WeightChoice::F32)?;
    let mut found = Vec::new();
    session.logits_of_all(&prompt, &mut |_, logits| {
        found.extend_from_slice(logits);
        ControlFlow::Continue(())
    })?;
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, l| largest.max(l.abs()));
    let differences = found.iter().zip(&expected).map(|(f, e)| (f - e).abs());
    let worst = differences.max_by(f32::total_cmp).unwrap_or(f32::NAN) / largest;
    if found.len() != expected.len() || worst.is_nan() || worst > 2e-4 {
        return Err(format!("{} logits, off by {worst:.2e} of the largest", found.len()).into());
    }

    session.truncate(0);
    // Its smallest margin, 0.0042, is above 2e-4 of its largest logit: no near-tie excuses anything.
    let found = greedy(&mut session, &prompt, continuation.len())?;
    expect_ids(&found, &continuation)
}

fn story(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, WeightChoice::F32)?;
    let expected = expected_story()?;
    let found = greedy(&mut session, &[1], expected.len())?;
    expect_ids(&found, &expected)?;
    // The chosen token is the most probable one, and log-probabilities agree with that.
    let logits = session.decode(expected[expected.len() - 1])?;
    let of_all: f64 = (0..512).map(|id| log_probability(logits, id).exp()).sum();
    match (of_all - 1.0).abs() < 1e-9 {
        true => Ok(()),
        false => Err(format!("probabilities add up to {of_all}").into()),
    }
}

fn f16_keeps_the_story(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, WeightChoice::Auto)?;
    let expected = expected_story()?;
    let found = greedy(&mut session, &[1], 64)?;
    expect_ids(&found, &expected[..64])
}

fn expected_story() -> Result<Vec<u32>, Failed> {
    let text = std::fs::read_to_string(folder().join("golden.json"))?;
    Ok(serde_json::from_str::<Golden>(&text)?.bos_only_greedy)
}
