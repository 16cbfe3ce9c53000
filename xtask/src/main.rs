//! The project's own commands: `cargo xtask <command>`.

use std::path::Path;
use std::process::ExitCode;

use xtask::setup::{Build, Consent, setup};
use xtask::{ci, codegen, demo, golden, kit, report};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["setup"] => setup(Consent::Ask, Build::Program),
        ["setup", "--yes"] => setup(Consent::Given, Build::Program),
        ["try"] => demo::try_demo(Consent::Ask),
        ["try", "--yes"] => demo::try_demo(Consent::Given),
        ["ci"] => ci::ci(),
        ["golden", names @ ..] if !names.iter().any(|name| name.starts_with('-')) => {
            golden::golden(names)
        }
        ["codegen"] => codegen::write(),
        ["codegen", "--check"] => codegen::check(),
        ["validate"] => codegen::validate(),
        ["dist", "--bench-kit", directory] => kit::bench_kit(Path::new(directory)),
        ["benchmarks", directory] => kit::benchmarks(Path::new(directory)),
        ["report", directory] => report::report(Path::new(directory)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
usage: cargo xtask <command>

  setup [--yes]       find a working adapter; on Debian and its relatives install a software one where there is none
  try [--yes]         setup, release build, chat with the demo model
  ci                  setup --yes and every check; stops at the first that fails and says how to run it again
  golden [NAME…]      rerun the Python generators of golden data, or those whose path holds a NAME (torch: several GB)
  codegen [--check]   write llama-kernels/src/generated from llama-kernels/wgsl, or compare
  dist --bench-kit DIR  a folder that measures and tries the kernels on another machine of this architecture, without cargo
  benchmarks DIR      the same on this machine, with the ratios to plain CPU loops; results, tables and plots into DIR
  report DIR          tables and plots of a folder of results
  validate            prove every kernel variant without a GPU (and with spirv-val, when installed)";
