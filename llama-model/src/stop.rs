//! Stop strings over streamed text: what may be printed, what must wait, when to end.
//!
//! Works on text, not tokens; stop ids are the business of [`crate::Generation`].

use crate::Error;

/// Watches streamed text for stop strings and holds back what could become part of one.
///
/// Text passes through except for the longest end of it that begins some stop string; so no part
/// of a stop string is ever let out, however text is split into deltas. The stop string that is
/// complete first wins, and of those complete at once the longest.
#[derive(Debug, Clone)]
pub struct StopStrings {
    stops: Vec<Matcher>,
    held: String,
    stopped: bool,
}

/// What came of one delta.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Text that is safe to show now.
    pub text: String,
    /// Whether a stop string is complete: nothing after it will be let out.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for any of `stops`; none lets all text through at once.
    ///
    /// # Errors
    /// [`Error::EmptyStopString`] where one is empty: it would stop before the first character.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Result<Self, Error> {
        let matchers = stops.iter().map(|stop| Matcher::new(stop.as_ref()));
        Ok(Self {
            stops: matchers.collect::<Result<_, _>>()?,
            held: String::new(),
            stopped: false,
        })
    }

    /// Takes the next piece of text. After a stop, every answer is empty and `stopped`.
    pub fn push(&mut self, delta: &str) -> Held {
        if self.stopped {
            return Held {
                text: String::new(),
                stopped: true,
            };
        }
        let before = self.held.len();
        self.held.push_str(delta);
        for (i, byte) in delta.bytes().enumerate() {
            let mut complete = 0;
            for stop in &mut self.stops {
                if stop.advance(byte) {
                    complete = complete.max(stop.pattern.len());
                }
            }
            if complete > 0 {
                self.held.truncate(before + i + 1 - complete);
                self.stopped = true;
                return Held {
                    text: std::mem::take(&mut self.held),
                    stopped: true,
                };
            }
        }
        let waiting = self.stops.iter().map(|stop| stop.matched).max();
        // A stop string starts at a character's first byte, so this cut is between characters.
        let rest = self.held.split_off(self.held.len() - waiting.unwrap_or(0));
        Held {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// The text ends here: gives what was held back, which is empty after a stop.
    pub fn finish(&mut self) -> String {
        for stop in &mut self.stops {
            stop.matched = 0;
        }
        std::mem::take(&mut self.held)
    }
}

/// Knuth, Morris and Pratt's automaton of one stop string: constant work per byte of text, where
/// comparing every end of the text afresh would square with the length of a hostile stop string.
#[derive(Debug, Clone)]
struct Matcher {
    pattern: Box<[u8]>,
    /// `fallback[n]`: length of the longest proper prefix of the pattern that ends its first n + 1 bytes.
    fallback: Box<[usize]>,
    /// How many bytes of the pattern end the text so far.
    matched: usize,
}

impl Matcher {
    fn new(stop: &str) -> Result<Self, Error> {
        if stop.is_empty() {
            return Err(Error::EmptyStopString);
        }
        let pattern: Box<[u8]> = stop.as_bytes().into();
        let mut fallback = vec![0; pattern.len()];
        let mut length = 0;
        for i in 1..pattern.len() {
            while length > 0 && pattern[i] != pattern[length] {
                length = fallback[length - 1];
            }
            length += usize::from(pattern[i] == pattern[length]);
            fallback[i] = length;
        }
        Ok(Self {
            pattern,
            fallback: fallback.into(),
            matched: 0,
        })
    }

    /// Whether `byte` completes the pattern.
    fn advance(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.pattern[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        self.matched += usize::from(self.pattern[self.matched] == byte);
        self.matched == self.pattern.len()
    }
}

#[cfg(test)]
mod tests {
    use super::StopStrings;
    use crate::Error;
    use proptest::prelude::*;

    /// Everything let out, and whether it stopped.
    fn stream(stops: &[&str], deltas: &[&str]) -> (String, bool) {
        let mut watch = StopStrings::new(stops).expect("no stop string is empty");
        let mut text = String::new();
        let mut stopped = false;
        for delta in deltas {
            let held = watch.push(delta);
            text.push_str(&held.text);
            stopped = held.stopped;
        }
        text.push_str(&watch.finish());
        (text, stopped)
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopStrings::new(&["\n", ""]).expect_err("an empty stop string");
        assert!(matches!(error, Error::EmptyStopString));
        assert_eq!(
            error.to_string(),
            "a stop string is empty: expected at least one character (it would stop before any text)"
        );
    }

    #[test]
    fn a_stop_string_split_over_deltas_does_not_leak() {
        let mut watch = StopStrings::new(&["</end>"]).expect("not empty");
        assert_eq!(watch.push("a <").text, "a ");
        assert_eq!(watch.push("/en").text, "");
        let held = watch.push("d> b");
        assert_eq!((held.text.as_str(), held.stopped), ("", true));
        assert_eq!(watch.push("c").text, "");
        assert_eq!(watch.finish(), "");
    }

    #[test]
    fn a_stop_string_of_several_code_points_does_not_leak() {
        let deltas = ["né", "🙂", "🙁", "e"];
        assert_eq!(stream(&["🙂🙁"], &deltas), ("né".into(), true));
        // 🙂 and 🙁 share their first three bytes; a half character never decides.
        assert_eq!(stream(&["🙁🙁"], &deltas), ("né🙂🙁e".into(), false));
    }

    #[test]
    fn what_was_held_back_comes_out_where_no_stop_follows() {
        assert_eq!(stream(&["abc"], &["xab", "ab"]), ("xabab".into(), false));
        assert_eq!(stream(&["abc"], &["xab", "abc"]), ("xab".into(), true));
    }

    #[test]
    fn the_first_to_be_complete_wins_and_then_the_longest() {
        assert_eq!(stream(&["bc", "abcd"], &["abcd"]), ("a".into(), true));
        assert_eq!(stream(&["bc", "abc"], &["xabc"]), ("x".into(), true));
    }

    #[test]
    fn without_stop_strings_all_text_passes_at_once() {
        let mut watch = StopStrings::new::<&str>(&[]).expect("no stop string is empty");
        assert_eq!(watch.push("text").text, "text");
    }

    /// The meaning, without automata: the shortest beginning of the text that ends with a stop.
    fn by_definition(stops: &[String], text: &str) -> (String, bool) {
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let matching = stops.iter().filter(|stop| text[..end].ends_with(*stop));
            if let Some(longest) = matching.map(String::len).max() {
                return (text[..end - longest].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_definition_says(
            stops in prop::collection::vec("[abé🙂]{1,4}", 0..4),
            deltas in prop::collection::vec("[abé🙂]{0,5}", 0..12),
        ) {
            let stops_by_reference: Vec<&str> = stops.iter().map(String::as_str).collect();
            let deltas_by_reference: Vec<&str> = deltas.iter().map(String::as_str).collect();
            let expected = by_definition(&stops, &deltas.concat());
            prop_assert_eq!(stream(&stops_by_reference, &deltas_by_reference), expected);
        }
    }
}
