//! `inspect`, and exit code 3: model files that are missing, damaged or of different models. No adapter is needed.

mod program;

use std::fs;
use std::path::Path;

use program::{demo_copy, demo_directory, fields, program};
use serde_json::{Value, json};

const NO_TOKENIZER: [&str; 3] = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"];

#[test]
fn the_report_needs_no_tokenizer() {
    let directory = demo_copy(&NO_TOKENIZER);
    let report = program(["inspect", "--json"])
        .model(directory.path())
        .run()
        .json();
    assert_eq!(
        fields(&report),
        [
            "files",
            "format",
            "generation_config",
            "held_otherwise",
            "hyperparameters",
            "memory",
            "parameters",
            "plan",
            "stored_bytes",
            "tensors",
            "warnings"
        ]
    );
    assert_eq!(report["format"], "Hugging Face directory");
    let config: Value =
        serde_json::from_str(include_str!("../demo/model/config.json")).expect("JSON");
    assert_eq!(
        report["hyperparameters"]["hidden_size"],
        config["hidden_size"]
    );
    assert_eq!(
        report["hyperparameters"]["rms_norm_eps"],
        config["rms_norm_eps"]
    );
    let elements = |tensor: &Value| -> u64 {
        tensor["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|size| size.as_u64().expect("a size"))
            .product()
    };
    let tensors = report["tensors"].as_array().expect("tensors");
    assert_eq!(
        tensors.iter().map(elements).sum::<u64>(),
        report["parameters"]
    );
    for tensor in tensors {
        assert_eq!(fields(tensor), ["bytes", "dtype", "name", "shape"]);
    }
    for row in report["memory"].as_array().expect("memory") {
        assert_eq!(
            fields(row),
            [
                "activation_bytes",
                "context",
                "dtype",
                "kv_bytes",
                "total_bytes",
                "weight_bytes"
            ]
        );
    }
}

/// The plan of the built-in model, which has 4 layers.
fn plan(flags: &[&str]) -> Value {
    let flags = ["inspect", "-q", "--json"].iter().chain(flags);
    program(flags).run().json()["plan"].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn the_plan_is_a_row_of_the_table_where_all_lies_on_one_adapter() {
    let report = program(["inspect", "-q", "--json"]).run().json();
    let plan = &report["plan"];
    assert_eq!(
        fields(plan),
        ["context", "devices", "host_bytes", "problem", "total_bytes"]
    );
    let devices = plan["devices"].as_array().expect("devices");
    assert_eq!(devices.len(), 1);
    assert_eq!(
        fields(&devices[0]),
        [
            "activation_bytes",
            "adapter",
            "first_layer",
            "kv_bytes",
            "layers",
            "memory_bytes",
            "slot_bytes",
            "streamed_layers",
            "total_bytes",
            "transfer_bytes",
            "weight_bytes"
        ]
    );
    let rows = report["memory"].as_array().expect("memory");
    let row = rows
        .iter()
        .find(|row| row["dtype"] == "auto" && row["context"] == plan["context"]);
    let row = row.expect("a row of this context");
    for field in [
        "activation_bytes",
        "kv_bytes",
        "total_bytes",
        "weight_bytes",
    ] {
        assert_eq!(devices[0][field], row[field], "{field}");
    }
    assert_eq!(plan["total_bytes"], row["total_bytes"]);
    assert_eq!(plan["problem"], Value::Null);
}

#[test]
fn the_plan_follows_the_flags_of_a_run() {
    let whole = plan(&["--ctx-size", "64", "--dtype", "f32"]);
    assert_eq!(whole["context"], 64);
    let streamed = plan(&["--ctx-size", "64", "--dtype", "f32", "--gpu-layers", "1"]);
    let (one, other) = (&whole["devices"][0], &streamed["devices"][0]);
    assert_eq!(other["streamed_layers"], 3);
    assert_eq!(other["kv_bytes"], one["kv_bytes"]);
    // The layers are alike, so three are in host memory and two have a slot.
    let layer = number(&streamed["host_bytes"]) / 3;
    assert_eq!(number(&other["slot_bytes"]), 2 * layer);
    let weights = number(&other["weight_bytes"]) + 3 * layer;
    assert_eq!(weights, number(&one["weight_bytes"]));
    let host_and_device = number(&streamed["host_bytes"]) + number(&other["total_bytes"]);
    assert_eq!(number(&streamed["total_bytes"]), host_and_device);

    // Adapters that are not here are planned for all the same.
    let two = plan(&[
        "--adapter",
        "900,901",
        "--split",
        "1,3",
        "--gpu-layers",
        "2",
    ]);
    let shares: Vec<[u64; 3]> = (two["devices"].as_array().expect("devices").iter())
        .map(|of| ["first_layer", "layers", "streamed_layers"].map(|field| number(&of[field])))
        .collect();
    assert_eq!(shares, [[0, 1, 1], [1, 3, 1]]);
    let even = plan(&["--adapter", "900,901"]);
    assert_eq!(even["devices"][0]["layers"], 2);
}

#[test]
fn a_plan_for_an_adapter_that_is_not_here_says_so() {
    let ended = program(["inspect", "--adapter", "900,no such card"]).run();
    assert_eq!(ended.code, Some(0));
    let warnings: Vec<&str> = ended.stderr.lines().skip(1).collect();
    assert_eq!(
        warnings,
        [
            "warning: no adapter 900 is here: the plan takes its memory for unknown",
            "warning: no adapter named \"no such card\" is here: the plan takes its memory for unknown"
        ]
    );
    let error = program(["inspect", "-q", "--split", "4,1"]).run().error(2);
    assert!(
        error.contains("the layers are split as 4 + 1: expected counts"),
        "{error}"
    );
}

#[test]
fn a_plan_is_read_by_people_too() {
    let flags = [
        "inspect",
        "-q",
        "-c",
        "64",
        "--gpu-layers",
        "3",
        "--adapter",
        "900,901",
    ];
    let text = program(flags).run().ok();
    let begin = text.find("what lies where").expect("a plan");
    let words: Vec<&str> = text[begin..]
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .find(|word| !word.is_empty())
                .unwrap_or("")
        })
        .collect();
    let expected = [
        "what lies where, for a context of 64",
        "adapter",
        "layers",
        "from host memory",
        "weights",
        "streamed weights",
        "keys and values",
        "activations",
        "transfer",
        "all",
        "adapter",
        "layers",
        "weights",
        "keys and values",
        "activations",
        "transfer",
        "all",
        "host memory",
        "all",
    ];
    let mut sorted = words.clone();
    sorted.retain(|word| !word.is_empty());
    let layers = text[begin..]
        .lines()
        .filter(|line| line.contains("layers "));
    assert_eq!(layers.count(), 2, "{text}");
    // Which of the two streams its layer is the library's business.
    sorted.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{text}");
}

#[test]
fn the_built_in_model_is_the_directory() {
    let mut built_in = program(["inspect", "--json", "-q"]).run().json();
    let mut directory = program(["inspect", "--json"])
        .model(demo_directory())
        .run()
        .json();
    for report in [&mut built_in, &mut directory] {
        for place in ["files", "format"] {
            report[place] = Value::Null;
        }
    }
    assert_eq!(built_in, directory);
}

#[test]
fn the_report_reads_well_too() {
    let report = program(["inspect", "-q", "--check"]).run().ok();
    for part in [
        "hyperparameters",
        "tensors",
        "memory on the GPU",
        "values\n  all finite",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

/// Sets the first value of `name` in a safetensors file of f16 tensors.
fn poison(path: &Path, name: &str, value: [u8; 2]) {
    let mut bytes = fs::read(path).expect("readable");
    let header_length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_length]).expect("a header");
    assert_eq!(header[name]["dtype"], "F16");
    let offset = header[name]["data_offsets"][0].as_u64().expect("an offset") as usize;
    bytes[8 + header_length + offset..][..2].copy_from_slice(&value);
    fs::write(path, bytes).expect("written");
}

#[test]
fn check_names_the_tensors_that_hold_nan_or_infinity() {
    let directory = demo_copy(&NO_TOKENIZER);
    let weights = directory.path().join("model.safetensors");
    poison(&weights, "model.layers.0.mlp.up_proj.weight", [0x00, 0x7e]);
    poison(
        &weights,
        "model.layers.1.self_attn.q_proj.weight",
        [0x00, 0xfc],
    );
    program(["inspect"]).model(directory.path()).run().ok();
    let ended = program(["inspect", "--check", "--json"])
        .model(directory.path())
        .run();
    assert_eq!(ended.code, Some(3));
    let error = "error: model.layers.1.self_attn.q_proj.weight: expected finite values, found 0 NaN and 1 infinite, \
                 and more in 1 other tensors; download the checkpoint again\n";
    let other = "error: model.layers.0.mlp.up_proj.weight: expected finite values, found 1 NaN and 0 infinite, \
                 and more in 1 other tensors; download the checkpoint again\n";
    assert!(
        ended.stderr == error || ended.stderr == other,
        "{}",
        ended.stderr
    );
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let mut named = report["not_finite"].as_array().expect("a list").clone();
    named.sort_by_key(|tensor| tensor["name"].to_string());
    assert_eq!(
        named,
        [
            json!({ "name": "model.layers.0.mlp.up_proj.weight", "nan": 1, "infinite": 0 }),
            json!({ "name": "model.layers.1.self_attn.q_proj.weight", "nan": 0, "infinite": 1 }),
        ]
    );
}

#[test]
fn a_path_that_is_no_checkpoint_is_exit_3_for_every_command() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let missing = empty.path().join("not there");
    for path in [empty.path(), &missing] {
        let runs: [&[&str]; 6] = [
            &["generate", "-p", "a"],
            &["chat"],
            &["score", "-p", "a"],
            &["inspect"],
            &["tokenize", "a"],
            &["detokenize", "1"],
        ];
        for args in runs {
            let error = program(args).model(path).run().error(3);
            assert!(
                error.contains(&path.display().to_string()),
                "{args:?}: {error}"
            );
        }
    }
}

#[test]
fn damaged_files_are_refused_by_every_command_that_opens_them() {
    let truncated = demo_copy(&[]);
    let weights = truncated.path().join("model.safetensors");
    let bytes = fs::read(&weights).expect("readable");
    fs::write(&weights, &bytes[..bytes.len() - 1]).expect("written");
    let other_shape = demo_copy(&[]);
    let config = other_shape.path().join("config.json");
    let mut value: Value =
        serde_json::from_slice(&fs::read(&config).expect("readable")).expect("JSON");
    value["vocab_size"] = json!(value["vocab_size"].as_u64().expect("a size") + 1);
    fs::write(&config, value.to_string()).expect("written");
    for directory in [&truncated, &other_shape] {
        for args in [
            ["inspect"].as_slice(),
            &["generate", "-p", "a"],
            &["score", "-p", "a"],
        ] {
            let error = program(args).model(directory.path()).run().error(3);
            assert!(
                error.contains(&directory.path().display().to_string()),
                "{args:?}: {error}"
            );
        }
    }
}

#[test]
fn a_bad_recommendation_is_the_models_fault() {
    let directory = demo_copy(&[]);
    fs::write(
        directory.path().join("generation_config.json"),
        r#"{"do_sample": true, "temperature": -1.0}"#,
    )
    .expect("written");
    let error = program(["generate", "-p", "a"])
        .model(directory.path())
        .run()
        .error(3);
    assert!(error.contains("temperature"), "{error}");
}

#[test]
fn a_path_may_have_spaces_and_any_letters() {
    let directory = demo_copy(&NO_TOKENIZER);
    let parent = tempfile::tempdir().expect("a temporary directory");
    let long = parent
        .path()
        .join("ein Modell für 🙂")
        .join("x".repeat(200))
        .join("y".repeat(100));
    fs::create_dir_all(&long).expect("made");
    for entry in fs::read_dir(directory.path()).expect("readable") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), long.join(entry.file_name())).expect("copied");
    }
    program(["inspect"]).model(&long).run().ok();
}

#[test]
fn matrices_of_gptq_and_awq_are_in_four_bits() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-weights/tests/golden/int4");
    for form in ["gptq-32", "awq-32"] {
        let report = program(["inspect", "--check", "--json"])
            .model(golden.join(form))
            .run()
            .json();
        let name = "model.layers.0.self_attn.q_proj.qweight";
        let tensors = report["tensors"].as_array().expect("tensors");
        let query = tensors.iter().find(|tensor| tensor["name"] == name);
        // 128 blocks of 20 bytes.
        assert_eq!(
            query.expect("the tensor"),
            &json!({"name": name, "dtype": "int4", "shape": [64, 64], "bytes": 2560}),
            "{form}"
        );
        for nothing in ["warnings", "not_finite"] {
            assert_eq!(report[nothing], json!([]), "{form}: {nothing}");
        }
        // Rows of 64 have no super-blocks; all else is held as asked.
        let held = report["held_otherwise"].as_array().expect("a list");
        let of_blocks = |held: &&Value| held["dtype"] != "q6_k" && held["dtype"] != "q4_k";
        assert_eq!(held.iter().find(of_blocks), None, "{form}");
    }
}
