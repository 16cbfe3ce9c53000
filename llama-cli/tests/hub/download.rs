//! Downloads: what lands in the cache, and that nothing short or wrong ever does.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{COMMIT, File, Hub, REPOSITORY, content, demo_model, listing, model, noise};
use crate::program::Ended;
use crate::server::Reply;

const SMALL: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];
/// Of the large file, where a test breaks it off.
const BYTES: usize = 100_000;

/// Sends 1 KiB in each of these: a whole file in half a minute.
const SLOWLY: Duration = Duration::from_millis(250);

#[test]
fn a_pulled_model_runs_and_lies_as_the_hubs_own_programs_lay_it() {
    let hub = Hub::new(demo_model());
    let path = hub.pull(&[]).run().kept_secret().ok();
    assert_eq!(path.trim_end(), hub.snapshot().display().to_string());
    hub.holds(&[
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ]);
    #[cfg(unix)]
    {
        let link = fs::read_link(hub.snapshot().join("model.safetensors")).expect("a link");
        let etag = hub.file("model.safetensors").etag();
        assert_eq!(link.to_string_lossy(), format!("../../blobs/{etag}"));
    }
    let ids = hub
        .program(&["tokenize", "-q", "Hello", "-m", REPOSITORY])
        .run()
        .ok();
    let demo = hub.program(&["tokenize", "-q", "Hello"]).run().ok();
    assert_eq!(ids, demo);
    let report = hub
        .program(&["inspect", "--json", "-m", &format!("{REPOSITORY}@main")])
        .run()
        .json();
    assert_eq!(report["format"], "Hugging Face directory");
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let hub = Hub::new(model(noise(BYTES)));
    let first = hub.pull(&["--json"]).run().json();
    hub.holds(&SMALL);
    assert_eq!(first["received_bytes"], BYTES as u64 + 2 + 8);
    let second = hub.pull(&["--json"]).run().json();
    assert_eq!(second["received_bytes"], 0);
    assert_eq!(first["files"], second["files"]);
    assert_eq!(hub.other.asked("GET", "").len(), 1);
    // A blob without its link, as after a crash between the two.
    fs::remove_dir_all(hub.folder().join("snapshots")).expect("removed");
    assert_eq!(hub.pull(&["--json"]).run().json()["received_bytes"], 0);
    hub.holds(&SMALL);
}

#[test]
fn json_says_what_was_pulled() {
    let hub = Hub::new(model(noise(10)));
    let report = hub.pull(&["--json"]).run().json();
    assert_eq!(report["repo"], REPOSITORY);
    assert_eq!(report["revision"], "main");
    assert_eq!(report["commit"], COMMIT);
    assert_eq!(report["path"], hub.snapshot().display().to_string());
    let names: Vec<&Value> = report["files"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, SMALL);
    assert_eq!(report["files"][1]["bytes"], 10);
    assert_eq!(
        report["files"][1]["hash"],
        hub.file("model.safetensors").etag()
    );
}

#[test]
fn a_revision_and_other_weights_are_pulled_by_name() {
    let hub = Hub::new(model(noise(10)));
    hub.pull(&["--revision", "refs/pr/1", "--include", "*.bin"])
        .run()
        .ok();
    let commit = fs::read_to_string(hub.folder().join("refs/refs/pr/1")).expect("a ref");
    assert_eq!(commit, COMMIT);
    assert!(hub.snapshot().join("pytorch_model.bin").exists());
    assert!(!hub.snapshot().join("model.safetensors").exists());
    hub.program(&["pull", &format!("{REPOSITORY}@{COMMIT}")])
        .run()
        .ok();
    assert!(hub.snapshot().join("model.safetensors").exists());
    let error = hub.pull(&["--include", "*.gguf"]).run().error(2);
    assert_eq!(
        error,
        format!(
            "{REPOSITORY}: expected a file that matches --include \"*.gguf\", found none among README.md, config.json, tokenizer.json, model.safetensors, pytorch_model.bin"
        )
    );
}

#[test]
fn without_safetensors_the_error_says_how_to_choose() {
    let hub = Hub::new(vec![
        File::large("x.Q4_K_M.gguf", noise(10)),
        File::large("x.Q8_0.gguf", noise(11)),
    ]);
    assert_eq!(
        hub.pull(&[]).run().error(2),
        format!(
            "{REPOSITORY}: expected safetensors files, found x.Q4_K_M.gguf, x.Q8_0.gguf, with --include 'x.Q4_K_M.gguf'"
        )
    );
    hub.pull(&["--include", "*Q8_0*"]).run().ok();
    hub.holds(&["x.Q8_0.gguf"]);
}

#[test]
fn names_in_folders_with_spaces_and_other_scripts_are_pulled() {
    let hub = Hub::new(vec![
        File::large("original/a b/модель é.safetensors", noise(5000)),
        File::small("original/100%.json", "{}"),
    ]);
    hub.pull(&["--include", "original/*"]).run().ok();
    hub.holds(&["original/100%.json", "original/a b/модель é.safetensors"]);
}

#[cfg(unix)]
#[test]
fn killed_mid_download_and_run_again_gives_the_right_hash_and_never_a_short_file() {
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), {
        let file = model(noise(BYTES)).remove(3);
        move |seen| (seen.earlier == 0).then(|| content(&file, seen).slowly(SLOWLY))
    });
    let mut child = hub.started("model.safetensors", hub.pull(&[]));
    child.kill().expect("SIGKILL");
    child.wait().expect("ends");
    hub.lacks("model.safetensors");
    let came = fs::metadata(hub.incomplete("model.safetensors"))
        .expect("there")
        .len();
    assert!((1..BYTES as u64).contains(&came), "{came}");
    let report = hub.pull(&["--json"]).run().json();
    // With the small files, where the signal came before them.
    assert!(report["received_bytes"].as_u64() <= Some(BYTES as u64 - came + 10));
    let asked = hub.other.asked("GET", "");
    assert_eq!(
        asked[1].from(),
        Some(came as usize),
        "the rest was asked for"
    );
    hub.holds(&SMALL);
    assert!(!hub.incomplete("model.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_pull_with_its_code_and_the_next_one_goes_on() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        (seen.earlier < 2).then(|| content(&file, seen).slowly(SLOWLY))
    });
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let child = hub.started("model.safetensors", hub.pull(&["-q"]));
        let kill = std::process::Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status();
        assert!(kill.expect("kill runs").success());
        let output = child.wait_with_output().expect("ends");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(code), &b""[..]),
            "{signal}"
        );
        hub.lacks("model.safetensors");
    }
    hub.pull(&[]).run().ok();
    hub.holds(&SMALL);
}

#[test]
fn two_processes_pull_one_file_once() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        Some(content(&file, seen).slowly(Duration::from_millis(20)))
    });
    let first = hub.started("model.safetensors", hub.pull(&["--json"]));
    let second = hub.pull(&["--json"]).run();
    let first = first.wait_with_output().expect("ends");
    assert_eq!(first.status.code(), Some(0));
    assert!(
        second
            .stderr
            .contains("another process is pulling it; waiting"),
        "{}",
        second.stderr
    );
    assert_eq!(second.json()["received_bytes"], 0);
    assert_eq!(hub.other.asked("GET", "").len(), 1);
    hub.holds(&SMALL);
}

#[test]
fn a_connection_that_breaks_is_resumed_in_the_same_run() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        (seen.earlier < 2).then(|| content(&file, seen).cut(40_000))
    });
    let report = hub.pull(&["--json"]).run().json();
    assert_eq!(report["received_bytes"], BYTES as u64 + 10, "no byte twice");
    let from: Vec<_> = hub
        .other
        .asked("GET", "")
        .iter()
        .map(|seen| seen.from())
        .collect();
    assert_eq!(from, [None, Some(40_000), Some(80_000)]);
    hub.holds(&SMALL);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        let whole = Reply::new(200).body(file.bytes.clone());
        Some(if seen.earlier == 0 {
            whole.cut(40_000)
        } else {
            whole
        })
    });
    hub.pull(&[]).run().ok();
    hub.holds(&SMALL);
}

#[test]
fn a_server_that_goes_on_elsewhere_is_asked_from_the_beginning() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        match (seen.earlier, seen.from()) {
            (0, _) => Some(content(&file, seen).cut(40_000)),
            (1, _) => Some(
                Reply::new(206)
                    .header(
                        "Content-Range",
                        format!("bytes 30000-{}/{BYTES}", BYTES - 1),
                    )
                    .body(&file.bytes[30_000..]),
            ),
            (_, Some(_)) => Some(Reply::new(416)),
            _ => None,
        }
    });
    hub.pull(&[]).run().ok();
    hub.holds(&SMALL);
}

/// As a program leaves it that fills files out of order, or one too long.
#[test]
fn what_is_broken_on_the_disk_is_fetched_anew() {
    for broken in [
        vec![7; 50_000],
        vec![7; BYTES],
        vec![7; BYTES + 1],
        noise(BYTES - 1),
    ] {
        let hub = Hub::new(model(noise(BYTES)));
        let path = hub.incomplete("model.safetensors");
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, &broken).expect("written");
        hub.pull(&[]).run().ok();
        hub.holds(&SMALL);
    }
}

#[test]
fn a_whole_incomplete_file_needs_no_request() {
    let hub = Hub::new(model(noise(BYTES)));
    let path = hub.incomplete("model.safetensors");
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, noise(BYTES)).expect("written");
    hub.pull(&[]).run().ok();
    assert!(hub.other.seen().is_empty());
    hub.holds(&SMALL);
}

#[track_caller]
fn wrong(hub: &Hub, name: &str, code: i32) -> String {
    let error = hub.pull(&[]).run().kept_secret().error(code);
    hub.lacks(name);
    error
}

#[test]
fn a_large_file_with_another_hash_is_refused_and_removed() {
    let mut other = noise(BYTES);
    other[70_000] ^= 1;
    let found = File::large("", other.clone()).etag();
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |_| {
        Some(Reply::new(200).body(other.clone()))
    });
    assert_eq!(
        wrong(&hub, "model.safetensors", 5),
        format!(
            "{REPOSITORY}/model.safetensors: expected the sha256 {}, found {found}; what came is removed: run the command again",
            hub.file("model.safetensors").etag()
        )
    );
    assert!(!hub.incomplete("model.safetensors").exists());
    assert_eq!(
        hub.other.asked("GET", "").len(),
        1,
        "it is not asked for again and again"
    );
}

#[test]
fn a_small_file_with_another_hash_is_refused() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        let is_it = seen.method == "GET" && seen.path.ends_with("/config.json");
        is_it.then(|| Reply::new(200).body("[]"))
    });
    assert_eq!(
        wrong(&hub, "config.json", 5),
        format!(
            "{REPOSITORY}/config.json: expected the git hash {}, found {}; what came is removed: run the command again",
            hub.file("config.json").etag(),
            File::small("", "[]").etag()
        )
    );
}

#[test]
fn an_html_page_in_place_of_a_file_is_refused() {
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), |_| Some(Reply::html()));
    assert_eq!(
        wrong(&hub, "model.safetensors", 5),
        format!(
            "{REPOSITORY}/model.safetensors: expected 100000 bytes from the server, found 42 announced"
        )
    );
}

#[test]
fn a_file_of_another_length_is_refused() {
    for len in [BYTES - 1, BYTES + 1] {
        let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |_| {
            Some(Reply::new(200).body(noise(len)))
        });
        assert_eq!(
            wrong(&hub, "model.safetensors", 5),
            format!(
                "{REPOSITORY}/model.safetensors: expected 100000 bytes from the server, found {len} announced"
            )
        );
    }
}

#[test]
fn a_file_that_goes_on_and_on_is_refused() {
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), |_| {
        Some(Reply::new(200).body(noise(BYTES + 300_000)).unannounced())
    });
    assert_eq!(
        wrong(&hub, "model.safetensors", 5),
        format!("{REPOSITORY}/model.safetensors: expected 100000 bytes, found more")
    );
}

#[test]
fn a_server_that_never_sends_the_rest_is_given_up() {
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), |seen| match seen.from() {
        None => Some(Reply::new(200).body(noise(BYTES)).cut(40_000)),
        Some(_) => Some(
            Reply::new(206)
                .header(
                    "Content-Range",
                    format!("bytes 40000-{}/{BYTES}", BYTES - 1),
                )
                .unannounced(),
        ),
    });
    let error = wrong(&hub, "model.safetensors", 5);
    assert_eq!(
        error,
        format!(
            "{REPOSITORY}/model.safetensors: broke off after 40000 of 100000 bytes: the connection ended, 5 times in a row; run the command again to go on from there"
        )
    );
    // The one that gained something does not count.
    assert_eq!(hub.other.asked("GET", "").len(), 1 + 4);
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let file = model(noise(BYTES)).remove(3);
    let hub = Hub::bad_elsewhere(model(noise(BYTES)), move |seen| {
        (seen.earlier == 0).then(|| content(&file, seen).slowly(Duration::from_secs(3)))
    });
    let begun = Instant::now();
    hub.pull(&[]).env("HF_HUB_DOWNLOAD_TIMEOUT", "1").run().ok();
    assert!(begun.elapsed() < Duration::from_secs(10));
    hub.holds(&SMALL);
}

#[test]
fn several_files_come_at_once() {
    let names: Vec<String> = (1..=4)
        .map(|n| format!("model-0000{n}-of-00004.safetensors"))
        .collect();
    let files: Vec<File> = names
        .iter()
        .enumerate()
        .map(|(n, name)| File::large(name, noise(20_000 + n)))
        .collect();
    let all = files.clone();
    let hub = Hub::bad_elsewhere(files, move |seen| {
        let file = all.iter().find(|file| seen.path.contains(&file.etag()))?;
        Some(content(file, seen).slowly(Duration::from_millis(100)))
    });
    let begun = Instant::now();
    hub.pull(&[]).run().ok();
    // Each takes two seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    hub.holds(&names);
}

#[test]
fn a_new_commit_takes_over_the_files_that_stayed() {
    let hub = Hub::new(model(noise(BYTES)));
    let old = "0".repeat(40);
    hub.pull(&[]).run().ok();
    // What an earlier pull of another commit left.
    fs::rename(hub.snapshot(), hub.folder().join("snapshots").join(&old)).expect("moved");
    fs::write(hub.folder().join("refs/main"), &old).expect("written");
    assert_eq!(hub.pull(&["--json"]).run().json()["received_bytes"], 0);
    hub.holds(&SMALL);
    let models = hub.program(&["models", "--json"]).run().json();
    assert_eq!(models["models"].as_array().expect("a list").len(), 2);
}

fn offline(hub: &Hub, args: &[&str]) -> Ended {
    hub.program(args).env("HF_HUB_OFFLINE", "1").run()
}

#[test]
fn offline_with_a_cache_gives_the_cache_and_opens_no_socket() {
    let hub = Hub::new(demo_model());
    hub.pull(&[]).run().ok();
    let asked = hub.server.seen().len();
    let path = offline(&hub, &["pull", REPOSITORY]).ok();
    assert_eq!(path.trim_end(), hub.snapshot().display().to_string());
    offline(&hub, &["tokenize", "Hello", "-m", REPOSITORY]).ok();
    assert_eq!(hub.server.seen().len(), asked);
}

#[test]
fn offline_without_a_cache_is_an_error_and_opens_no_socket() {
    let hub = Hub::new(demo_model());
    let cache = hub.home.path().join("hub");
    assert_eq!(
        offline(&hub, &["pull", REPOSITORY]).error(5),
        format!(
            "{REPOSITORY}: expected it in {} since HF_HUB_OFFLINE is set, found nothing; pull it without HF_HUB_OFFLINE",
            cache.display()
        )
    );
    assert_eq!(
        offline(&hub, &["tokenize", "Hello", "-m", REPOSITORY]).error(3),
        format!(
            "{REPOSITORY}: expected a file, a directory or a repository in the Hub's cache, found none of that name in {}; `llama-cli pull {REPOSITORY}` fetches it, once HF_HUB_OFFLINE is not set",
            cache.display()
        )
    );
    thread::sleep(Duration::from_millis(100));
    assert!(hub.server.seen().is_empty() && hub.other.seen().is_empty());
}

/// `--model` never goes to the network by itself, in the cache or not.
#[test]
fn a_model_in_the_cache_needs_no_network() {
    let hub = Hub::new(demo_model());
    hub.pull(&[]).run().ok();
    let asked = hub.server.seen().len();
    hub.program(&["tokenize", "Hello", "-m", REPOSITORY])
        .run()
        .ok();
    hub.program(&["tokenize", "Hello", "-m", "someone/else"])
        .run()
        .error(3);
    assert_eq!(hub.server.seen().len(), asked);
}

#[test]
fn an_empty_file_is_a_file() {
    let hub = Hub::bad(
        vec![
            File::small("tokenizer.model", ""),
            File::large("model.safetensors", noise(9)),
        ],
        |seen| {
            seen.path
                .contains("/api/")
                .then(|| listing(["tokenizer.model", "model.safetensors"].into_iter()))
        },
    );
    hub.pull(&[]).run().ok();
    hub.holds(&["model.safetensors", "tokenizer.model"]);
}
