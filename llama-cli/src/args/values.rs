//! Values of flags: parsed and held to what one flag alone allows. Messages say what was expected;
//! clap puts the flag's name and the value in front of them.

use std::str::FromStr;

/// Token ids of a command line, in order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdList(pub(crate) Vec<u32>);

/// `1,2,3`, with any white space around or in place of the commas.
pub(crate) fn parse_ids(text: &str) -> Result<IdList, String> {
    let ids = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.parse()
                .map_err(|_| format!("expected token ids such as 1,15043,3186; found {word:?}"))
        })
        .collect::<Result<Vec<u32>, String>>()?;
    if ids.is_empty() {
        return Err("expected at least one token id; found none".to_owned());
    }
    Ok(IdList(ids))
}

/// How many layers each adapter gets; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerCounts(pub(crate) Vec<usize>);

/// `30,50`.
pub(crate) fn parse_layers(text: &str) -> Result<LayerCounts, String> {
    let counts = text.split(',').map(|word| word.trim().parse().ok());
    let counts: Option<Vec<usize>> = counts.collect();
    counts
        .map(LayerCounts)
        .ok_or_else(|| "expected counts of layers such as 30,50".to_owned())
}

/// How many tokens to make: `None` is until the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxTokens(pub(crate) Option<usize>);

impl FromStr for MaxTokens {
    type Err = String;

    /// A count too large for the machine is as good as none: the context ends first.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-1" {
            return Ok(Self(None));
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("expected a count, or -1 for no limit".to_owned());
        }
        Ok(Self(text.parse().ok()))
    }
}

pub(crate) fn at_least_zero(text: &str) -> Result<f32, String> {
    within(text, "a finite number, 0 or more", |value| value >= 0.0)
}

pub(crate) fn more_than_zero(text: &str) -> Result<f32, String> {
    within(text, "a finite number above 0", |value| value > 0.0)
}

pub(crate) fn probability(text: &str) -> Result<f32, String> {
    within(text, "a number from 0 to 1", |value| {
        (0.0..=1.0).contains(&value)
    })
}

pub(crate) fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected a text that is not empty".to_owned());
    }
    Ok(text.to_owned())
}

fn within(text: &str, expected: &str, holds: impl Fn(f32) -> bool) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && holds(value) => Ok(value),
        _ => Err(format!("expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas_or_spaces() {
        for text in ["1,2,3", "1 2 3", " 1, 2 ,3\n", "1,,2,3,"] {
            assert_eq!(parse_ids(text), Ok(IdList(vec![1, 2, 3])), "{text:?}");
        }
    }

    #[test]
    fn ids_that_are_none_are_refused() {
        assert_eq!(
            parse_ids(" , "),
            Err("expected at least one token id; found none".to_owned())
        );
        for word in ["-1", "4294967296", "one", "1.5", "0x10"] {
            assert_eq!(
                parse_ids(&format!("1,{word}")),
                Err(format!(
                    "expected token ids such as 1,15043,3186; found {word:?}"
                ))
            );
        }
    }

    #[test]
    fn layers_are_counts() {
        assert_eq!(parse_layers("30, 50"), Ok(LayerCounts(vec![30, 50])));
        assert_eq!(parse_layers("7"), Ok(LayerCounts(vec![7])));
        for bad in ["", "3,", "-1,2", "a", "1.5", "3 4"] {
            let message = "expected counts of layers such as 30,50";
            assert_eq!(parse_layers(bad), Err(message.to_owned()), "{bad:?}");
        }
    }

    #[test]
    fn max_tokens_takes_any_count_and_minus_one() {
        assert_eq!("0".parse(), Ok(MaxTokens(Some(0))));
        assert_eq!("-1".parse(), Ok(MaxTokens(None)));
        assert_eq!("9223372036854775808".parse(), Ok(MaxTokens(Some(1 << 63))));
        assert_eq!("99999999999999999999999".parse(), Ok(MaxTokens(None)));
        for bad in ["-2", "", "many", "1e3", "+5", "1.0"] {
            assert!(bad.parse::<MaxTokens>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!(at_least_zero("0"), Ok(0.0));
        assert_eq!(at_least_zero("1e38"), Ok(1e38));
        assert_eq!(probability("1"), Ok(1.0));
        assert_eq!(more_than_zero("1.1"), Ok(1.1));
        for bad in ["-1", "NaN", "inf", "1e39", "", "warm"] {
            assert!(at_least_zero(bad).is_err(), "{bad:?}");
        }
        for bad in ["-0.1", "2", "NaN"] {
            assert!(probability(bad).is_err(), "{bad:?}");
        }
        assert!(more_than_zero("0").is_err());
        assert!(non_empty("").is_err());
    }
}
