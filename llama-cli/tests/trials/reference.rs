//! The reference data of `../shared`: SentencePiece's ids, Meta's chat prompts, and the trained stories checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::program::program;
use crate::{on_adapter_and_reference, on_reference};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_reference(
            "tokenize_gives_sentencepieces_ids",
            "tokenizer_cases.jsonl",
            tokenizer_cases,
        ),
        on_reference(
            "detokenize_gives_sentencepieces_text",
            "decode_cases.jsonl",
            decode_cases,
        ),
        on_reference(
            "detokenize_gives_every_delta",
            "stream_cases.jsonl",
            stream_cases,
        ),
        on_reference(
            "template_gives_metas_prompts",
            "chat_cases.jsonl",
            chat_cases,
        ),
        on_adapter_and_reference(
            "the_stories_checkpoint_tells_its_story",
            "stories260K",
            published_story,
        ),
        on_adapter_and_reference(
            "score_gives_transformers_logits",
            "stories260K",
            golden_logits,
        ),
    ]
}

fn cases(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("readable");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a case"))
        .collect()
}

fn vocabulary(cases: &Path) -> PathBuf {
    cases.with_file_name("llama2-vocabulary")
}

/// One answer line per question line.
fn answers(command: &str, model: &Path, questions: impl Iterator<Item = Value>) -> Vec<Value> {
    let stdin: String = questions
        .map(|question| question.to_string() + "\n")
        .collect();
    let stdout = program([command, "--jsonl"])
        .model(model)
        .stdin(stdin)
        .run()
        .ok();
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn tokenizer_cases(path: PathBuf) {
    let cases = cases(&path);
    let questions = cases.iter().map(|case| json!({ "text": case["text"] }));
    let answers = answers("tokenize", &vocabulary(&path), questions);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer["ids"], case["ids_with_bos"], "{case}");
    }
}

fn decode_cases(path: PathBuf) {
    let cases = cases(&path);
    let questions = cases.iter().map(|case| json!({ "ids": case["ids"] }));
    let answers = answers("detokenize", &vocabulary(&path), questions);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer["text"], case["decoded"], "{case}");
    }
}

fn stream_cases(path: PathBuf) {
    let cases = cases(&path);
    let questions = cases
        .iter()
        .map(|case| json!({ "prompt_ids": case["prompt_ids"], "ids": case["ids"] }));
    let answers = answers("detokenize", &vocabulary(&path), questions);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer["deltas"], case["deltas"], "{case}");
    }
}

fn chat_cases(path: PathBuf) {
    for case in cases(&path) {
        let run = program([
            "template",
            "--json",
            "--messages",
            "-",
            "--format",
            "llama2",
        ])
        .model(vocabulary(&path))
        .stdin(case["dialog"].to_string())
        .run();
        if case["expect"] == "ok" {
            assert_eq!(run.json()["ids"], case["ids"], "{case}");
        } else {
            let error = run.error(1);
            assert!(error.starts_with("messages"), "{case}: {error}");
        }
    }
}

/// The greedy text that the checkpoint's author publishes, every character.
fn published_story(directory: PathBuf) {
    let published = fs::read(directory.join("expected_published.json")).expect("readable");
    let published: Value = serde_json::from_slice(&published).expect("JSON");
    let expected = published["text"].as_str().expect("text");
    let answer = program(["generate", "--json", "--temp", "0", "-p", "", "-n", "200"])
        .model(&directory)
        .run()
        .json();
    assert_eq!(answer["text"], expected);
}

/// 2e-4 of the largest logit: the bound of the issue for weights held in f32.
fn golden_logits(directory: PathBuf) {
    let golden = fs::read(directory.join("golden.safetensors")).expect("readable");
    let golden = SafeTensors::deserialize(&golden).expect("a good file");
    let input = golden.tensor("input_ids").expect("there");
    let width = input.data().len() / 128;
    let ids: Vec<String> = input
        .data()
        .chunks_exact(width)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).to_string())
        .collect();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("logits.safetensors");
    let scores = program([
        "score",
        "--json",
        "--dtype",
        "f32",
        "--ids",
        &ids.join(","),
        "--logits",
    ])
    .arg(&path)
    .model(&directory)
    .run()
    .json();
    assert_eq!(scores["ids"].as_array().map(Vec::len), Some(128));
    let bytes = fs::read(&path).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("a good file");
    let found = floats(file.tensor("logits").expect("there").data());
    let expected = floats(golden.tensor("logits").expect("there").data());
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    let worst = found
        .iter()
        .zip(&expected)
        .fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= 2e-4 * largest, "{worst} of {largest}");
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}
