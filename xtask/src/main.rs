//! The project's own commands: `cargo xtask <command>`.

use std::process::ExitCode;

use xtask::codegen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["codegen"] => codegen::write(),
        ["codegen", "--check"] => codegen::check(),
        ["validate"] => codegen::validate(),
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

  codegen [--check]   write llama-kernels/src/generated from llama-kernels/wgsl, or compare
  validate            prove every kernel variant without a GPU (and with spirv-val, when installed)";
