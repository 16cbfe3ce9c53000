//! Statuses that are no answer, as one line each: what is wrong, and what to do.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::address::Endpoint;
use super::patience::Fault;
use super::token::Token;
use crate::failure::{Authorisation, BadModel};
use crate::hub::{Repository, Revision};

/// What was asked for, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) repository: &'a Repository,
    pub(super) revision: &'a Revision,
    /// `None` for the repository's list of files.
    pub(super) file: Option<&'a str>,
    pub(super) endpoint: &'a Endpoint,
    pub(super) token: Option<&'a Token>,
}

impl Asked<'_> {
    /// The repository, or the file in it.
    pub(super) fn name(&self) -> String {
        match self.file {
            Some(file) => format!("{}/{file}", self.repository),
            None => self.repository.to_string(),
        }
    }

    /// What `status` of the endpoint itself means.
    pub(super) fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> Fault {
        let code = headers
            .get("x-error-code")
            .and_then(|value| value.to_str().ok());
        let what = match (status.as_u16(), code) {
            (401 | 403, Some("GatedRepo")) => self.gated(),
            (401, _) if self.token.is_some() => self.token_refused(),
            (401, _) => self.unknown_or_private(),
            (403, _) => self.forbidden(),
            (404, Some("RevisionNotFound")) => {
                let Self {
                    repository,
                    revision,
                    ..
                } = self;
                return Fault::Lasting(
                    BadModel(format!(
                        "{repository}: expected the revision {revision}, found none of that name on {}",
                        self.endpoint.as_str()
                    ))
                    .into(),
                );
            }
            (404, _) => {
                return Fault::Lasting(
                    BadModel(format!(
                        "{}: found nothing of that name on {}; check the spelling{}",
                        self.name(),
                        self.endpoint.as_str(),
                        self.perhaps_hidden()
                    ))
                    .into(),
                );
            }
            _ => return self.server_fault(status, headers),
        };
        Fault::Lasting(Authorisation(what).into())
    }

    /// A status that means the same from every server.
    pub(super) fn server_fault(&self, status: StatusCode, headers: &HeaderMap) -> Fault {
        let what = format!("{}: the server answered {status}", self.name());
        match status.as_u16() {
            408 | 429 | 500..=599 => Fault::Passing {
                what,
                pause: retry_after(headers),
            },
            _ => Fault::lasting(what),
        }
    }

    fn gated(&self) -> String {
        let page = format!("{}/{}", self.endpoint.as_str(), self.repository);
        match self.token {
            None => format!(
                "{}: gated: accept its licence at {page}, then log in: make a token at {}/settings/tokens and set HF_TOKEN to it, or run `hf auth login`",
                self.repository,
                self.endpoint.as_str()
            ),
            Some(token) => format!(
                "{}: gated, and the token from {} opens it not: accept its licence at {page} as the token's owner and wait until access is granted; a fine-grained token also needs the right to read gated repositories",
                self.repository,
                token.origin()
            ),
        }
    }

    fn token_refused(&self) -> String {
        format!(
            "{}: expected a valid token, found one in {} that the server refuses, or a repository that does not exist; check the name, and the token at {}/settings/tokens",
            self.name(),
            self.token.map_or("", Token::origin),
            self.endpoint.as_str()
        )
    }

    /// The Hub does not tell strangers which of the two it is.
    fn unknown_or_private(&self) -> String {
        format!(
            "{}: found no public repository of that name on {}; check the spelling, and for a private one set HF_TOKEN or run `hf auth login`",
            self.name(),
            self.endpoint.as_str()
        )
    }

    fn forbidden(&self) -> String {
        let who = match self.token {
            Some(token) => format!("the token from {} may not read it", token.origin()),
            None => {
                "nobody may read it without a token: set HF_TOKEN or run `hf auth login`".to_owned()
            }
        };
        format!("{}: forbidden: {who}", self.name())
    }

    fn perhaps_hidden(&self) -> &'static str {
        match (self.file, self.token) {
            (None, Some(_)) => ", and that the token's owner may see it",
            _ => "",
        }
    }
}

/// `Retry-After` in seconds. Its other form, a date, is left to our own pauses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}
