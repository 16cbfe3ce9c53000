//! The demo model in fewer bits still speaks: held-out dialogues, and the text that the weights in full give.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::on_adapter;
use crate::program::program;

/// Dialogues for each type, spread over the fifty.
const DIALOGUES: usize = 10;

/// Of each type, how many of them must be answered as listed.
const AT_LEAST: [(&str, usize); 5] = [
    ("f16", 9),
    ("q8_0", 9),
    ("q6_k", 8),
    ("q4_k", 7),
    ("q4_0", 7),
];

pub(crate) fn trials() -> Vec<Trial> {
    let types = AT_LEAST.into_iter().map(|(dtype, at_least)| {
        on_adapter(&format!("the_demo_model_in_{dtype}_answers"), move || {
            answers(dtype, at_least);
        })
    });
    types.collect()
}

fn answers(dtype: &str, at_least: usize) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let model = directory.path().join("demo.gguf");
    let mut quantize = program(["quantize", "demo", "--dtype", dtype, "-q"]);
    // This package's own directory has one named `demo`.
    quantize.command().current_dir(directory.path());
    quantize.arg(&model).run().ok();
    let lines: Vec<&str> = include_str!("../../demo/dialogues.jsonl").lines().collect();
    let misses: Vec<String> = lines
        .iter()
        .step_by(lines.len() / DIALOGUES)
        .filter_map(|line| miss(&serde_json::from_str(line).expect("a dialogue"), &model))
        .collect();
    println!("{dtype}: {} of {DIALOGUES}", DIALOGUES - misses.len());
    assert!(
        DIALOGUES - misses.len() >= at_least,
        "{dtype}:\n{}",
        misses.join("\n")
    );
}

/// What the model said, where it is none of the answers.
fn miss(dialogue: &Value, model: &Path) -> Option<String> {
    let answer = program(["chat", "-q", "--json", "--temp", "0"])
        .model(model)
        .stdin(dialogue["messages"].to_string())
        .run()
        .json();
    let text = answer["text"].as_str().expect("text").trim().to_owned();
    let answers = dialogue["answers"].as_array().expect("a list");
    let is_listed = answers.iter().any(|listed| listed == text.as_str());
    (!is_listed).then(|| format!("expected {answers:?}, found {text:?}"))
}
