//! A chat with a person at a terminal: line editing, history, slash commands, Ctrl-C and Ctrl-D.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use llama_chat_template::parse_messages;
use rustyline::config::Behavior;
use rustyline::error::{ReadlineError, Signal as LineSignal};
use rustyline::history::{DefaultHistory, History};
use rustyline::{ColorMode, Config, Editor};

use crate::answer::Finish;
use crate::args::ChatArgs;
use crate::chat::conversation::Conversation;
use crate::chat::history;
use crate::chat::partner::Partner;
use crate::chat::restore;
use crate::chat::slash::{HELP, Slash};
use crate::escape;
use crate::failure::{BadModel, Disk};
use crate::interrupt::{Interrupted, Interrupts, Signal};
use crate::notice::{self, Notices};
use crate::output::Output;
use crate::prompt;

const PROMPT: &str = "> ";
const CONTINUATION: &str = ". ";
const BLOCK: &str = "\"\"\"";

pub(crate) fn run(args: ChatArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    let mut conversation = Conversation::new(args.system.clone());
    let mut partner = Partner::new(args, notices)?;
    partner.start(interrupts)?;
    let mut lines = Lines::open(notices)?;
    let mut output = Output::new();
    restore::terminal_on_terminate()?;
    notices.note("/help lists commands, Ctrl-D ends the chat");
    loop {
        let watch = interrupts.watch();
        let Some(line) = lines.next_message()? else {
            break;
        };
        drop(watch);
        lines.let_go();
        let step = match Slash::parse(&line) {
            None if line.trim().is_empty() => continue,
            None => {
                conversation.ask(line);
                reply(
                    &mut partner,
                    &mut conversation,
                    interrupts,
                    &mut output,
                    notices,
                )
            }
            Some(Err(message)) => {
                notice::problem(&anyhow::Error::msg(message));
                continue;
            }
            Some(Ok(Slash::Exit)) => break,
            Some(Ok(Slash::Regenerate)) => {
                if conversation.take_answer_back() {
                    reply(
                        &mut partner,
                        &mut conversation,
                        interrupts,
                        &mut output,
                        notices,
                    )
                } else {
                    show("there is no message to answer yet");
                    continue;
                }
            }
            Some(Ok(command)) => obey(command, &mut conversation),
        };
        // What one turn asked for can fail without an end to the chat; a lost device or a closed pipe cannot.
        if let Err(error) = step {
            if ends_the_chat(&error) {
                return Err(error);
            }
            notice::problem(&error);
        }
    }
    Ok(())
}

fn reply(
    partner: &mut Partner,
    conversation: &mut Conversation,
    interrupts: &Interrupts,
    output: &mut Output,
    notices: Notices,
) -> Result<()> {
    let answer = partner
        .reply(conversation, interrupts, output)
        .inspect_err(|_| conversation.take_back())?;
    output.end_text()?;
    match answer.finish {
        Finish::Interrupted(Signal::Terminate) => return Err(Interrupted(Signal::Terminate).into()),
        Finish::Interrupted(Signal::Interrupt) => notices.note("stopped"),
        Finish::Length => {
            notices.note("cut off: as many tokens as --max-tokens or the context allows")
        }
        Finish::Eos | Finish::Stop => {}
    }
    Ok(())
}

fn obey(command: Slash, conversation: &mut Conversation) -> Result<()> {
    match command {
        Slash::Help => show(HELP),
        Slash::Clear => conversation.clear(),
        Slash::ShowSystem => show(
            conversation
                .system()
                .unwrap_or("there is no system message"),
        ),
        Slash::SetSystem(text) => conversation.set_system(text),
        Slash::Save(path) => save(&path, conversation)?,
        Slash::Load(path) => *conversation = load(&path)?,
        Slash::Exit | Slash::Regenerate => {}
    }
    Ok(())
}

fn save(path: &Path, conversation: &Conversation) -> Result<()> {
    let json = serde_json::to_string_pretty(&conversation.messages())? + "\n";
    fs::write(path, json).map_err(|error| {
        Disk(format!(
            "{}: expected a file that can be written, found: {error}",
            path.display()
        ))
    })?;
    show(&format!(
        "{} messages are in {}",
        conversation.messages().len(),
        path.display()
    ));
    Ok(())
}

fn load(path: &Path) -> Result<Conversation> {
    let messages = parse_messages(&prompt::read_input(path)?)?;
    show(&format!(
        "{} messages from {}",
        messages.len(),
        path.display()
    ));
    Ok(Conversation::from_messages(messages))
}

/// Words to the person, who asked for them: also with --quiet, and never on stdout.
fn show(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape::for_terminal(text));
}

/// Refused dialogs, prompts that do not fit, files that are not there: the next turn may do better.
fn ends_the_chat(error: &anyhow::Error) -> bool {
    let is_refusal = error
        .downcast_ref::<llama_chat_template::Error>()
        .is_some_and(|error| error.kind() != llama_chat_template::ErrorKind::Template);
    let is_small = is_refusal || error.is::<crate::failure::Usage>() || error.is::<Disk>();
    !is_small || error.is::<BadModel>()
}

/// Messages from a line editor.
struct Lines {
    config: Config,
    /// There while lines are read alone: as long as it lives, SIGINT is its own, and would stop no answer.
    editor: Option<Editor<(), DefaultHistory>>,
    /// What was typed, while there is no editor.
    typed: DefaultHistory,
    history: Option<PathBuf>,
}

/// A line, or why there is none.
enum Typed {
    Line(String),
    Dropped,
    End,
}

impl Lines {
    fn open(notices: Notices) -> Result<Self> {
        // The prompt belongs to the terminal, also where stdout is a file.
        let behavior = if io::stdout().is_terminal() {
            Behavior::Stdio
        } else {
            Behavior::PreferTerm
        };
        let config = Config::builder()
            .behavior(behavior)
            .color_mode(ColorMode::Disabled)
            .history_ignore_space(true)
            .auto_add_history(true)
            .build();
        let mut typed = DefaultHistory::with_config(&config);
        let history = history::file();
        match &history {
            // A first chat finds no file.
            Some(path) => drop(typed.load(path)),
            None => notices.detail("there is no place for a history of what is typed"),
        }
        Ok(Self {
            config,
            editor: None,
            typed,
            history,
        })
    }

    /// Gives SIGINT back until the next line is read.
    fn let_go(&mut self) {
        if let Some(mut editor) = self.editor.take() {
            self.typed = std::mem::take(editor.history_mut());
        }
    }

    fn editor(&mut self) -> Result<&mut Editor<(), DefaultHistory>> {
        let editor = match self.editor.take() {
            Some(editor) => editor,
            None => {
                let mut editor = Editor::with_config(self.config.clone())?;
                *editor.history_mut() = std::mem::take(&mut self.typed);
                editor
            }
        };
        Ok(self.editor.insert(editor))
    }

    /// The next message or command; `None` at the end of input. A block of several lines is one message.
    fn next_message(&mut self) -> Result<Option<String>> {
        loop {
            let line = match self.read(PROMPT)? {
                Typed::Line(line) => line,
                Typed::Dropped => continue,
                Typed::End => return Ok(None),
            };
            match line.trim_start().strip_prefix(BLOCK) {
                None => return Ok(Some(line)),
                Some(first) => match self.block(first)? {
                    Typed::Line(message) => return Ok(Some(message)),
                    Typed::Dropped => {}
                    Typed::End => return Ok(None),
                },
            }
        }
    }

    /// The rest of a block whose first line is `first`.
    fn block(&mut self, first: &str) -> Result<Typed> {
        let mut message = first.to_owned();
        loop {
            if let Some(whole) = message.trim_end().strip_suffix(BLOCK) {
                return Ok(Typed::Line(whole.trim_matches('\n').to_owned()));
            }
            match self.read(CONTINUATION)? {
                Typed::Line(line) => {
                    message.push('\n');
                    message.push_str(&line);
                }
                other => return Ok(other),
            }
        }
    }

    fn read(&mut self, prompt: &str) -> Result<Typed> {
        loop {
            match self.editor()?.readline(prompt) {
                Ok(line) => {
                    self.keep_history();
                    return Ok(Typed::Line(line));
                }
                Err(ReadlineError::Eof) => return Ok(Typed::End),
                // Like a shell: the line is dropped, a new one begins.
                Err(ReadlineError::Interrupted | ReadlineError::Signal(LineSignal::Interrupt)) => {
                    return Ok(Typed::Dropped);
                }
                Err(ReadlineError::Signal(_)) => {}
                Err(error) => bail!("the terminal cannot be read: {error}"),
            }
        }
    }

    /// After every line, so that a chat that is killed loses none. A history that cannot be written is no failure.
    fn keep_history(&mut self) {
        if let (Some(path), Some(editor)) = (&self.history, &mut self.editor) {
            let _ = editor.append_history(path);
        }
    }
}
