//! The Hub's cache without the Hub: `models`, `models rm`, and `--model ORG/NAME`. In every build, with no network.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{Program, demo_directory, program};
use serde_json::{Value, json};
use tempfile::TempDir;

const COMMIT: &str = "f5db02db724555f92da89c216ac04704f23d4590";
const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache with files put there by hand, as Hugging Face's own programs lay them.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("hub")
    }

    fn folder(&self, repository: &str) -> PathBuf {
        let folder = format!("models--{}", repository.replace('/', "--"));
        self.root().join(folder)
    }

    fn snapshot(&self, repository: &str, commit: &str) -> PathBuf {
        self.folder(repository).join("snapshots").join(commit)
    }

    /// A file of a snapshot: a link to a blob where the system has links.
    fn put(&self, repository: &str, commit: &str, name: &str, bytes: &[u8]) {
        let blobs = self.folder(repository).join("blobs");
        let snapshot = self.snapshot(repository, commit);
        fs::create_dir_all(&blobs).expect("made");
        fs::create_dir_all(&snapshot).expect("made");
        let blob = format!("blob-of-{name}");
        fs::write(blobs.join(&blob), bytes).expect("written");
        #[cfg(unix)]
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(name))
            .expect("linked");
        #[cfg(not(unix))]
        fs::write(snapshot.join(name), bytes).expect("written");
    }

    fn name(&self, repository: &str, revision: &str, commit: &str) {
        let path = self.folder(repository).join("refs").join(revision);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, commit).expect("written");
    }

    /// The demo model, known as `main`.
    fn with_demo(repository: &str) -> Self {
        let cache = Self::new();
        for entry in fs::read_dir(demo_directory()).expect("the demo model is there") {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let bytes = fs::read(&path).expect("readable");
            cache.put(repository, COMMIT, &name, &bytes);
        }
        cache.name(repository, "main", COMMIT);
        cache
    }

    fn program(&self, args: &[&str]) -> Program {
        program(args).env("HF_HOME", self.0.path())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What an error says of the way to a model.
fn fetches(reference: &str) -> String {
    if cfg!(feature = "hub") {
        return format!("`llama-cli pull {reference}` fetches it");
    }
    let words = reference.replacen('@', " --revision ", 1);
    format!(
        "`hf download {words}` of Hugging Face's huggingface_hub fetches it, and so does `llama-cli pull {reference}` where llama-cli is built with --features hub"
    )
}

#[test]
fn a_cached_model_is_run_by_its_name() {
    let cache = Cache::with_demo("org/demo");
    let ids = program(["tokenize", "-q", "Hello"]).run().ok();
    for name in [
        "org/demo".to_owned(),
        "org/demo@main".to_owned(),
        format!("org/demo@{COMMIT}"),
    ] {
        let ended = cache
            .program(&["tokenize", "-q", "Hello", "-m", &name])
            .run();
        assert_eq!(ended.ok(), ids, "{name}");
    }
    let ended = cache
        .program(&["tokenize", "-q", "Hello"])
        .env("LLAMA_MODEL", "org/demo")
        .run();
    assert_eq!(ended.ok(), ids);
    let report = cache
        .program(&["inspect", "--json", "-m", "org/demo"])
        .run()
        .json();
    assert_eq!(
        report["files"][0],
        shown(&cache.snapshot("org/demo", COMMIT).join("model.safetensors"))
    );
}

/// Which of a snapshot's files a run opens is the rule for any directory.
#[test]
fn one_gguf_file_in_the_cache_is_the_model_and_several_are_a_question() {
    let cache = Cache::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf/model.gguf");
    let bytes = fs::read(file).expect("a GGUF file");
    cache.put("org/gguf", COMMIT, "x.gguf", &bytes);
    cache.name("org/gguf", "main", COMMIT);
    let inspect = || {
        cache
            .program(&["inspect", "--json", "-m", "org/gguf"])
            .run()
    };
    let snapshot = cache.snapshot("org/gguf", COMMIT);
    let files = &inspect().json()["files"];
    assert_eq!(files, &json!([shown(&snapshot.join("x.gguf"))]));
    let ids = |model: &str| {
        let args = ["tokenize", "-q", "Hello", "-m", model];
        cache.program(&args).run().ok()
    };
    assert_eq!(ids("org/gguf"), ids(&shown(&snapshot.join("x.gguf"))));

    cache.put("org/gguf", COMMIT, "y.gguf", &bytes);
    assert_eq!(
        inspect().error(3),
        format!(
            "{}: expected one GGUF file, found 2: \"x.gguf\", \"y.gguf\"; give one of them",
            snapshot.display()
        )
    );
}

#[test]
fn a_path_of_that_name_comes_first() {
    let cache = Cache::new();
    let place = tempfile::tempdir().expect("a directory");
    let model = place.path().join("org/demo");
    fs::create_dir_all(&model).expect("made");
    let mut run = cache.program(&["tokenize", "-q", "Hello", "-m", "org/demo"]);
    run.command().current_dir(place.path());
    let error = run.run().error(3);
    assert!(
        error.starts_with("org/demo: ") && error.contains("tokenizer"),
        "{error}"
    );
}

#[test]
fn a_model_that_is_not_cached_is_an_error_that_names_the_command() {
    let cache = Cache::with_demo("org/demo");
    let root = shown(&cache.root());
    for (name, has) in [
        ("org/other", ""),
        ("org/demo@v2", ", which has org/demo@main"),
        (&*format!("org/demo@{OTHER}"), ", which has org/demo@main"),
    ] {
        assert_eq!(
            cache
                .program(&["tokenize", "Hello", "-m", name])
                .run()
                .error(3),
            format!(
                "{name}: expected a file, a directory or a repository in the Hub's cache, found none of that name in {root}{has}; {}",
                fetches(name)
            )
        );
    }
}

/// Nothing that could lead out of the cache is taken for a repository.
#[test]
fn a_name_that_is_no_repository_is_a_path() {
    let cache = Cache::with_demo("org/demo");
    for name in [
        "../demo",
        "org/demo/more",
        "org/..",
        "org--demo/x",
        "./demo",
        "org/demo@../../x",
    ] {
        let error = cache
            .program(&["tokenize", "Hello", "-m", name])
            .run()
            .error(3);
        assert!(
            error.starts_with(&format!("{name}: ")) && !error.contains("Hub"),
            "{error}"
        );
    }
}

#[test]
fn a_broken_ref_leads_nowhere() {
    let cache = Cache::with_demo("org/demo");
    cache.name("org/demo", "main", "../../../../etc");
    let path = cache.folder("org/demo").join("refs/main");
    assert_eq!(
        cache
            .program(&["tokenize", "Hello", "-m", "org/demo"])
            .run()
            .error(3),
        format!(
            "{}: expected a commit of 40 hexadecimal digits, found \"../../../../etc\"; remove the file and pull org/demo again",
            path.display()
        )
    );
}

fn listed(cache: &Cache) -> Value {
    cache.program(&["models", "--json"]).run().json()
}

#[test]
fn models_lists_repository_revision_size_and_format() {
    let cache = Cache::new();
    cache.put("org/b", COMMIT, "model.safetensors", &[0; 2048]);
    cache.put("org/b", COMMIT, "pytorch_model.bin", &[0; 512]);
    cache.put("org/b", OTHER, "config.json", &[0; 512]);
    cache.name("org/b", "main", COMMIT);
    cache.name("org/b", "v1", COMMIT);
    cache.put("org/a", COMMIT, "x.Q4_K_M.gguf", &[0; 1 << 20]);
    cache.name("org/a", "refs/pr/1", COMMIT);
    fs::write(cache.folder("org/a").join("blobs/aa.incomplete"), [0; 1024]).expect("written");
    fs::create_dir_all(cache.root().join("datasets--org--c/snapshots")).expect("made");
    fs::create_dir_all(cache.root().join(".locks/models--org--a")).expect("made");
    let ended = cache.program(&["models"]).run();
    assert_eq!(
        ended.ok(),
        "repository  revision         size  format\n\
         org/a       refs/pr/1     1.0 MiB  gguf\n\
         org/b       0123456789ab  0.5 KiB  -\n\
         org/b       main,v1       2.5 KiB  safetensors\n\
         org/a       -             1.0 KiB  unfinished\n"
    );
    let model = |repo: &str, commit: &str, revisions: Value, bytes: u64, format: Value| {
        json!({
            "repo": repo, "revisions": revisions, "commit": commit, "bytes": bytes, "format": format,
            "path": shown(&cache.snapshot(repo, commit)),
        })
    };
    assert_eq!(
        listed(&cache),
        json!({
            "cache": shown(&cache.root()),
            "models": [
                model("org/a", COMMIT, json!(["refs/pr/1"]), 1 << 20, json!("gguf")),
                model("org/b", OTHER, json!([]), 512, Value::Null),
                model("org/b", COMMIT, json!(["main", "v1"]), 2560, json!("safetensors")),
            ],
            "unfinished": [{ "repo": "org/a", "bytes": 1024 }],
        })
    );
}

#[test]
fn an_empty_cache_is_no_error() {
    let cache = Cache::new();
    let ended = cache.program(&["models"]).run();
    assert_eq!(
        ended.stderr,
        format!("note: no models in {}\n", shown(&cache.root()))
    );
    assert_eq!(ended.ok(), "");
    assert_eq!(listed(&cache)["models"], json!([]));
}

#[test]
fn rm_removes_one_repository_and_no_other() {
    let cache = Cache::with_demo("org/demo");
    cache.put("org/demo2", COMMIT, "x.gguf", b"1");
    fs::create_dir_all(cache.root().join(".locks/models--org--demo")).expect("made");
    let removed = cache
        .program(&["models", "rm", "org/demo", "--json"])
        .run()
        .json();
    assert_eq!(removed["repo"], "org/demo");
    assert!(removed["bytes"].as_u64() > Some(1 << 20));
    assert!(
        !cache.folder("org/demo").exists()
            && !cache.root().join(".locks/models--org--demo").exists()
    );
    assert_eq!(listed(&cache)["models"][0]["repo"], "org/demo2");
    assert_eq!(
        cache.program(&["models", "rm", "org/demo"]).run().error(3),
        format!(
            "org/demo: expected it in the Hub's cache {}, found no such repository; `llama-cli models` lists what there is",
            shown(&cache.root())
        )
    );
    let ended = cache.program(&["models", "rm", "org/demo2"]).run();
    assert!(
        ended.stderr.starts_with("note: org/demo2: removed, "),
        "{}",
        ended.stderr
    );
}

#[test]
fn rm_takes_no_path() {
    for name in ["../x", "x", "org/../..", "/etc/passwd"] {
        let error = program(["models", "rm", name]).run().error(2);
        assert_eq!(
            error,
            format!(
                "invalid value '{name}' for '<ORG/NAME>': expected a repository of the Hub such as meta-llama/Llama-2-7b-chat-hf; --help lists what there is"
            )
        );
    }
}

/// A folder of the cache that leads to another disk.
#[cfg(unix)]
#[test]
fn rm_of_a_link_leaves_what_it_points_at() {
    let cache = Cache::with_demo("org/demo");
    let elsewhere = cache.0.path().join("elsewhere");
    fs::rename(cache.folder("org/demo"), &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, cache.folder("org/demo")).expect("linked");
    assert_eq!(listed(&cache)["models"][0]["repo"], "org/demo");
    cache.program(&["models", "rm", "org/demo"]).run().ok();
    assert!(!cache.folder("org/demo").is_symlink() && elsewhere.join("refs/main").exists());
}

#[test]
fn pull_takes_repositories_and_revisions_only() {
    for (args, message) in [
        (
            ["pull", "gpt2"].as_slice(),
            "invalid value 'gpt2' for '<ORG/NAME>': expected a repository of the Hub such as meta-llama/Llama-2-7b-chat-hf; --help lists what there is",
        ),
        (
            &["pull", "https://huggingface.co/a/b"],
            "invalid value 'https://huggingface.co/a/b' for '<ORG/NAME>': expected a repository of the Hub such as meta-llama/Llama-2-7b-chat-hf; --help lists what there is",
        ),
        (
            &["pull", "a/b", "--revision", "../x"],
            "invalid value '../x' for '--revision <REVISION>': expected a branch, a tag or a commit; --help lists what there is",
        ),
    ] {
        assert_eq!(program(args).run().error(2), message);
    }
}

#[cfg(feature = "hub")]
#[test]
fn pull_takes_one_revision() {
    assert_eq!(
        program(["pull", "a/b@v1", "--revision", "v2"])
            .run()
            .error(2),
        "a/b: expected one revision, found one after @ and one after --revision"
    );
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_feature_pull_says_how_to_get_it() {
    for (args, download) in [
        (["pull", "a/b"].as_slice(), "hf download a/b"),
        (&["pull", "a/b@v1"], "hf download a/b --revision v1"),
        (
            &["pull", "a/b", "--revision", "v1"],
            "hf download a/b --revision v1",
        ),
    ] {
        assert_eq!(
            program(args).run().error(2),
            format!(
                "pull: this llama-cli was built without the feature hub, which needs a C compiler: build it with --features hub, or take a release; `{download}` of Hugging Face's huggingface_hub fills the same cache"
            )
        );
    }
}
