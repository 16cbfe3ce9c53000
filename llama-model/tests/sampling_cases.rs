//! Top-p by Meta's reference code: the cases of `../shared/data/sampling_cases.json`, one trial each.

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_model::{Candidate, Sampler, SamplerOptions};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    note: String,
    logits: Vec<f32>,
    temperature: f32,
    top_p: f32,
    /// Where the temperature is 0.
    argmax: Option<u32>,
    #[serde(default)]
    kept: Vec<u32>,
    #[serde(default)]
    probs: Vec<f64>,
}

fn main() {
    let arguments = Arguments::from_args();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sampling_cases.json");
    let trials = match std::fs::read_to_string(&path) {
        Ok(text) => {
            let cases: Vec<Case> = serde_json::from_str(&text).expect("the file's shape is fixed");
            assert!(!cases.is_empty());
            let trial = |(i, case): (usize, Case)| {
                let Case {
                    note,
                    temperature,
                    top_p,
                    ..
                } = &case;
                let name = format!("case_{i}: {note}, temperature {temperature}, top_p {top_p}");
                Trial::test(name, move || check(&case))
            };
            cases.into_iter().enumerate().map(trial).collect()
        }
        Err(error) => vec![Trial::ignorable_test("sampling_cases", move || {
            Ok(Completion::ignored_with(format!(
                "sampling_cases.json cannot be read: {error}"
            )))
        })],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn check(case: &Case) -> Result<(), Failed> {
    let mut sampler = Sampler::new(&SamplerOptions {
        temperature: case.temperature,
        top_p: case.top_p,
        ..SamplerOptions::default()
    })?;
    let candidates = sampler.candidates(&case.logits, &[])?;
    let ids: Vec<u32> = candidates.iter().map(|c| c.token).collect();
    if let Some(argmax) = case.argmax {
        return expect_equal(&ids, &[argmax]);
    }
    expect_equal(&ids, &case.kept)?;
    for (Candidate { token, probability }, expected) in candidates.iter().zip(&case.probs) {
        // The reference sums in f32 over up to 1,000 tokens.
        if (probability - expected).abs() > 2e-6 {
            return Err(format!("token {token}: {probability}, expected {expected}").into());
        }
    }
    let drawn = sampler.sample(&case.logits, &[])?;
    if !case.kept.contains(&drawn) {
        return Err(format!("drew {drawn}, which is not kept").into());
    }
    Ok(())
}

fn expect_equal(found: &[u32], expected: &[u32]) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("kept {found:?}, expected {expected:?}").into())
}
