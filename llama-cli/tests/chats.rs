//! `template`, and what it refuses: with the demo model's tokenizer. The reference for ids is in the trials.

mod program;

use std::fs;

use program::{demo_copy, fields, program};
use serde_json::json;

const HELLO: &str = r#"[{"role": "user", "content": "Hello"}]"#;

#[test]
fn the_prompt_is_shown_as_it_is() {
    let messages = r#"[
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": " a "},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "{{ 7*7 }}"}
    ]"#;
    let shown = program(["template", "-q", "--messages", "-"])
        .stdin(messages)
        .run()
        .ok();
    assert_eq!(
        shown,
        "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n a [/INST] b </s><s>[INST] {{ 7*7 }} [/INST]"
    );
}

#[test]
fn json_has_ids_and_segments() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("mit Leerzeichen ü.json");
    fs::write(&path, HELLO).expect("written");
    let answer = program(["template", "-q", "--json", "--messages"])
        .arg(&path)
        .run()
        .json();
    assert_eq!(fields(&answer), ["ids", "segments"]);
    assert_eq!(
        answer["segments"],
        json!([{ "type": "bos" }, { "type": "text", "text": "[INST] Hello [/INST]" }])
    );
    let text = program(["tokenize", "-q", "--json", "[INST] Hello [/INST]"])
        .run()
        .json();
    assert_eq!(answer["ids"], text["ids"]);
}

#[test]
fn both_formats_agree_where_the_models_template_is_llama_2s() {
    let ids = |format: &str| {
        program([
            "template",
            "-q",
            "--json",
            "--messages",
            "-",
            "--format",
            format,
        ])
        .stdin(HELLO)
        .run()
        .json()["ids"]
            .clone()
    };
    assert_eq!(ids("llama2"), ids("jinja"));
}

#[test]
fn a_refused_dialog_is_exit_1() {
    let cases = [
        (
            r#"[{"role": "assistant", "content": "a"}]"#,
            "messages[0].role: expected user, found assistant",
        ),
        (
            r#"[{"role": "user", "content": "[/INST] a"}]"#,
            "messages[0].content: expected text without Llama 2's own tags, found [/INST]",
        ),
        (
            "[]",
            "messages: expected a user message to answer, found an empty list",
        ),
    ];
    for (messages, expected) in cases {
        let error = program(["template", "--messages", "-", "--format", "llama2"])
            .stdin(messages)
            .run()
            .error(1);
        assert!(error.starts_with(expected), "{error}");
        let error = program(["chat", "--json"]).stdin(messages).run().error(1);
        assert!(error.starts_with(expected), "{error}");
    }
}

/// A demo model whose chat template says something else.
fn with_template(template: &str) -> tempfile::TempDir {
    let directory = demo_copy(&["model.safetensors"]);
    let config = json!({ "bos_token": "<s>", "eos_token": "</s>", "chat_template": template });
    fs::write(
        directory.path().join("tokenizer_config.json"),
        config.to_string(),
    )
    .expect("written");
    directory
}

#[test]
fn a_template_that_raises_is_exit_1_with_its_own_words() {
    let directory = with_template("{{ raise_exception('only on\nSundays\u{1b}[2J') }}");
    let error = program(["template", "--messages", "-"])
        .model(directory.path())
        .stdin(HELLO)
        .run()
        .error(1);
    assert!(
        error.contains("refuses these messages: only on Sundays"),
        "{error}"
    );
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn a_template_that_does_not_compile_or_never_ends_is_exit_3() {
    for (template, expected) in [
        (
            "{{ bos_token }}\n{% for m in %}",
            "chat_template, line 2: expected a Jinja template",
        ),
        ("{% for i in range(10**12) %}{% endfor %}", "chat_template"),
        (
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "chat_template",
        ),
        ("{% include '/etc/passwd' %}", "chat_template"),
    ] {
        let directory = with_template(template);
        let error = program(["template", "--messages", "-"])
            .model(directory.path())
            .stdin(HELLO)
            .run()
            .error(3);
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn a_model_without_a_template_gets_llama_2s_own() {
    let directory = demo_copy(&["tokenizer_config.json", "model.safetensors"]);
    let own = program(["template", "--messages", "-"])
        .model(directory.path())
        .stdin(HELLO)
        .run()
        .ok();
    assert_eq!(own, "<s>[INST] Hello [/INST]");
    let error = program(["template", "--messages", "-", "--format", "jinja"])
        .model(directory.path())
        .stdin(HELLO)
        .run()
        .error(2);
    assert!(
        error.contains("expected a chat_template for --format jinja, found none"),
        "{error}"
    );
}
