//! Addresses: the endpoint, the paths below it, and where a redirect leads.

use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

use crate::failure::usage;
use crate::hub::environment::variable;

const HUB: &str = "https://huggingface.co";

/// All but what an address may hold unescaped everywhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// `HF_ENDPOINT`, or the Hub itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint(String);

impl Endpoint {
    /// # Errors
    /// `HF_ENDPOINT` is no address of http or https: exit code 2. The message does not repeat it, since it may hold a password.
    pub(super) fn read() -> anyhow::Result<Self> {
        let Some(value) = variable("HF_ENDPOINT") else {
            return Ok(Self(HUB.to_owned()));
        };
        value.to_str().and_then(Self::parse).ok_or_else(|| {
            usage(
                "HF_ENDPOINT: expected an address such as https://huggingface.co, without a name or password in it, found something else",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let uri: Uri = text.parse().ok()?;
        let origin = Origin::of(&uri)?;
        let whole = !origin.host.is_empty() && uri.query().is_none() && !text.contains('#');
        whole.then(|| Self(text.to_owned()))
    }

    /// The address of `segments` below it, each escaped whole, `/` included.
    pub(super) fn join(&self, segments: &[&str]) -> String {
        let mut address = self.0.clone();
        for segment in segments {
            address.push('/');
            address.extend(utf8_percent_encode(segment, ESCAPED));
        }
        address
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// To whom a request goes: the token goes to one only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    is_tls: bool,
    pub(super) host: String,
    port: u16,
}

impl Origin {
    /// `None` where the address is neither http nor https, or has a name and a password in it.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        Some(Self {
            is_tls,
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
        })
    }

    /// Whether nobody on the way can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.is_tls
            || self.host == "localhost"
            || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Where `Location` leads from `from`; `None` where it is no address, or leads out of TLS.
pub(super) fn redirected(from: &Uri, location: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    let authority = from.authority()?.as_str();
    let location = location.split('#').next()?;
    let lower = location.get(..8).unwrap_or(location).to_ascii_lowercase();
    let whole = if lower.starts_with("http://") || lower.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.contains(':') {
        return None;
    } else {
        let folder = from
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let to: Uri = whole.parse().ok()?;
    let (origin, target) = (Origin::of(from)?, Origin::of(&to)?);
    (target.is_tls || !origin.is_tls).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn an_endpoint_is_an_address_and_nothing_else() {
        for (text, joined) in [
            (
                "https://huggingface.co",
                "https://huggingface.co/a/b%20c%2F%C3%A9",
            ),
            (
                "http://127.0.0.1:8080/",
                "http://127.0.0.1:8080/a/b%20c%2F%C3%A9",
            ),
            ("https://mirror/hf/", "https://mirror/hf/a/b%20c%2F%C3%A9"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.join(&["a", "b c/é"]), joined);
        }
        for bad in [
            "huggingface.co",
            "ftp://x",
            "https://",
            "https://me:secret@x",
            "https://x?y",
            "file:///etc",
            "",
        ] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        let from = uri("https://hub.co/a/resolve/main/f?x=1");
        for (location, to) in [
            ("https://cdn.co/f?sig=1#part", "https://cdn.co/f?sig=1"),
            ("HTTPS://cdn.co/f", "https://cdn.co/f"),
            ("/b/resolve/main/f", "https://hub.co/b/resolve/main/f"),
            ("//cdn.co/f", "https://cdn.co/f"),
            ("g", "https://hub.co/a/resolve/main/g"),
        ] {
            assert_eq!(redirected(&from, location), Some(uri(to)), "{location}");
        }
        for bad in [
            "http://hub.co/f",
            "ftp://x/f",
            "file:///etc/passwd",
            "javascript:x",
            "https://me:secret@x/",
        ] {
            assert_eq!(redirected(&from, bad), None, "{bad}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        let origin = |text| Origin::of(&uri(text)).unwrap();
        assert_eq!(origin("https://HUB.co/a"), origin("https://hub.co:443/b"));
        for other in ["https://hub.co:444", "http://hub.co", "https://hub.co.evil"] {
            assert_ne!(origin("https://hub.co"), origin(other), "{other}");
        }
        for (text, private) in [
            ("https://x", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.evil.co", false),
        ] {
            assert_eq!(origin(text).is_private(), private, "{text}");
        }
    }
}
