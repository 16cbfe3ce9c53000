//! Models in several files.

use llama_weights::{Checkpoint, Vocabulary};

use crate::fixture::{Directory, split};
use crate::writer::Value;

const ADVICE: &str = "convert the model again or download another file of it";

#[test]
fn any_part_opens_the_whole() {
    let directory = Directory::of_parts(&split());
    for name in [
        "",
        "model-00001-of-00003.gguf",
        "model-00002-of-00003.gguf",
        "model-00003-of-00003.gguf",
    ] {
        let path = match name {
            "" => directory.path().to_owned(),
            name => directory.path().join(name),
        };
        let opened = Checkpoint::open(&path).expect("a good model");
        assert_eq!(opened.tensors().count(), 12);
        assert_eq!(opened.files().count(), 3);
        let vocabulary = Vocabulary::open(&path).expect("a good vocabulary");
        assert_eq!(
            vocabulary.map(|vocabulary| vocabulary.pieces.len()),
            Some(10)
        );
        assert_eq!(
            opened
                .vocabulary()
                .expect("the same")
                .map(|v| v.pieces.len()),
            Some(10)
        );
    }
}

#[test]
fn missing_parts_are_all_listed() {
    let directory = Directory::empty();
    let [_, second, _] = split();
    directory.write("model-00002-of-00003.gguf", second.bytes());
    assert_eq!(
        directory.refusal("model-00002-of-00003.gguf"),
        "DIR/model-00002-of-00003.gguf: expected 3 parts of the model, found 2 missing: \
         \"model-00001-of-00003.gguf\", \"model-00003-of-00003.gguf\"; download them into the same directory"
    );
}

#[test]
fn a_part_under_another_name() {
    let directory = Directory::empty();
    let [first, ..] = split();
    directory.write("renamed.gguf", first.bytes());
    assert_eq!(
        directory.refusal("renamed.gguf"),
        format!(
            "DIR/renamed.gguf: split.count: expected a file whose name ends in -00001-of-00003.gguf, as the parts of a split model do, \
             found 3 parts and the name \"renamed.gguf\"; {ADVICE}"
        )
    );
}

#[test]
fn parts_in_the_wrong_places() {
    let [first, second, third] = split();
    let directory = Directory::of_parts(&[first, third, second]);
    assert_eq!(
        directory.refusal("model-00001-of-00003.gguf"),
        format!(
            "DIR/model-00002-of-00003.gguf: split.no: expected 1, as the file's name says, found 2; {ADVICE}"
        )
    );
}

#[test]
fn a_part_of_another_model() {
    let mut parts = split();
    parts[2].set("split.count", Value::U16(4));
    assert_eq!(
        Directory::of_parts(&parts).refusal("model-00001-of-00003.gguf"),
        format!(
            "DIR/model-00003-of-00003.gguf: split.count: expected 3, as the file's name says, found 4; {ADVICE}"
        )
    );
}

#[test]
fn the_same_tensor_in_two_parts() {
    let mut parts = split();
    let tensor = parts[0].tensors[0].clone();
    parts[2].tensors.push(tensor);
    assert_eq!(
        Directory::of_parts(&parts).refusal("model-00001-of-00003.gguf"),
        "DIR/model-00001-of-00003.gguf: expected \"token_embd.weight\" in one shard, found it in \"model-00001-of-00003.gguf\" \
         and in \"model-00003-of-00003.gguf\"; download the checkpoint again"
    );
}

#[test]
fn fewer_tensors_than_the_first_part_says() {
    let mut parts = split();
    parts[1].tensors.pop();
    assert_eq!(
        Directory::of_parts(&parts).refusal("model-00001-of-00003.gguf"),
        format!(
            "DIR/model-00001-of-00003.gguf: split.tensors.count: expected 11, the tensors of all parts, found 12; {ADVICE}"
        )
    );
}

#[test]
fn parts_of_two_models_in_one_directory() {
    let directory = Directory::of_parts(&split());
    directory.write("other-00001-of-00002.gguf", "");
    assert_eq!(
        directory.refusal(""),
        "DIR/: expected one GGUF file, found 4: \"model-00001-of-00003.gguf\", \"model-00002-of-00003.gguf\", \
         \"model-00003-of-00003.gguf\", \"other-00001-of-00002.gguf\"; give one of them"
    );
}
