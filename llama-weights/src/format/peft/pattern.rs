//! Which modules a configuration means: names, ends of names, and regular expressions as peft matches them.

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled expression: peft's own are a few hundred characters.
const SIZE_LIMIT: usize = 1 << 16;

/// What is wrong with an expression.
#[derive(Debug)]
pub(super) struct Refused;

/// Modules of a list or of an expression.
#[derive(Debug)]
pub(super) enum Names {
    /// Every linear module but the output.
    AllLinear,
    /// Modules of these names, or whose names end so after a point.
    List(Vec<String>),
    /// Modules whose whole names match.
    Matching(Regex),
}

impl Names {
    pub(super) fn matching(expression: &str) -> Result<Self, Refused> {
        compile(&format!("^(?:{expression})$")).map(Self::Matching)
    }

    /// Whether they hold a module; [`Names::AllLinear`] holds all, the caller knows which are linear.
    pub(super) fn hold(&self, module: &str) -> bool {
        match self {
            Self::AllLinear => true,
            Self::List(names) => names.iter().any(|name| {
                let before = module.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
            Self::Matching(expression) => expression.is_match(module),
        }
    }
}

/// A key of `rank_pattern` or `alpha_pattern`: an expression for a name or for its end after a point.
pub(super) fn key(expression: &str) -> Result<Regex, Refused> {
    compile(&format!("^(?:.*\\.)?(?:{expression})$"))
}

/// An entry of `modules_to_save`: an expression for a module or for one around it.
pub(super) fn around(expression: &str) -> Result<Regex, Refused> {
    compile(&format!("(?:^|\\.)(?:{expression})(?:$|\\.)"))
}

fn compile(expression: &str) -> Result<Regex, Refused> {
    // Matching is linear in time whatever the expression; compiling is bounded by its size.
    RegexBuilder::new(expression)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .build()
        .map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "model.layers.11.self_attn.q_proj";

    #[test]
    fn names_of_a_list_are_whole_or_ends_after_a_point() {
        let holds = |name: &str| Names::List(vec![name.to_owned()]).hold(MODULE);
        assert!(holds("q_proj") && holds("self_attn.q_proj") && holds(MODULE));
        assert!(!holds("proj") && !holds("Q_PROJ") && !holds("") && !holds("q_proj."));
    }

    #[test]
    fn expressions_match_whole_names() {
        let holds = |text: &str| Names::matching(text).expect("an expression").hold(MODULE);
        assert!(holds(r".*\.q_proj") && holds(r"model\.layers\.\d+\.self_attn\.[qk]_proj"));
        assert!(!holds("q_proj") && !holds(r"model\.layers\.1\..*"));
        assert!(holds(r"nothing|.*q_proj"), "alternatives are anchored, too");
    }

    #[test]
    fn keys_match_whole_names_or_their_ends() {
        let matches = |text: &str| key(text).expect("an expression").is_match(MODULE);
        assert!(matches("q_proj") && matches("^model.layers.11.self_attn.q_proj"));
        assert!(matches(r"layers\.\d+\.self_attn\..*"));
        assert!(!matches("1.self_attn.q_proj") && !matches("proj"));
    }

    #[test]
    fn what_cannot_be_compiled_is_refused() {
        for text in ["(", "(?=q)", r"(a)\1", &"(".repeat(1000), r"\w{1000000}"] {
            assert!(Names::matching(text).is_err(), "{text}");
        }
    }
}
