//! The token: where it comes from, who gets it, and that nobody else does.

use std::fs;

use crate::fixture::{Hub, REPOSITORY, TOKEN, model, noise};
use crate::program::program;
use crate::server::Reply;

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn the_hub_gets_the_token_and_a_redirects_host_never_does() {
    let hub = Hub::new(model(noise(5000)));
    hub.pull(&["-v"]).run().kept_secret().ok();
    let here = hub.server.seen();
    assert!(!here.is_empty());
    for seen in &here {
        assert_eq!(
            seen.header("authorization"),
            Some(bearer(TOKEN).as_str()),
            "{seen:?}"
        );
    }
    let elsewhere = hub.other.seen();
    assert!(!elsewhere.is_empty());
    for seen in elsewhere {
        assert_eq!(seen.header("authorization"), None, "{seen:?}");
    }
}

/// Not even where it is another port of the same machine, and not where it leads back.
#[test]
fn another_port_is_another_host() {
    let other = crate::server::Server::start(|_| Reply::new(200));
    let port = other.port();
    let hub = Hub::bad(model(noise(10)), move |seen| {
        seen.path
            .contains("/api/")
            .then(|| Reply::new(302).header("Location", format!("http://127.0.0.1:{port}/x")))
    });
    hub.pull(&[]).run().kept_secret().error(5);
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[test]
fn tokens_are_found_where_the_hubs_own_programs_look() {
    let hub = Hub::new(model(noise(10)));
    let sent = |hub: &Hub| {
        let seen = hub.server.seen();
        seen.last()
            .and_then(|seen| seen.header("authorization").map(str::to_owned))
    };
    hub.program(&["pull", REPOSITORY]).run().ok();
    assert_eq!(sent(&hub), None);
    fs::write(hub.home.path().join("token"), format!("{TOKEN}-home\n")).expect("written");
    hub.program(&["pull", REPOSITORY]).run().kept_secret().ok();
    assert_eq!(sent(&hub), Some(bearer(&format!("{TOKEN}-home"))));
    let file = hub.home.path().join("my token");
    fs::write(&file, format!(" {TOKEN}-file ")).expect("written");
    hub.program(&["pull", REPOSITORY])
        .env("HF_TOKEN_PATH", &file)
        .run()
        .kept_secret()
        .ok();
    assert_eq!(sent(&hub), Some(bearer(&format!("{TOKEN}-file"))));
    hub.pull(&[])
        .env("HF_TOKEN_PATH", &file)
        .run()
        .kept_secret()
        .ok();
    assert_eq!(sent(&hub), Some(bearer(TOKEN)));
    hub.program(&["pull", REPOSITORY])
        .env("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        .run()
        .ok();
    assert_eq!(sent(&hub), None);
}

#[test]
fn a_token_that_is_none_is_refused_without_being_quoted() {
    let error = program(["pull", REPOSITORY])
        .env("HF_TOKEN", format!("{TOKEN}\r\nHost: elsewhere"))
        .run()
        .kept_secret()
        .error(2);
    assert_eq!(
        error,
        "HF_TOKEN: expected an access token of visible ASCII characters, found something else; https://huggingface.co/settings/tokens has yours"
    );
}

/// A name that resolves to no address keeps the test on this machine.
#[test]
fn a_token_is_not_sent_in_the_clear() {
    let ended = program(["pull", REPOSITORY])
        .env("HF_ENDPOINT", "http://0.0.0.0:1")
        .env("HF_TOKEN", TOKEN)
        .run()
        .kept_secret();
    assert!(
        ended.stderr.contains("warning: the token from HF_TOKEN is not sent to http://0.0.0.0:1, which is not encrypted"),
        "{}",
        ended.stderr
    );
    ended.error(5);
}

#[test]
fn no_failure_shows_the_token() {
    for status in [400, 401, 403, 404, 418, 429, 451] {
        let hub = Hub::bad(model(noise(10)), move |seen| {
            // A server that repeats whatever it was sent.
            let token = seen.header("authorization").unwrap_or_default().to_owned();
            let reply = Reply::new(status)
                .header("Retry-After", "9999")
                .header("X-Error-Message", token.clone());
            Some(reply.header("Location", format!("/{token}")).body(token))
        });
        let ended = hub.pull(&["-v"]).run().kept_secret();
        assert_ne!(ended.code, Some(0), "{status}");
    }
}
