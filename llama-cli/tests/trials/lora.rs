//! `--lora` on whatever adapter is there, with the adapters that peft wrote (`llama-model/tests/golden/lora/generate.py`).

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::json;

use crate::on_adapter;
use crate::program::program;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter("score_with_two_adapters_is_pefts", score_is_pefts),
        on_adapter("an_answer_names_its_adapters", an_answer_names_its_adapters),
    ]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../llama-model/tests/golden/lora")
        .join(name)
}

fn scaled(name: &str, scale: &str) -> String {
    format!("{}:{scale}", golden(name).display())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.chunks_exact(4);
    values
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Within 2e-4 of the largest, as the parity tests of llama-model have it.
fn score_is_pefts() {
    let bytes = fs::read(golden("golden.safetensors")).expect("the golden is committed");
    let file = SafeTensors::deserialize(&bytes).expect("the generator's form");
    let ids = file.tensor("input_ids").expect("the prompt");
    // Ids are below 256: the first byte of each i64 holds it.
    let ids: Vec<String> = (ids.data().chunks_exact(8))
        .map(|id| id[0].to_string())
        .collect();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let logits = directory.path().join("logits.safetensors");
    program(["score", "-q", "--dtype", "f32", "--ids", &ids.join(",")])
        .model(golden("base"))
        .arg("--lora")
        .arg(scaled("query-value", "0.75"))
        .arg(format!("--lora={}", scaled("all-linear", "-0.5")))
        .arg("--logits")
        .arg(&logits)
        .run()
        .ok();
    let bytes = fs::read(&logits).expect("the logits");
    let found = SafeTensors::deserialize(&bytes).expect("safetensors");
    let found = floats(found.tensor("logits").expect("the logits").data());
    let expected = floats(file.tensor("logits.two").expect("the case").data());
    let largest = expected
        .iter()
        .fold(0f32, |most, logit| most.max(logit.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 2e-4 * largest,
            "{found}, expected {expected}"
        );
    }
}

fn an_answer_names_its_adapters() {
    let generate = || {
        program([
            "generate", "--json", "-n", "2", "--temp", "0", "--ids", "1,5",
        ])
        .model(golden("base"))
    };
    let ended = generate()
        .arg("-v")
        .arg("--lora")
        .arg(golden("rslora"))
        .arg("--lora")
        .arg(scaled("modules-to-save", "0.5"))
        .run();
    let (first, second) = (golden("rslora"), golden("modules-to-save"));
    for line in [
        format!(
            "info: lora: {}: scale 1, rank 4, alpha 3 (rank-stabilized), matrices changed: 4; trained on \"base\"",
            first.display()
        ),
        format!(
            "info: lora: {}: scale 0.5, rank 2, alpha 4, matrices changed: 4, tensors replaced: 6; trained on \"base\"",
            second.display()
        ),
    ] {
        assert!(
            ended.stderr.lines().any(|it| it == line),
            "{line}\n{}",
            ended.stderr
        );
    }
    assert_eq!(
        ended.json()["lora"],
        json!([
            {"path": first.display().to_string(), "scale": 1.0},
            {"path": second.display().to_string(), "scale": 0.5}
        ])
    );
    assert_eq!(generate().run().json().get("lora"), None);
}
