//! Cuts text where merging cannot reach across, so that long text is encoded in short parts.
//!
//! A merge makes a piece of the vocabulary. Where no piece holds two characters side by side, no
//! merge joins them, and the text may be cut between them without any difference. In Llama 2's
//! vocabulary no piece holds `▁` after another character: text is cut before each run of spaces.
//! This is exact, not a heuristic, and knows nothing of words or scripts.

use std::collections::HashSet;

use crate::vocabulary::SPACE;

/// Characters with a row and a column in the table: ASCII, and `▁` as the last.
const NARROW: usize = 129;

/// The pairs of characters that stand side by side in some piece.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// Bit `b` of row `a`, for narrow characters.
    narrow: Vec<[u64; NARROW.div_ceil(64)]>,
    wide: HashSet<(char, char)>,
}

impl Cuts {
    /// `split_spaces`: text is cut before every `▁`, whatever the pieces say.
    pub(crate) fn new<'p>(pieces: impl Iterator<Item = &'p str>, split_spaces: bool) -> Self {
        let mut cuts = Self {
            narrow: vec![[0; _]; NARROW],
            wide: HashSet::new(),
        };
        for piece in pieces {
            for (left, right) in piece.chars().zip(piece.chars().skip(1)) {
                if split_spaces && right == SPACE {
                    continue;
                }
                match (narrow(left), narrow(right)) {
                    (Some(a), Some(b)) => cuts.narrow[a][b / 64] |= 1 << (b % 64),
                    _ => {
                        cuts.wide.insert((left, right));
                    }
                }
            }
        }
        cuts
    }

    /// The parts of `text`, in order; together they are `text`.
    pub(crate) fn parts<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let part = &rest[..self.first_part(rest)];
            rest = &rest[part.len()..];
            (!part.is_empty()).then_some(part)
        })
    }

    /// Bytes of the first part; 0 for empty text.
    fn first_part(&self, text: &str) -> usize {
        let mut characters = text.char_indices();
        let Some((_, mut left)) = characters.next() else {
            return 0;
        };
        for (at, right) in characters {
            if !self.joined(left, right) {
                return at;
            }
            left = right;
        }
        text.len()
    }

    fn joined(&self, left: char, right: char) -> bool {
        match (narrow(left), narrow(right)) {
            (Some(a), Some(b)) => self.narrow[a][b / 64] >> (b % 64) & 1 == 1,
            _ => self.wide.contains(&(left, right)),
        }
    }
}

/// The place of a character in the table.
fn narrow(character: char) -> Option<usize> {
    match character {
        SPACE => Some(NARROW - 1),
        c if c.is_ascii() => Some(c as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Cuts;

    fn parts(pieces: &[&str], split_spaces: bool, text: &str) -> Vec<String> {
        Cuts::new(pieces.iter().copied(), split_spaces)
            .parts(text)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn cuts_before_each_run_of_spaces() {
        assert_eq!(
            parts(&["▁▁", "▁a", "ab"], false, "▁ab▁▁ab"),
            ["▁ab", "▁▁ab"]
        );
    }

    #[test]
    fn does_not_cut_before_a_space_that_a_piece_holds_inside() {
        assert_eq!(parts(&["b▁c"], false, "b▁c▁b"), ["b▁c", "▁", "b"]);
    }

    #[test]
    fn cuts_before_every_space_when_asked() {
        assert_eq!(parts(&["▁▁", "▁a"], true, "▁▁a"), ["▁", "▁a"]);
    }

    #[test]
    fn cuts_between_characters_that_no_piece_joins() {
        assert_eq!(
            parts(&["日本", "本語"], false, "日本語日é"),
            ["日本語", "日", "é"]
        );
        assert!(parts(&["ab"], false, "").is_empty());
    }
}
