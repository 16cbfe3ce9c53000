//! Which of a repository's files a run needs, and which of their names are harmless.

use anyhow::Result;
use glob::{MatchOptions, Pattern};

use crate::failure::{Network, usage};
use crate::hub::Repository;

/// How many names an error lists.
const MOST_LISTED: usize = 6;

/// Small files that come along whatever the weights are: at the repository's root, where there.
const COMPANIONS: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "quantize_config.json",
    "quant_config.json",
    "adapter_config.json",
    "params.json",
];
const COMPANION_STEMS: [&str; 2] = ["tokenizer", "chat_template"];

/// As a shell would, but that `*` also stands for `/`: so do the Hub's own programs.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// The files to pull, of all that the repository has.
///
/// `include` says which weights; without it the safetensors, never beside a second copy in another format.
///
/// # Errors
/// There is no safetensors file and nothing was asked for, or a pattern matches nothing: exit code 2, with what there is.
/// A file that is wanted has a hostile name: exit code 5.
pub(super) fn choose(
    repository: &Repository,
    files: &[String],
    include: &[String],
) -> Result<Vec<String>> {
    let weights = if include.is_empty() {
        safetensors(repository, files)?
    } else {
        included(repository, files, include)?
    };
    let is_index = |name: &str| {
        let of = |weight: &&str| {
            let (stem, extension) = name.trim_end_matches(".index.json").rsplit_once('.')?;
            let sibling = weight.strip_prefix(stem)?;
            sibling
                .strip_suffix(extension)?
                .ends_with('.')
                .then_some(())
        };
        name.ends_with(".index.json") && weights.iter().any(|weight| of(weight).is_some())
    };
    let wanted = files
        .iter()
        .filter(|name| weights.contains(&name.as_str()) || is_companion(name) || is_index(name));
    let mut chosen: Vec<String> = wanted.cloned().collect();
    chosen.sort();
    chosen.dedup();
    for name in &chosen {
        if !is_harmless(name) {
            return Err(Network(format!(
                "{repository}: expected file names below the repository, found {name:?} in the Hub's list; nothing was pulled"
            ))
            .into());
        }
    }
    Ok(chosen)
}

fn is_companion(name: &str) -> bool {
    let is_text = [".json", ".model", ".jinja", ".txt"]
        .iter()
        .any(|extension| name.ends_with(extension));
    let begins = |stem: &str| name.starts_with(stem);
    !name.contains('/')
        && (COMPANIONS.contains(&name)
            || is_text && COMPANION_STEMS.iter().any(|stem| begins(stem)))
}

/// `model.safetensors` or its shards; where neither is there, every safetensors file of the root.
fn safetensors<'a>(repository: &Repository, files: &'a [String]) -> Result<Vec<&'a str>> {
    let at_root: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|name| !name.contains('/') && name.ends_with(".safetensors"))
        .collect();
    let is_main = |name: &&str| {
        let stem = name.trim_end_matches(".safetensors");
        let is_shard = |rest: &str| rest.contains("-of-");
        stem == "model" || stem.strip_prefix("model-").is_some_and(is_shard)
    };
    let main: Vec<&str> = at_root.iter().copied().filter(is_main).collect();
    if !main.is_empty() {
        return Ok(main);
    }
    if !at_root.is_empty() {
        return Ok(at_root);
    }
    let mut kinds = Vec::new();
    for extension in ["gguf", "bin", "pth"] {
        let of_kind = |name: &&String| name.ends_with(&format!(".{extension}"));
        let names: Vec<&str> = files.iter().filter(of_kind).map(String::as_str).collect();
        if let [first, ..] = names.as_slice() {
            // Of GGUF files one is a model; of the others all are.
            let pattern = if extension == "gguf" {
                (*first).to_owned()
            } else {
                format!("*.{extension}")
            };
            kinds.push(format!("{}, with --include '{pattern}'", listed(&names)));
        }
    }
    let found = if kinds.is_empty() {
        "no weights at all".to_owned()
    } else {
        kinds.join("; ")
    };
    Err(usage(format!(
        "{repository}: expected safetensors files, found {found}"
    )))
}

fn included<'a>(
    repository: &Repository,
    files: &'a [String],
    include: &[String],
) -> Result<Vec<&'a str>> {
    let mut found = Vec::new();
    for text in include {
        let pattern = Pattern::new(text).map_err(|error| {
            usage(format!(
                "--include {text:?}: expected a pattern such as '*.gguf', found: {error}"
            ))
        })?;
        let matching = files
            .iter()
            .map(String::as_str)
            .filter(|name| pattern.matches_with(name, MATCHING));
        let before = found.len();
        found.extend(matching);
        if found.len() == before {
            let names: Vec<&str> = files.iter().map(String::as_str).collect();
            return Err(usage(format!(
                "{repository}: expected a file that matches --include {text:?}, found none among {}",
                listed(&names)
            )));
        }
    }
    Ok(found)
}

fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(MOST_LISTED)].join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether the name is a path below a folder on every system: no way up, no root, no drive, no stream.
fn is_harmless(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= 255
            && !part.ends_with(['.', ' '])
            && !part.contains(|c: char| c.is_control() || "\\:*?\"<>|".contains(c))
    };
    name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose_from(files: &[&str], include: &[&str]) -> Result<Vec<String>> {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let repository = "a/b".parse().unwrap();
        choose(&repository, &owned(files), &owned(include))
    }

    /// As meta-llama/Llama-2-7b-chat-hf lists them.
    const LLAMA: [&str; 17] = [
        ".gitattributes",
        "LICENSE.txt",
        "README.md",
        "USE_POLICY.md",
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
        "original/tokenizer.model",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    ];

    #[test]
    fn by_default_what_a_run_needs_and_never_both_copies_of_the_weights() {
        let chosen = choose_from(&LLAMA, &[]).unwrap();
        assert_eq!(
            chosen,
            [
                "config.json",
                "generation_config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer.model",
                "tokenizer_config.json",
            ]
        );
    }

    #[test]
    fn include_chooses_other_weights_with_their_index() {
        let chosen = choose_from(&LLAMA, &["*.bin"]).unwrap();
        let weights: Vec<_> = chosen
            .iter()
            .filter(|name| name.contains("model-") || name.contains("index"))
            .collect();
        assert_eq!(
            weights,
            [
                "pytorch_model-00001-of-00002.bin",
                "pytorch_model-00002-of-00002.bin",
                "pytorch_model.bin.index.json",
            ]
        );
        assert!(chosen.iter().any(|name| name == "config.json"));
        let chosen = choose_from(&["x.Q4_K_M.gguf", "x.Q8_0.gguf"], &["*Q4_K_M*"]).unwrap();
        assert_eq!(chosen, ["x.Q4_K_M.gguf"]);
    }

    #[test]
    fn one_set_of_safetensors_is_taken() {
        let files = [
            "model.safetensors",
            "model.fp16.safetensors",
            "consolidated.safetensors",
            "onnx/model.safetensors",
        ];
        assert_eq!(choose_from(&files, &[]).unwrap(), ["model.safetensors"]);
        let files = ["adapter_config.json", "adapter_model.safetensors"];
        assert_eq!(choose_from(&files, &[]).unwrap(), files);
    }

    #[test]
    fn without_safetensors_the_user_is_asked() {
        let cases: [(&[&str], &[&str], &str); 5] = [
            (
                &["config.json", "pytorch_model.bin"],
                &[],
                "a/b: expected safetensors files, found pytorch_model.bin, with --include '*.bin'",
            ),
            (
                &["x.Q4_K_M.gguf", "x.Q8_0.gguf"],
                &[],
                "a/b: expected safetensors files, found x.Q4_K_M.gguf, x.Q8_0.gguf, with --include 'x.Q4_K_M.gguf'",
            ),
            (
                &["README.md"],
                &[],
                "a/b: expected safetensors files, found no weights at all",
            ),
            (
                &["1", "2", "3", "4", "5", "6", "7", "8"],
                &["*.gguf"],
                "a/b: expected a file that matches --include \"*.gguf\", found none among 1, 2, 3, 4, 5, 6 and 2 more",
            ),
            (
                &["x"],
                &["***"],
                "--include \"***\": expected a pattern such as '*.gguf', found: Pattern syntax error near position 2: wildcards are either regular `*` or recursive `**`",
            ),
        ];
        for (files, include, message) in cases {
            let error = choose_from(files, include).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_name_that_leads_out_of_its_folder_is_refused() {
        for name in [
            "../../etc/passwd",
            "/etc/passwd",
            "a/../../b",
            "a//b",
            "a/./b",
            "..",
            "a\\..\\b",
            "C:\\x",
            "C:/x",
            "a\0b",
            "a\nb",
            "a/",
            "",
            "con.",
        ] {
            assert!(!is_harmless(name), "{name:?}");
        }
        for name in [
            "a",
            "a/b c/é.safetensors",
            ".gitattributes",
            "..a",
            "模型.gguf",
        ] {
            assert!(is_harmless(name), "{name:?}");
        }
        let error = choose_from(&["model.safetensors", "../x.gguf"], &["*"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a/b: expected file names below the repository, found \"../x.gguf\" in the Hub's list; nothing was pulled"
        );
    }
}
