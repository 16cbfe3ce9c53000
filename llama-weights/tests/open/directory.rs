//! What lies at the path: a directory of another format, a file, nothing.

use crate::fixture::{Directory, absent, refusal};

const WANTED: &str = "expected a GGUF file, or a directory with one, with config.json and model.safetensors or pytorch_model.bin (or \
                      their index.json), or with params.json and consolidated.00.pth";

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
            "DIR: {WANTED}, found an empty directory; give the file or the directory of a checkpoint"
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
             give the file or the directory of a checkpoint"
        )
    );
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    let directory = Directory::good();
    let archive = directory.write("consolidated.00.pth", "PK\x03\x04");
    assert_eq!(
        refusal(&archive).to_string(),
        format!(
            "{}: expected the directory of a checkpoint, found one file of it, a PyTorch archive; give the directory that it lies in",
            archive.display()
        )
    );
    let single = directory.path().join("model.safetensors");
    assert_eq!(
        refusal(&single).to_string(),
        format!(
            "{}: {WANTED}, found a file; give the file or the directory of a checkpoint",
            single.display()
        )
    );
}
