//! Finds tokens that stand in text as they are written: control tokens where the caller asks for
//! them, added tokens of fine-tunes, user-defined pieces. Leftmost first, then the longest.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::Error;
use crate::draft::AddedToken;
use crate::error::{OTHER_TOKENIZER, Origin};

/// A set of literals; never empty.
#[derive(Debug)]
pub(crate) struct Literals {
    automaton: AhoCorasick,
    tokens: Vec<AddedToken>,
}

/// A stretch of text.
#[derive(Debug, PartialEq)]
pub(crate) enum Section<'t> {
    /// Not empty, holds no literal.
    Text(&'t str),
    Token(u32),
}

impl Literals {
    /// `None` when there is nothing to find.
    pub(crate) fn new(
        origin: Origin<'_>,
        mut tokens: Vec<AddedToken>,
    ) -> Result<Option<Self>, Error> {
        tokens.retain(|token| !token.content.is_empty());
        if tokens.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| &token.content))
            .map_err(|error| {
                let expected = "a set of tokens that fits an automaton";
                origin.invalid("added_tokens", expected, error.to_string(), OTHER_TOKENIZER)
            })?;
        Ok(Some(Self { automaton, tokens }))
    }

    /// Calls `on_section` for each section of `text` in order.
    pub(crate) fn sections<'t>(
        &self,
        text: &'t str,
        mut on_section: impl FnMut(Section<'t>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            let token = &self.tokens[found.pattern().as_usize()];
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            let inside_word = before.ends_with(is_word) || after.starts_with(is_word);
            if found.start() < done || token.single_word && inside_word {
                continue;
            }
            let before = &before[done..];
            let before = if token.lstrip {
                before.trim_end()
            } else {
                before
            };
            if !before.is_empty() {
                on_section(Section::Text(before))?;
            }
            on_section(Section::Token(token.id))?;
            let taken = if token.rstrip {
                after.len() - after.trim_start().len()
            } else {
                0
            };
            done = found.end() + taken;
        }
        if done < text.len() {
            on_section(Section::Text(&text[done..]))?;
        }
        Ok(())
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::{Literals, Section};
    use crate::draft::AddedToken;
    use crate::error::Origin;

    fn token(id: u32, content: &str) -> AddedToken {
        AddedToken::plain(id, content)
    }

    fn sections<'t>(tokens: Vec<AddedToken>, text: &'t str) -> Vec<Section<'t>> {
        let mut sections = Vec::new();
        let literals = Literals::new(Origin("test"), tokens).unwrap().unwrap();
        literals
            .sections(text, |section| {
                sections.push(section);
                Ok(())
            })
            .unwrap();
        sections
    }

    #[test]
    fn the_longest_of_two_that_begin_together() {
        use Section::{Text, Token};
        let found = sections(vec![token(1, "<s"), token(2, "<s>")], "a<s>b<s");
        assert_eq!(found, [Text("a"), Token(2), Text("b"), Token(1)]);
    }

    #[test]
    fn strips_whitespace_on_the_sides_that_it_names() {
        use Section::{Text, Token};
        let left = AddedToken {
            lstrip: true,
            ..token(1, "<l>")
        };
        let right = AddedToken {
            rstrip: true,
            ..token(2, "<r>")
        };
        let found = sections(vec![left, right], "a \n<l> b <r>\t <r> c");
        assert_eq!(
            found,
            [
                Text("a"),
                Token(1),
                Text(" b "),
                Token(2),
                Token(2),
                Text("c")
            ]
        );
    }

    #[test]
    fn a_single_word_is_not_found_inside_another() {
        use Section::{Text, Token};
        let word = AddedToken {
            single_word: true,
            ..token(1, "cat")
        };
        assert_eq!(
            sections(vec![word], "concat cat"),
            [Text("concat "), Token(1)]
        );
    }

    #[test]
    fn nothing_to_find_is_no_set() {
        assert!(
            Literals::new(Origin("test"), vec![token(1, "")])
                .unwrap()
                .is_none()
        );
    }
}
