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

#[test]
fn a_file_that_is_not_there() {
    let path = tempfile::tempdir().unwrap().path().join("tokenizer.model");
    let error = Tokenizer::from_model_file(&path).unwrap_err();
    assert!(matches!(&error, Error::Read { path: named, .. } if *named == path));
    let sentence = error.to_string();
    assert!(
        sentence.starts_with(&format!("{}: cannot be read: ", path.display())),
        "{sentence}"
    );
    assert!(
        sentence.ends_with("; check that the path exists and may be read"),
        "{sentence}"
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
