//! Every case of `shared/data/chat_cases.jsonl`, in both formats, as one trial each. The cases' ids are checked where
//! a tokenizer is at hand, in llama-cli; here it is their text, and where their control tokens stand.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_chat_template::{
    ChatTemplate, Error, ErrorKind, Message, RenderOptions, Segment, parse_messages,
};
use serde_json::Value;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        Trial::ignorable_test(
            "config/the published template is recognised",
            the_published_template_is_recognised,
        ),
        Trial::ignorable_test(
            "config/published variants are recognised",
            published_variants_are_recognised,
        ),
        Trial::ignorable_test(
            "config/a changed template is not recognised",
            a_changed_template_is_not_recognised,
        ),
    ];
    match std::fs::read_to_string(data().join("chat_cases.jsonl")) {
        Ok(cases) => trials.extend(cases.lines().flat_map(trials_of)),
        Err(_) => trials.push(Trial::ignorable_test("cases", || Ok(absent()))),
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")
}

fn absent() -> Completion {
    Completion::ignored_with("shared/data is not there")
}

/// The Jinja template of the real vocabulary's `tokenizer_config.json`.
fn published_config() -> Option<String> {
    std::fs::read_to_string(data().join("llama2-vocabulary/tokenizer_config.json")).ok()
}

fn trials_of(line: &str) -> [Trial; 2] {
    let case: Value = serde_json::from_str(line).expect("a case is JSON");
    let name = case["name"].as_str().expect("a case has a name").to_owned();
    let jinja_case = case.clone();
    [
        Trial::test(format!("llama2/{name}"), move || native(&case)),
        Trial::ignorable_test(format!("jinja/{name}"), move || jinja(&jinja_case)),
    ]
}

fn messages(case: &Value) -> Vec<Message> {
    parse_messages(&case["dialog"].to_string()).expect("a case's dialog is well formed")
}

/// Llama 2's own format follows `expect`.
fn native(case: &Value) -> Result<(), Failed> {
    let outcome = ChatTemplate::native().render(&messages(case), &RenderOptions::default());
    match (case["expect"].as_str(), outcome) {
        (Some("ok"), Ok(segments)) => {
            equal(&text(&segments), &case["text"])?;
            equal(&control_ids(&segments), &control_ids_of(&case["ids"]))
        }
        (Some("unsafe"), Err(Error::Tag { .. }))
        | (Some("assert_roles"), Err(Error::RoleOrder { .. }))
        | (Some("assert_last"), Err(Error::LastRole { .. }))
        | (Some("index_error"), Err(Error::NothingToAnswer { .. })) => Ok(()),
        (expected, outcome) => Err(format!("expected {expected:?}, found {outcome:?}").into()),
    }
}

/// The published Jinja template follows `text` and `hf_error`. Control tokens in a content stay text here, so that
/// `ids` and not `hf_ids` say where control tokens stand.
fn jinja(case: &Value) -> Result<Completion, Failed> {
    let Some(config) = published_config() else {
        return Ok(absent());
    };
    let template = ChatTemplate::jinja_from_config_json(&config, "tokenizer_config.json")?
        .ok_or("no template")?;
    let outcome = template.render(&messages(case), &RenderOptions::default());
    match (case["hf_error"].as_str(), outcome) {
        (None, Ok(segments)) => {
            equal(&text(&segments), &case["text"])?;
            let ids = if case["ids"].is_null() {
                &case["hf_ids"]
            } else {
                &case["ids"]
            };
            equal(&control_ids(&segments), &control_ids_of(ids))?;
        }
        (Some(expected), Err(error @ Error::Raised { .. })) => {
            equal(&error.kind(), &ErrorKind::Refused)?;
            let reason = expected
                .strip_prefix("TemplateError: ")
                .ok_or("an error without TemplateError")?;
            let sentence = format!(
                "tokenizer_config.json: the chat template refuses these messages: {reason}"
            );
            equal(&error.to_string(), &sentence)?;
        }
        (expected, outcome) => {
            return Err(format!("expected error {expected:?}, found {outcome:?}").into());
        }
    }
    Ok(Completion::Completed)
}

fn text(segments: &[Segment]) -> String {
    let piece = |segment: &Segment| match segment {
        Segment::Bos => "<s>".to_owned(),
        Segment::Eos => "</s>".to_owned(),
        Segment::Control(text) | Segment::Text(text) => text.clone(),
    };
    segments.iter().map(piece).collect()
}

/// The segments' control tokens as Llama 2's ids.
fn control_ids(segments: &[Segment]) -> Vec<u64> {
    let id = |segment: &Segment| match segment {
        Segment::Bos => Some(1),
        Segment::Eos => Some(2),
        Segment::Control(_) => Some(0),
        Segment::Text(_) => None,
    };
    segments.iter().filter_map(id).collect()
}

/// What is a control token in a case's ids: `<unk>` 0, `<s>` 1, `</s>` 2.
fn control_ids_of(ids: &Value) -> Vec<u64> {
    ids.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .filter(|&id| id <= 2)
        .collect()
}

fn the_published_template_is_recognised() -> Result<Completion, Failed> {
    recognition(&[("as published", &|config| config)], "llama2")
}

fn published_variants_are_recognised() -> Result<Completion, Failed> {
    recognition(
        &[
            ("Code Llama's filters", &|config| {
                config.replace("content.strip()", "content | trim")
            }),
            ("line breaks as themselves", &|config| {
                config.replace(r"\\n", r"\n")
            }),
            ("other quotes", &|config| {
                config.replace("'role'", r#"\"role\""#)
            }),
            ("other spaces in tags", &|config| {
                config.replace("' '  + ", "' ' + ").replace("{% e", "{%e")
            }),
            ("a final line break", &|config| {
                config.replace(r#"{% endfor %}""#, r#"{% endfor %}\n""#)
            }),
            (
                "a system message in the middle, as transformers 4.31 wrote",
                &|config| with_system_branch(&config),
            ),
            ("a default prompt that is off", &|config| {
                with_default_prompt(&with_system_branch(&config), "false")
            }),
        ],
        "llama2",
    )
}

fn a_changed_template_is_not_recognised() -> Result<Completion, Failed> {
    recognition(
        &[
            ("no space after the tag", &|config| {
                config.replace("'[INST] '", "'[INST]'")
            }),
            ("no strip", &|config| config.replace(".strip()", "")),
            ("a default prompt that is on", &|config| {
                with_default_prompt(&with_system_branch(&config), "true")
            }),
            ("text behind it", &|config| {
                config.replace(r#"{% endfor %}""#, r#"{% endfor %} ""#)
            }),
        ],
        "jinja",
    )
}

fn with_system_branch(config: &str) -> String {
    let assistant = "{% elif message['role'] == 'assistant' %}";
    let system = r"{% elif message['role'] == 'system' %}{{ '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}";
    config.replace(assistant, &format!("{system}{assistant}"))
}

fn with_default_prompt(config: &str, on: &str) -> String {
    let start = "{% else %}{% set loop_messages = messages %}";
    let branch = format!(
        "{{% elif {on} == true and not '<<SYS>>' in messages[0]['content'] %}}{{% set loop_messages = messages %}}\
         {{% set system_message = 'You don\\\\'t know much.' %}}"
    );
    config.replace(start, &format!("{branch}{start}"))
}

type Edit<'a> = (&'a str, &'a dyn Fn(String) -> String);

/// The format chosen for the published configuration after each of `edits`.
fn recognition(edits: &[Edit<'_>], expected: &str) -> Result<Completion, Failed> {
    let Some(config) = published_config() else {
        return Ok(absent());
    };
    for (name, edit) in edits {
        let edited = edit(config.clone());
        let found = ChatTemplate::from_config_json(&edited, name)?;
        if found.name() != expected {
            return Err(format!("{name}: expected {expected}, found {}", found.name()).into());
        }
    }
    Ok(Completion::Completed)
}

fn equal<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(
    found: &A,
    expected: &B,
) -> Result<(), Failed> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, found {found:?}").into())
    }
}
