//! SIGINT and SIGTERM while a model answers.

use std::io::Read;
use std::process::{Child, Command};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::on_adapter;
use crate::program::program;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter("a_signal_ends_a_generation", a_signal_ends_a_generation),
        on_adapter(
            "a_signal_ends_a_chat_of_lines",
            a_signal_ends_a_chat_of_lines,
        ),
        on_adapter("a_signal_ends_a_start", a_signal_ends_a_start),
        on_adapter("a_signal_ends_a_bench", a_signal_ends_a_bench),
    ]
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(child.id().to_string())
        .status();
    assert!(status.expect("kill runs").success());
}

/// Waits for the first text, then sends the signal and gives what followed.
fn interrupted(mut child: Child, signal: &str) -> (Option<i32>, Vec<u8>) {
    let mut first = [0];
    child
        .stdout
        .as_mut()
        .expect("a pipe")
        .read_exact(&mut first)
        .expect("some text");
    send(signal, &child);
    let output = child.wait_with_output().expect("ends");
    (output.status.code(), output.stderr)
}

const ENDLESS: [&str; 7] = ["-q", "--temp", "0", "--ignore-eos", "-c", "100000", "-n"];

fn a_signal_ends_a_generation() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let child = program(
            ["generate", "-p", "Once"]
                .iter()
                .chain(&ENDLESS)
                .chain(&["-1"]),
        )
        .start();
        assert_eq!(
            interrupted(child, signal),
            (Some(code), Vec::new()),
            "{signal}"
        );
    }
}

fn a_signal_ends_a_chat_of_lines() {
    let mut child = program(["chat"].iter().chain(&ENDLESS).chain(&["-1"])).start();
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"Hello\nHello\n").expect("read");
    assert_eq!(interrupted(child, "INT"), (Some(130), Vec::new()));
}

/// At any moment of start, load and prompt.
fn a_signal_ends_a_start() {
    for milliseconds in [100, 200, 400, 800] {
        let child = program(
            ["generate", "-p", "Once"]
                .iter()
                .chain(&ENDLESS)
                .chain(&["-1"]),
        )
        .start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        send("TERM", &child);
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            output.status.code(),
            Some(143),
            "{milliseconds} ms: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// While limits are measured, weights are made, a prompt is read or tokens are generated.
fn a_signal_ends_a_bench() {
    for (milliseconds, tokens) in [(100, "4000"), (2500, "4000"), (2500, "0"), (4000, "0")] {
        let flags = ["--synthetic", "110m", "--gen", "4000", "--prompt", tokens];
        let child = program(["bench", "-q"].iter().chain(&flags)).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        send("INT", &child);
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(130), &b""[..]),
            "{milliseconds} ms, {tokens}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
