//! `generation_config.json`.

use crate::fixture::Directory;

const FILE: &str = "generation_config.json";

#[test]
fn absent_leaves_the_ids_of_the_config() {
    let opened = Directory::good().open();
    assert_eq!(opened.generation_config(), None);
    assert_eq!(opened.eos_token_ids(), [2]);
}

#[test]
fn llama_2_s_own() {
    let directory = Directory::good();
    directory.write(
        FILE,
        r#"{"bos_token_id": 1, "do_sample": true, "eos_token_id": 3, "pad_token_id": 0, "temperature": 0.6,
            "max_length": 4096, "top_p": 0.9, "transformers_version": "4.31.0.dev0"}"#,
    );
    let opened = directory.open();
    let config = opened.generation_config().expect("a generation config");
    assert_eq!(config.do_sample, Some(true));
    assert_eq!((config.temperature, config.top_p), (Some(0.6), Some(0.9)));
    assert_eq!(
        (config.top_k, config.min_p, config.repetition_penalty),
        (None, None, None)
    );
    assert_eq!(config.max_length, Some(4096));
    assert_eq!(opened.eos_token_ids(), [3]);
}

#[test]
fn without_eos_leaves_the_ids_of_the_config() {
    let directory = Directory::good();
    directory.write(
        FILE,
        r#"{"top_k": 50, "min_p": 0.05, "repetition_penalty": 1.1}"#,
    );
    let opened = directory.open();
    let config = opened.generation_config().expect("a generation config");
    assert_eq!(
        (config.top_k, config.min_p, config.repetition_penalty),
        (Some(50), Some(0.05), Some(1.1))
    );
    assert_eq!(opened.eos_token_ids(), [2]);
}

#[test]
fn bad_values_are_refused() {
    for (text, sentence) in [
        (
            r#"{"temperature": "hot"}"#,
            "temperature: expected a number, found \"hot\"",
        ),
        (
            r#"{"do_sample": 1}"#,
            "do_sample: expected true or false, found 1",
        ),
        (
            r#"{"top_k": -1}"#,
            "top_k: expected an integer from 0 to 4294967295, found -1",
        ),
        (
            r#"{"eos_token_id": [2, 10]}"#,
            "eos_token_id: expected a token id below vocab_size (10) or a list of them, found 10",
        ),
    ] {
        let directory = Directory::good();
        directory.write(FILE, text);
        assert_eq!(
            directory.refusal(),
            format!(
                "DIR/generation_config.json: {sentence}; correct the file or download it again"
            )
        );
    }
}

#[test]
fn broken_json_is_refused() {
    let directory = Directory::good();
    directory.write(FILE, "[]");
    assert_eq!(
        directory.refusal(),
        "DIR/generation_config.json: expected a JSON object, found invalid type: sequence, expected an object \
         at line 1 column 0; download the file again"
    );
}
