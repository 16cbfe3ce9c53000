//! What the Hub says of a repository and of a file: names, commit, lengths, hashes.

use anyhow::Result;
use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, ETAG};

use super::client::{Ask, Client};
use super::digest::Etag;
use super::patience::{Fault, Patience};
use super::refusal::Asked;
use crate::hub::repository::is_commit;

/// A repository of 100,000 files takes less.
const LONGEST_LIST: u64 = 16 << 20;

/// A revision of a repository.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// A file at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) etag: Etag,
}

impl Listing {
    /// Of `asked`'s revision, as it stands now.
    pub(super) fn fetch(client: &Client, asked: &Asked<'_>, say: &dyn Fn(String)) -> Result<Self> {
        #[derive(Deserialize)]
        struct Model {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let (org, name) = asked.repository.parts();
        let address = client.endpoint.join(&[
            "api",
            "models",
            org,
            name,
            "revision",
            asked.revision.as_str(),
        ]);
        Patience::new(say).until(|| {
            let mut response = client.ask(&address, Ask::Get { from: 0 }, asked)?;
            let kind = media_type(&response);
            let body = response.body_mut().with_config().limit(LONGEST_LIST);
            let text = body.read_to_vec().map_err(|error| match error {
                ureq::Error::BodyExceedsLimit(_) => Fault::lasting(format!(
                    "{}: expected a list of at most {LONGEST_LIST} bytes, found a longer one",
                    asked.name()
                )),
                error => Fault::passing(format!("{}: its list broke off: {error}", asked.name())),
            })?;
            let model: Model = serde_json::from_slice(&text)
                .ok()
                .filter(|model: &Model| is_commit(&model.sha))
                .ok_or_else(|| {
                    Fault::lasting(format!(
                        "{}: expected the Hub's list of its files, found {kind}; is there a proxy or a login page before {}?",
                        asked.name(),
                        client.endpoint.as_str()
                    ))
                })?;
            let files = model.siblings.into_iter().map(|file| file.rfilename);
            Ok(Self {
                commit: model.sha,
                files: files.collect(),
            })
        })
    }
}

impl Remote {
    /// Where the file's bytes are asked for.
    pub(super) fn address(client: &Client, asked: &Asked<'_>, commit: &str, file: &str) -> String {
        let (org, name) = asked.repository.parts();
        let mut segments = vec![org, name, "resolve", commit];
        segments.extend(file.split('/'));
        client.endpoint.join(&segments)
    }

    /// Length and hash of `asked`'s file.
    pub(super) fn fetch(
        client: &Client,
        asked: &Asked<'_>,
        commit: &str,
        file: &str,
        say: &dyn Fn(String),
    ) -> Result<Self> {
        let address = Self::address(client, asked, commit, file);
        Patience::new(say).until(|| {
            let response = client.ask(&address, Ask::Head, asked)?;
            let headers = response.headers();
            // A redirect's own length and hash are those of its page.
            let is_file = response.status() == 200;
            let of = |linked: &str, own: &str| {
                let own = || headers.get(own).filter(|_| is_file);
                let value = headers.get(linked).or_else(own)?;
                Some(value.to_str().ok()?.to_owned())
            };
            let missing = |what: &str| {
                Fault::lasting(format!(
                    "{}: expected {what} of it, found none in {}; is {} a Hub?",
                    asked.name(),
                    media_type(&response),
                    client.endpoint.as_str()
                ))
            };
            let etag = of("x-linked-etag", ETAG.as_str());
            let bytes = of("x-linked-size", CONTENT_LENGTH.as_str());
            Ok(Self {
                name: file.to_owned(),
                etag: etag
                    .and_then(|text| Etag::parse(&text))
                    .ok_or_else(|| missing("a hash"))?,
                bytes: bytes
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| missing("the length"))?,
            })
        })
    }
}

/// For an error's text.
fn media_type(response: &Response<Body>) -> String {
    match response.body().mime_type() {
        Some(kind) => format!(
            "an answer of type {}",
            kind.chars().take(40).collect::<String>()
        ),
        None => "an answer without a type".to_owned(),
    }
}
