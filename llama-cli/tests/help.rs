//! `--help` of every command, and what is made from the same table: manual pages, completions, versions.

mod program;

use program::program;

const COMMANDS: [&str; 14] = [
    "generate",
    "chat",
    "score",
    "tokenize",
    "detokenize",
    "template",
    "inspect",
    "quantize",
    "pull",
    "models",
    "doctor",
    "bench",
    "completions",
    "man",
];

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!("program", program(["--help"]).run().ok());
}

#[test]
fn help_of_every_command() {
    for command in COMMANDS {
        insta::assert_snapshot!(command, program([command, "--help"]).run().ok());
    }
    insta::assert_snapshot!("models_rm", program(["models", "rm", "--help"]).run().ok());
}

#[test]
fn help_names_every_command() {
    let help = program(["--help"]).run().ok();
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed[..COMMANDS.len()], COMMANDS);
}

#[test]
fn every_common_and_sampling_flag_has_its_variable() {
    let flags = [
        "model",
        "lora",
        "adapter",
        "ctx-size",
        "dtype",
        "kv-dtype",
        "gpu-layers",
        "split",
        "json",
        "quiet",
        "verbose",
        "max-tokens",
        "temp",
        "top-k",
        "top-p",
        "min-p",
        "repeat-penalty",
        "repeat-last-n",
        "seed",
        "stop",
        "ignore-eos",
    ];
    let help = program(["generate", "--help"]).run().ok();
    for flag in flags {
        let variable = format!("[env: LLAMA_{}]", flag.replace('-', "_").to_uppercase());
        assert!(
            help.contains(&format!("--{flag}")) && help.contains(&variable),
            "{flag}: {help}"
        );
    }
    for input in ["LLAMA_PROMPT", "LLAMA_FILE", "LLAMA_IDS"] {
        assert!(!help.contains(input), "{input}");
    }
}

#[test]
fn no_value_of_the_environment_is_shown() {
    let help = program(["generate", "--help"])
        .env("LLAMA_MODEL", "/private/place")
        .run()
        .ok();
    assert!(!help.contains("/private/place"), "{help}");
}

#[test]
fn man_has_a_page_for_the_program_and_for_every_command() {
    assert!(program(["man"]).run().ok().contains(".TH llama-cli 1"));
    for command in COMMANDS {
        let page = program(["man", command]).run().ok();
        assert!(page.contains(".SH SYNOPSIS"), "{command}: {page}");
    }
    let error = program(["man", "nothing"]).run().error(2);
    assert_eq!(
        error,
        format!(
            "man: expected one of {}, found \"nothing\"",
            COMMANDS.join(", ")
        )
    );
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = program(["completions", shell]).run().ok();
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} {command}");
        }
    }
}

#[test]
fn version_is_the_crates() {
    assert_eq!(
        program(["--version"]).run().ok(),
        concat!("llama-cli ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
