//! One model in every form that it is distributed in gives the same answer.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::on_adapter;
use crate::program::program;

pub(crate) fn trials() -> Vec<Trial> {
    vec![on_adapter(
        "files_of_torch_answer_as_safetensors_do",
        files_of_torch,
    )]
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
