//! The program among other programs: pipes that close, signals, terminals that want no colours, adapters that are not there.

mod program;

use program::{demo_directory, program};
use serde_json::Value;

#[test]
fn a_closed_stdout_ends_quietly() {
    let runs: [&[&str]; 5] = [
        &["completions", "bash"],
        &["man"],
        &["inspect", "-q"],
        &["inspect", "-q", "--json"],
        &["tokenize", "-q", "Hello"],
    ];
    for args in runs {
        let mut child = program(args).start();
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), b"".as_slice()),
            "{args:?}"
        );
    }
}

#[test]
fn a_reader_that_has_enough_of_json_lines_ends_them() {
    let mut child = program(["tokenize", "-q", "--jsonl"]).start();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("a pipe");
    let line = b"{\"text\": \"Hello\"}\n";
    while std::io::Write::write_all(&mut stdin, line).is_ok() {}
    let output = child.wait_with_output().expect("ends");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

#[test]
fn a_pipe_gets_no_escape_sequence() {
    for (name, value) in [
        ("NO_COLOR", ""),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
        ("TERM", "xterm-256color"),
    ] {
        for args in [
            ["--help"].as_slice(),
            &["generate", "--help"],
            &["generate", "--no"],
            &["tokenize", "a", "-m", "/no"],
        ] {
            let ended = program(args).env(name, value).run();
            assert!(
                !(ended.stdout + &ended.stderr).contains('\u{1b}'),
                "{args:?} {name}={value}"
            );
        }
    }
}

#[test]
fn an_adapter_that_is_not_there_is_exit_6() {
    for args in [
        ["generate", "-p", "a"].as_slice(),
        &["score", "-p", "a"],
        &["chat"],
    ] {
        let error = program(args)
            .arg("--adapter")
            .arg("no such adapter")
            .run()
            .error(6);
        assert!(error.contains("no such adapter"), "{error}");
    }
    let ended = program(["doctor", "--json", "--adapter", "4096"]).run();
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["chosen"], Value::Null);
    assert!(!report["missing"].as_array().expect("a list").is_empty());
}

#[test]
fn quiet_says_nothing_where_nothing_is_wrong() {
    let ended = program(["inspect", "--json", "--quiet"]).run();
    assert_eq!(ended.stderr, "");
    let ended = program(["inspect", "--json"]).model(demo_directory()).run();
    assert_eq!(ended.stderr, "");
}

#[cfg(unix)]
mod signals {
    use std::process::{Child, Command};
    use std::time::Duration;

    use super::program::program;

    fn send(signal: &str, child: &Child) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_truncated_while_mapped_is_exit_3() {
        // The demo model and an embedding of 400 MB, which is a hole.
        const ROWS: u64 = 1 << 20;
        let directory = super::program::demo_copy(&["config.json", "model.safetensors"]);
        let demo = super::program::demo_directory();
        let config = std::fs::read_to_string(demo.join("config.json")).expect("readable");
        let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        let width = config["hidden_size"].as_u64().expect("a number");
        config["vocab_size"] = ROWS.into();
        let weights = std::fs::read(demo.join("model.safetensors")).expect("readable");
        let header = 8 + u64::from_le_bytes(weights[..8].try_into().expect("8 bytes"));
        let mut tensors: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&weights[8..header as usize]).expect("JSON");
        tensors.retain(|name, _| name != "__metadata__");
        let mut end = 0;
        for (name, tensor) in &mut tensors {
            if name.contains("embed_tokens") || name.contains("lm_head") {
                tensor["shape"] = [ROWS, width].into();
            }
            let shape = tensor["shape"].as_array().expect("a list");
            let elements: u64 = shape.iter().filter_map(|size| size.as_u64()).product();
            let begin = end;
            end += 2 * elements;
            tensor["dtype"] = "F16".into();
            tensor["data_offsets"] = [begin, end].into();
        }
        let path = directory.path().join("model.safetensors");
        let header = serde_json::to_vec(&tensors).expect("JSON");
        let start = [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat();
        std::fs::write(directory.path().join("config.json"), config.to_string()).expect("written");
        std::fs::write(&path, &start).expect("written");
        let file = std::fs::File::options().write(true).open(&path);
        let file = file.expect("opened");
        file.set_len(start.len() as u64 + end).expect("a hole");

        let inspect = program(["inspect", "-q", "--check"]).model(directory.path());
        let child = inspect.start();
        let maps = format!("/proc/{}/maps", child.id());
        while !std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains("model.safetensors")) {
            std::thread::sleep(Duration::from_millis(1));
        }
        file.set_len(start.len() as u64).expect("cut");
        let ended = child.wait_with_output().expect("ends");
        assert_eq!(
            String::from_utf8_lossy(&ended.stderr),
            format!(
                "error: {}: expected files that stay whole while they are used, found one cut short by another program; \
                 restore it and run again\n",
                directory.path().display()
            )
        );
        assert_eq!(ended.status.code(), Some(3));
    }

    #[test]
    fn a_signal_ends_a_program_that_waits_for_input() {
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            for args in [
                ["generate", "-q"].as_slice(),
                &["tokenize", "-q", "--jsonl"],
                &["chat", "--json", "-q"],
            ] {
                let mut child = program(args).start();
                // Long enough to have its handlers; without them the code would be none.
                std::thread::sleep(Duration::from_millis(500));
                send(signal, &child);
                let status = child.wait().expect("ends");
                assert_eq!(status.code(), Some(code), "{args:?} {signal}");
            }
        }
    }
}
