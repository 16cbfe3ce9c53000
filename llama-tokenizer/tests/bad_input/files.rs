//! Directories, files that are absent or too large, and the settings beside a vocabulary.

use std::fs;

use llama_tokenizer::{Error, Tokenizer};
use serde_json::json;

use crate::{MODEL, bytes_error, model_error};

#[test]
fn a_directory_without_a_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: expected tokenizer.json or tokenizer.model, found neither; copy one of them from the model's \
             repository",
            dir.path().display()
        )
    );
}

/// What the system says of a path that is not there: ENOENT, or ERROR_PATH_NOT_FOUND of Windows.
fn absent() -> std::io::Error {
    std::io::Error::from_raw_os_error(if cfg!(windows) { 3 } else { 2 })
}

#[test]
fn a_directory_that_is_not_there() {
    let path = tempfile::tempdir().unwrap().path().join("no model");
    assert_eq!(
        Tokenizer::from_dir(&path).unwrap_err().to_string(),
        format!(
            "{}: cannot be read: {}; check that the path exists and may be read",
            path.display(),
            absent()
        )
    );
}

#[test]
fn a_file_in_the_place_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.model");
    fs::write(&path, MODEL).unwrap();
    // ENOTDIR, or ERROR_DIRECTORY of Windows.
    let refused = std::io::Error::from_raw_os_error(if cfg!(windows) { 267 } else { 20 });
    assert_eq!(
        Tokenizer::from_dir(&path).unwrap_err().to_string(),
        format!(
            "{}: cannot be read: {refused}; check that the path exists and may be read",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_not_there() {
    let path = tempfile::tempdir().unwrap().path().join("tokenizer.model");
    let error = Tokenizer::from_model_file(&path).unwrap_err();
    assert!(matches!(&error, Error::Read { path: named, .. } if *named == path));
    assert_eq!(
        error.to_string(),
        format!(
            "{}: cannot be read: {}; check that the path exists and may be read",
            path.display(),
            absent()
        )
    );
}

#[test]
fn a_file_too_large_to_be_a_tokenizer_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(
        Tokenizer::from_json_file(&path).unwrap_err().to_string(),
        format!(
            "{}: size: expected at most 67108864 bytes, found 1099511627776 or more; only tokenizers of the \
             Llama 2 family (SentencePiece BPE) are supported",
            path.display()
        )
    );
}

#[test]
fn a_git_lfs_pointer_in_place_of_the_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 499723\n";
    let sentence = "tokenizer.model: content: expected a tokenizer, found a Git LFS pointer; fetch the file with \
                    `git lfs pull`";
    assert_eq!(model_error(pointer), sentence);
    assert_eq!(bytes_error(pointer), sentence.replace(".model", ".json"));
}

#[test]
fn settings_of_the_wrong_type() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.model"), MODEL).unwrap();
    let path = dir.path().join("tokenizer_config.json");
    for (config, sentence) in [
        (
            json!({"add_bos_token": "yes"}),
            "add_bos_token: expected true, false or null, found `\"yes\"`; correct the file",
        ),
        (
            json!({"bos_token": 1}),
            "bos_token: expected a string, an object with a string `content`, or null, found `1`; correct the file",
        ),
        (
            json!({"eos_token": "<end>"}),
            "eos_token: expected a piece of the vocabulary or null, found `<end>`; correct the file",
        ),
        (
            json!({"added_tokens_decoder": {"x": {"content": "<pad>"}}}),
            "added_tokens_decoder.`x`: expected an id and an object with a string `content`, found \
             `{\"content\":\"<pad>\"}`; correct the file",
        ),
    ] {
        fs::write(&path, config.to_string()).unwrap();
        let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {sentence}", path.display()));
    }
    fs::write(&path, "[]").unwrap();
    assert_eq!(
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: expected the JSON of a tokenizer, found an error: invalid type: sequence, expected a map at \
             line 1 column 0; download the file again",
            path.display()
        )
    );
}
