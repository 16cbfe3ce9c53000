//! Exit code 2: what the command line asks for cannot be. Also the environment variables, and that
//! no message repeats what a user wrote in confidence.

mod program;

use std::fs;

use program::{demo_directory, program};

#[test]
fn a_command_is_needed() {
    let ended = program([""; 0]).run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(
        ended.stderr.contains("Usage: llama-cli <COMMAND>"),
        "{}",
        ended.stderr
    );
}

#[test]
fn bad_values_are_refused_by_flag() {
    let cases: [(&[&str], &str); 21] = [
        (
            &["--temp", "-1"],
            "invalid value '-1' for '--temp <T>': expected a finite number, 0 or more",
        ),
        (
            &["--temp", "NaN"],
            "invalid value 'NaN' for '--temp <T>': expected a finite number, 0 or more",
        ),
        (
            &["--temperature", "1e39"],
            "invalid value '1e39' for '--temp <T>': expected a finite number, 0 or more",
        ),
        (
            &["--top-p", "2"],
            "invalid value '2' for '--top-p <P>': expected a number from 0 to 1",
        ),
        (
            &["--top-p", "-0.1"],
            "invalid value '-0.1' for '--top-p <P>': expected a number from 0 to 1",
        ),
        (
            &["--min-p", "NaN"],
            "invalid value 'NaN' for '--min-p <P>': expected a number from 0 to 1",
        ),
        (
            &["--repeat-penalty", "0"],
            "invalid value '0' for '--repeat-penalty <X>': expected a finite number above 0",
        ),
        (
            &["--top-k", "many"],
            "invalid value 'many' for '--top-k <K>': invalid digit found in string",
        ),
        (
            &["-n", "-2"],
            "invalid value '-2' for '--max-tokens <N>': expected a count, or -1 for no limit",
        ),
        (
            &["-n", "1.5"],
            "invalid value '1.5' for '--max-tokens <N>': expected a count, or -1 for no limit",
        ),
        (
            &["--seed", "x"],
            "invalid value 'x' for '--seed <N>': invalid digit found in string",
        ),
        (
            &["--stop", ""],
            "invalid value '' for '--stop <TEXT>': expected a text that is not empty",
        ),
        (
            &["--ctx-size", "0"],
            "invalid value '0' for '--ctx-size <N>': number would be zero for non-zero type",
        ),
        (&["--gpu-layers", "-1"], "unexpected argument '-1' found"),
        (
            &["--split", "3,x"],
            "invalid value '3,x' for '--split <N,N,…>': expected counts of layers such as 30,50",
        ),
        (
            &["--dtype", "q5"],
            "invalid value 'q5' for '--dtype <DTYPE>'",
        ),
        (
            &["--kv-dtype", "q5_0"],
            "invalid value 'q5_0' for '--kv-dtype <KV_DTYPE>'",
        ),
        (
            &["--ids", ""],
            "invalid value '' for '--ids <1,2,3>': expected at least one token id; found none",
        ),
        (
            &["--ids", "1,-1"],
            "expected token ids such as 1,15043,3186; found \"-1\"",
        ),
        (
            &["-p", "a", "--ids", "1"],
            "the argument '--prompt <TEXT>' cannot be used with '--ids <1,2,3>'",
        ),
        (
            &["--no-such-flag"],
            "unexpected argument '--no-such-flag' found",
        ),
    ];
    for (flags, expected) in cases {
        let error = program(["generate"].iter().chain(flags)).run().error(2);
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
}

#[test]
fn shapes_and_tests_that_cannot_be_are_refused() {
    let cases: [(&[&str], &str); 9] = [
        (
            &["--synthetic", "8b"],
            "invalid value '8b' for '--synthetic <SHAPE>': expected 7b, 13b, 70b, 110m, tiny or six numbers: hidden,layers,heads,kv,ffn,vocab; --help lists what there is",
        ),
        (
            &["--synthetic", "256,2,3,2,512,1024"],
            "invalid value '256,2,3,2,512,1024' for '--synthetic <SHAPE>': expected a number of heads that divides the hidden size 256, found 3; --help lists what there is",
        ),
        (
            &["--synthetic", "256,0,4,2,512,1024"],
            "invalid value '256,0,4,2,512,1024' for '--synthetic <SHAPE>': hyperparameters: n_layers: expected an integer from 1 to 4096, found 0; correct the shape that was given; --help lists what there is",
        ),
        (
            &["--synthetic", "1048576,4096,4096,1,1048576,32000"],
            "invalid value '1048576,4096,4096,1,1048576,32000' for '--synthetic <SHAPE>': expected at most 1099511627776 parameters, found 22520272859955200; --help lists what there is",
        ),
        (
            &["--synthetic", "tiny", "--prompt", "0", "--gen", "0"],
            "--prompt 0 and --gen 0 leave nothing to measure: expected at least one of them above 0",
        ),
        (
            &["--synthetic", "tiny", "--depth", "0,4000", "-c", "4096"],
            "pp512@d4000 needs 4512 positions and the context holds 4096: shorten it or give a larger --ctx-size",
        ),
        (
            &["--synthetic", "tiny", "--depth", "18446744073709551615"],
            "tg128@d18446744073709551615 needs 18446744073709551615 positions and the context holds 4096: shorten it or give a larger --ctx-size",
        ),
        (
            &["--synthetic", "tiny", "--reps", "0"],
            "invalid value '0' for '--reps <N>': number would be zero for non-zero type; --help lists what there is",
        ),
        (
            &["--synthetic", "tiny", "--csv", "--json"],
            "the argument '--csv' cannot be used with '--json'; --help lists what there is",
        ),
    ];
    for (flags, expected) in cases {
        let error = program(["bench"].iter().chain(flags)).run().error(2);
        assert_eq!(error, expected, "{flags:?}");
    }
}

#[test]
fn ids_beyond_the_vocabulary_are_refused() {
    for command in ["generate", "score"] {
        let error = program([command, "--ids", "1,4000000000"]).run().error(2);
        assert!(
            error.starts_with("id 4000000000: expected ids below the vocabulary's size of "),
            "{error}"
        );
    }
    let error = program(["detokenize", "4000000000"]).run().error(2);
    assert!(
        error.starts_with("id 4000000000: expected ids below"),
        "{error}"
    );
}

#[test]
fn a_prompt_file_is_named_when_it_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = directory.path().join("no such prompt");
    let error = program(["generate", "-f"]).arg(&missing).run().error(2);
    assert!(
        error.starts_with(&format!(
            "{}: expected a readable text file, found: ",
            missing.display()
        )),
        "{error}"
    );
    let latin1 = directory.path().join("latin1.txt");
    fs::write(&latin1, b"caf\xe9").expect("written");
    let error = program(["generate", "-f"]).arg(&latin1).run().error(2);
    assert_eq!(
        error,
        format!(
            "{}: expected UTF-8 text, found another byte at offset 3",
            latin1.display()
        )
    );
}

#[test]
fn stdin_that_is_no_text_is_refused() {
    for command in ["generate", "score", "tokenize"] {
        let error = program([command])
            .stdin(b"ab\xff".as_slice())
            .run()
            .error(2);
        assert_eq!(
            error, "stdin: expected UTF-8 text, found another byte at offset 2",
            "{command}"
        );
    }
}

#[test]
fn a_prompt_over_the_context_is_refused_with_both_counts_before_anything_is_loaded() {
    for (command, ids, tokens) in [("generate", "1,5,6,7,8", 5), ("score", "1,5,6,7,8", 5)] {
        let error = program([command, "-c", "4", "--ids", ids]).run().error(2);
        assert_eq!(
            error,
            format!(
                "the prompt has {tokens} tokens and the context holds 4: shorten the prompt or give a larger --ctx-size"
            )
        );
    }
    let ten_times = vec!["5"; 40].join(",");
    let error = program(["generate", "-c", "4", "--ids", &ten_times])
        .run()
        .error(2);
    assert!(
        error.starts_with("the prompt has 40 tokens and the context holds 4:"),
        "{error}"
    );
}

#[test]
fn a_conversation_over_the_context_is_refused() {
    let messages = r#"[{"role": "user", "content": "Hello, who are you and what can you do?"}]"#;
    let error = program(["chat", "--json", "-c", "4"])
        .stdin(messages)
        .run()
        .error(2);
    assert!(
        error.starts_with("the prompt has ") && error.contains(" tokens and the context holds 4:"),
        "{error}"
    );
}

#[test]
fn messages_must_be_a_list_of_role_and_content() {
    let cases = [
        ("{}", "messages: expected a JSON list"),
        ("not json", "messages: expected a JSON list"),
        (
            r#"[{"role": "user"}]"#,
            "messages[0].content: expected a string, found nothing",
        ),
        (
            r#"[{"role": "user", "content": null}]"#,
            "messages[0].content: expected a string, found null",
        ),
        (
            r#"[{"role": "user", "content": [{"type": "text"}]}]"#,
            "messages[0].content: expected a string, found a list",
        ),
    ];
    for (json, expected) in cases {
        for args in [
            ["chat", "--json"].as_slice(),
            &["template", "--messages", "-"],
        ] {
            let error = program(args).stdin(json).run().error(2);
            assert!(error.starts_with(expected), "{args:?} {json}: {error}");
        }
    }
}

#[test]
fn two_system_messages_are_one_too_many() {
    let messages = r#"[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]"#;
    let error = program(["chat", "--json", "--system", "c"])
        .stdin(messages)
        .run()
        .error(2);
    assert_eq!(
        error,
        "--system: expected messages without a system message of their own, found one"
    );
}

#[test]
fn a_malformed_line_is_named_by_its_number() {
    let cases = [
        (
            "tokenize",
            "{\"text\": \"a\"}\n\nnope\n",
            "stdin line 3, column 2: expected a JSON object as --help describes it, found no JSON",
        ),
        (
            "tokenize",
            "{\"txt\": \"a\"}",
            "stdin line 1, column 12: expected a JSON object as --help describes it, found other fields or types",
        ),
        (
            "detokenize",
            "{\"ids\": [-1]}",
            "stdin line 1, column 11: expected a JSON object as --help describes it, found other fields or types",
        ),
        (
            "detokenize",
            "{\"ids\": [1",
            "stdin line 1, column 10: expected a JSON object as --help describes it, found a line that ends too early",
        ),
    ];
    for (command, stdin, expected) in cases {
        let ended = program([command, "--jsonl"]).stdin(stdin).run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("error: {expected}\n")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn variables_stand_in_for_flags_and_flags_are_stronger() {
    let cases = [
        ("LLAMA_TEMP", "-1", "--temp <T>"),
        ("LLAMA_TEMPERATURE", "warm", "--temp <T>"),
        ("LLAMA_TOP_P", "2", "--top-p <P>"),
        ("LLAMA_TOP_K", "x", "--top-k <K>"),
        ("LLAMA_MIN_P", "2", "--min-p <P>"),
        ("LLAMA_REPEAT_PENALTY", "0", "--repeat-penalty <X>"),
        ("LLAMA_REPEAT_LAST_N", "x", "--repeat-last-n <N>"),
        ("LLAMA_MAX_TOKENS", "-2", "--max-tokens <N>"),
        ("LLAMA_SEED", "x", "--seed <N>"),
        ("LLAMA_CTX_SIZE", "0", "--ctx-size <N>"),
        ("LLAMA_DTYPE", "q5", "--dtype <DTYPE>"),
        ("LLAMA_KV_DTYPE", "q5", "--kv-dtype <KV_DTYPE>"),
    ];
    for (name, value, flag) in cases {
        let error = program(["generate", "-p", ""])
            .env(name, value)
            .run()
            .error(2);
        assert!(
            error.contains(&format!("invalid value '{value}' for '{flag}'")),
            "{name}: {error}"
        );
    }
    let missing = program(["inspect"])
        .env("LLAMA_MODEL", "/no such model")
        .run()
        .error(3);
    assert!(missing.starts_with("/no such model: "), "{missing}");
    let given = program(["inspect"])
        .model(demo_directory())
        .env("LLAMA_MODEL", "/no such model")
        .run();
    given.ok();
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let ended = program(["tokenize", "a"])
        .env("LLAMA_MODEL", "")
        .env("LLAMA_JSON", "")
        .run();
    assert!(
        ended.stderr.contains("the built-in demo model answers"),
        "{}",
        ended.stderr
    );
    assert!(!ended.ok().contains("ids"));
}

#[test]
fn json_and_quiet_have_variables_too() {
    let ended = program(["tokenize", "a"])
        .env("LLAMA_JSON", "1")
        .env("LLAMA_QUIET", "true")
        .run();
    assert_eq!(ended.stderr, "");
    assert!(ended.ok().starts_with("{\"ids\":["));
    let ended = program(["tokenize", "a"])
        .env("LLAMA_JSON", "0")
        .env("LLAMA_QUIET", "false")
        .run();
    assert!(ended.stderr.starts_with("note: "), "{}", ended.stderr);
    assert!(!ended.ok().contains("ids"));
}

/// Prompts, messages and lines are private: an error says where, never what.
#[test]
fn no_error_repeats_a_private_text() {
    const SECRET: &str = "hunter2-sk-0123456789";
    let message = |content: &str| format!(r#"[{{"role": "user", "content": {content:?}}}]"#);
    let runs = [
        program(["generate", "-c", "2", "-p", SECRET]),
        program(["score", "-c", "2", "-p", SECRET]),
        program(["tokenize", "--jsonl"]).stdin(format!("{{\"text\": 1, \"{SECRET}\": 2}}")),
        program(["tokenize", "--jsonl"]).stdin(format!("\"{SECRET}\"")),
        program(["detokenize", "--jsonl"]).stdin(format!("{{\"ids\": \"{SECRET}\"}}")),
        program(["template", "--messages", "-"]).stdin(message(&format!("[INST] {SECRET}"))),
        program(["template", "--messages", "-"]).stdin(format!("[\"{SECRET}\"]")),
        program(["template", "--messages", "-"])
            .stdin(format!("[{{\"role\": \"user\", \"content\": \"{SECRET}")),
        program(["chat", "--json", "-c", "4"]).stdin(message(SECRET)),
        program(["chat", "--json"]).stdin(format!("\"{SECRET}\"")),
        program(["chat", "--json", "-c", "4", "--system", SECRET]).stdin(message("a")),
    ];
    for (index, run) in runs.into_iter().enumerate() {
        let ended = run.run();
        assert_ne!(ended.code, Some(0), "run {index}");
        assert!(
            !ended.stderr.contains("hunter2"),
            "run {index}: {}",
            ended.stderr
        );
    }
}
