//! Namespaces of a template are for their attributes. One used as a value could be put into itself, and minijinja prints, compares
//! and drops values recursively, without end and without fuel: the stack would overflow, which aborts the process.
//!
//! `namespace` therefore may only stand in `{% set NAME = namespace(…) %}`, and NAME only before an attribute or `is`. Every
//! published template keeps to that. Judged by minijinja's own tokens, so that nothing is a use here that it does not see.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// The only function that makes one.
const MAKER: &str = "namespace";

/// Name and line of the first namespace that is used as a value.
pub(crate) fn used_as_value(source: &str, syntax: SyntaxConfig) -> Option<(String, usize)> {
    // What cannot be read as tokens does not compile.
    let tokens = tokenize(source, false, syntax).map_while(Result::ok);
    let (tokens, lines): (Vec<Token<'_>>, Vec<usize>) = tokens
        .map(|(token, span)| (token, span.start_line as usize))
        .unzip();
    let made: Vec<usize> = (0..tokens.len())
        .filter(|&at| is_made(&tokens, at))
        .collect();
    let mut names: Vec<&str> = made
        .iter()
        .filter_map(|&at| name(&tokens[at - 2]))
        .collect();
    names.sort_unstable();
    names.dedup();
    (0..tokens.len()).find_map(|at| {
        let used = name(&tokens[at])?;
        let is_value = match used {
            MAKER => made.binary_search(&at).is_err(),
            _ => names.binary_search(&used).is_ok() && !has_attribute_asked(&tokens, at),
        };
        let is_use = is_value && !is_attribute(&tokens, at) && !is_assigned(&tokens, at);
        is_use.then(|| (used.to_owned(), lines[at]))
    })
}

fn name<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token {
        Token::Ident(name) => Some(name),
        _ => None,
    }
}

/// Whether the maker's name at `at` is that of `{% set NAME = namespace(…) %}`.
fn is_made(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(4).map(|start| &tokens[start..at]);
    let is_set = matches!(
        before,
        Some([
            Token::BlockStart,
            Token::Ident("set"),
            Token::Ident(_),
            Token::Assign
        ])
    );
    is_set && name(&tokens[at]) == Some(MAKER) && is_whole_call(&tokens[at + 1..])
}

/// Whether an expression goes on with its arguments and ends behind them.
fn is_whole_call(rest: &[Token<'_>]) -> bool {
    let mut depth = 0usize;
    for (at, token) in rest.iter().enumerate() {
        match token {
            Token::ParenOpen => depth += 1,
            Token::ParenClose => depth = depth.saturating_sub(1),
            Token::BlockEnd => return false,
            _ => {}
        }
        if depth == 0 {
            return at > 0 && matches!(rest.get(at + 1), Some(Token::BlockEnd));
        }
    }
    false
}

fn has_attribute_asked(tokens: &[Token<'_>], at: usize) -> bool {
    matches!(
        tokens.get(at + 1),
        Some(Token::Dot | Token::BracketOpen | Token::Ident("is"))
    )
}

/// `message.namespace`.
fn is_attribute(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0 && matches!(tokens[at - 1], Token::Dot)
}

/// The target of an assignment, or the name of an argument.
fn is_assigned(tokens: &[Token<'_>], at: usize) -> bool {
    matches!(tokens.get(at + 1), Some(Token::Assign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(source: &str) -> Option<(String, usize)> {
        used_as_value(source, SyntaxConfig::default())
    }

    #[test]
    fn attributes_are_no_values() {
        for source in [
            "{% set ns = namespace(a=0, b=(1, 2)) %}{% set ns.a = ns.a + 1 %}{{ ns['b'][0] }}",
            "{%- set ns = namespace() -%}{% set ns.ns = 'ns' %}{{ ns is defined }}{{ f(ns=1) }}",
            "namespace ns {# {{ ns }} #}{% raw %}{{ namespace }}{% endraw %}{{ 'namespace' ~ m.namespace }}",
            "{{ ns }}{% set x = m %}",
        ] {
            assert_eq!(used(source), None, "{source}");
        }
    }

    #[test]
    fn whatever_else_a_namespace_is_put_into_is_told() {
        for rest in [
            "{% set ns.a = ns %}",
            "{% set ns.a = [ns] %}",
            "{% set other = ns %}",
            "{% for x in [ns] %}{% endfor %}",
            "{{ f(ns) }}",
            "{{ f(x=ns) }}",
            "{{ ns }}",
            "{% raw %}{#{% endraw %}{{ ns }}{# #}",
        ] {
            let source = format!("{{% set ns = namespace() %}}\n{rest}");
            assert_eq!(used(&source), Some(("ns".to_owned(), 2)), "{rest}");
        }
        for source in [
            "{% set x = [namespace()] %}",
            "{% set x = namespace(), 1 %}",
            "{% set x = namespace %}",
            "{% set x = namespace() | list %}",
            "{% set x = namespace(a=namespace()) %}",
            "{% with x = namespace() %}{% endwith %}",
            "{% set x.y = namespace() %}",
            "{{ namespace() }}",
        ] {
            assert_eq!(used(source), Some(("namespace".to_owned(), 1)), "{source}");
        }
    }
}
