//! The flag for LoRA adapters: where each lies, and what its changes are multiplied by.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct LoraArgs {
    /// A LoRA adapter for the model; may be given several times
    #[arg(
        long,
        value_name = "DIR|ORG/NAME[:SCALE]",
        value_parser = OsStringValueParser::new().try_map(Lora::parse),
        env = "LLAMA_LORA",
        hide_env_values = true,
        long_help = "A LoRA adapter for the model, as Hugging Face's peft saves them: a directory, or ORG/NAME from the Hub's cache. \
                     A number behind the last colon multiplies its changes: 1 where there is none. May be given several times, the \
                     changes add up; in the variable several are separated by commas"
    )]
    pub(crate) lora: Vec<Lora>,
}

/// One adapter of the command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lora {
    /// Its directory, or its repository.
    pub(crate) place: PathBuf,
    pub(crate) scale: f32,
}

impl Lora {
    /// `DIR` or `DIR:SCALE`: what is behind the last colon is a scale if it reads like a number, else a part of the path.
    fn parse(text: OsString) -> Result<Self, String> {
        let (place, scale) = match text.to_str().and_then(|text| text.rsplit_once(':')) {
            Some((_, "")) => {
                return Err(
                    "expected a number behind the last colon, as in DIR:0.5; found none".to_owned(),
                );
            }
            Some((place, scale)) => match scale.parse::<f32>() {
                Ok(scale) if scale.is_finite() => (OsString::from(place), scale),
                Ok(_) => {
                    return Err(format!(
                        "expected a finite number behind the last colon, as in DIR:0.5; found {scale:?}"
                    ));
                }
                Err(_) => (text, 1.0),
            },
            None => (text, 1.0),
        };
        if place.is_empty() {
            return Err("expected a directory or ORG/NAME, as in DIR:0.5; found none".to_owned());
        }
        Ok(Self {
            place: place.into(),
            scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_the_last_colon_is_the_scale() {
        let cases = [
            ("adapter", "adapter", 1.0),
            ("adapter:0.5", "adapter", 0.5),
            ("adapter:-1", "adapter", -1.0),
            ("adapter:0", "adapter", 0.0),
            ("org/name:2e-1", "org/name", 0.2),
            ("a:b", "a:b", 1.0),
            ("a:b:0.25", "a:b", 0.25),
            (r"C:\adapter", r"C:\adapter", 1.0),
            (r"C:\adapter:3", r"C:\adapter", 3.0),
            ("run 2:30:1", "run 2:30", 1.0),
        ];
        for (text, place, scale) in cases {
            let expected = Lora {
                place: place.into(),
                scale,
            };
            assert_eq!(Lora::parse(text.into()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn scales_that_are_no_finite_number_and_places_that_are_none_are_refused() {
        let finite = |found: &str| {
            format!(
                "expected a finite number behind the last colon, as in DIR:0.5; found {found:?}"
            )
        };
        let no_place = "expected a directory or ORG/NAME, as in DIR:0.5; found none";
        let cases = [
            ("adapter:nan", finite("nan")),
            ("adapter:-inf", finite("-inf")),
            ("adapter:1e39", finite("1e39")),
            (
                "adapter:",
                "expected a number behind the last colon, as in DIR:0.5; found none".to_owned(),
            ),
            (":0.5", no_place.to_owned()),
            (":-1", no_place.to_owned()),
            ("", no_place.to_owned()),
        ];
        for (text, message) in cases {
            assert_eq!(Lora::parse(text.into()), Err(message), "{text:?}");
        }
    }
}
