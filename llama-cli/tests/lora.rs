//! `--lora` where no adapter is needed: what `inspect` reports, the variable, and what is refused with which exit code.

mod program;

use std::path::{Path, PathBuf};

use program::{demo_directory, program};
use serde_json::{Value, json};

/// Written by `llama-model/tests/golden/lora/generate.py`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../llama-model/tests/golden/lora")
        .join(name)
}

fn shown(name: &str) -> String {
    golden(name).display().to_string()
}

/// The places of the adapters that `inspect` found, and their scales.
fn adapters(report: &Value) -> Vec<(String, f64)> {
    let list = report["lora"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.map(|it| (text(&it["path"]), it["scale"].as_f64().expect("a number")))
        .collect()
}

#[test]
fn inspect_reports_adapters_and_what_they_change() {
    let plain = program(["inspect", "--json"])
        .model(golden("base"))
        .run()
        .json();
    let adapted = program(["inspect", "--json", "--check"])
        .model(golden("base"))
        .arg("--lora")
        .arg(format!("{}:0.1", shown("patterns")))
        .run()
        .json();
    assert_eq!(
        adapted["lora"],
        json!([{
            "path": shown("patterns"), "scale": 0.1, "base_model": "base", "rank": 4, "alpha": 6.0, "rank_stabilized": true,
            "matrices": 14, "replaced": 0
        }])
    );
    assert_eq!(plain.get("lora"), None);
    // Types and bytes are the file's, and so is the memory: f16 is held in f16.
    for field in ["stored_bytes", "memory", "held_otherwise", "parameters"] {
        assert_eq!(adapted[field], plain[field], "{field}");
    }
    let tensors = |report: &Value| report["tensors"].as_array().expect("tensors").clone();
    for (before, mut after) in tensors(&plain).into_iter().zip(tensors(&adapted)) {
        let changed = after.as_object_mut().expect("an object").remove("adapted");
        assert_eq!(after, before);
        let is_linear = before["name"].as_str().expect("a name").contains("_proj.");
        assert_eq!(changed, is_linear.then_some(json!(true)), "{before}");
    }
    let text = program(["inspect"])
        .model(golden("base"))
        .arg("--lora")
        .arg(shown("regex-last-layer"))
        .run()
        .ok();
    let line = |start: &str| {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {text}"))
            .to_owned()
    };
    assert!(line("model.layers.1.self_attn.k_proj.weight").ends_with("[16, 32]  adapted"));
    assert!(line("model.layers.0.self_attn.k_proj.weight").ends_with("[16, 32]"));
    assert_eq!(
        line(&shown("regex-last-layer")),
        format!(
            "  {}: scale 1, rank 2, alpha 4, matrices changed: 3; trained on \"base\"",
            shown("regex-last-layer")
        )
    );
}

/// A path on the command line may have commas; the variable's are between adapters.
#[test]
fn the_variable_holds_several() {
    let inspect = || program(["inspect", "--json"]).model(golden("base"));
    let variable = format!("{},{}:2", shown("query-value"), shown("rslora"));
    let report = inspect().env("LLAMA_LORA", &variable).run().json();
    assert_eq!(
        adapters(&report),
        [(shown("query-value"), 1.0), (shown("rslora"), 2.0)]
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    let comma = directory.path().join("a, b: c");
    std::fs::create_dir(&comma).expect("a directory");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(golden("rslora").join(file), comma.join(file)).expect("a copy");
    }
    let report = inspect()
        .env("LLAMA_LORA", &variable)
        .arg("--lora")
        .arg(&comma)
        .run()
        .json();
    assert_eq!(adapters(&report), [(comma.display().to_string(), 1.0)]);
    let report = inspect().env("LLAMA_LORA", "").run().json();
    assert_eq!(report.get("lora"), None);
}

#[test]
fn scales_that_are_none() {
    for (value, expected) in [
        (
            "x:nan",
            "expected a finite number behind the last colon, as in DIR:0.5; found \"nan\"",
        ),
        (
            ":0.5",
            "expected a directory or ORG/NAME, as in DIR:0.5; found none",
        ),
        (
            ":-1",
            "expected a directory or ORG/NAME, as in DIR:0.5; found none",
        ),
        (
            "x:",
            "expected a number behind the last colon, as in DIR:0.5; found none",
        ),
    ] {
        let error = program(["generate", "-p", "", "--lora", value])
            .run()
            .error(2);
        assert_eq!(
            error,
            format!(
                "invalid value '{value}' for '--lora <DIR|ORG/NAME[:SCALE]>': {expected}; --help lists what there is"
            )
        );
    }
}

#[test]
fn adapters_that_do_not_fit_are_files_faults() {
    let of_the_demo = |lora: &Path| {
        let run = program(["score", "-q", "--ids", "1,2"]).model(demo_directory());
        run.arg("--lora").arg(lora).run().error(3)
    };
    let needed = "expected the directory of a LoRA adapter, with adapter_config.json and adapter_model.safetensors or \
                  adapter_model.bin";
    let error = of_the_demo(&golden("query-value"));
    assert!(
        error.starts_with(&format!(
            "{}/adapter_model.safetensors: ",
            shown("query-value")
        )) && error.contains("the adapter was trained on another base model"),
        "{error}"
    );
    let error = of_the_demo(&golden("base"));
    assert!(error.contains(needed), "{error}");
    let absent = golden("no such adapter/a:b");
    assert_eq!(
        of_the_demo(&absent),
        format!(
            "{}: expected a readable file, found an error: {}; check that it exists and may be read",
            absent.display(),
            std::io::Error::from_raw_os_error(2)
        )
    );
    let error = of_the_demo(Path::new("org/adapter:0.5"));
    assert!(
        error.starts_with("org/adapter: expected a file, a directory or a repository in the Hub's cache, found none"),
        "{error}"
    );
}

#[test]
fn made_weights_take_no_adapter() {
    let error = program(["bench", "--synthetic", "tiny", "--lora", "x"])
        .run()
        .error(2);
    assert_eq!(
        error,
        "the argument '--synthetic <SHAPE>' cannot be used with '--lora <DIR|ORG/NAME[:SCALE]>'; --help lists what there is"
    );
}
