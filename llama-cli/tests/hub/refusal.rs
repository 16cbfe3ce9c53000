//! Servers that refuse, and servers that are no Hub: the code, the whole sentence, and how often they are asked.

use std::time::{Duration, Instant};

use crate::fixture::{COMMIT, File, Hub, REPOSITORY, TOKEN, listing, model, noise};
use crate::program::program;
use crate::server::Reply;

const TRIED: &str = "5 times in a row; run the command again to go on from there";

/// A Hub whose list is this.
fn listed(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Hub {
    Hub::bad(model(noise(10)), move |seen| {
        seen.path.contains("/api/").then(&reply)
    })
}

/// The error of a pull with a token.
#[track_caller]
fn with_token(hub: &Hub, code: i32) -> String {
    hub.pull(&[]).run().kept_secret().error(code)
}

/// The error of a pull without.
#[track_caller]
fn without_token(hub: &Hub, code: i32) -> String {
    hub.program(&["pull", REPOSITORY]).run().error(code)
}

#[test]
fn unauthorised_says_where_the_token_came_from() {
    let hub = listed(|| Reply::new(401));
    let url = hub.server.url();
    assert_eq!(
        with_token(&hub, 4),
        format!(
            "{REPOSITORY}: expected a valid token, found one in HF_TOKEN that the server refuses, or a repository that does not exist; check the name, and the token at {url}/settings/tokens"
        )
    );
    assert_eq!(
        without_token(&hub, 4),
        format!(
            "{REPOSITORY}: found no public repository of that name on {url}; check the spelling, and for a private one set HF_TOKEN or run `hf auth login`"
        )
    );
    assert_eq!(hub.server.seen().len(), 2, "refusals are not asked again");
}

/// The list of a gated repository is public, its files are not.
#[test]
fn gated_says_which_licence_to_accept_and_how_to_log_in() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        let status = if seen.header("authorization").is_some() {
            403
        } else {
            401
        };
        seen.path
            .contains("/resolve/")
            .then(|| Reply::new(status).header("X-Error-Code", "GatedRepo"))
    });
    let url = hub.server.url();
    assert_eq!(
        without_token(&hub, 4),
        format!(
            "{REPOSITORY}: gated: accept its licence at {url}/{REPOSITORY}, then log in: make a token at {url}/settings/tokens and set HF_TOKEN to it, or run `hf auth login`"
        )
    );
    assert_eq!(
        with_token(&hub, 4),
        format!(
            "{REPOSITORY}: gated, and the token from HF_TOKEN opens it not: accept its licence at {url}/{REPOSITORY} as the token's owner and wait until access is granted; a fine-grained token also needs the right to read gated repositories"
        )
    );
}

#[test]
fn forbidden_is_authorisation() {
    let hub = listed(|| Reply::new(403));
    assert_eq!(
        with_token(&hub, 4),
        format!("{REPOSITORY}: forbidden: the token from HF_TOKEN may not read it")
    );
    assert_eq!(
        without_token(&hub, 4),
        format!(
            "{REPOSITORY}: forbidden: nobody may read it without a token: set HF_TOKEN or run `hf auth login`"
        )
    );
}

#[test]
fn an_unknown_repository_revision_or_file_is_a_missing_model() {
    let hub = listed(|| Reply::new(404).header("X-Error-Code", "RepoNotFound"));
    let url = hub.server.url();
    assert_eq!(
        with_token(&hub, 3),
        format!(
            "{REPOSITORY}: found nothing of that name on {url}; check the spelling, and that the token's owner may see it"
        )
    );
    let hub = Hub::new(model(noise(10)));
    let url = hub.server.url();
    assert_eq!(
        hub.pull(&["--revision", "v9"]).run().error(3),
        format!("{REPOSITORY}: expected the revision v9, found none of that name on {url}")
    );
    let hub = Hub::bad(model(noise(10)), |seen| {
        seen.path.contains("/config.json").then(|| Reply::new(404))
    });
    let url = hub.server.url();
    assert_eq!(
        with_token(&hub, 3),
        format!(
            "{REPOSITORY}/config.json: found nothing of that name on {url}; check the spelling"
        )
    );
}

#[test]
fn too_many_requests_waits_as_long_as_it_is_told() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        (seen.earlier == 0 && seen.path.contains("/api/"))
            .then(|| Reply::new(429).header("Retry-After", "2"))
    });
    let begun = Instant::now();
    let ended = hub.pull(&[]).run().kept_secret();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(
        ended.stderr.contains("note: meta-llama/Llama-2-7b-chat-hf: the server answered 429 Too Many Requests; trying again in 2.0 s"),
        "{}",
        ended.stderr
    );
    ended.ok();
}

#[test]
fn a_wait_that_is_too_long_is_left_to_the_user() {
    let hub = listed(|| Reply::new(429).header("Retry-After", "3600"));
    assert_eq!(
        with_token(&hub, 5),
        format!(
            "{REPOSITORY}: the server answered 429 Too Many Requests, which asks for 3600 seconds; run the command again after them"
        )
    );
    assert_eq!(hub.server.seen().len(), 1);
}

#[test]
fn server_errors_are_asked_again_a_few_times_only() {
    let hub = listed(|| Reply::new(503));
    assert_eq!(
        with_token(&hub, 5),
        format!("{REPOSITORY}: the server answered 503 Service Unavailable, {TRIED}")
    );
    assert_eq!(hub.server.seen().len(), 5);
}

#[test]
fn a_server_error_that_passes_is_no_error() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        let status = [500, 502, 504][seen.path.len() % 3];
        (seen.earlier == 0).then(|| Reply::new(status))
    });
    hub.pull(&[]).run().ok();
    hub.holds(&["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn the_other_hosts_errors_are_asked_again_too() {
    let hub = Hub::bad_elsewhere(model(noise(10)), |_| Some(Reply::new(403)));
    let error = with_token(&hub, 5);
    assert_eq!(
        error,
        format!("{REPOSITORY}/model.safetensors: localhost answered 403 Forbidden, {TRIED}")
    );
    // Each time with a new address from the Hub.
    assert_eq!(hub.server.asked("GET", "/model.safetensors").len(), 5);
}

#[test]
fn no_server_is_a_network_error() {
    let home = tempfile::tempdir().expect("a directory");
    let error = program(["pull", REPOSITORY])
        .env("HF_HOME", home.path())
        .env("HF_TOKEN", TOKEN)
        .run()
        .kept_secret()
        .error(5);
    let rest = error.strip_prefix(&format!("{REPOSITORY}: no answer from 127.0.0.1: "));
    assert!(rest.is_some_and(|rest| rest.ends_with(TRIED)), "{error}");
}

#[test]
fn a_page_in_place_of_the_list_is_no_hub() {
    for (reply, found) in [
        (Reply::html(), "an answer of type text/html"),
        (Reply::new(200), "an answer without a type"),
        (
            Reply::new(200)
                .header("Content-Type", "application/json")
                .body("[".repeat(100_000)),
            "an answer of type application/json",
        ),
        (
            Reply::new(200)
                .header("Content-Type", "application/json")
                .body("{\"sha\": \"../../x\", \"siblings\": []}"),
            "an answer of type application/json",
        ),
    ] {
        let hub = listed(move || reply.clone());
        let url = hub.server.url();
        assert_eq!(
            with_token(&hub, 5),
            format!(
                "{REPOSITORY}: expected the Hub's list of its files, found {found}; is there a proxy or a login page before {url}?"
            )
        );
    }
}

#[test]
fn an_endless_list_is_cut() {
    let hub = listed(|| {
        Reply::new(200)
            .body(vec![b' '; (16 << 20) + 1])
            .unannounced()
    });
    assert_eq!(
        with_token(&hub, 5),
        format!("{REPOSITORY}: expected a list of at most 16777216 bytes, found a longer one")
    );
}

#[test]
fn a_page_in_place_of_a_files_headers_is_no_hub() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        seen.path.contains("/resolve/").then(Reply::html)
    });
    let url = hub.server.url();
    let error = with_token(&hub, 5);
    let expected = |name| {
        format!(
            "{REPOSITORY}/{name}: expected a hash of it, found none in an answer of type text/html; is {url} a Hub?"
        )
    };
    assert!(
        ["config.json", "tokenizer.json", "model.safetensors"]
            .iter()
            .any(|name| error == expected(name)),
        "{error}"
    );
}

/// A hash is a file's name in the cache.
#[test]
fn a_hash_that_is_a_path_is_refused() {
    let hub = Hub::bad(vec![File::large("model.safetensors", noise(10))], |seen| {
        seen.path
            .contains("/resolve/")
            .then(|| Reply::new(200).header("ETag", "\"../../../../escaped\""))
    });
    let url = hub.server.url();
    assert_eq!(
        with_token(&hub, 5),
        format!(
            "{REPOSITORY}/model.safetensors: expected a hash of it, found none in an answer without a type; is {url} a Hub?"
        )
    );
    assert!(!hub.folder().exists());
}

#[test]
fn a_file_name_that_leads_out_of_the_cache_is_refused() {
    for name in [
        "../../../escaped.safetensors",
        "/tmp/escaped.safetensors",
        "a\\..\\b.safetensors",
        "C:x.safetensors",
        "a\0.safetensors",
    ] {
        let hub = listed(move || listing(["config.json", name].into_iter()));
        assert_eq!(
            hub.pull(&["--include", "*.safetensors"]).run().error(5),
            format!(
                "{REPOSITORY}: expected file names below the repository, found {name:?} in the Hub's list; nothing was pulled"
            )
        );
        assert!(!hub.folder().exists());
    }
}

#[test]
fn redirects_have_an_end_and_stay_on_the_web() {
    let here = format!("/{REPOSITORY}/resolve/{COMMIT}/model.safetensors");
    let hub = Hub::bad(
        vec![File::large("model.safetensors", noise(10))],
        move |seen| {
            seen.path
                .contains("/resolve/")
                .then(|| Reply::new(302).header("Location", here.clone()))
        },
    );
    assert_eq!(
        with_token(&hub, 5),
        format!("{REPOSITORY}/model.safetensors: expected at most 10 redirects, found more")
    );
    for location in [
        "file:///etc/passwd",
        "ftp://localhost/x",
        "http://me:secret@localhost/x",
        "",
    ] {
        let hub = Hub::bad(
            vec![File::large("model.safetensors", noise(10))],
            move |seen| {
                (seen.path.contains("/resolve/") && seen.method == "GET")
                    .then(|| Reply::new(302).header("Location", location))
            },
        );
        let error = with_token(&hub, 5);
        if location.is_empty() {
            continue;
        }
        assert_eq!(
            error,
            format!(
                "{REPOSITORY}/model.safetensors: 127.0.0.1 redirects to no address that may be followed"
            )
        );
    }
}

/// A repository that was renamed: the Hub leads to its new name on the same host.
#[test]
fn a_renamed_repository_is_followed() {
    let hub = Hub::bad(model(noise(10)), |seen| {
        let old = seen.path.strip_prefix("/api/models/old/name/")?;
        Some(Reply::new(307).header("Location", format!("/api/models/{REPOSITORY}/{old}")))
    });
    let ended = hub
        .program(&["pull", "old/name"])
        .env("HF_TOKEN", TOKEN)
        .run()
        .kept_secret();
    // The files of the old name are not there in this small Hub; what matters is that its list was.
    let url = hub.server.url();
    let error = ended.error(3);
    assert!(
        error.ends_with(&format!(
            "found nothing of that name on {url}; check the spelling"
        )),
        "{error}"
    );
    assert_eq!(
        hub.server
            .asked("GET", &format!("/api/models/{REPOSITORY}/revision/main"))
            .len(),
        1
    );
}

#[test]
fn an_endpoint_that_is_no_address_is_a_usage_error_and_is_not_repeated() {
    for endpoint in ["huggingface.co", "ftp://x", "https://me:s3cret@x"] {
        let error = program(["pull", REPOSITORY])
            .env("HF_ENDPOINT", endpoint)
            .run()
            .kept_secret()
            .error(2);
        assert_eq!(
            error,
            "HF_ENDPOINT: expected an address such as https://huggingface.co, without a name or password in it, found something else"
        );
    }
}
