//! One model in every form that it is distributed in gives the same answer.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::on_adapter;
use crate::program::{demo_directory, program};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter("files_of_torch_answer_as_safetensors_do", files_of_torch),
        on_adapter("a_gguf_file_answers_as_safetensors_do", gguf_file),
    ]
}

fn files_of_torch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-weights/tests/golden/torch");
    let ids = |name: &str| -> Value {
        let flags = [
            "--ids",
            "1,17,99,5,64",
            "-n",
            "24",
            "--temp",
            "0",
            "--ignore-eos",
        ];
        let command = program(
            ["generate", "--json", "--dtype", "f32"]
                .iter()
                .chain(&flags),
        );
        command.model(folder.join(name)).run().json()["ids"].clone()
    };
    let expected = ids("hf");
    assert_eq!(expected.as_array().map(Vec::len), Some(24));
    for name in ["meta-1", "meta-2", "bin-1", "bin-2"] {
        assert_eq!(ids(name), expected, "{name}");
    }
}

fn gguf_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let from = |folder: &Path, file: &str| {
        fs::copy(folder.join(file), directory.path().join(file)).expect("copied");
    };
    for file in ["config.json", "model.safetensors"] {
        from(&folder, file);
    }
    for file in ["tokenizer.model", "tokenizer_config.json"] {
        from(&demo_directory(), file);
    }
    let answer = |model: &Path| {
        let flags = ["-p", "Hello", "-n", "24", "--temp", "0", "--ignore-eos"];
        let generate = ["generate", "--json", "--dtype", "f32"];
        let answer = program(generate.iter().chain(&flags))
            .model(model)
            .run()
            .json();
        let turn = r#"[{"role": "user", "content": "Hello"}]"#;
        let chat = ["chat", "--json", "--temp", "0", "--dtype", "f32", "-n", "8"];
        let chat = program(chat).model(model).stdin(turn).run().json();
        ["text", "prompt_ids", "ids", "finish_reason"]
            .map(|field| (answer[field].clone(), chat[field].clone()))
    };
    let expected = answer(directory.path());
    assert_eq!(expected[2].0.as_array().map(Vec::len), Some(24));
    assert_eq!(answer(&folder.join("model.gguf")), expected);
}
