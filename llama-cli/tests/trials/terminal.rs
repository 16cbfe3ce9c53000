//! `chat` with a person at a terminal: a pseudo-terminal of script(1), keys typed into it, and what it shows.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::clean;
use crate::{completed, no_adapter};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        at_a_terminal("a_chat_and_its_commands", a_chat_and_its_commands),
        at_a_terminal("a_block_is_one_message", a_block_is_one_message),
        at_a_terminal("what_cannot_be_done_is_said", what_cannot_be_done_is_said),
        at_a_terminal("ctrl_c_stops_an_answer", ctrl_c_stops_an_answer),
        at_a_terminal(
            "a_signal_at_the_prompt_leaves_the_terminal_as_it_was",
            a_signal_at_the_prompt,
        ),
        at_a_terminal("a_dumb_terminal_sees_no_escape", a_dumb_terminal),
        at_a_terminal("a_narrow_window_is_wide_enough", a_narrow_window),
        at_a_terminal("typed_lines_are_kept", typed_lines_are_kept),
    ]
}

fn at_a_terminal(name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        let has_script = Command::new("script").arg("--version").output().is_ok();
        Ok(if has_script {
            no_adapter().unwrap_or_else(|| completed(check))
        } else {
            Completion::ignored_with("script(1) of util-linux is not there")
        })
    })
}

const PATIENCE: Duration = Duration::from_secs(120);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const ENTER: &str = "\r";

/// A shell command line in a pseudo-terminal of its own.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Where the last look ended.
    seen: usize,
    state: TempDir,
}

impl Terminal {
    /// `$CHAT` is the program with `chat --temp 0`, which gives the same answers every time.
    fn open(line: &str, variables: &[(&str, &str)]) -> Self {
        let state = tempfile::tempdir().expect("a temporary directory");
        let chat = format!("'{}' chat --temp 0", env!("CARGO_BIN_EXE_llama-cli"));
        let mut command = clean("script");
        command
            .args(["--quiet", "--return", "--flush", "--command"])
            .arg(line.replace("$CHAT", &chat))
            .arg("/dev/null")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("XDG_STATE_HOME", state.path())
            .envs(variables.iter().copied())
            .current_dir(state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("script starts");
        let keys = child.stdin.take().expect("a pipe");
        let mut screen = child.stdout.take().expect("a pipe");
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                sink.lock().expect("no panic").extend(&bytes[..read]);
            }
        });
        Self {
            child,
            keys,
            shown,
            seen: 0,
            state,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("read");
        self.keys.flush().expect("read");
    }

    /// Types a message once the prompt is there, and waits until `answer` is shown.
    #[track_caller]
    fn say(&mut self, message: &str, answer: &str) -> String {
        self.wait_for("> ");
        self.press(&format!("{message}{ENTER}"));
        self.wait_for(answer)
    }

    /// What is shown from the last look up to and with `text`.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let shown = self.text();
            if let Some(at) = shown[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let since = shown[self.seen..end].to_owned();
                self.seen = end;
                return since;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{text:?} never came after {:?}, only {:?}",
                &shown[..self.seen],
                &shown[self.seen..]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that was shown.
    fn text(&self) -> String {
        let shown = self.shown.lock().expect("no panic");
        // A character may be half there.
        let whole = match std::str::from_utf8(&shown) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&shown[..error.valid_up_to()]).expect("valid"),
        };
        whole.to_owned()
    }

    /// Ends the chat as a person does, and gives all that was shown.
    #[track_caller]
    fn leave(mut self) -> String {
        self.wait_for("> ");
        self.press(CTRL_D);
        self.ended(0)
    }

    #[track_caller]
    fn ended(mut self, code: i32) -> String {
        let status = self.child.wait().expect("script ends");
        assert_eq!(status.code(), Some(code), "{:?}", self.text());
        self.text()
    }
}

fn a_chat_and_its_commands() {
    let mut terminal = Terminal::open("$CHAT", &[]);
    let greeting = terminal.wait_for("ends the chat");
    assert!(
        greeting.contains("note: no --model given: the built-in demo model answers")
            && greeting.contains("note: /help lists commands, Ctrl-D ends the chat"),
        "{greeting:?}"
    );
    terminal.say("/help", "/save FILE     write the conversation, as JSON");
    terminal.say("My name is Anna.", "Anna");
    // A question about what was said before.
    terminal.say("What is my name?", "Your name is Anna.");
    terminal.say("/regen", "Your name is Anna.");
    terminal.say("/system", "there is no system message");
    terminal.say(
        "/save talk of Anna.json",
        "4 messages are in talk of Anna.json",
    );
    let saved = fs::read(terminal.state.path().join("talk of Anna.json")).expect("saved");
    let saved: Value = serde_json::from_slice(&saved).expect("JSON");
    let roles: Vec<&Value> = (saved.as_array().expect("a list").iter())
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
    assert_eq!(saved[2]["content"], "What is my name?");
    terminal.say("/clear", "> ");
    terminal.press(&format!("/regen{ENTER}"));
    terminal.wait_for("there is no message to answer yet");
    terminal.say(
        "/load talk of Anna.json",
        "4 messages from talk of Anna.json",
    );
    terminal.say("What is my name?", "Your name is Anna.");
    terminal.say("/clear", "> ");
    terminal.press(&format!("/system Answer in capitals.{ENTER}"));
    terminal.say("/system", "Answer in capitals.");
    terminal.say("Hello", "HELLO! HOW CAN I HELP YOU?");
    // The answer's first character stands at the line's start: Llama 2's leading space is not shown.
    let shown = terminal.leave();
    assert!(shown.contains("\nHELLO!"), "{shown:?}");
}

fn a_block_is_one_message() {
    let mut terminal = Terminal::open("$CHAT", &[]);
    terminal.wait_for("> ");
    terminal.press(&format!("\"\"\"Lucy has a red basket.{ENTER}"));
    terminal.wait_for(". ");
    terminal.press(&format!("What colour is the basket?{ENTER}"));
    terminal.wait_for(". ");
    terminal.press(&format!("\"\"\"{ENTER}"));
    terminal.wait_for("The basket is red.");
    terminal.say("\"\"\"Hello\"\"\"", "Hello! How can I help you?");
    // Ctrl-C drops a block that was begun, Ctrl-D in one ends the chat.
    terminal.say("\"\"\"lost", ". ");
    terminal.press(CTRL_C);
    terminal.say("/save it", "4 messages are in it");
    let saved = fs::read(terminal.state.path().join("it")).expect("saved");
    let saved: Value = serde_json::from_slice(&saved).expect("JSON");
    assert_eq!(
        saved[0],
        json!({ "role": "user", "content": "Lucy has a red basket.\nWhat colour is the basket?" })
    );
    // A loaded conversation may end with a question: /regen answers it.
    let question = json!([{ "role": "user", "content": "Hello" }]);
    fs::write(terminal.state.path().join("open"), question.to_string()).expect("written");
    terminal.say("/load open", "1 messages from open");
    terminal.say("/regen", "Hello! How can I help you?");
    terminal.leave();
}

fn what_cannot_be_done_is_said() {
    let mut terminal = Terminal::open("$CHAT -c 64", &[]);
    terminal.say(
        "/nothing",
        "error: /nothing is no command; /help lists them, and a space in front makes it a message",
    );
    terminal.say("/load", "error: /load: expected a file name behind it");
    terminal.say(
        "/load not there",
        "error: not there: expected a readable text file, found: No such file or directory (os error 2)",
    );
    terminal.say(
        "/save no folder/x",
        "error: no folder/x: expected a file that can be written, found: No such file or directory (os error 2)",
    );
    // A refused message is taken back: the next one is answered.
    terminal.say(
        "[INST] a",
        "error: messages[0].content: expected text without Llama 2's own tags, found [INST]",
    );
    terminal.say(
        &"word ".repeat(80),
        "tokens and the context holds 64: shorten it or give a larger --ctx-size",
    );
    terminal.say("Hello", "Hello! How can I help you?");
    terminal.leave();
}

fn ctrl_c_stops_an_answer() {
    // A shell in between would end by the Ctrl-C that it sees too.
    let mut terminal = Terminal::open("exec $CHAT --ignore-eos -c 100000", &[]);
    terminal.say("Tell me a story.", "Once");
    terminal.press(CTRL_C);
    terminal.wait_for("note: stopped");
    // At the prompt it drops the line, and the chat goes on.
    terminal.wait_for("> ");
    terminal.press(&format!("/nonsense{CTRL_C}"));
    terminal.say("/save it", "2 messages are in it");
    let shown = terminal.leave();
    assert!(!shown.contains("is no command"), "{shown:?}");
}

fn a_signal_at_the_prompt() {
    let line = "stty -a >before; $CHAT; code=$?; stty -a >after; exit $code";
    for signal in ["TERM", "HUP"] {
        let mut terminal = Terminal::open(line, &[]);
        terminal.wait_for("> ");
        let chat = descendant(terminal.child.id(), "llama-cli");
        let status = Command::new("kill")
            .args([format!("-{signal}"), chat.to_string()])
            .status();
        assert!(status.expect("kill runs").success());
        let status = terminal.child.wait().expect("ends");
        assert_eq!(status.code(), Some(143), "{signal}");
        let modes = |file: &str| fs::read_to_string(terminal.state.path().join(file));
        let before = modes("before").expect("written");
        assert_eq!(modes("after").expect("written"), before, "{signal}");
    }
}

/// The process of that name below another.
fn descendant(of: u32, name: &str) -> u32 {
    let mut below = vec![of];
    while let Some(process) = below.pop() {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
        if read("comm").is_ok_and(|comm| comm.trim() == name) {
            return process;
        }
        let children = read(&format!("task/{process}/children")).unwrap_or_default();
        below.extend(children.split_whitespace().flat_map(str::parse::<u32>));
    }
    panic!("no {name} below {of}");
}

fn a_dumb_terminal() {
    for variable in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let mut terminal = Terminal::open("$CHAT", &[variable]);
        terminal.say("What is 2 plus 3?", "2 + 3 = 5.");
        let shown = terminal.leave();
        let escapes = shown.matches('\x1b').count();
        match variable {
            ("TERM", _) => assert_eq!(escapes, 0, "{shown:?}"),
            // Line editing moves the cursor; colours are what is off.
            _ => assert!(!has_colour(&shown), "{shown:?}"),
        }
    }
}

/// Whether a colour is set: `ESC [ 3x m` and its like.
fn has_colour(shown: &str) -> bool {
    shown.split("\x1b[").skip(1).any(|rest| {
        let parameters = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        parameters.starts_with('m')
    })
}

fn a_narrow_window() {
    let mut terminal = Terminal::open("stty cols 12 rows 4; $CHAT", &[]);
    terminal.wait_for("> ");
    terminal.press("What is 2 plus 3 and what is it not?");
    terminal.press(CTRL_C);
    terminal.say("What is 2 plus 3?", "2 + 3 = 5.");
    terminal.leave();
}

fn typed_lines_are_kept() {
    let mut terminal = Terminal::open("$CHAT", &[]);
    terminal.say("What is 2 plus 3?", "2 + 3 = 5.");
    terminal.say(" What is 1 plus 1?", "1 + 1 = 2.");
    // The arrow up brings the last line that is kept.
    terminal.wait_for("> ");
    terminal.press(&format!("\x1b[A{ENTER}"));
    terminal.wait_for("2 + 3 = 5.");
    let history = terminal.state.path().join("llama-cli/history.txt");
    let kept = fs::read_to_string(history).expect("a history");
    assert!(kept.contains("What is 2 plus 3?"), "{kept:?}");
    assert!(!kept.contains("1 plus 1"), "{kept:?}");
    terminal.leave();
}
