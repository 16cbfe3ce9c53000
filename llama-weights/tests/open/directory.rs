//! What lies at the path: a directory of another format, a file, nothing.

use crate::fixture::{Directory, absent, refusal};

const WANTED: &str =
    "expected a directory with config.json and model.safetensors (or model.safetensors.index.json)";
const PICKLE: &str = "convert the checkpoint to safetensors with transformers' save_pretrained, or download that form";

#[test]
fn nothing_there() {
    let directory = Directory::empty();
    let path = directory.path().join("absent");
    assert_eq!(
        refusal(&path).to_string(),
        format!(
            "{}: expected a readable file, found an error: {}; check that it exists and may be read",
            path.display(),
            absent()
        )
    );
}

#[test]
fn an_empty_directory() {
    assert_eq!(
        Directory::empty().refusal(),
        format!(
            "DIR: {WANTED}, found an empty directory; give the directory of a Hugging Face checkpoint"
        )
    );
}

#[test]
fn a_directory_of_other_things() {
    let directory = Directory::empty();
    for name in ["config.json", "a.txt", "b.txt", "c.txt", "d.txt"] {
        directory.write(name, "");
    }
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR: {WANTED}, found a directory with \"a.txt\", \"b.txt\", \"c.txt\", \"config.json\" and 1 more entries; \
             give the directory of a Hugging Face checkpoint"
        )
    );
}

#[test]
fn a_directory_of_gguf() {
    let directory = Directory::empty();
    directory.write("llama-2-7b.Q4_0.gguf", "GGUF");
    assert_eq!(
        directory.refusal(),
        "DIR: expected safetensors, found a GGUF file, which is not read yet; \
         give the Hugging Face directory that the file was made from"
    );
}

#[test]
fn a_directory_of_meta_s() {
    let directory = Directory::empty();
    directory.write("consolidated.00.pth", "PK");
    directory.write("params.json", "{}");
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR: expected safetensors, found Meta's consolidated.*.pth, which is not read yet; {PICKLE}"
        )
    );
}

#[test]
fn a_directory_of_pickled_weights() {
    let directory = Directory::good();
    directory.remove("model.safetensors");
    directory.write("pytorch_model.bin", "PK");
    assert_eq!(
        directory.refusal(),
        format!(
            "DIR: expected safetensors, found PyTorch's pytorch_model.bin, which is not read yet; {PICKLE}"
        )
    );
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    let directory = Directory::good();
    let gguf = directory.write("model.bin", "GGUF\x03\0\0\0");
    assert_eq!(
        refusal(&gguf).to_string(),
        format!(
            "{}: expected safetensors, found a GGUF file, which is not read yet; \
             give the Hugging Face directory that the file was made from",
            gguf.display()
        )
    );
    let archive = directory.write("consolidated.00.pth", "PK\x03\x04");
    assert_eq!(
        refusal(&archive).to_string(),
        format!(
            "{}: expected safetensors, found a PyTorch archive, which is not read yet; {PICKLE}",
            archive.display()
        )
    );
    let single = directory.path().join("model.safetensors");
    assert_eq!(
        refusal(&single).to_string(),
        format!(
            "{}: {WANTED}, found a file; give the directory of a Hugging Face checkpoint",
            single.display()
        )
    );
}
