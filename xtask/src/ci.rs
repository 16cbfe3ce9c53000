//! `cargo xtask ci`: every check that the project has, one after the other, each with its name and time.
//!
//! Two cores finish from a cold cache within 40 minutes because nearly nothing is compiled to code twice: adapter,
//! examples and smoke test run executables of the build that the tests use too. `cargo run --package` would build the
//! dependencies again wherever one package alone asks for fewer of their features than the workspace.
//! The tests come last: the cheap checks have failed by then, and cargo test's own lines end the output.

mod installed;
mod packages;
mod smoke;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::setup::{Build, Consent, setup};
use crate::{codegen, process};

/// Targets that are checked where their standard library is installed.
const OTHER_TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin"];

/// One check.
struct Step {
    name: String,
    work: Work,
}

enum Work {
    /// A cargo command line, with environment variables.
    Cargo {
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
    },
    /// An example that was built, without arguments.
    Example { package: String, name: String },
    /// A function, and the command line that reruns it.
    Own {
        run: fn() -> Result<()>,
        again: &'static str,
    },
}

/// Runs every check; stops at the first that fails.
///
/// # Errors
/// The check's name, what failed, and the command that reruns it.
pub fn ci() -> Result<()> {
    let start = Instant::now();
    let steps = steps()?;
    for (number, step) in steps.iter().enumerate() {
        eprintln!("\n== {}/{} {} ==", number + 1, steps.len(), step.name);
        let begun = Instant::now();
        step.run().with_context(|| {
            format!("{} failed; run it again with `{}`", step.name, step.again())
        })?;
        eprintln!("== {}: {} ==", step.name, show(begun.elapsed()));
    }
    eprintln!(
        "== ci: {} checks passed in {} ==",
        steps.len(),
        show(start.elapsed())
    );
    Ok(())
}

fn show(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

impl Step {
    fn run(&self) -> Result<()> {
        match &self.work {
            Work::Cargo {
                arguments,
                environment,
            } => {
                let mut command = process::cargo(arguments)?;
                process::run(command.envs(environment.iter().map(|(name, value)| (name, value))))
            }
            Work::Example { name, .. } => {
                let example = Build::Workspace.executable(&format!("examples/{name}"))?;
                process::run(&mut process::command(example)?)
            }
            Work::Own { run, .. } => run(),
        }
    }

    fn again(&self) -> String {
        match &self.work {
            Work::Cargo {
                arguments,
                environment,
            } => {
                let variables = environment
                    .iter()
                    .map(|(name, value)| format!("{name}={} ", quoted(value)));
                let words = arguments.iter().map(|word| format!(" {}", quoted(word)));
                format!(
                    "{}cargo{}",
                    variables.collect::<String>(),
                    words.collect::<String>()
                )
            }
            Work::Example { package, name } => {
                format!("cargo run --package {package} --example {name}")
            }
            Work::Own { again, .. } => (*again).to_owned(),
        }
    }
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '"', '*', '$']) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

fn cargo<const N: usize>(name: &str, arguments: [&str; N]) -> Step {
    let arguments = arguments.map(str::to_owned).to_vec();
    Step {
        name: name.to_owned(),
        work: Work::Cargo {
            arguments,
            environment: Vec::new(),
        },
    }
}

fn own(name: &str, again: &'static str, run: fn() -> Result<()>) -> Step {
    Step {
        name: name.to_owned(),
        work: Work::Own { run, again },
    }
}

impl Step {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Work::Cargo { environment, .. } = &mut self.work {
            environment.push((name, value.into()));
        }
        self
    }
}

/// The checks, the cheap and the telling ones first.
fn steps() -> Result<Vec<Step>> {
    let mut steps = vec![
        cargo("format", ["fmt", "--all", "--check"]),
        own(
            "generated files",
            "cargo xtask codegen --check",
            codegen::check,
        ),
        own("kernel variants", "cargo xtask validate", codegen::validate),
        cargo(
            "lints",
            [
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "--deny",
                "warnings",
            ],
        ),
        cargo(
            "lints without wgpu",
            [
                "clippy",
                "--package",
                "llama-kernels",
                "--no-default-features",
                "--locked",
                "--",
                "--deny",
                "warnings",
            ],
        ),
    ];
    for target in OTHER_TARGETS {
        if installed::target(target)? {
            steps.push(cargo(
                &format!("check for {target}"),
                ["check", "--workspace", "--locked", "--target", target],
            ));
        } else {
            eprintln!("not checked: {target} (to check it, `rustup target add {target}`)");
        }
    }
    steps.extend([
        cargo(
            "documentation",
            ["doc", "--workspace", "--no-deps", "--locked"],
        )
        .with("RUSTDOCFLAGS", "--deny warnings"),
        own("build, and an adapter", "cargo xtask setup --yes", || {
            setup(Consent::Given, Build::Workspace)
        }),
    ]);
    steps.extend(examples()?.into_iter().map(|(package, name)| Step {
        name: format!("example {package}/{name}"),
        work: Work::Example { package, name },
    }));
    steps.push(own(
        "the demo model answers",
        smoke::AGAIN,
        smoke::demo_model_answers,
    ));
    if installed::c_compiler() {
        steps.extend(hub());
    } else {
        eprintln!(
            "not checked: the feature hub of llama-cli (to check it, install a C compiler, or name one in CC)"
        );
    }
    steps.extend([
        own("packages", packages::AGAIN, packages::verify),
        cargo(
            "tests",
            ["test", "--workspace", "--locked", "--no-fail-fast"],
        ),
    ]);
    Ok(steps)
}

/// The feature that needs a C compiler. Of the whole workspace, so that nothing but llama-cli is compiled for it.
fn hub() -> [Step; 2] {
    const FEATURE: [&str; 4] = ["--workspace", "--features", "llama-cli/hub", "--locked"];
    let [workspace, features, hub, locked] = FEATURE;
    [
        cargo(
            "lints of pull",
            [
                "clippy",
                workspace,
                features,
                hub,
                locked,
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
        ),
        cargo(
            "pull",
            [
                "test",
                workspace,
                features,
                hub,
                locked,
                "--bin",
                "llama-cli",
                "--test",
                "hub",
                "--test",
                "models",
                "--",
                // They wait for servers rather than work.
                "--test-threads",
                "16",
            ],
        ),
    ]
}

/// Every example of the workspace, by package.
fn examples() -> Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        targets: Vec<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let output = process::read(&mut process::cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ])?)?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut examples = BTreeMap::new();
    for package in metadata.packages {
        for target in package
            .targets
            .into_iter()
            .filter(|target| target.kind == ["example"])
        {
            examples.insert((package.name.clone(), target.name), ());
        }
    }
    if examples.is_empty() {
        bail!("the workspace has no example");
    }
    Ok(examples.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_names_the_command_to_run_it_again() {
        let step =
            cargo("documentation", ["doc", "--no-deps"]).with("RUSTDOCFLAGS", "--deny warnings");
        assert_eq!(
            step.again(),
            "RUSTDOCFLAGS='--deny warnings' cargo doc --no-deps"
        );
        let work = Work::Example {
            package: "llama-model".to_owned(),
            name: "synthetic".to_owned(),
        };
        let step = Step {
            name: "example".to_owned(),
            work,
        };
        assert_eq!(
            step.again(),
            "cargo run --package llama-model --example synthetic"
        );
        let step = own("generated files", "cargo xtask codegen --check", || Ok(()));
        assert_eq!(step.again(), "cargo xtask codegen --check");
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(show(Duration::from_secs(754)), "12:34");
        assert_eq!(show(Duration::from_millis(5900)), "0:05");
    }

    #[test]
    fn tests_come_last() {
        assert_eq!(
            steps().unwrap().last().map(|step| step.name.as_str()),
            Some("tests")
        );
    }
}
