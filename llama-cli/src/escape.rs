//! Makes text harmless for a terminal: what a model or a file says must not move the cursor, change
//! the title or answer queries. Text for a pipe is not touched.

use std::borrow::Cow;

/// Control characters become visible: C0 and DEL as their pictures (ESC is ␛), C1 as U+FFFD.
/// Line feed and tab stay.
pub(crate) fn for_terminal(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

/// As [`for_terminal`], and line feed and tab become spaces: an error is one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    match replaced(text, |c| matches!(c, '\n' | '\t')) {
        text if text.contains(['\n', '\t']) => Cow::Owned(text.replace(['\n', '\t'], " ")),
        text => text,
    }
}

fn replaced(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && !stays(c)) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|c| match c {
            c if stays(c) => c,
            '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
            '\x7f' => '\u{2421}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_copied() {
        for text in ["", "plain\n\ttext", "né 🙂 \u{200d} \u{202b} **bold**"] {
            assert!(matches!(for_terminal(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(for_terminal("\x1b[2J\x1b]0;title\x07"), "␛[2J␛]0;title␇");
        assert_eq!(for_terminal("over\rwritten\x08\x7f"), "over␍written␈␡");
        assert_eq!(for_terminal("\u{9b}31m \u{85}"), "\u{fffd}31m \u{fffd}");
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\nb\tc\x1b"), "a b c␛");
    }
}
