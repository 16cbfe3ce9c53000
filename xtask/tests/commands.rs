//! The command line: what it lists, and what it does with words it does not know.

use std::process::{Command, Output};

fn xtask(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .output()
        .expect("xtask starts")
}

#[test]
fn help_lists_every_command() {
    let output = xtask(&["--help"]);
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn unknown_words_are_a_usage_error() {
    for words in [
        &[][..],
        &["build"],
        &["ci", "--fast"],
        &["golden", "--yes"],
        &["setup", "yes"],
    ] {
        let output = xtask(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty());
        assert!(
            String::from_utf8_lossy(&output.stderr).starts_with("usage: cargo xtask <command>"),
            "{words:?}"
        );
    }
}

#[test]
fn an_unknown_generator_is_named_by_its_path() {
    let output = xtask(&["golden", "no-such-generator"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: expected a tests/golden/**/generate.py whose path holds no-such-generator, found none\n"
    );
}

#[test]
fn every_generator_pins_what_it_imports() {
    let generators =
        xtask::golden::generators(xtask::process::root()).expect("the crates can be read");
    assert!(!generators.is_empty());
    for generator in generators {
        let requirements = generator.with_file_name("requirements.txt");
        let text = std::fs::read_to_string(&requirements).unwrap_or_default();
        let pinned = text
            .lines()
            .filter(|line| !line.starts_with(['#', '-']) && !line.trim().is_empty());
        // A generator that imports nothing says so.
        assert!(
            pinned.clone().count() > 0 || text.trim() == "# Python alone.",
            "{}: nothing pinned",
            requirements.display()
        );
        for line in pinned {
            assert!(
                line.contains("=="),
                "{}: {line} is not pinned",
                requirements.display()
            );
        }
    }
}
