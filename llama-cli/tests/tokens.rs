//! `tokenize` and `detokenize` with the demo model's tokenizer. The reference for ids is in the trials.

mod program;

use program::{demo_copy, fields, program};
use serde_json::{Value, json};

fn ids(text: &str) -> Vec<u32> {
    let line = program(["tokenize", "-q", text]).run().ok();
    line.trim_end()
        .split(',')
        .map(|id| id.parse().expect("an id"))
        .collect()
}

#[test]
fn ids_begin_with_bos_unless_told_otherwise() {
    let with = ids("Hello");
    assert_eq!(with[0], 1);
    let without = program(["tokenize", "-q", "--no-bos", "--json", "Hello"])
        .run()
        .json();
    assert_eq!(without, json!({ "ids": with[1..] }));
    assert_eq!(ids(""), [1]);
}

#[test]
fn stdin_is_taken_as_it_is() {
    let from_stdin = program(["tokenize", "-q"]).stdin("Hello\n").run().ok();
    let with_newline = program(["tokenize", "-q", "Hello\n"]).run().ok();
    let without = program(["tokenize", "-q", "Hello"]).run().ok();
    assert_eq!(from_stdin, with_newline);
    assert_ne!(from_stdin, without);
}

#[test]
fn control_tokens_come_from_text_only_when_asked_for() {
    let plain = ids("a</s>");
    assert!(!plain.contains(&2), "{plain:?}");
    let parsed = program(["tokenize", "-q", "--parse-special", "--json", "a</s>"])
        .run()
        .json();
    let parsed = parsed["ids"].as_array().expect("ids");
    assert_eq!(
        (parsed.first(), parsed.last()),
        (Some(&json!(1)), Some(&json!(2)))
    );
}

#[test]
fn text_comes_back_exactly_and_a_pipe_gets_nothing_added() {
    for text in [
        "Hello, my name is Sam.",
        " two  spaces ",
        "né 🙂\r\n\ttab",
        "<s>[INST]",
    ] {
        let given = ids(text)
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(program(["detokenize", "-q", &given]).run().ok(), text);
        assert_eq!(
            program(["detokenize", "-q"])
                .stdin(given.replace(',', " "))
                .run()
                .ok(),
            text
        );
        let json = program(["detokenize", "-q", "--json", &given]).run().json();
        assert_eq!(json, json!({ "text": text }));
    }
}

#[test]
fn json_lines_are_answered_in_order() {
    let stdin = "{\"text\": \"Hello\"}\n\n{\"text\": \"\"}\n{\"text\": \"né\"}";
    let answers = program(["tokenize", "-q", "--jsonl"])
        .stdin(stdin)
        .run()
        .ok();
    let expected: Vec<Value> = ["Hello", "", "né"]
        .iter()
        .map(|text| json!({ "ids": ids(text) }))
        .collect();
    let answered: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answered, expected);
    let back = program(["detokenize", "-q", "--jsonl"])
        .stdin(answers)
        .run()
        .ok();
    assert_eq!(
        back,
        "{\"text\":\"Hello\"}\n{\"text\":\"\"}\n{\"text\":\"né\"}\n"
    );
}

#[test]
fn deltas_are_one_per_id_and_join_to_the_text() {
    let prompt = ids("Once");
    let whole = ids("Once upon 🙂 a time");
    let rest = &whole[prompt.len()..];
    let line = json!({ "prompt_ids": prompt, "ids": rest }).to_string();
    let answer = program(["detokenize", "-q", "--jsonl"])
        .stdin(line)
        .run()
        .json();
    assert_eq!(fields(&answer), ["deltas", "text"]);
    let deltas = answer["deltas"].as_array().expect("a list");
    assert_eq!(deltas.len(), rest.len());
    let joined: String = deltas
        .iter()
        .map(|delta| delta.as_str().expect("text"))
        .collect();
    assert_eq!(joined, " upon 🙂 a time");
    assert_eq!(answer["text"], joined);
}

#[test]
fn bytes_that_never_become_a_character_come_with_the_last_id() {
    let smile = ids("🙂");
    let line = json!({ "prompt_ids": [1], "ids": smile[1..smile.len() - 1] }).to_string();
    let answer = program(["detokenize", "-q", "--jsonl"])
        .stdin(line)
        .run()
        .json();
    let deltas = answer["deltas"].as_array().expect("a list");
    assert_eq!(
        deltas.last(),
        Some(&json!("\u{fffd}\u{fffd}\u{fffd}")),
        "{answer}"
    );
}

#[test]
fn only_the_tokenizers_files_are_needed_and_the_json_wins() {
    let json_alone = demo_copy(&[
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.model",
    ]);
    let model_alone = demo_copy(&[
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
    ]);
    for directory in [&json_alone, &model_alone] {
        let line = program(["tokenize", "Hello, my name is Sam"])
            .model(directory.path())
            .run()
            .ok();
        assert_eq!(
            line,
            program(["tokenize", "-q", "Hello, my name is Sam"])
                .run()
                .ok()
        );
    }
    std::fs::write(json_alone.path().join("tokenizer.json"), "{").expect("written");
    let error = program(["tokenize", "a"])
        .model(json_alone.path())
        .run()
        .error(3);
    assert!(error.contains("tokenizer.json: expected "), "{error}");
}

#[test]
fn a_directory_without_a_tokenizer_is_said() {
    let directory = demo_copy(&["tokenizer.json", "tokenizer.model"]);
    let error = program(["tokenize", "a"])
        .model(directory.path())
        .run()
        .error(3);
    let path = directory.path().display();
    assert!(
        error.starts_with(&format!(
            "{path}: expected tokenizer.json or tokenizer.model, found neither"
        )),
        "{error}"
    );
}
