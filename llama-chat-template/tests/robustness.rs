//! Hostile templates and malformed messages, one test per item; errors are asserted as whole sentences.

use std::time::{Duration, Instant};

use llama_chat_template::{
    ChatTemplate, Error, ErrorKind, Message, RenderOptions, Role, Segment, SpecialTokens,
    parse_messages,
};

/// What `template` makes of one greeting.
fn run(template: &str) -> Result<Vec<Segment>, Error> {
    run_on(template, &[Message::new(Role::User, "hi")])
}

fn run_on(template: &str, messages: &[Message]) -> Result<Vec<Segment>, Error> {
    let tokens = SpecialTokens {
        bos: Some("<s>".into()),
        eos: Some("</s>".into()),
        ..SpecialTokens::default()
    };
    ChatTemplate::jinja(template, &tokens, "config.json")?
        .render(messages, &RenderOptions::default())
}

/// `template` is refused as the template's fault, within the two seconds that bad input may take.
#[track_caller]
fn refused(template: &str, sentence: &str) {
    let start = Instant::now();
    let error = run(template).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.kind(), ErrorKind::Template);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "took {:?}",
        start.elapsed()
    );
}

#[track_caller]
fn malformed(json: &str, sentence: &str) {
    let error = parse_messages(json).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn range_of_a_trillion() {
    refused(
        "{% for i in range(10**12) %}x{% endfor %}",
        "config.json: chat_template, line 1: failed on these messages: invalid operation: range has too many elements",
    );
}

#[test]
fn loops_within_loops() {
    refused(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn a_string_of_ten_gigabytes() {
    refused(
        "{{ 'a' * 10**10 }}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn a_string_doubled_forty_times() {
    refused(
        "{% set n = namespace(s=messages[0].content) %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn a_replacement_that_grows() {
    refused(
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn endless_macro() {
    refused(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "config.json: chat_template, line 1: failed on these messages: invalid operation: recursion limit exceeded",
    );
}

/// Found by fuzzing: printing it overflowed the stack, which aborts the process.
#[test]
fn a_namespace_that_holds_itself() {
    for (template, name) in [
        (
            "{% set ns = namespace(a=0) %}\n{% set ns.n = ns %}{{ ns.n ~ 'x' }}",
            "ns",
        ),
        (
            "{% set ns = namespace(a=0) %}\n{% set x = [ns] %}{% set ns.n = x %}{{ x == [ns.n] }}",
            "ns",
        ),
        (
            "{% set ns = namespace(a=0) %}\n{% set x = [namespace(a=0)] %}{% set y = x[0] %}{% set y.n = y %}{{ y }}",
            "namespace",
        ),
    ] {
        refused(
            template,
            &format!(
                "config.json: chat_template, line 2: expected a Jinja template, found a namespace used as a value, {name}; only its attributes may be"
            ),
        );
    }
}

#[test]
fn class_mro_reaches_nothing() {
    refused(
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "config.json: chat_template, line 1: failed on these messages: undefined value",
    );
}

#[test]
fn include_reads_no_file() {
    refused(
        "line one\n{% include '/etc/passwd' %}",
        "config.json: chat_template, line 2: expected a Jinja template, found a syntax error: unknown statement include",
    );
}

#[test]
fn import_reads_no_file() {
    refused(
        "{% import '/etc/passwd' as p %}",
        "config.json: chat_template, line 1: expected a Jinja template, found a syntax error: unknown statement import",
    );
}

#[test]
fn extends_reads_no_file() {
    refused(
        "{% extends '/etc/passwd' %}",
        "config.json: chat_template, line 1: expected a Jinja template, found a syntax error: unknown statement extends",
    );
}

#[test]
fn syntax_error_names_its_line() {
    refused(
        "fine\nfine too\n{% if %}",
        "config.json: chat_template, line 3: expected a Jinja template, found a syntax error: unexpected end of block",
    );
}

#[test]
fn nested_expression_of_a_hundred_thousand_levels() {
    refused(
        &format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        "config.json: chat_template, line 1: expected a Jinja template, found a syntax error: template exceeds maximum recursion limits",
    );
}

#[test]
fn nested_blocks_of_ten_thousand_levels() {
    refused(
        &"{% if true %}".repeat(10_000),
        "config.json: chat_template, line 1: expected a Jinja template, found a syntax error: template exceeds maximum recursion limits",
    );
}

#[test]
fn nested_list_made_by_a_loop() {
    refused(
        "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% for j in range(9999) %}\
         {% set n.x = [n.x] %}{% endfor %}{% endfor %}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn nested_list_printed() {
    let levels =
        "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}";
    refused(
        &format!("{levels}{{{{ n.x | tojson }}}}"),
        "config.json: chat_template, line 1: failed on these messages: invalid operation: tojson: expected at most 64 levels of lists and maps, found more",
    );
}

#[test]
fn json_of_a_list_doubled_sixty_times() {
    refused(
        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
        "config.json: chat_template, line 1: expected to finish within 1000006 units of work, found more; the template may loop without end",
    );
}

#[test]
fn json_with_a_huge_indent() {
    refused(
        "{{ [1] | tojson(indent=1000000000000) }}",
        "config.json: chat_template, line 1: failed on these messages: invalid operation: tojson: expected ensure_ascii=false and an indent of at most 16",
    );
}

#[test]
fn date_with_a_bad_format() {
    refused(
        "{{ strftime_now('%!') }}",
        "config.json: chat_template, line 1: failed on these messages: invalid operation: strftime_now: strftime formatting failed: found unrecognized specifier directive `!`",
    );
}

#[test]
fn unknown_filter_names_its_line() {
    refused(
        "\n{{ messages | nonsense }}",
        "config.json: chat_template, line 2: failed on these messages: unknown filter: filter nonsense is unknown",
    );
}

#[test]
fn a_special_token_cut_into_pieces() {
    refused(
        "{{ bos_token[0] }}",
        "config.json: chat_template: failed on these messages: a special token was cut into pieces",
    );
}

#[test]
fn a_marker_in_the_template() {
    refused(
        "\u{fdd0}",
        "config.json: chat_template: expected text without noncharacters, found U+FDD0",
    );
}

#[test]
fn raise_exception_reaches_the_user() {
    let error =
        run("{{ raise_exception('Only\\nseven \u{1b}[31mwords, ' + messages[0].content) }}")
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: the chat template refuses these messages: Only seven  [31mwords, hi"
    );
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn raise_exception_within_a_macro_reaches_the_user() {
    let error =
        run("{% macro m() %}{{ raise_exception('No.') }}{% endmacro %}{{ m() }}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: the chat template refuses these messages: No."
    );
}

#[test]
fn jinja_in_a_message_is_text() {
    let messages = [Message::new(Role::User, "{{ 7*7 }} {% include 'x' %}")];
    let segments = run_on("{{ bos_token }}{{ messages[0].content }}", &messages).unwrap();
    assert_eq!(
        segments,
        [
            Segment::Bos,
            Segment::Text("{{ 7*7 }} {% include 'x' %}".into())
        ]
    );
}

#[test]
fn control_tokens_in_a_message_are_text() {
    let messages = [Message::new(Role::User, "<s></s>")];
    let segments = run_on("<s>{{ messages[0].content }}{{ eos_token }}", &messages).unwrap();
    assert_eq!(
        segments,
        [Segment::Bos, Segment::Text("<s></s>".into()), Segment::Eos]
    );
}

#[test]
fn a_marker_in_a_message_is_refused() {
    for (message, sentence) in [
        (
            Message::new(Role::User, "\u{fdd0}\u{f0000}\u{fdd1}"),
            "messages[0].content: expected text without the noncharacter U+FDD0, which marks control tokens in a \
             Jinja template; remove it",
        ),
        (
            Message::new(Role::Other("\u{fdd1}".into()), ""),
            "messages[0].role: expected text without the noncharacter U+FDD1, which marks control tokens in a \
             Jinja template; remove it",
        ),
    ] {
        let error = run_on("{{ messages[0].role }}", &[message]).unwrap_err();
        assert_eq!(error.to_string(), sentence);
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[test]
fn a_marker_in_a_message_is_text_in_llama_2s_own_format() {
    let segments = ChatTemplate::native().render(
        &[Message::new(Role::User, "\u{fdd0}")],
        &RenderOptions::default(),
    );
    assert_eq!(
        segments.unwrap(),
        [
            Segment::Bos,
            Segment::Text("[INST] \u{fdd0} [/INST]".into())
        ]
    );
}

#[test]
fn long_messages_bring_their_own_fuel() {
    let messages = [Message::new(Role::User, "word ".repeat(2_000_000))];
    let segments = run_on("{{ messages[0]['content'] | trim }}", &messages).unwrap();
    assert!(matches!(&segments[..], [Segment::Text(text)] if text.len() == 9_999_999));
}

#[test]
fn content_null() {
    malformed(
        r#"[{"role": "user", "content": null}]"#,
        "messages[0].content: expected a string, found null",
    );
}

#[test]
fn content_missing() {
    malformed(
        r#"[{"role": "user"}]"#,
        "messages[0].content: expected a string, found nothing",
    );
}

#[test]
fn content_a_list_of_parts() {
    malformed(
        r#"[{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]"#,
        "messages[1].content: expected a string, found a list",
    );
}

#[test]
fn role_missing_or_of_another_type() {
    malformed(
        r#"[{"content": "a"}]"#,
        "messages[0].role: expected a role such as \"user\", found nothing",
    );
    malformed(
        r#"[{"role": 1, "content": "a"}]"#,
        "messages[0].role: expected a role such as \"user\", found a number",
    );
}

#[test]
fn a_field_given_twice() {
    malformed(
        r#"[{"role": "user", "content": "a", "content": "b"}]"#,
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found duplicate field `content` at line 1 column 43",
    );
}

#[test]
fn a_message_that_is_a_list() {
    malformed(
        r#"[["user", "hi"]]"#,
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found invalid type: sequence, expected an object at line 1 column 2",
    );
}

#[test]
fn an_error_does_not_quote_what_was_said() {
    malformed(
        r#"["secret"]"#,
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found invalid type: a string, expected an object at line 1 column 9",
    );
}

#[test]
fn not_a_list() {
    malformed(
        r#"{"messages": []}"#,
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found an object",
    );
    malformed(
        r#""hi""#,
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found a string",
    );
    malformed(
        "3",
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found invalid type: integer `3`, expected a sequence at line 1 column 1",
    );
    malformed(
        "",
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found EOF while parsing a value at line 1 column 0",
    );
    malformed(
        "[",
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found EOF while parsing a list at line 1 column 1",
    );
    malformed(
        "[7]",
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found invalid type: integer `7`, expected an object at line 1 column 2",
    );
}

#[test]
fn nested_a_hundred_thousand_levels_deep() {
    malformed(
        &"[".repeat(100_000),
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found invalid type: sequence, expected an object at line 1 column 2",
    );
    malformed(
        &format!(r#"[{{"role": {}"#, "[".repeat(100_000)),
        "messages: expected a JSON list of {\"role\", \"content\"} objects, found recursion limit exceeded at line 1 column 136",
    );
}
