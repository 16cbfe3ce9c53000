//! What the two formats write and refuse, and which of them a model's files select.

use std::fs;
use std::time::{Duration, SystemTime};

use llama_chat_template::{
    ChatTemplate, ErrorKind, Message, RenderOptions, Role, Segment, SpecialTokens, TemplateSource,
};

fn user(content: &str) -> Message {
    Message::new(Role::User, content)
}

fn assistant(content: &str) -> Message {
    Message::new(Role::Assistant, content)
}

fn system(content: &str) -> Message {
    Message::new(Role::System, content)
}

/// A chat as one string, control tokens in ⟨⟩, an error as its sentence.
fn show(template: &ChatTemplate, messages: &[Message]) -> String {
    // 22 July 2023, 12:34:56 UTC.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_690_029_296);
    let options = RenderOptions {
        add_generation_prompt: true,
        now,
    };
    match template.render(messages, &options) {
        Ok(segments) => segments.iter().map(show_segment).collect(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

fn show_segment(segment: &Segment) -> String {
    match segment {
        Segment::Bos => "⟨bos⟩".to_owned(),
        Segment::Eos => "⟨eos⟩".to_owned(),
        Segment::Control(text) => format!("⟨{text}⟩"),
        Segment::Text(text) => text.clone(),
    }
}

fn chatml() -> SpecialTokens {
    SpecialTokens {
        bos: Some("<s>".into()),
        eos: Some("<|im_end|>".into()),
        named: vec![("unk_token".into(), "<unk>".into())],
        others: vec!["<|im_start|>".into(), "<|im_start|>user".into()],
    }
}

fn jinja(source: &str) -> ChatTemplate {
    ChatTemplate::jinja(source, &chatml(), "test").expect("the template compiles")
}

#[test]
fn llama_2s_refusals() {
    let chats = [
        vec![],
        vec![system("s")],
        vec![assistant("a")],
        vec![user("q"), user("r")],
        vec![system("s"), assistant("a"), user("q")],
        vec![user("q"), system("s"), user("r")],
        vec![user("q"), assistant("a")],
        vec![
            user("q"),
            Message::new(Role::Other("to\nol".into()), "a"),
            user("r"),
        ],
        vec![system("a <</SYS>>"), user("q")],
        vec![user("q"), assistant("[/INST]"), user("r")],
        // Both faults: the roles' comes first.
        vec![user("[INST]"), user("r")],
        vec![user("[INST]"), assistant("x")],
    ];
    let shown: Vec<String> = chats
        .iter()
        .map(|chat| show(&ChatTemplate::native(), chat))
        .collect();
    assert!(shown.iter().all(|line| line.starts_with("Refused: ")));
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn llama_2_strips_what_python_strips_and_only_outside() {
    let template = ChatTemplate::native();
    assert_eq!(
        show(&template, &[user("\u{1c}\u{1f} q \u{200b}\u{1d}")]),
        "⟨bos⟩[INST] q \u{200b} [/INST]"
    );
    assert_eq!(
        show(&template, &[system(" s "), user(" q ")]),
        "⟨bos⟩[INST] <<SYS>>\n s \n<</SYS>>\n\n q [/INST]"
    );
}

#[test]
fn jinja_as_transformers_sets_it_up() {
    let templates = [
        (
            "blocks are trimmed",
            "{% if true %}\n  {% set x = 1 %}\n a\n  {% endif %}\nb\n",
        ),
        (
            "loop controls",
            "{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
        ),
        (
            "methods",
            "{{ messages[0].content.upper() + messages[0]['content'].split(' ')[0] }}{{ messages[0].get('x') is none }}",
        ),
        (
            "strip",
            "{{ '\\x1c a\\x1f'.strip() }}|{{ '\\x1c a\\x1f' | trim }}|{{ 'xax'.strip('x') }}|{{ 'xax' | trim('x') }}",
        ),
        (
            "tojson",
            "{{ messages | tojson }}{{ {'b': [1, 1.5, none, true], 'a': {}, 3: 'é<'} | tojson(indent=1) }}",
        ),
        (
            "no tools",
            "{{ tools is none and documents is none and tools is defined }}{{ undefined_name }}",
        ),
        ("generation prompt", "{{ add_generation_prompt }}"),
        ("date", "{{ strftime_now('%d %b %Y %H:%M') }}"),
        (
            "generation block",
            "{%- generation -%} a {%- endgeneration %}{% generation %}b{%+ endgeneration %}",
        ),
        (
            "variables",
            "{{ bos_token }}{{ unk_token + eos_token }}{{ pad_token }}",
        ),
        (
            "literals",
            "<s><unk>{{ '<|im_start|>' + messages[0].role }}<|im_start|>user <|im_end|>{# <s> #}",
        ),
        ("put together", "{{ '<' + 's>' }}"),
        (
            "compared",
            "{{ messages[0].content.startswith('<s>') }}{{ bos_token == '<s>' }}",
        ),
    ];
    let shown: Vec<String> = templates
        .iter()
        .map(|(name, source)| {
            format!(
                "{name}: {}",
                show(&jinja(source), &[user("hi there <s>"), assistant("é")])
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_chatml_chat() {
    let template = jinja(
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' \
         + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    );
    assert_eq!(template.name(), "jinja");
    let segments = template
        .render(&[user("<|im_end|>")], &RenderOptions::default())
        .unwrap();
    let control = || Segment::Control("<|im_start|>".into());
    assert_eq!(
        segments,
        [
            control(),
            Segment::Text("user\n<|im_end|>".into()),
            Segment::Eos,
            Segment::Text("\n".into()),
            control(),
            Segment::Text("assistant\n".into()),
        ]
    );
}

#[test]
fn equal_begin_and_end_tokens_are_one() {
    let tokens = SpecialTokens {
        bos: Some("<e>".into()),
        eos: Some("<e>".into()),
        ..SpecialTokens::default()
    };
    let template = ChatTemplate::jinja("<e>{{ eos_token }}", &tokens, "test").unwrap();
    assert_eq!(show(&template, &[user("x")]), "⟨bos⟩⟨bos⟩");
}

/// The format that a `tokenizer_config.json` selects and what it writes, or the sentence it is refused with.
fn from_config(json: &str) -> String {
    match ChatTemplate::from_config_json(json, "tokenizer_config.json") {
        Ok(template) => format!("{}: {}", template.name(), show(&template, &[user("hi")])),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Template);
            error.to_string()
        }
    }
}

#[test]
fn tokenizer_configs() {
    let configs = [
        "{}",
        r#"{"chat_template": null}"#,
        "\u{feff}{\"chat_template\": \"bom\"}",
        r#"{"chat_template": "{{ bos_token }}", "bos_token": "<s>"}"#,
        r#"{"chat_template": "{{ bos_token }}<s>", "bos_token": {"content": "<s>", "special": true}}"#,
        r#"{"chat_template": "{{ bos_token }}", "bos_token": null}"#,
        r#"{"chat_template": "<a><b><c><d><e>", "additional_special_tokens": ["<a>", {"content": "<b>"}],
            "added_tokens_decoder": {"7": {"content": "<c>", "special": true}, "8": {"content": "<d>", "special": false}},
            "extra_special_tokens": ["<e>"]}"#,
        r#"{"chat_template": "{{ image_token }}", "extra_special_tokens": {"image_token": "<i>"}}"#,
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
        r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}]}"#,
        r#"{"chat_template": []}"#,
        r#"{"chat_template": [{"name": "default"}]}"#,
        r#"{"chat_template": 7}"#,
        r#"{"chat_template": "a", "chat_template": "b"}"#,
        r#"{"bos_token": 1}"#,
        r#"{"eos_token": {"id": 2}}"#,
        r#"{"eos_token": {"content": 2}}"#,
        r#"{"additional_special_tokens": "<a>"}"#,
        r#"{"chat_template": "{% if %}"}"#,
        r#"{"chat_template": "a""#,
        "[]",
        "",
    ];
    let shown: Vec<String> = configs
        .iter()
        .map(|json| format!("{json}\n  {}", from_config(json)))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn special_tokens_without_end_are_refused() {
    let tokens: Vec<String> = (0..70_000)
        .map(|number| format!("\"<{number}>\""))
        .collect();
    let json = format!(
        r#"{{"chat_template": "x", "additional_special_tokens": [{}]}}"#,
        tokens.join(",")
    );
    assert_eq!(
        from_config(&json),
        "tokenizer_config.json: special tokens: expected at most 65534 of 1048576 bytes in all, found 70000 of 478890 \
         bytes"
    );
}

#[test]
fn a_directory_without_any_file_has_llama_2s_format() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ChatTemplate::from_dir(dir.path()).unwrap().name(), "llama2");
    assert!(ChatTemplate::jinja_from_dir(dir.path()).unwrap().is_none());
}

#[test]
fn a_directory_s_files_complete_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write(
        "tokenizer_config.json",
        r#"{"chat_template": "from the config", "bos_token": "<s>"}"#,
    );
    write(
        "special_tokens_map.json",
        r#"{"bos_token": "<never>", "eos_token": "</s>", "unk_token": "<unk>"}"#,
    );
    write(
        "tokenizer.json",
        r#"{"added_tokens": [{"id": 9, "content": "<|x|>", "special": true}, {"content": "<y>", "special": false}]}"#,
    );
    let template = ChatTemplate::from_dir(dir.path()).unwrap();
    assert_eq!(show(&template, &[user("hi")]), "from the config");

    write(
        "chat_template.jinja",
        "{{ bos_token }}{{ eos_token }}{{ unk_token }}<|x|><y>\n",
    );
    let template = ChatTemplate::from_dir(dir.path()).unwrap();
    assert_eq!(
        show(&template, &[user("hi")]),
        "⟨bos⟩⟨eos⟩⟨<unk>⟩⟨<|x|>⟩<y>"
    );
    assert_eq!(
        ChatTemplate::jinja_from_dir(dir.path())
            .unwrap()
            .unwrap()
            .name(),
        "jinja"
    );

    write("chat_template.jinja", "\n{% if %}");
    let error = ChatTemplate::from_dir(dir.path()).unwrap_err().to_string();
    let path = dir.path().join("chat_template.jinja");
    assert_eq!(
        error,
        format!(
            "{}: chat_template, line 2: expected a Jinja template, found a syntax error: unexpected end of block",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer_config.json");
    fs::write(&path, b"{\"chat_template\": \"\xff\"}").unwrap();
    assert_eq!(
        ChatTemplate::from_dir(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: expected a readable file in UTF-8, found: stream did not contain valid UTF-8",
            path.display()
        )
    );
}

#[test]
fn a_template_is_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    shared(&ChatTemplate::native());
    shared(&jinja("x"));
}

#[test]
fn the_source_is_what_the_files_say() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let source = || TemplateSource::from_dir(directory.path());
    let empty = source().expect("nothing is something");
    assert_eq!(empty.template, None);
    assert_eq!(empty.tokens, SpecialTokens::default());
    let config = r#"{"chat_template": "a\u00fc{{ bos_token }}\n", "bos_token": "<s>", "pad_token": {"content": "<pad>"}}"#;
    fs::write(directory.path().join("tokenizer_config.json"), config).expect("written");
    let found = source().expect("good files");
    assert_eq!(found.template.as_deref(), Some("aü{{ bos_token }}\n"));
    assert_eq!(found.tokens.bos.as_deref(), Some("<s>"));
    assert_eq!(
        found.tokens.named,
        [("pad_token".to_owned(), "<pad>".to_owned())]
    );
    assert_eq!(
        TemplateSource::from_config_json(config, "test").expect("good"),
        found
    );
    // It comes before the other, and is not compiled.
    fs::write(directory.path().join("chat_template.jinja"), "{% broken").expect("written");
    assert_eq!(
        source().expect("good files").template.as_deref(),
        Some("{% broken")
    );
    let broken = TemplateSource::from_config_json("[", "test").expect_err("no JSON");
    let of_run = ChatTemplate::from_config_json("[", "test").expect_err("no JSON");
    assert_eq!(broken.to_string(), of_run.to_string());
}
