//! Invariants that can be read off the source: what may be written where.

mod workspace;

use std::fs;
use std::path::{Path, PathBuf};

use workspace::root;

const LIBRARIES: [&str; 5] = [
    "llama-tokenizer",
    "llama-weights",
    "llama-chat-template",
    "llama-kernels",
    "llama-model",
];

/// The longest that a file may be.
const MAX_LINES: usize = 900;

/// Names that say nothing of what a file holds.
const EMPTY_NAMES: [&str; 7] = [
    "utils", "util", "common", "base", "types", "helpers", "misc",
];

/// Files below `directory` with one of `extensions`, build outputs and generated files left out.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("a directory's entry").path()) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "generated", "__pycache__"].contains(&name)
                {
                    open.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(
        !found.is_empty(),
        "{} has no such file",
        directory.display()
    );
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Lines of code with their number: no comment lines, and nothing from `#[cfg(test)] mod` on, which ends a file.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path)));
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

/// Places where a line of code below `directory` holds one of `words`, except below `except`.
fn uses(directory: &str, words: &[&str], except: Option<&str>) -> Vec<String> {
    let except = except.map(|path| root().join(path));
    let mut found = Vec::new();
    for path in files(&root().join(directory), &["rs"]) {
        if except
            .as_ref()
            .is_some_and(|except| path.starts_with(except))
        {
            continue;
        }
        for (number, line) in code(&path) {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{}:{number}: {word}", shown(&path))),
            );
        }
    }
    found
}

#[test]
fn libraries_do_not_print_exit_or_read_the_environment() {
    let words = [
        "print!(",
        "println!(",
        "eprint!(",
        "eprintln!(",
        "dbg!(",
        "stdout()",
        "stderr()",
        "stdin()",
        "process::exit",
        "process::abort",
        "env::var",
        "env::vars",
        "env::args",
        "env::current_dir",
        "env::set_var",
    ];
    for library in LIBRARIES {
        assert_eq!(uses(&format!("{library}/src"), &words, None), [""; 0]);
    }
}

/// As they stand in checkpoints of Hugging Face, Meta and GGUF.
#[test]
fn tensor_names_are_in_the_formats_only() {
    let names = [
        "model.layers",
        "model.embed_tokens",
        "model.norm",
        "lm_head",
        "self_attn.",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "input_layernorm",
        "post_attention_layernorm",
        "tok_embeddings",
        "attention.wq",
        "feed_forward.",
        "token_embd",
        "attn_q.",
        "ffn_gate",
        "blk.",
    ];
    for member in LIBRARIES.into_iter().chain(["llama-cli"]) {
        assert_eq!(
            uses(
                &format!("{member}/src"),
                &names,
                Some("llama-weights/src/format")
            ),
            [""; 0]
        );
    }
    assert!(
        !uses("llama-weights/src/format", &names, None).is_empty(),
        "the names are looked for where they are"
    );
}

#[test]
fn the_model_holds_no_wgsl_and_no_binding_number() {
    let words = [
        "@compute",
        "@group",
        "@binding",
        "var<",
        "binding:",
        "BindGroup",
        ".wgsl",
        "wgpu::",
        "@workgroup_size",
    ];
    assert_eq!(uses("llama-model/src", &words, None), [""; 0]);
}

#[test]
fn no_binding_number_appears_in_rust() {
    assert_eq!(
        uses(
            "llama-kernels/src",
            &["@binding(", "binding: 0", "binding: 1", "binding: 2"],
            None
        ),
        [""; 0]
    );
}

/// Each has the compiler's leave line by line, and a SAFETY comment.
const UNSAFE_FILES: [&str; 8] = [
    "llama-cli/src/truncation.rs",
    "llama-kernels/src/gpu/adapter.rs",
    "llama-kernels/src/gpu/compile.rs",
    "llama-kernels/src/gpu/device.rs",
    "llama-kernels/src/gpu/pipeline_cache.rs",
    "llama-kernels/tests/numeric/main.rs",
    "llama-model/benches/software.rs",
    "llama-weights/src/mapping.rs",
];

#[test]
fn unsafe_code_is_in_few_files() {
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    let members = LIBRARIES.into_iter().chain(["llama-cli", "xtask/src"]);
    let mut found: Vec<String> = members
        .flat_map(|member| uses(member, &words, None))
        .filter_map(|place| Some(place.split_once(':')?.0.to_owned()))
        .collect();
    found.dedup();
    found.sort();
    assert_eq!(found, UNSAFE_FILES);
}

#[test]
fn nothing_is_left_to_do() {
    for member in LIBRARIES.into_iter().chain(["llama-cli", "xtask"]) {
        assert_eq!(
            uses(
                &format!("{member}/src"),
                &["todo!(", "unimplemented!(", "TODO", "FIXME"],
                None
            ),
            [""; 0]
        );
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for path in files(root(), &["rs", "wesl", "py", "md"]) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{}: {lines} lines, expected at most {MAX_LINES}",
            shown(&path)
        );
    }
}

#[test]
fn files_are_named_for_what_they_hold() {
    for path in files(root(), &["rs", "wesl", "py"]) {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        assert!(!EMPTY_NAMES.contains(&stem), "{}", shown(&path));
    }
}

#[test]
fn every_module_says_what_it_is() {
    for path in files(root(), &["rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        let says = text.starts_with("//!") || text.starts_with("#![doc = ");
        assert!(says, "{}: expected `//!` in the first line", shown(&path));
    }
}
