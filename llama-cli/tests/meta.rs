//! Files that torch writes: Meta's directories and `.bin` files, with the tokenizer beside them or above. No adapter is needed.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{demo_directory, program};
use serde_json::Value;

/// Checkpoints that torch and transformers wrote, without a tokenizer.
fn written_by_torch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-weights/tests/golden/torch")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Meta's layout after a download: the model in a folder, the tokenizer of all sizes beside that folder.
fn downloaded() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let model = parent.path().join("llama-2-7b");
    copy(&written_by_torch().join("meta-2"), &model);
    fs::copy(
        demo_directory().join("tokenizer.model"),
        parent.path().join("tokenizer.model"),
    )
    .expect("copied");
    (parent, model)
}

#[test]
fn inspect_reports_every_form() {
    let report = |name: &str| {
        let path = written_by_torch().join(name);
        program(["inspect", "--check", "--json"])
            .model(path)
            .run()
            .json()
    };
    let expected = report("hf");
    for (name, format, files) in [
        ("meta-1", "Meta directory", 1),
        ("meta-2", "Meta directory", 2),
        ("bin-1", "Hugging Face directory", 1),
        ("bin-2", "Hugging Face directory", 2),
    ] {
        let found = report(name);
        assert_eq!(found["format"], format);
        assert_eq!(found["files"].as_array().map(Vec::len), Some(files));
        for same in [
            "hyperparameters",
            "parameters",
            "stored_bytes",
            "memory",
            "not_finite",
            "warnings",
        ] {
            assert_eq!(found[same], expected[same], "{same} of {name}");
        }
        let shapes = |report: &Value| -> Vec<Value> {
            let tensors = report["tensors"].as_array().expect("tensors");
            tensors
                .iter()
                .map(|tensor| tensor["shape"].clone())
                .collect()
        };
        assert_eq!(shapes(&found), shapes(&expected));
    }
}

#[test]
fn the_tokenizer_of_a_meta_directory_may_lie_above_it() {
    let expected = program(["tokenize", "Hello world"])
        .model(demo_directory())
        .run()
        .ok();
    let (parent, model) = downloaded();
    assert_eq!(
        program(["tokenize", "Hello world"])
            .model(&model)
            .run()
            .ok(),
        expected
    );
    // Where no model of Meta's is, nothing above is looked at.
    let other = parent.path().join("other");
    fs::create_dir(&other).expect("made");
    program(["tokenize", "Hello world"])
        .model(&other)
        .run()
        .error(3);
    // Beside the weights it wins.
    fs::write(model.join("tokenizer.model"), "broken").expect("written");
    let error = program(["tokenize", "Hello world"])
        .model(&model)
        .run()
        .error(3);
    assert!(error.contains("llama-2-7b"), "{error}");
}

#[test]
fn a_meta_directory_chats_in_meta_s_format() {
    let (_parent, model) = downloaded();
    let report = program(["template", "--messages", "-", "--json"])
        .model(model)
        .stdin(r#"[{"role": "user", "content": "Hi"}]"#)
        .run()
        .json();
    let segments = report["segments"].to_string();
    assert!(segments.contains("[INST] Hi [/INST]"), "{segments}");
}

#[test]
fn a_tokenizer_of_another_size_than_the_embedding() {
    let (_parent, model) = downloaded();
    let runs: [&[&str]; 4] = [
        &["generate", "-p", "a"],
        &["generate", "--ids", "1"],
        &["score", "-p", "a"],
        &["chat"],
    ];
    let pieces = fs::read(demo_directory().join("config.json")).expect("readable");
    let pieces: Value = serde_json::from_slice(&pieces).expect("JSON");
    for args in runs {
        assert_eq!(
            program(args).model(&model).run().error(3),
            format!(
                "the tokenizer has {} pieces, expected the 128 of the model's embedding: \
                 tokenizer and weights are not of one model",
                pieces["vocab_size"]
            ),
            "{args:?}"
        );
    }
}

#[test]
fn a_shard_that_is_missing_is_exit_3() {
    let (_parent, model) = downloaded();
    fs::remove_file(model.join("consolidated.01.pth")).expect("removed");
    for args in [["inspect"].as_slice(), &["generate", "--ids", "1"]] {
        assert_eq!(
            program(args).model(&model).run().error(3),
            format!(
                "{}: expected 2 shards beside it, found 1 missing: \"consolidated.01.pth\"; download them into the same directory",
                model.join("params.json").display()
            )
        );
    }
}
