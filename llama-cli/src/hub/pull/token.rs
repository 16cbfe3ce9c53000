//! The user's access token: where it is found, and that it is shown nowhere.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use anyhow::Result;

use crate::failure::usage;
use crate::hub::Environment;
use crate::hub::environment::{expanded, is_yes, variable};

/// Real ones have about 40 bytes.
const LONGEST: u64 = 4096;

/// A secret. It has no `Display`, and its `Debug` says where it came from.
pub(super) struct Token {
    secret: String,
    origin: String,
}

impl Token {
    /// `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else `token` in the Hub's home, where `hf auth login` leaves it;
    /// `None` where there is none.
    ///
    /// # Errors
    /// One that could not stand in a header, or a file in `HF_TOKEN_PATH` that cannot be read: exit code 2.
    pub(super) fn find(environment: &Environment) -> Result<Option<Self>> {
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(value) = variable(name) {
                let value = value.into_string().map_err(|_| malformed(name))?;
                if let Some(token) = Self::new(&value, name.to_owned())? {
                    return Ok(Some(token));
                }
            }
        }
        if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_yes(&value)) {
            return Ok(None);
        }
        let named = variable("HF_TOKEN_PATH")
            .and_then(|path| expanded(path.into(), env::home_dir().as_deref()));
        let is_named = named.is_some();
        let path = named.unwrap_or_else(|| environment.home.join("token"));
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        match read {
            Ok(_) => Self::new(&text, path.display().to_string()),
            Err(error) if is_named && error.kind() != io::ErrorKind::NotFound => {
                Err(usage(format!(
                    "HF_TOKEN_PATH: expected a readable file, found {}: {error}",
                    path.display()
                )))
            }
            Err(_) => Ok(None),
        }
    }

    fn new(text: &str, origin: String) -> Result<Option<Self>> {
        let secret = text.trim();
        if secret.is_empty() {
            return Ok(None);
        }
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed(&origin));
        }
        Ok(Some(Self {
            secret: secret.to_owned(),
            origin,
        }))
    }

    /// The value of the header `Authorization`.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.secret)
    }

    /// The variable or file that it came from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(from {})", self.origin)
    }
}

fn malformed(origin: &str) -> anyhow::Error {
    usage(format!(
        "{origin}: expected an access token of visible ASCII characters, found something else; https://huggingface.co/settings/tokens has yours"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_nowhere() {
        let token = Token::new(" hf_secret\n", "HF_TOKEN".to_owned());
        let token = token.unwrap().expect("a token");
        assert_eq!(token.authorization(), "Bearer hf_secret");
        assert_eq!(format!("{token:?}"), "Token(from HF_TOKEN)");
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused_without_being_quoted() {
        for bad in ["hf_a\r\nHost: x", "hf a", "hf_é", "hf_\u{1b}"] {
            let error = Token::new(bad, "HF_TOKEN".to_owned()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "HF_TOKEN: expected an access token of visible ASCII characters, found something else; https://huggingface.co/settings/tokens has yours"
            );
        }
        assert!(Token::new(" \n", "HF_TOKEN".to_owned()).unwrap().is_none());
    }
}
