//! The commands of a chat at a terminal: lines that begin with a slash. Parsing only.

use std::path::PathBuf;

/// What /help shows.
pub(crate) const HELP: &str = "\
/help          this list
/exit          end the chat, as Ctrl-D does
/clear         forget the conversation; the system message stays
/system [TEXT] show the system message, or set it; \"\" takes it away
/regen         answer the last message again
/save FILE     write the conversation, as JSON
/load FILE     go on with a conversation from such a file
\"\"\"            begins and ends a message of several lines
Ctrl-C         stops an answer, or drops the line being written
A message that begins with a slash: put a space in front.";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slash {
    Help,
    Exit,
    Clear,
    ShowSystem,
    SetSystem(String),
    Regenerate,
    Save(PathBuf),
    Load(PathBuf),
}

impl Slash {
    /// `None` for a message; `Some(Err)` says what is wrong with a command.
    pub(crate) fn parse(line: &str) -> Option<Result<Self, String>> {
        let command = line.strip_prefix('/')?;
        let (name, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let rest = rest.trim();
        let alone = |slash| match rest {
            "" => Ok(slash),
            _ => Err(format!("/{name} takes nothing behind it")),
        };
        let with_path = |slash: fn(PathBuf) -> Self| match rest {
            "" => Err(format!("/{name}: expected a file name behind it")),
            path => Ok(slash(PathBuf::from(path))),
        };
        Some(match name {
            "help" => alone(Self::Help),
            "exit" => alone(Self::Exit),
            "clear" => alone(Self::Clear),
            "regen" => alone(Self::Regenerate),
            "system" if rest.is_empty() => Ok(Self::ShowSystem),
            "system" if rest == "\"\"" => Ok(Self::SetSystem(String::new())),
            "system" => Ok(Self::SetSystem(rest.to_owned())),
            "save" => with_path(Self::Save),
            "load" => with_path(Self::Load),
            _ => Err(format!(
                "/{name} is no command; /help lists them, and a space in front makes it a message"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_not_commands() {
        for line in ["hello", " /help", "1/2", ""] {
            assert_eq!(Slash::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn every_command_is_known() {
        let cases = [
            ("/help", Slash::Help),
            ("/exit ", Slash::Exit),
            ("/clear", Slash::Clear),
            ("/system", Slash::ShowSystem),
            (
                "/system  Answer in capitals. ",
                Slash::SetSystem("Answer in capitals.".into()),
            ),
            ("/system \"\"", Slash::SetSystem(String::new())),
            ("/regen", Slash::Regenerate),
            ("/save a file.json", Slash::Save("a file.json".into())),
            ("/load\tx", Slash::Load("x".into())),
        ];
        for (line, expected) in cases {
            assert_eq!(Slash::parse(line), Some(Ok(expected)), "{line:?}");
        }
        for name in [
            "/help", "/exit", "/clear", "/system", "/regen", "/save", "/load",
        ] {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, expected) in [
            ("/save", "/save: expected a file name behind it"),
            ("/clear all", "/clear takes nothing behind it"),
            (
                "/",
                "/ is no command; /help lists them, and a space in front makes it a message",
            ),
            (
                "/usr/bin",
                "/usr/bin is no command; /help lists them, and a space in front makes it a message",
            ),
        ] {
            assert_eq!(
                Slash::parse(line),
                Some(Err(expected.to_owned())),
                "{line:?}"
            );
        }
    }
}
