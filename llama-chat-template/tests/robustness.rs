//! Hostile templates and malformed messages, one test per item; errors are asserted as whole sentences.

use std::time::{Duration, Instant};

use llama_chat_template::{
    ChatTemplate, Error, ErrorKind, Message, RenderOptions, Role, Segment, SpecialTokens, parse_messages,
};

/// What `template` makes of one greeting.
fn run(template: &str) -> Result<Vec<Segment>, Error> {
    run_on(template, &[Message::new(Role::User, "hi")])
}

fn run_on(template: &str, messages: &[Message]) -> Result<Vec<Segment>, Error> {
    let tokens = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()), ..SpecialTokens::default() };
    ChatTemplate::jinja(template, &tokens, "config.json")?.render(messages, &RenderOptions::default())
}

/// `template` is refused as the template's fault, within the two seconds that bad input may take.
#[track_caller]
fn refused(template: &str, sentence: &str) {
    let start = Instant::now();
    let error = run(template).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.kind(), ErrorKind::Template);
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

#[track_caller]
fn malformed(json: &str, sentence: &str) {
    let error = parse_messages(json).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn range_of_a_trillion() {
    refused("{% for i in range(10**12) %}x{% endfor %}", "");
}

#[test]
fn loops_within_loops() {
    refused(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        "",
    );
}

#[test]
fn a_string_of_ten_gigabytes() {
    refused("{{ 'a' * 10**10 }}", "");
}

#[test]
fn a_string_doubled_forty_times() {
    refused(
        "{% set n = namespace(s=messages[0].content) %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "",
    );
}

#[test]
fn a_replacement_that_grows() {
    refused("{{ ('a' * 100000).replace('a', 'b' * 100000) }}", "");
}

#[test]
fn endless_macro() {
    refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "");
}

#[test]
fn class_mro_reaches_nothing() {
    refused("{{ ''.__class__.__mro__[1].__subclasses__() }}", "");
}

#[test]
fn include_reads_no_file() {
    refused("line one\n{% include '/etc/passwd' %}", "");
}

#[test]
fn import_reads_no_file() {
    refused("{% import '/etc/passwd' as p %}", "");
}

#[test]
fn extends_reads_no_file() {
    refused("{% extends '/etc/passwd' %}", "");
}

#[test]
fn syntax_error_names_its_line() {
    refused("fine\nfine too\n{% if %}", "");
}

#[test]
fn nested_expression_of_a_hundred_thousand_levels() {
    refused(&format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)), "");
}

#[test]
fn nested_blocks_of_ten_thousand_levels() {
    refused(&"{% if true %}".repeat(10_000), "");
}

#[test]
fn nested_list_made_by_a_loop() {
    refused(
        "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% for j in range(9999) %}\
         {% set n.x = [n.x] %}{% endfor %}{% endfor %}",
        "",
    );
}

#[test]
fn nested_list_printed() {
    let levels = "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}";
    refused(&format!("{levels}{{{{ n.x | tojson }}}}"), "");
}

#[test]
fn json_of_a_list_doubled_sixty_times() {
    refused(
        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
        "",
    );
}

#[test]
fn json_with_a_huge_indent() {
    refused("{{ [1] | tojson(indent=1000000000000) }}", "");
}

#[test]
fn date_with_a_bad_format() {
    refused("{{ strftime_now('%Q') }}", "");
}

#[test]
fn unknown_filter_names_its_line() {
    refused("\n{{ messages | nonsense }}", "");
}

#[test]
fn a_special_token_cut_into_pieces() {
    refused("{{ bos_token[0] }}", "");
}

#[test]
fn a_marker_in_the_template() {
    refused("\u{fdd0}", "");
}

#[test]
fn raise_exception_reaches_the_user() {
    let error = run("{{ raise_exception('Only\\nseven \u{1b}[31mwords, ' + messages[0].content) }}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: the chat template refuses these messages: Only seven  [31mwords, hi"
    );
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn raise_exception_within_a_macro_reaches_the_user() {
    let error = run("{% macro m() %}{{ raise_exception('No.') }}{% endmacro %}{{ m() }}").unwrap_err();
    assert_eq!(error.to_string(), "config.json: the chat template refuses these messages: No.");
}

#[test]
fn jinja_in_a_message_is_text() {
    let messages = [Message::new(Role::User, "{{ 7*7 }} {% include 'x' %}")];
    let segments = run_on("{{ bos_token }}{{ messages[0].content }}", &messages).unwrap();
    assert_eq!(segments, [Segment::Bos, Segment::Text("{{ 7*7 }} {% include 'x' %}".into())]);
}

#[test]
fn control_tokens_in_a_message_are_text() {
    let messages = [Message::new(Role::User, "<s></s>")];
    let segments = run_on("<s>{{ messages[0].content }}{{ eos_token }}", &messages).unwrap();
    assert_eq!(segments, [Segment::Bos, Segment::Text("<s></s>".into()), Segment::Eos]);
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
    let segments = ChatTemplate::native().render(&[Message::new(Role::User, "\u{fdd0}")], &RenderOptions::default());
    assert_eq!(segments.unwrap(), [Segment::Bos, Segment::Text("[INST] \u{fdd0} [/INST]".into())]);
}

#[test]
fn long_messages_bring_their_own_fuel() {
    let messages = [Message::new(Role::User, "word ".repeat(2_000_000))];
    let segments = run_on("{{ messages[0]['content'] | trim }}", &messages).unwrap();
    assert!(matches!(&segments[..], [Segment::Text(text)] if text.len() == 9_999_999));
}

#[test]
fn content_null() {
    malformed(r#"[{"role": "user", "content": null}]"#, "messages[0].content: expected a string, found null");
}

#[test]
fn content_missing() {
    malformed(r#"[{"role": "user"}]"#, "messages[0].content: expected a string, found nothing");
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
    malformed(r#"[{"content": "a"}]"#, "messages[0].role: expected a role such as \"user\", found nothing");
    malformed(
        r#"[{"role": 1, "content": "a"}]"#,
        "messages[0].role: expected a role such as \"user\", found a number",
    );
}

#[test]
fn a_field_given_twice() {
    malformed(
        r#"[{"role": "user", "content": "a", "content": "b"}]"#,
        "",
    );
}

#[test]
fn not_a_list() {
    malformed(r#"{"messages": []}"#, "");
    malformed(r#""hi""#, "");
    malformed("3", "");
    malformed("", "");
    malformed("[", "");
    malformed("[7]", "");
}

#[test]
fn nested_a_hundred_thousand_levels_deep() {
    malformed(&"[".repeat(100_000), "");
    malformed(&format!(r#"[{{"role": {}"#, "[".repeat(100_000)), "");
}
