//! A small Hub: one repository behind a server, its large files on another host, and a cache of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use sha2::Sha256;
use tempfile::TempDir;

use crate::program::{Ended, Program, demo_directory, program};
use crate::server::{Reply, Seen, Server};

pub(crate) const REPOSITORY: &str = "meta-llama/Llama-2-7b-chat-hf";
pub(crate) const COMMIT: &str = "f5db02db724555f92da89c216ac04704f23d4590";
/// The user's token: in no output of any test.
pub(crate) const TOKEN: &str = "hf_SecretOfThisTest";

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Kept on the other host, and named by its sha256.
    pub(crate) is_large: bool,
}

impl File {
    pub(crate) fn small(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.into(),
            is_large: false,
        }
    }

    pub(crate) fn large(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            is_large: true,
            ..Self::small(name, bytes)
        }
    }

    pub(crate) fn etag(&self) -> String {
        if self.is_large {
            hexadecimal(&Sha256::digest(&self.bytes))
        } else {
            let head = format!("blob {}\0", self.bytes.len());
            hexadecimal(&Sha1::digest([head.as_bytes(), &self.bytes].concat()))
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that repeat nowhere soon, so that a piece in a wrong place is seen.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

/// What a small model looks like; `weights` is its large file.
pub(crate) fn model(weights: Vec<u8>) -> Vec<File> {
    vec![
        File::small("README.md", "not needed by a run"),
        File::small("config.json", "{}"),
        File::small("tokenizer.json", "{\"a\": 1}"),
        File::large("model.safetensors", weights.clone()),
        File::large("pytorch_model.bin", weights),
    ]
}

/// The demo model, as a repository that runs.
pub(crate) fn demo_model() -> Vec<File> {
    let entries = fs::read_dir(demo_directory()).expect("the demo model is there");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("a plain name");
        let bytes = fs::read(entry.path()).expect("readable");
        if name.ends_with(".safetensors") {
            File::large(&name, bytes)
        } else {
            File::small(&name, bytes)
        }
    };
    entries.map(file).collect()
}

/// What a test changes about an answer: `None` leaves it as the Hub would give it.
type Change = dyn Fn(&Seen) -> Option<Reply> + Send + Sync;

pub(crate) struct Hub {
    pub(crate) server: Server,
    /// Where large files lie.
    pub(crate) other: Server,
    pub(crate) files: Arc<Vec<File>>,
    pub(crate) home: TempDir,
}

impl Hub {
    pub(crate) fn new(files: Vec<File>) -> Self {
        Self::changed(files, |_| None, |_| None)
    }

    /// Whose own server does not do as it should.
    pub(crate) fn bad(
        files: Vec<File>,
        change: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::changed(files, change, |_| None)
    }

    /// Whose other host does not do as it should.
    pub(crate) fn bad_elsewhere(
        files: Vec<File>,
        change: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::changed(files, |_| None, change)
    }

    fn changed(
        files: Vec<File>,
        here: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
        elsewhere: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let files = Arc::new(files);
        let large = Arc::clone(&files);
        let other = answering(elsewhere, move |seen| {
            let hash = seen.path.trim_start_matches('/').split('?').next();
            let file = large.iter().find(|file| Some(file.etag().as_str()) == hash);
            file.map_or(Reply::new(404), |file| content(file, seen))
        });
        let port = other.port();
        let all = Arc::clone(&files);
        let server = answering(here, move |seen| answer(&all, port, seen));
        Self {
            server,
            other,
            files,
            home: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn file(&self, name: &str) -> &File {
        let mut files = self.files.iter();
        files
            .find(|file| file.name == name)
            .expect("in the repository")
    }

    /// `pull` with more arguments, by a user with a token.
    pub(crate) fn pull(&self, more: &[&str]) -> Program {
        self.program(&[&["pull", REPOSITORY], more].concat())
            .env("HF_TOKEN", TOKEN)
    }

    pub(crate) fn program(&self, args: &[&str]) -> Program {
        program(args)
            .env("HF_ENDPOINT", self.server.url())
            .env("HF_HOME", self.home.path())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        let folder = format!("hub/models--{}", REPOSITORY.replace('/', "--"));
        self.home.path().join(folder)
    }

    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.folder().join("blobs").join(self.file(name).etag())
    }

    pub(crate) fn incomplete(&self, name: &str) -> PathBuf {
        let name = format!("{}.incomplete", self.file(name).etag());
        self.folder().join("blobs").join(name)
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    /// That the snapshot has these files whole, and no others.
    #[track_caller]
    pub(crate) fn holds(&self, names: &[&str]) {
        let mut found = Vec::new();
        list(&self.snapshot(), "", &mut found);
        found.sort();
        assert_eq!(found, names);
        for name in names {
            let bytes = fs::read(self.snapshot().join(name)).expect("readable");
            assert!(
                bytes == self.file(name).bytes,
                "{name}: {} bytes",
                bytes.len()
            );
        }
        let commit = fs::read_to_string(self.folder().join("refs/main"));
        assert_eq!(commit.expect("a ref"), COMMIT);
    }

    /// That a file is not there, whole or short, and the revision has no name.
    #[track_caller]
    pub(crate) fn lacks(&self, name: &str) {
        assert!(!self.blob(name).exists(), "{name}: a blob");
        assert!(
            !self.snapshot().join(name).exists(),
            "{name}: in the snapshot"
        );
        assert!(!self.folder().join("refs/main").exists(), "{name}: a ref");
    }

    /// The program, once the incomplete file has gained some bytes.
    pub(crate) fn started(&self, name: &str, program: Program) -> Child {
        let bytes = || fs::metadata(self.incomplete(name)).map_or(0, |file| file.len());
        let before = bytes();
        let child = program.start();
        let begun = || bytes() > before;
        let mut waits = 0..1000;
        while !begun() && waits.next().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        // Where no byte came, the test's own claims fail.
        child
    }
}

fn list(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.expect("readable");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a kind").is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
}

fn answering(
    change: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    otherwise: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> Server {
    let change: Box<Change> = Box::new(change);
    Server::start(move |seen| change(seen).unwrap_or_else(|| otherwise(seen)))
}

/// As the Hub answers.
fn answer(files: &[File], other: u16, seen: &Seen) -> Reply {
    let api = format!("/api/models/{REPOSITORY}/revision/");
    if let Some(revision) = seen.path.strip_prefix(&api) {
        return if ["main", "refs%2Fpr%2F1", COMMIT].contains(&revision) {
            listing(files.iter().map(|file| file.name.as_str()))
        } else {
            Reply::new(404).header("X-Error-Code", "RevisionNotFound")
        };
    }
    let resolve = format!("/{REPOSITORY}/resolve/{COMMIT}/");
    let name = seen.path.strip_prefix(&resolve).map(unescaped);
    let Some(file) = files.iter().find(|file| Some(&file.name) == name.as_ref()) else {
        return Reply::new(404).header("X-Error-Code", "RepoNotFound");
    };
    if !file.is_large {
        return content(file, seen);
    }
    Reply::new(302)
        .header("X-Repo-Commit", COMMIT)
        .header("X-Linked-Etag", format!("\"{}\"", file.etag()))
        .header("X-Linked-Size", file.bytes.len().to_string())
        .header("ETag", "\"of the redirect\"")
        .header(
            "Location",
            format!("http://localhost:{other}/{}?signature=s3cret", file.etag()),
        )
        .body("Found. Redirecting")
}

pub(crate) fn listing<'a>(names: impl Iterator<Item = &'a str>) -> Reply {
    let siblings = names.map(|name| serde_json::json!({ "rfilename": name }));
    let model = serde_json::json!({
        "id": REPOSITORY,
        "sha": COMMIT,
        "siblings": siblings.collect::<Vec<_>>(),
    });
    Reply::new(200)
        .header("Content-Type", "application/json")
        .body(model.to_string())
}

/// A file's bytes, or the rest of them.
pub(crate) fn content(file: &File, seen: &Seen) -> Reply {
    let reply = match seen.from() {
        None => Reply::new(200).body(file.bytes.clone()),
        Some(from) if from < file.bytes.len() => {
            let (last, all) = (file.bytes.len() - 1, file.bytes.len());
            Reply::new(206)
                .header("Content-Range", format!("bytes {from}-{last}/{all}"))
                .body(&file.bytes[from..])
        }
        Some(_) => Reply::new(416),
    };
    reply.header("ETag", format!("\"{}\"", file.etag()))
}

fn unescaped(path: &str) -> String {
    percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned()
}

impl Ended {
    /// No output of any run has the token in it.
    #[track_caller]
    pub(crate) fn kept_secret(self) -> Self {
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains(TOKEN) && !text.contains("s3cret"), "{text}");
        }
        self
    }
}
