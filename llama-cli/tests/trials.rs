//! Trials: what needs an adapter, and what reads the reference data of `../shared`. Each is ignored with its reason
//! where that is not there; with LLAMA_GPU=require a missing adapter is a failure.

#[path = "trials/answers.rs"]
mod answers;
#[path = "trials/bench.rs"]
mod bench;
#[path = "trials/dialogues.rs"]
mod dialogues;
#[path = "trials/formats.rs"]
mod formats;
#[path = "trials/layers.rs"]
mod layers;
#[path = "trials/lora.rs"]
mod lora;
mod program;
#[path = "trials/quantized.rs"]
mod quantized;
#[path = "trials/reference.rs"]
mod reference;
#[cfg(unix)]
#[path = "trials/signals.rs"]
mod signals;
#[cfg(target_os = "linux")]
#[path = "trials/terminal.rs"]
mod terminal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    trials.extend(answers::trials());
    trials.extend(bench::trials());
    trials.extend(dialogues::trials());
    trials.extend(formats::trials());
    trials.extend(layers::trials());
    trials.extend(lora::trials());
    trials.extend(quantized::trials());
    trials.extend(reference::trials());
    #[cfg(unix)]
    trials.extend(signals::trials());
    #[cfg(target_os = "linux")]
    trials.extend(terminal::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial that runs where an adapter works.
fn on_adapter(name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        Ok(no_adapter().unwrap_or_else(|| completed(check)))
    })
}

/// A trial that reads a file or folder of the reference data.
fn on_reference(
    name: &str,
    data: &'static str,
    check: impl FnOnce(PathBuf) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        Ok(reference_path(data).map_or_else(|reason| reason, |path| completed(|| check(path))))
    })
}

/// Both.
fn on_adapter_and_reference(
    name: &str,
    data: &'static str,
    check: impl FnOnce(PathBuf) + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
        Ok(match (reference_path(data), no_adapter()) {
            (Err(reason), _) | (Ok(_), Some(reason)) => reason,
            (Ok(path), None) => completed(|| check(path)),
        })
    })
}

fn completed(check: impl FnOnce()) -> Completion {
    check();
    Completion::Completed
}

fn reference_path(data: &str) -> Result<PathBuf, Completion> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(data);
    if path.exists() {
        Ok(path)
    } else {
        Err(Completion::ignored_with(format!(
            "{} is not there",
            path.display()
        )))
    }
}

/// The reason to ignore, where `doctor` finds no adapter that works and none is required.
fn no_adapter() -> Option<Completion> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = FOUND.get_or_init(|| program::program(["doctor", "--json"]).run().code == Some(0));
    let required = std::env::var("LLAMA_GPU").is_ok_and(|value| value == "require");
    (!found && !required).then(|| {
        Completion::ignored_with(
            "doctor finds no adapter that works; LLAMA_GPU=require makes this a failure",
        )
    })
}
