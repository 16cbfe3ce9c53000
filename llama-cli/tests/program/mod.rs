//! The built program, run in a clean environment: what tests give it, and what it gave back.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A run to be made.
pub(crate) struct Program {
    command: Command,
    stdin: Vec<u8>,
}

/// A run that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Without any variable that the program or its terminal code reads.
pub(crate) fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Program {
    let mut command = clean(env!("CARGO_BIN_EXE_llama-cli"));
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Program {
        command,
        stdin: Vec::new(),
    }
}

/// An executable in the environment of [`program`].
pub(crate) fn clean(executable: &str) -> Command {
    let mut command = Command::new(executable);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["LLAMA_", "HF_", "HUGGING"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
            || text.to_ascii_lowercase().ends_with("_proxy")
            || [
                "NO_COLOR",
                "CLICOLOR_FORCE",
                "COLUMNS",
                "SSL_CERT_FILE",
                "TRANSFORMERS_OFFLINE",
            ]
            .contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
    // Tests leave the user's cache directories alone, and no test asks a real host.
    command.env("LLAMA_NO_PIPELINE_CACHE", "1");
    command.env("HF_HOME", std::env::temp_dir().join("no cache of the Hub"));
    command.env("HF_ENDPOINT", "http://127.0.0.1:1");
    // Mesa asks libwayland, which complains on stderr where this is not set.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

impl Program {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn model(mut self, path: impl AsRef<Path>) -> Self {
        self.command.arg("--model").arg(path.as_ref());
        self
    }

    /// For what a test wants of the process itself.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Started by a shell, which does `first` before it becomes the program.
    pub(crate) fn in_shell(self, first: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{first}; exec \"$0\" \"$@\"")])
            .arg(self.command.get_program());
        self.by(shell)
    }

    /// The same run of a copy of the program.
    pub(crate) fn copied_to(self, copy: &Path) -> Self {
        self.by(Command::new(copy))
    }

    fn by(mut self, mut command: Command) -> Self {
        command
            .args(self.command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// With stdin still open.
    pub(crate) fn start(mut self) -> Child {
        self.command.spawn().expect("the program starts")
    }

    pub(crate) fn run(self) -> Ended {
        let stdin = self.stdin.clone();
        let mut child = self.start();
        let mut pipe = child.stdin.take().expect("stdin is a pipe");
        // A program that refuses its arguments never reads.
        let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("stdin was offered");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

impl Ended {
    /// stdout of a run that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The one JSON value on stdout of a run that must succeed.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("stdout is one JSON value")
    }

    /// The error line of a run that must fail with `code` and say nothing on stdout.
    #[track_caller]
    pub(crate) fn error(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(lines.len(), 1, "{}", self.stderr);
        lines[0].trim_start_matches("error: ").to_owned()
    }
}

/// The demo model's directory in this package: a checkpoint for tests that want files.
pub(crate) fn demo_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/model")
}

/// A copy of the demo model to be changed, without the files named.
pub(crate) fn demo_copy(without: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for entry in fs::read_dir(demo_directory()).expect("the demo model is there") {
        let entry = entry.expect("readable");
        if !without.iter().any(|name| entry.file_name() == *name) {
            fs::copy(entry.path(), directory.path().join(entry.file_name())).expect("copied");
        }
    }
    directory
}

/// The object's field names, sorted.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}
