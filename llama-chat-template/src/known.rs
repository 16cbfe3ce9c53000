//! Which Jinja templates say nothing but Llama 2's own format.
//!
//! A list of published texts, kept as fingerprints of a normal form. It judges no behaviour: a template that is not
//! on the list runs as Jinja, even where it happens to write the same prompts.

/// Fingerprints of the published texts.
const LLAMA2: [u64; 3] = [
    // Llama-2-{7,13,70}b-chat-hf, Code Llama Instruct (with `| trim`) and most of their fine-tunes.
    0x7d17_9c68_97f5_ebf3,
    // `default_chat_template` of transformers 4.31 to 4.43, which older fine-tunes saved: a system message in the
    // middle is written out there. Without a default prompt, or with its branch switched off (`false == true`).
    0xcf7a_fa64_0a46_c903,
    // The same with the branch for a system message alone.
    0x9265_1f34_4242_a2ed,
];

/// Whether `source` is on the list.
pub(crate) fn is_llama2(source: &str) -> bool {
    LLAMA2.contains(&fingerprint(&normal_form(source)))
}

/// 64-bit FNV-1a. Nothing is at stake in a collision: a forged template would select the stricter format.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What is left of a template when the differences between published copies are gone: white space inside tags,
/// the kind of quotes, `\n` written as an escape or as itself, `.strip()` or `| trim`, a final newline, and the
/// default prompt's branch where its condition is `false == true`.
fn normal_form(source: &str) -> String {
    let tags =
        collapse_tags(source.strip_suffix('\n').unwrap_or(source)).replace(".strip()", "|trim");
    match tags.split_once("{%elif false==true".replace(' ', "").as_str()) {
        Some((before, branch)) => match branch.find("{%else%}") {
            Some(end) => format!("{before}{}", &branch[end..]),
            None => tags,
        },
        None => tags,
    }
}

/// `source` without white space outside string literals inside tags; text between tags stays as it is.
fn collapse_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        out.push_str(&rest[..start + 2]);
        let close = if rest[start..].starts_with("{%") {
            "%}"
        } else {
            "}}"
        };
        rest = collapse_tag(&rest[start + 2..], close, &mut out);
    }
    out.push_str(rest);
    out
}

/// Collapses one tag up to and including `close`; returns what follows it.
fn collapse_tag<'a>(tag: &'a str, close: &str, out: &mut String) -> &'a str {
    let mut quote = None;
    let mut characters = tag.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (None, _) if tag[at..].starts_with(close) => {
                out.push_str(close);
                return &tag[at + close.len()..];
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                out.push('\'');
            }
            (None, _) if character.is_ascii_whitespace() => {}
            (Some(_), '\\') => match characters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, escaped)) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            (Some(open), _) if character == open => {
                quote = None;
                out.push('\'');
            }
            _ => out.push(character),
        }
    }
    ""
}
