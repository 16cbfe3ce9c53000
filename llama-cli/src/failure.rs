//! Errors to one line on stderr and an exit code: the only place that knows the codes.

use std::error::Error as StdError;
use std::io::{self, ErrorKind as IoErrorKind, Write};
use std::process::ExitCode;

use llama_chat_template::ErrorKind as TemplateErrorKind;

use crate::escape;
use crate::interrupt::Interrupted;

const RUN_TIME: u8 = 1;
const USAGE: u8 = 2;
pub(crate) const MODEL_FILE: u8 = 3;
#[cfg(feature = "hub")]
const AUTHORISATION: u8 = 4;
#[cfg(feature = "hub")]
const NETWORK: u8 = 5;
const DEVICE: u8 = 6;
const DISK: u8 = 7;

/// What the caller asked for cannot be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A model whose files do not fit one another: exit code 3. Faults of one file alone come typed from the crate that read it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadModel(pub(crate) String);

/// No adapter that works: exit code 6. Faults of a device in use come typed from the crates below.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAdapter(pub(crate) String);

/// A file that cannot be written: exit code 7.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Disk(pub(crate) String);

/// A server that does not give this to this user: exit code 4.
#[cfg(feature = "hub")]
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Authorisation(pub(crate) String);

/// No network, or a server that does not do what it should: exit code 5.
#[cfg(feature = "hub")]
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Network(pub(crate) String);

/// An error that makes the process exit with 2: `bail!(usage("…"))`.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Prints what went wrong, and gives the exit code. A closed pipe is no failure: whoever read has read enough.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    if let Some(Interrupted(signal)) = error.downcast_ref() {
        return ExitCode::from(signal.exit_code());
    }
    // A closed stderr is no reason for another failure.
    let _ = writeln!(
        io::stderr(),
        "error: {}",
        escape::one_line(&error.to_string())
    );
    ExitCode::from(error.chain().find_map(code).unwrap_or(RUN_TIME))
}

/// Help and version go to stdout with 0, bad usage to stderr with 2, as one line where clap has several.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as ClapErrorKind;
    if !error.use_stderr()
        || error.kind() == ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let _ = error.print();
    } else {
        let _ = writeln!(
            io::stderr(),
            "{}",
            escape::one_line(&usage_line(&error.to_string()))
        );
    }
    ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
}

/// clap's message and its tips, without the usage that --help shows better.
fn usage_line(rendered: &str) -> String {
    let said = rendered
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let said = said.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let mut line = String::new();
    for part in said {
        line.push_str(match part {
            _ if line.is_empty() => "",
            tip if tip.starts_with("tip: ") => "; ",
            _ => " ",
        });
        line.push_str(part);
    }
    line.push_str("; --help lists what there is");
    line
}

fn is_closed_pipe(cause: &(dyn StdError + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    io == Some(IoErrorKind::BrokenPipe)
}

/// The exit code that one cause of an error stands for, if it stands for one.
fn code(cause: &(dyn StdError + 'static)) -> Option<u8> {
    #[cfg(feature = "hub")]
    if cause.is::<Authorisation>() {
        return Some(AUTHORISATION);
    } else if cause.is::<Network>() {
        return Some(NETWORK);
    }
    if cause.is::<Usage>() {
        Some(USAGE)
    } else if cause.is::<BadModel>()
        || cause.is::<llama_tokenizer::Error>()
        || cause.is::<llama_weights::Error>()
    {
        Some(MODEL_FILE)
    } else if cause.is::<Disk>() {
        Some(DISK)
    } else if cause.is::<NoAdapter>() || cause.is::<llama_kernels::Error>() {
        Some(DEVICE)
    } else if let Some(error) = cause.downcast_ref() {
        Some(model_code(error))
    } else if let Some(error) = cause.downcast_ref::<llama_chat_template::Error>() {
        Some(match error.kind() {
            TemplateErrorKind::Malformed => USAGE,
            TemplateErrorKind::Refused => RUN_TIME,
            TemplateErrorKind::Template => MODEL_FILE,
        })
    } else {
        let kind = cause.downcast_ref::<io::Error>()?.kind();
        let full = matches!(
            kind,
            IoErrorKind::StorageFull | IoErrorKind::QuotaExceeded | IoErrorKind::ReadOnlyFilesystem
        );
        full.then_some(DISK)
    }
}

fn model_code(error: &llama_model::Error) -> u8 {
    use llama_model::Error as E;
    match error {
        E::ContextFull { .. }
        | E::EmptyPrompt
        | E::NoContext
        | E::TokenOutOfRange { .. }
        | E::SamplerOption { .. }
        | E::Placement { .. }
        | E::FewerLayers { .. }
        | E::EmptyStopString => USAGE,
        E::MissingTensor { .. } | E::Shape(_) => MODEL_FILE,
        E::Gpu(_)
        | E::KvTooLarge { .. }
        | E::DoesNotFit { .. }
        | E::DoesNotFitOneOf { .. }
        | E::HostTooSmall { .. } => DEVICE,
        _ => RUN_TIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_decides_the_code_however_deep_it_lies() {
        let cases: [(anyhow::Error, Option<u8>); 6] = [
            (usage("no"), Some(2)),
            (BadModel("no".into()).into(), Some(3)),
            (Disk("no".into()).into(), Some(7)),
            (io::Error::from(IoErrorKind::StorageFull).into(), Some(7)),
            (llama_model::Error::NoContext.into(), Some(2)),
            (anyhow::anyhow!("anything else"), None),
        ];
        for (error, expected) in cases {
            let error = error.context("outer");
            assert_eq!(error.chain().find_map(code), expected, "{error:#}");
        }
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_faults() {
        let plain = io::Error::from(IoErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&plain));
        assert!(!is_closed_pipe(&io::Error::from(IoErrorKind::NotFound)));
    }

    #[test]
    fn usage_is_one_line_with_its_tip() {
        let rendered = "error: unexpected argument '--topp' found\n\n  tip: a similar argument exists: '--top-p'\n\nUsage: x\n\nFor more information, try '--help'.\n";
        assert_eq!(
            usage_line(rendered),
            "error: unexpected argument '--topp' found; tip: a similar argument exists: '--top-p'; --help lists what there is"
        );
    }
}
