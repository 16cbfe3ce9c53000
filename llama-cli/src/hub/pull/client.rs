//! Requests: who is asked, with what headers, where redirects lead, and who never gets the token.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use ureq::http::header::{AUTHORIZATION, LOCATION, RANGE};
use ureq::http::{Request, Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::address::{Endpoint, Origin, redirected};
use super::patience::Fault;
use super::refusal::Asked;
use super::token::Token;
use crate::failure::usage;
use crate::hub::environment::variable;

/// As browsers do, more or less.
const MOST_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(15);
/// Without a byte; `HF_HUB_DOWNLOAD_TIMEOUT` says otherwise.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    pub(super) endpoint: Endpoint,
    pub(super) token: Option<Token>,
    /// Of the endpoint.
    origin: Origin,
}

/// How a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Its headers, from the endpoint itself: a redirect to another host is an answer.
    Head,
    /// It, from a byte on.
    Get { from: u64 },
}

impl Client {
    /// # Errors
    /// `HF_ENDPOINT`, `SSL_CERT_FILE` or `HF_HUB_DOWNLOAD_TIMEOUT` make no sense: exit code 2.
    pub(super) fn new(endpoint: Endpoint, token: Option<Token>) -> Result<Self> {
        let origin = endpoint
            .as_str()
            .parse()
            .ok()
            .and_then(|uri: Uri| Origin::of(&uri))
            .ok_or_else(|| usage("HF_ENDPOINT: expected an address, found something else"))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // They are followed here, where it is decided who sees the token.
            .max_redirects(0)
            .user_agent(concat!("llama-cli/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(silence()?))
            .tls_config(tls()?)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            endpoint,
            token,
            origin,
        })
    }

    /// Why the token stays here, if it does.
    pub(super) fn withheld(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        (!self.origin.is_private()).then(|| {
            format!(
                "the token from {} is not sent to {}, which is not encrypted",
                token.origin(),
                self.endpoint.as_str()
            )
        })
    }

    /// One try. 200, 206 and 416 are answers, and to [`Ask::Head`] also a redirect to another host.
    pub(super) fn ask(
        &self,
        address: &str,
        ask: Ask,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Fault> {
        let no_address = |found: &str| {
            Fault::lasting(format!(
                "{}: expected an address, found {found}",
                asked.name()
            ))
        };
        let mut uri: Uri = address.parse().map_err(|_| no_address("another text"))?;
        for _ in 0..=MOST_REDIRECTS {
            let origin = Origin::of(&uri).ok_or_else(|| no_address("another text"))?;
            let is_endpoint = origin == self.origin;
            let response = self
                .send(uri.clone(), ask, is_endpoint)
                .map_err(|error| self.transport(&error, &origin, asked))?;
            let status = response.status();
            let headers = response.headers();
            match status.as_u16() {
                200 | 206 | 416 => return Ok(response),
                301 | 302 | 303 | 307 | 308 => {
                    let location = headers.get(LOCATION).and_then(|it| it.to_str().ok());
                    let to = location.and_then(|location| redirected(&uri, location));
                    uri = to.ok_or_else(|| {
                        Fault::lasting(format!(
                            "{}: {} redirects to no address that may be followed",
                            asked.name(),
                            origin.host
                        ))
                    })?;
                    if ask == Ask::Head && Origin::of(&uri).as_ref() != Some(&self.origin) {
                        return Ok(response);
                    }
                }
                _ if is_endpoint => return Err(asked.refusal(status, headers)),
                // Its addresses are signed for a short time; the next try is given a new one.
                403 => {
                    return Err(Fault::passing(format!(
                        "{}: {} answered {status}",
                        asked.name(),
                        origin.host
                    )));
                }
                _ => return Err(asked.server_fault(status, headers)),
            }
        }
        Err(Fault::lasting(format!(
            "{}: expected at most {MOST_REDIRECTS} redirects, found more",
            asked.name()
        )))
    }

    fn send(&self, uri: Uri, ask: Ask, is_endpoint: bool) -> Result<Response<Body>, ureq::Error> {
        // The hash and the length are those of the file, not of a compressed copy.
        let mut request = Request::builder()
            .uri(uri)
            .header("accept-encoding", "identity");
        request = match ask {
            Ask::Head => request.method("HEAD"),
            Ask::Get { from: 0 } => request.method("GET"),
            Ask::Get { from } => request
                .method("GET")
                .header(RANGE, format!("bytes={from}-")),
        };
        if let (true, true, Some(token)) = (is_endpoint, self.origin.is_private(), &self.token) {
            request = request.header(AUTHORIZATION, token.authorization());
        }
        self.agent.run(request.body(()).map_err(ureq::Error::from)?)
    }

    fn transport(&self, error: &ureq::Error, origin: &Origin, asked: &Asked<'_>) -> Fault {
        Fault::passing(format!(
            "{}: no answer from {}: {error}",
            asked.name(),
            origin.host
        ))
    }
}

fn silence() -> Result<Duration> {
    let Some(value) = variable("HF_HUB_DOWNLOAD_TIMEOUT") else {
        return Ok(SILENCE);
    };
    let seconds = value.to_str().and_then(|text| text.parse::<u64>().ok());
    seconds
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| {
            usage("HF_HUB_DOWNLOAD_TIMEOUT: expected a number of seconds, found something else")
        })
}

/// The root certificates of `SSL_CERT_FILE`, for networks that look into TLS; else Mozilla's, which are part of the program.
fn tls() -> Result<TlsConfig> {
    let Some(path) = variable("SSL_CERT_FILE") else {
        return Ok(TlsConfig::default());
    };
    let malformed = |found: String| {
        usage(format!(
            "SSL_CERT_FILE: expected PEM certificates, found {}: {found}",
            path.display()
        ))
    };
    let pem = fs::read(&path).map_err(|error| malformed(error.to_string()))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(malformed("none in it".to_owned()));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build())
}
