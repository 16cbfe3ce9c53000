//! Python's `str.strip`, on which both the reference code and Jinja templates rely.

/// `str.strip()`: Python also takes U+001C to U+001F for white space, Rust's `trim` does not.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.lstrip()`.
pub(crate) fn lstrip(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// `str.rstrip()`.
pub(crate) fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// `str.isspace()` of one character: bidirectional class WS, B or S, or category Zs. That is Unicode's White_Space
/// and the four information separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 29 characters of `[c for c in map(chr, range(0x110000)) if c.isspace()]` in Python 3.11.
    const PYTHON_SPACES: &str = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\
        \u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

    #[test]
    fn spaces_are_exactly_pythons() {
        let ours: String = ('\0'..=char::MAX)
            .filter(|&character| is_space(character))
            .collect();
        assert_eq!(ours, PYTHON_SPACES);
    }

    #[test]
    fn strip_keeps_zero_width_space_and_byte_order_mark() {
        assert_eq!(
            strip(" \u{1f}\u{200b}a\u{feff}\u{1c} "),
            "\u{200b}a\u{feff}"
        );
        assert_eq!(lstrip("\u{1d}a\u{1d}"), "a\u{1d}");
        assert_eq!(rstrip("\u{1d}a\u{1d}"), "\u{1d}a");
    }
}
