//! The real vocabulary of Llama 2 and that of stories260K against SentencePiece's answers and
//! against plain `tokenizers`. Trials that read `../shared` are ignored, with the reason, where it
//! is absent.

mod random_text;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_tokenizer::{PieceList, Tokenizer};
use serde_json::Value;

/// Random texts for each comparison with plain `tokenizers`.
const RANDOM_TEXTS: usize = 10_000;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for file in ["tokenizer.json", "tokenizer.model"] {
        let path = [format!("llama2-vocabulary/{file}")];
        for (what, check) in [
            ("encodes_as_sentencepiece", encodes as Check),
            ("decodes_as_sentencepiece", decodes),
            ("streams", streams),
            ("parses_control_tokens", parses_control),
        ] {
            trials.push(trial(format!("llama2_{file}_{what}"), &path, check));
        }
    }
    for name in ["llama2-vocabulary", "stories260K"] {
        let files = [
            format!("{name}/tokenizer.json"),
            format!("{name}/tokenizer.model"),
        ];
        trials.push(trial(
            format!("{name}_random_text_as_plain_tokenizers"),
            &files,
            random_text_agrees,
        ));
        trials.push(trial(
            format!("{name}_random_ids_alike_from_json_and_model"),
            &files,
            random_ids_agree,
        ));
    }
    for name in ["llama2-vocabulary", "stories260K"] {
        let files = [
            format!("{name}/tokenizer.json"),
            format!("{name}/tokenizer.model"),
        ];
        trials.push(trial(
            format!("{name}_pieces_are_the_tokenizer"),
            &files,
            pieces_agree,
        ));
    }
    let directory = ["llama2-vocabulary".to_owned()];
    trials.push(trial(
        "llama2_directory_adds_bos".to_owned(),
        &directory,
        directory_adds_bos,
    ));
    libtest_mimic::run(&arguments, trials).exit();
}

/// What is proved of some files.
type Check = fn(&[PathBuf]) -> Result<(), Failed>;

/// A trial on files of `../shared/data`.
fn trial(name: String, files: &[String], check: Check) -> Trial {
    let paths: Vec<PathBuf> = files.iter().map(|file| shared(file)).collect();
    Trial::ignorable_test(name.replace(['.', '-'], "_"), move || {
        if let Some(absent) = paths.iter().find(|path| !path.exists()) {
            let name = absent.strip_prefix(shared("")).unwrap_or(absent);
            return Ok(Completion::ignored_with(format!(
                "../shared/data/{} is absent",
                name.display()
            )));
        }
        check(&paths).map(|()| Completion::Completed)
    })
}

fn shared(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(file)
}

fn open(path: &Path) -> Result<Tokenizer, Failed> {
    let is_model = path
        .extension()
        .is_some_and(|extension| extension == "model");
    let tokenizer = if is_model {
        Tokenizer::from_model_file(path)
    } else {
        Tokenizer::from_json_file(path)
    };
    Ok(tokenizer?)
}

fn cases(file: &str) -> Result<Vec<Value>, Failed> {
    let text = fs::read_to_string(shared(file))?;
    let cases: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    if cases.is_empty() {
        Err("no cases".into())
    } else {
        Ok(cases)
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("a list of ids")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Fails with all cases that differ.
fn report(differences: Vec<String>) -> Result<(), Failed> {
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.join("\n").into())
    }
}

fn encodes(paths: &[PathBuf]) -> Result<(), Failed> {
    let tokenizer = open(&paths[0])?;
    let mut differences = Vec::new();
    for case in cases("tokenizer_cases.jsonl")? {
        let (given, expected) = (text(&case["text"]), ids(&case["ids_with_bos"]));
        let found = tokenizer.encode_with_bos(given)?;
        if found != expected || tokenizer.encode(given)? != expected[1..] {
            differences.push(format!("{given:?}: expected {expected:?}, found {found:?}"));
        }
        let decoded = tokenizer.decode(&expected)?;
        if decoded != text(&case["decoded"]) {
            differences.push(format!("{given:?}: decoded to {decoded:?}"));
        }
        if case["roundtrip"] != false && decoded != given {
            differences.push(format!("{given:?}: came back as {decoded:?}"));
        }
    }
    report(differences)
}

fn decodes(paths: &[PathBuf]) -> Result<(), Failed> {
    let tokenizer = open(&paths[0])?;
    let mut differences = Vec::new();
    for case in cases("decode_cases.jsonl")? {
        let found = tokenizer.decode(&ids(&case["ids"]))?;
        if found != text(&case["decoded"]) {
            differences.push(format!("{}: found {found:?}", case["note"]));
        }
    }
    report(differences)
}

fn streams(paths: &[PathBuf]) -> Result<(), Failed> {
    let tokenizer = open(&paths[0])?;
    let mut differences = Vec::new();
    for case in cases("stream_cases.jsonl")? {
        let (prompt, answer) = (ids(&case["prompt_ids"]), ids(&case["ids"]));
        let mut stream = tokenizer.stream(&prompt);
        let mut deltas: Vec<String> = answer
            .iter()
            .map(|&id| stream.push(id))
            .collect::<Result<_, _>>()?;
        // The cases count what the end of the text adds to the last delta.
        if let Some(last) = deltas.last_mut() {
            last.push_str(&stream.finish());
        }
        let full = deltas.concat();
        let expected: Vec<String> = serde_json::from_value(case["deltas"].clone())?;
        if deltas != expected || full != text(&case["full"]) {
            differences.push(format!("{}: found {deltas:?} and {full:?}", case["note"]));
        }
        let before = tokenizer.decode(&prompt)?;
        let all = tokenizer.decode(&[prompt, answer].concat())?;
        if all != before.clone() + &full {
            differences.push(format!(
                "{}: {all:?} is not {before:?} + {full:?}",
                case["note"]
            ));
        }
    }
    report(differences)
}

fn parses_control(paths: &[PathBuf]) -> Result<(), Failed> {
    let tokenizer = open(&paths[0])?;
    let mut differences = Vec::new();
    for case in cases("tokenizer_cases.jsonl")? {
        let with_control = case.get("hf_fast_ids").unwrap_or(&case["ids_with_bos"]);
        let found = tokenizer.encode_with_control(text(&case["text"]))?;
        if found != ids(with_control)[1..] {
            differences.push(format!(
                "{}: expected {with_control}, found {found:?}",
                case["text"]
            ));
        }
    }
    report(differences)
}

/// JSON, model and the plain crate on the JSON give the same ids; the text comes back.
fn random_text_agrees(paths: &[PathBuf]) -> Result<(), Failed> {
    let (json, model) = (open(&paths[0])?, open(&paths[1])?);
    let plain = tokenizers::Tokenizer::from_file(&paths[0])?;
    let mut differences = Vec::new();
    for text in random_text::texts(2, RANDOM_TEXTS) {
        let ids = json.encode(&text)?;
        if model.encode(&text)? != ids {
            differences.push(format!("{text:?}: json and model differ"));
        }
        let expected = plain.encode_fast(text.as_str(), false)?;
        if json.encode_with_control(&text)? != expected.get_ids() {
            differences.push(format!(
                "{text:?}: plain tokenizers has {:?}",
                expected.get_ids()
            ));
        }
        if json.decode(&ids)? != random_text::after_round_trip(&text) {
            differences.push(format!("{text:?}: came back as {:?}", json.decode(&ids)?));
        }
        if ids.iter().any(|&id| id < 3) {
            differences.push(format!("{text:?}: control ids in {ids:?}"));
        }
    }
    report(differences)
}

fn random_ids_agree(paths: &[PathBuf]) -> Result<(), Failed> {
    let (json, model) = (open(&paths[0])?, open(&paths[1])?);
    let mut differences = Vec::new();
    for ids in random_text::id_lists(3, 2_000, json.vocab_size()) {
        let whole = json.decode(&ids)?;
        let mut stream = model.stream(&[]);
        let mut streamed = String::new();
        for &id in &ids {
            streamed += &stream.push(id)?;
        }
        streamed += &stream.finish();
        if model.decode(&ids)? != whole || streamed != whole {
            differences.push(format!("{ids:?}: {whole:?} and {streamed:?}"));
        }
    }
    report(differences)
}

fn directory_adds_bos(paths: &[PathBuf]) -> Result<(), Failed> {
    let tokenizer = Tokenizer::from_dir(&paths[0])?;
    let special = tokenizer.special_tokens();
    if (special.bos, special.eos, special.unk) != (Some(1), Some(2), Some(0)) {
        return Err(format!("{special:?}").into());
    }
    let ids = tokenizer.encode_with_bos("Hello")?;
    if ids == [1, 15043] {
        Ok(())
    } else {
        Err(format!("{ids:?}").into())
    }
}

/// From the merges of the JSON and from the scores of the model alike: what is written into another file gives the same ids.
fn pieces_agree(paths: &[PathBuf]) -> Result<(), Failed> {
    let original = Tokenizer::from_model_file(&paths[1])?;
    let of_model = {
        let directory = tempfile::tempdir()?;
        fs::copy(&paths[1], directory.path().join("tokenizer.model"))?;
        PieceList::from_dir(directory.path())?
    };
    let of_json = PieceList::from_json_bytes(&fs::read(&paths[0])?, "tokenizer.json")?;
    let texts = |list: &PieceList| -> Vec<_> {
        let pieces = list.pieces.iter();
        pieces
            .map(|piece| (piece.text.clone(), piece.kind))
            .collect()
    };
    if !of_json.is_exact || texts(&of_json) != texts(&of_model) {
        return Err("the pieces differ".into());
    }
    for list in [of_model, of_json] {
        let again =
            Tokenizer::from_pieces_of(&list.origin, list.pieces, list.special, list.dummy_prefix)?;
        for text in random_text::texts(20_261_126, RANDOM_TEXTS / 4) {
            if again.encode(&text)? != original.encode(&text)? {
                return Err(format!("{text:?}").into());
            }
        }
    }
    Ok(())
}
