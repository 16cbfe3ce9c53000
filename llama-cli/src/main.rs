//! The program `llama-cli`: the five library crates put together, with a command line around them.
//!
//! Composition only: no arithmetic on weights, logits or probabilities happens here.

mod answer;
mod args;
mod bench;
mod chat;
mod commands;
mod demo;
mod devices;
mod engine;
mod escape;
mod failure;
mod fault;
mod hub;
mod interrupt;
mod lines;
mod logits_file;
mod lora;
mod memory;
mod named_file;
mod new_file;
mod notice;
mod opening;
mod output;
mod pipeline_file;
mod placing;
mod progress;
mod prompt;
mod sampling;
mod size;
mod source;
mod startup;
mod truncation;
mod vocabulary;

use std::process::ExitCode;

use anyhow::Result;

use args::{Cli, Command};
use interrupt::Interrupts;

fn main() -> ExitCode {
    startup::begin();
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return failure::report_usage(&error),
    };
    match fault::caught(|| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(cli: Cli) -> Result<()> {
    let interrupts = Interrupts::install()?;
    match cli.command {
        Command::Generate(args) => commands::generate::run(args, &interrupts),
        Command::Chat(args) => commands::chat::run(args, &interrupts),
        Command::Score(args) => commands::score::run(args, &interrupts),
        Command::Tokenize(args) => commands::tokenize::run(args),
        Command::Detokenize(args) => commands::detokenize::run(args),
        Command::Template(args) => commands::template::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Quantize(args) => commands::quantize::run(args, &interrupts),
        Command::Pull(args) => commands::pull::run(args),
        Command::Models(args) => commands::models::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Bench(args) => commands::bench::run(args, &interrupts),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
    }
}
