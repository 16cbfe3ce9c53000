//! Control tokens while a Jinja template runs.
//!
//! A template mixes its own text, control tokens and what users wrote into one string. To tell them apart afterwards,
//! each special token gets a *marker*: U+FDD0, one private-use character that numbers the token, U+FDD1. The two
//! brackets are noncharacters, which Unicode reserves for such internal use. Markers replace the tokens' texts in the
//! template's source and are the values of its variables; no message may hold a bracket. So a marker in the output
//! can only come from the template, and only markers become control segments.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::{Error, Message, Segment, SpecialTokens};

const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';
/// Marker `i` is numbered by the character `FIRST + i`, in plane 15.
const FIRST: u32 = 0xf_0000;
/// As many tokens as plane 15 has private-use characters.
const MAX_TOKENS: usize = 0xfffe;
/// Bytes that all special tokens together may have: the largest published set (Mistral's thousand) has 13 KB.
const MAX_BYTES: usize = 1 << 20;

/// The special tokens of one template, numbered.
#[derive(Debug)]
pub(crate) struct ControlTokens {
    segments: Vec<Segment>,
    variables: Vec<(String, String)>,
    literals: Vec<String>,
}

impl ControlTokens {
    pub(crate) fn new(tokens: &SpecialTokens, origin: &str) -> Result<Self, Error> {
        let named = [("bos_token", &tokens.bos), ("eos_token", &tokens.eos)]
            .into_iter()
            .filter_map(|(name, text)| text.as_ref().map(|text| (name, text)))
            .chain(
                tokens
                    .named
                    .iter()
                    .map(|(name, text)| (name.as_str(), text)),
            );

        let mut numbering = Numbering::default();
        let mut variables = Vec::new();
        for (name, text) in named.filter(|(_, text)| !text.is_empty()) {
            let segment = match name {
                "bos_token" => Segment::Bos,
                "eos_token" => Segment::Eos,
                _ => Segment::Control(text.clone()),
            };
            variables.push((name.to_owned(), marker(numbering.number(text, segment))));
        }
        for text in tokens.others.iter().filter(|text| !text.is_empty()) {
            numbering.number(text, Segment::Control(text.clone()));
        }

        let Numbering {
            segments, literals, ..
        } = numbering;
        let bytes: usize = literals.iter().map(String::len).sum();
        if segments.len() > MAX_TOKENS || bytes > MAX_BYTES {
            return Err(Error::Config {
                origin: origin.to_owned(),
                field: "special tokens".to_owned(),
                expected: format!("at most {MAX_TOKENS} of {MAX_BYTES} bytes in all"),
                found: format!("{} of {bytes} bytes", segments.len()),
            });
        }
        Ok(Self {
            segments,
            variables,
            literals,
        })
    }

    /// The template's source with a marker in place of each special token that is written out in it, the longest
    /// first where one token begins another.
    pub(crate) fn mark(&self, source: &str, origin: &str) -> Result<String, Error> {
        let fault = |expected: &str, found: String| Error::Config {
            origin: origin.to_owned(),
            field: "chat_template".to_owned(),
            expected: expected.to_owned(),
            found,
        };
        if let Some(bracket) = find_bracket(source) {
            return Err(fault(
                "text without noncharacters",
                format!("U+{:04X}", u32::from(bracket)),
            ));
        }
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&self.literals)
            .map_err(|error| fault("special tokens that can be searched for", error.to_string()))?;
        let mut marked = String::with_capacity(source.len());
        searcher.replace_all_with(source, &mut marked, |found, _, into| {
            // Literals are numbered in the order of the segments they stand for; see `Numbering`.
            into.push_str(&marker(found.pattern().as_usize()));
            true
        });
        Ok(marked)
    }

    /// The template's variables: name and marker.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, marker)| (name.as_str(), marker.as_str()))
    }

    /// The segments of a rendered template, or what a broken marker looks like: a template that slices its
    /// `bos_token` can make one.
    pub(crate) fn segments(&self, rendered: &str) -> Result<Vec<Segment>, String> {
        let mut segments = Vec::new();
        let mut rest = rendered;
        while let Some(at) = rest.find([OPEN, CLOSE]) {
            push_text(&mut segments, &rest[..at]);
            let mut marker = rest[at..].chars();
            let segment = match (marker.next(), marker.next(), marker.next()) {
                (Some(OPEN), Some(number), Some(CLOSE)) => u32::from(number)
                    .checked_sub(FIRST)
                    .and_then(|number| self.segments.get(number as usize)),
                _ => None,
            };
            segments.push(
                segment
                    .ok_or("a special token was cut into pieces")?
                    .clone(),
            );
            rest = marker.as_str();
        }
        push_text(&mut segments, rest);
        Ok(segments)
    }
}

/// Refuses a message that holds a bracket of ours.
pub(crate) fn check_messages(messages: &[Message]) -> Result<(), Error> {
    for (index, message) in messages.iter().enumerate() {
        for (field, text) in [
            ("role", message.role.as_str()),
            ("content", &message.content),
        ] {
            if let Some(character) = find_bracket(text) {
                return Err(Error::Marker {
                    index,
                    field,
                    character,
                });
            }
        }
    }
    Ok(())
}

/// Gives equal texts one number, the first come the first numbered; `literals[i]` stands for `segments[i]`.
#[derive(Default)]
struct Numbering {
    segments: Vec<Segment>,
    literals: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Numbering {
    fn number(&mut self, text: &str, segment: Segment) -> usize {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        self.numbers.insert(text.to_owned(), self.segments.len());
        self.segments.push(segment);
        self.literals.push(text.to_owned());
        self.segments.len() - 1
    }
}

fn marker(number: usize) -> String {
    // `ControlTokens::new` refuses more than MAX_TOKENS, so that the replacement character is never needed.
    let number =
        char::from_u32(FIRST.saturating_add(number as u32)).unwrap_or(char::REPLACEMENT_CHARACTER);
    String::from_iter([OPEN, number, CLOSE])
}

fn find_bracket(text: &str) -> Option<char> {
    text.chars()
        .find(|&character| character == OPEN || character == CLOSE)
}

fn push_text(segments: &mut Vec<Segment>, text: &str) {
    if !text.is_empty() {
        segments.push(Segment::Text(text.to_owned()));
    }
}
