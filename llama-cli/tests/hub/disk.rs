//! Disks that are full, caches that may not be written, and places with odd names.

use std::fs;

use crate::fixture::{Hub, REPOSITORY, model, noise};
use crate::server::Reply;

const SMALL: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// `/dev/full` answers every write as a full disk does.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_7_and_leaves_no_file() {
    let hub = Hub::new(model(noise(5000)));
    let incomplete = hub.incomplete("model.safetensors");
    fs::create_dir_all(incomplete.parent().expect("a folder")).expect("made");
    std::os::unix::fs::symlink("/dev/full", &incomplete).expect("linked");
    assert_eq!(
        hub.pull(&[]).run().kept_secret().error(7),
        format!(
            "{}: expected to write it, found: No space left on device (os error 28); HF_HUB_CACHE names another place",
            incomplete.display()
        )
    );
    hub.lacks("model.safetensors");
}

/// The disk fills up in the middle of a file: what is there stays, and is gone on with once there is room.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_mid_download_keeps_what_came() {
    let hub = Hub::new(model(noise(100_000)));
    let ended = hub.pull(&[]).in_shell("trap '' XFSZ; ulimit -f 64").run();
    let incomplete = hub.incomplete("model.safetensors");
    assert_eq!(
        ended.error(7),
        format!(
            "{}: expected to write it, found: File too large (os error 27); HF_HUB_CACHE names another place",
            incomplete.display()
        )
    );
    hub.lacks("model.safetensors");
    let came = fs::metadata(&incomplete).expect("there").len();
    assert!((1..100_000).contains(&came), "{came}");
    hub.pull(&[]).run().ok();
    hub.holds(&SMALL);
    let asked = hub.other.asked("GET", "");
    assert_eq!(asked[1].from(), Some(came as usize));
}

#[test]
fn what_cannot_fit_is_refused_before_a_byte_is_pulled() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        (seen.method == "HEAD" && seen.path.ends_with("/model.safetensors")).then(|| {
            Reply::new(302)
                .header("X-Linked-Etag", "0".repeat(64))
                .header("X-Linked-Size", "9000000000000000000")
                .header("Location", "http://localhost:1/x")
        })
    });
    let error = hub.pull(&[]).run().error(7);
    let needed = 9_000_000_000_000_000_000_u64 + 2 + 8;
    let begins = format!(
        "{}: expected room for {needed} bytes, found ",
        hub.folder().display()
    );
    assert!(
        error.starts_with(&begins) && error.ends_with(" free; HF_HUB_CACHE names another place"),
        "{error}"
    );
    assert!(hub.server.asked("GET", "/resolve/").is_empty());
    assert!(!hub.folder().exists());
}

#[test]
fn a_path_with_spaces_and_other_scripts_is_a_path() {
    let hub = Hub::new(model(noise(5000)));
    // Longer than 260 characters, too.
    let long = "x".repeat(100);
    let cache = hub.home.path().join("мой кэш é 模型 🙂");
    let cache = cache.join(&long).join(&long).join(&long);
    let path = hub.pull(&[]).env("HF_HUB_CACHE", &cache).run().ok();
    assert!(path.starts_with(&cache.display().to_string()), "{path}");
    let weights = std::path::Path::new(path.trim_end()).join("model.safetensors");
    assert!(fs::read(weights).expect("readable") == noise(5000));
    let models = hub
        .program(&["models", "--json"])
        .env("HF_HUB_CACHE", &cache)
        .run()
        .json();
    assert_eq!(models["models"][0]["repo"], REPOSITORY);
}

#[test]
fn a_cache_that_is_a_file_is_exit_7() {
    let hub = Hub::new(model(noise(10)));
    let cache = hub.home.path().join("a file");
    fs::write(&cache, "").expect("written");
    let error = hub.pull(&[]).env("HF_HUB_CACHE", &cache).run().error(7);
    let begins = format!("{}/models--", cache.display());
    assert!(
        error.starts_with(&begins) && error.ends_with("; HF_HUB_CACHE names another place"),
        "{error}"
    );
}

#[cfg(unix)]
mod read_only {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::fixture::TOKEN;
    use crate::program::Program;

    const NOBODY: u32 = 65534;

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permitted");
    }

    /// For root no file is read-only: it becomes nobody, with a program that nobody may read.
    fn unprivileged(mut program: Program, folder: &Path) -> Program {
        if rustix::process::getuid().is_root() {
            let copy = folder.join("llama-cli");
            if !copy.exists() {
                // By another process: one of this one's children could hold the copy open for writing, and
                // then it could not be run.
                let program = env!("CARGO_BIN_EXE_llama-cli");
                let copied = std::process::Command::new("cp")
                    .arg(program)
                    .arg(&copy)
                    .status();
                assert!(copied.expect("cp runs").success());
                allow(&copy, 0o755);
            }
            program = program.copied_to(&copy);
            program.command().uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        program
    }

    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        found.push(path.to_owned());
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).expect("readable") {
                walk(&entry.expect("readable").path(), found);
            }
        }
    }

    fn protect(root: &Path, folders: u32) {
        let mut found = Vec::new();
        walk(root, &mut found);
        for path in found.iter().filter(|path| !path.is_symlink()) {
            allow(path, if path.is_dir() { folders } else { 0o444 });
        }
    }

    #[test]
    fn a_read_only_cache_that_lacks_the_model_is_exit_7() {
        let hub = Hub::new(model(noise(10)));
        let place = tempfile::tempdir().expect("a directory");
        let cache = place.path().join("hub");
        fs::create_dir(&cache).expect("made");
        allow(place.path(), 0o755);
        allow(&cache, 0o555);
        let ended = unprivileged(hub.pull(&[]).env("HF_HUB_CACHE", &cache), place.path()).run();
        let error = ended.kept_secret().error(7);
        let folder = cache.join("models--meta-llama--Llama-2-7b-chat-hf/blobs");
        assert_eq!(
            error,
            format!(
                "{}: expected to make it, found: Permission denied (os error 13); HF_HUB_CACHE names another place",
                folder.display()
            )
        );
        allow(&cache, 0o755);
    }

    #[test]
    fn a_read_only_cache_that_has_the_model_serves_it() {
        let hub = Hub::new(crate::fixture::demo_model());
        let place = tempfile::tempdir().expect("a directory");
        let cache = place.path().join("hub");
        hub.pull(&[]).env("HF_HUB_CACHE", &cache).run().ok();
        allow(place.path(), 0o755);
        protect(&cache, 0o555);
        for args in [
            ["pull", REPOSITORY].as_slice(),
            &["tokenize", "Hello", "-m", REPOSITORY],
            &["models"],
        ] {
            let program = hub
                .program(args)
                .env("HF_HUB_CACHE", &cache)
                .env("HF_TOKEN", TOKEN);
            unprivileged(program, place.path()).run().kept_secret().ok();
        }
        let program = hub
            .program(&["models", "rm", REPOSITORY])
            .env("HF_HUB_CACHE", &cache);
        let error = unprivileged(program, place.path()).run().error(7);
        let folder = cache.join("models--meta-llama--Llama-2-7b-chat-hf");
        assert_eq!(
            error,
            format!(
                "{}: expected to remove it, found: Permission denied (os error 13)",
                folder.display()
            )
        );
        protect(&cache, 0o755);
    }
}
