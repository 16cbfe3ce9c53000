//! A GGUF file that the `gguf` package wrote (`golden/gguf/generate.py`) beside the same model as a Hugging Face directory. No
//! adapter is needed.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{demo_directory, program};
use serde_json::Value;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/gguf")
        .join(file)
}

const DIALOG: &str = r#"[{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Héllo\nworld "}]"#;

#[test]
fn text_becomes_the_ids_of_the_tokenizer_s_own_files() {
    for text in [
        "Hello world",
        " a  b   c",
        "",
        "\n\t1234 é e\u{301} 😀 \u{2581}",
        "<s> </s> [INST]",
    ] {
        let ids = |model: PathBuf| program(["tokenize", text]).model(model).run().ok();
        let found = ids(golden("model.gguf"));
        assert_eq!(found, ids(demo_directory()), "{text:?}");
        let back = program(["detokenize", found.trim()])
            .model(golden("model.gguf"))
            .run()
            .ok();
        let expected = program(["detokenize", found.trim()])
            .model(demo_directory())
            .run()
            .ok();
        assert_eq!(back, expected, "{text:?}");
    }
}

#[test]
fn the_chat_template_is_the_file_s() {
    for format in [&[][..], &["--format", "jinja"], &["--format", "llama2"]] {
        let prompt = |model: PathBuf| {
            program(
                ["template", "--messages", "-", "--json"]
                    .iter()
                    .chain(format),
            )
            .model(model)
            .stdin(DIALOG)
            .run()
            .json()
        };
        assert_eq!(
            prompt(golden("model.gguf")),
            prompt(demo_directory()),
            "{format:?}"
        );
    }
}

#[test]
fn inspect_tells_the_same_of_both() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden(file), directory.path().join(file)).expect("copied");
    }
    let report = |model: &Path| {
        program(["inspect", "--check", "--json"])
            .model(model)
            .run()
            .json()
    };
    let (found, expected) = (report(&golden("model.gguf")), report(directory.path()));
    assert_eq!(found["format"], "GGUF file");
    for same in ["parameters", "not_finite", "warnings"] {
        assert_eq!(found[same], expected[same], "{same}");
    }
    let sizes = |report: &Value| {
        let mut sizes = report["hyperparameters"].clone();
        // Biases, activation and the like are not in GGUF's metadata; what both give is the same.
        sizes
            .as_object_mut()
            .expect("an object")
            .retain(|_, value| value.is_number());
        sizes
    };
    assert_eq!(sizes(&found), sizes(&expected));
}

#[test]
fn a_directory_of_one_gguf_file_is_that_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::copy(
        golden("model.gguf"),
        directory.path().join("a model.Q8_0.gguf"),
    )
    .expect("copied");
    let ids = program(["tokenize", "Hello world"])
        .model(directory.path())
        .run()
        .ok();
    let expected = program(["tokenize", "Hello world"])
        .model(demo_directory())
        .run()
        .ok();
    assert_eq!(ids, expected);
}

#[test]
fn a_file_cut_short_is_exit_3() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bytes = fs::read(golden("model.gguf")).expect("readable");
    let path = directory.path().join("cut.gguf");
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
    for args in [["inspect"].as_slice(), &["generate", "-p", "a"], &["chat"]] {
        let error = program(args).model(&path).run().error(3);
        assert_eq!(
            error,
            format!(
                "{}: \"output_norm.weight\": expected {} bytes, found {}: 1 bytes are missing; download the file again",
                path.display(),
                bytes.len(),
                bytes.len() - 1
            )
        );
    }
}
