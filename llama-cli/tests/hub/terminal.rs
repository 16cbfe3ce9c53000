//! `--model ORG/NAME` at a terminal: the offer to pull what is not there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::fixture::{Hub, REPOSITORY, TOKEN, demo_model};

/// Both ends of a new terminal.
fn terminal() -> (File, File) {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("a plain name"))
        .expect("the other end");
    (ours.into(), theirs)
}

/// Exit code, stdout, and what was on the terminal, of a run that is asked and answers.
fn answered(hub: &Hub, answer: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let (mut ours, theirs) = terminal();
    let args = [&["tokenize", "Hello", "-m", REPOSITORY], more].concat();
    let mut program = hub.program(&args).env("HF_TOKEN", TOKEN);
    program
        .command()
        .stdin(Stdio::from(theirs.try_clone().expect("a copy")))
        .stderr(Stdio::from(theirs));
    ours.write_all(answer.as_bytes()).expect("typed");
    let child = program.start();
    // start() has used up its copies of the other end, so that this ends with the process.
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = ours.read(&mut buffer) {
            shown.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = child.wait_with_output().expect("ends");
    let shown = reader.join().expect("read");
    assert!(!shown.contains(TOKEN), "{shown}");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), stdout, shown)
}

#[test]
fn at_a_terminal_the_pull_is_offered_and_then_the_model_runs() {
    let hub = Hub::new(demo_model());
    let (code, stdout, shown) = answered(&hub, "y\n", &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains(&format!(
            "{REPOSITORY} is not in the Hub's cache. Pull it now? [y/N] "
        )),
        "{shown}"
    );
    assert_eq!(stdout, hub.program(&["tokenize", "-q", "Hello"]).run().ok());
    hub.holds(&[
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ]);
}

#[test]
fn no_is_an_error_that_names_the_command() {
    let hub = Hub::new(demo_model());
    for answer in ["n\n", "\n", "\u{4}"] {
        let (code, stdout, shown) = answered(&hub, answer, &[]);
        assert_eq!((code, stdout.as_str()), (Some(3), ""), "{shown}");
        assert!(
            shown.contains(&format!("`llama-cli pull {REPOSITORY}` fetches it")),
            "{shown}"
        );
    }
    assert!(hub.server.seen().is_empty());
}

#[test]
fn quiet_is_not_asked() {
    let hub = Hub::new(demo_model());
    let (code, _, shown) = answered(&hub, "y\n", &["--quiet"]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(!shown.contains("[y/N]"), "{shown}");
    assert!(hub.server.seen().is_empty());
}
