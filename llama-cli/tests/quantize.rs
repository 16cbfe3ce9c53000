//! `quantize`: files that are the same model in fewer bits, beside what the `gguf` package passed (`golden/quantize/generate.py`), and everything that keeps
//! a file from being written. No adapter is needed.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{Program, demo_copy, demo_directory, fields, program};
use serde_json::Value;
use tempfile::TempDir;

const DTYPES: [&str; 5] = ["f16", "q8_0", "q4_0", "q4_k", "q6_k"];

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn quantize(input: impl AsRef<Path>, out: impl AsRef<Path>, dtype: &str) -> Program {
    let (input, out) = (input.as_ref(), out.as_ref());
    let mut run = program(["quantize".as_ref(), input.as_os_str(), out.as_os_str()]);
    // This package's own directory has one named `demo`.
    run.command().current_dir(std::env::temp_dir());
    run.arg("--dtype").arg(dtype)
}

/// Names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_those_that_the_gguf_package_has_checked() {
    let directory = directory();
    for dtype in DTYPES {
        let out = directory.path().join("out.gguf");
        let ended = quantize(golden("quantize/model"), &out, dtype)
            .arg("--force")
            .run();
        assert!(
            ended.stderr.starts_with(
                "note: model: no tokenizer, so the file gets no vocabulary; it answers to --ids alone\n"
            ),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.ok(), "");
        let expected = fs::read(golden(&format!("quantize/{dtype}.gguf"))).expect("the golden");
        assert!(fs::read(&out).expect("written") == expected, "{dtype}");
    }
}

/// Pieces, scores, kinds, special ids and template as `golden/gguf/generate.py` wrote them from `tokenizer.model`.
#[test]
fn the_vocabulary_is_that_of_the_tokenizer_s_own_files() {
    use llama_weights::Vocabulary;
    let directory = directory();
    let expected = Vocabulary::open(&golden("gguf/model.gguf"));
    let expected = expected.expect("readable").expect("there");
    let only_model = demo_copy(&["tokenizer.json"]);
    for source in [Path::new("demo"), &demo_directory(), only_model.path()] {
        let out = directory.path().join("out.gguf");
        quantize(source, &out, "f16").arg("--force").run().ok();
        let mut found = Vocabulary::open(&out).expect("readable").expect("there");
        found.origin.clone_from(&expected.origin);
        assert!(found == expected, "{}", source.display());
    }
}

#[test]
fn the_demo_model_keeps_its_words() {
    let directory = directory();
    let out = directory.path().join("demo.gguf");
    let report = quantize("demo", &out, "q4_k").arg("--json").run().json();
    assert_eq!(
        fields(&report),
        [
            "bytes",
            "dtype",
            "parameters",
            "path",
            "seconds",
            "tensors",
            "vocabulary"
        ]
    );
    assert_eq!(report["dtype"], "q4_k");
    assert_eq!(report["vocabulary"], true);
    assert_eq!(report["path"], out.display().to_string());
    assert_eq!(report["bytes"], fs::metadata(&out).expect("written").len());
    for text in ["Hello world", " a  b", "", "<s> é 😀"] {
        let ids = |model: &Path| program(["tokenize", text]).model(model).run().ok();
        assert_eq!(ids(&out), ids(&demo_directory()), "{text:?}");
    }
    let dialog =
        r#"[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]"#;
    for format in ["jinja", "llama2"] {
        let prompt = |model: &Path| {
            program(["template", "--messages", "-", "--json", "--format", format])
                .model(model)
                .stdin(dialog)
                .run()
                .json()
        };
        assert_eq!(prompt(&out), prompt(&demo_directory()), "{format}");
    }
    let inspect = |model: &Path| {
        program(["inspect", "--json", "--check"])
            .model(model)
            .run()
            .json()
    };
    let (found, expected) = (inspect(&out), inspect(&demo_directory()));
    for key in ["hyperparameters", "parameters", "not_finite"] {
        assert_eq!(found[key], expected[key], "{key}");
    }
}

#[test]
fn verify_tells_the_error_of_every_tensor() {
    let directory = directory();
    let out = directory.path().join("out.gguf");
    let run = |dtype, flags: &[&str]| {
        let mut run = quantize(golden("quantize/model"), &out, dtype);
        for flag in ["--force", "--verify", "-q"].iter().chain(flags) {
            run = run.arg(flag);
        }
        run.run()
    };
    let table = run("q8_0", &[]).ok();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0].join(" "),
        "tensor dtype relative rmse max abs error"
    );
    assert_eq!(lines.len(), 13);
    assert_eq!(lines[1][..2], ["token_embd.weight", "q8_0"]);
    assert_eq!(
        lines[2],
        ["blk.0.attn_norm.weight", "f32", "0.000e0", "0.000e0"]
    );
    for (dtype, limits) in [
        ("f16", 0.0..=0.0),
        ("q8_0", 0.003..=0.01),
        ("q4_0", 0.07..=0.12),
        ("q4_k", 0.01..=0.08),
        ("q6_k", 0.004..=0.025),
    ] {
        let report = run(dtype, &["--json"]).json();
        let tensors = report["tensors"].as_array().expect("a list");
        assert_eq!(tensors.len(), 12);
        for tensor in tensors {
            assert_eq!(
                fields(tensor),
                [
                    "bytes",
                    "dtype",
                    "max_abs",
                    "name",
                    "relative_rmse",
                    "shape"
                ]
            );
            let error = tensor["relative_rmse"].as_f64().expect("a number");
            let is_matrix = tensor["shape"].as_array().expect("a list").len() == 2;
            let limits = if is_matrix { limits.clone() } else { 0.0..=0.0 };
            assert!(limits.contains(&error), "{dtype} {tensor}");
        }
    }
}

/// Every form of one model becomes one file.
#[test]
fn every_form_is_read() {
    let torch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-weights/tests/golden/torch");
    let directory = directory();
    let tensors = |form: &str| {
        let out = directory.path().join(format!("{form}.gguf"));
        quantize(torch.join(form), &out, "f16").run().ok();
        let bytes = fs::read(&out).expect("written");
        // What differs is in the header: the name, and what a form says of positions and ids.
        let report = program(["inspect", "--json"]).model(&out).run().json();
        let data = report["tensors"].as_array().expect("a list");
        let length = data.iter().map(|tensor| {
            let bytes = tensor["bytes"].as_u64().expect("a number") as usize;
            bytes.next_multiple_of(32)
        });
        bytes[bytes.len() - length.sum::<usize>()..].to_vec()
    };
    let expected = tensors("hf");
    for form in ["meta-1", "meta-2", "bin-1", "bin-2"] {
        assert!(tensors(form) == expected, "{form}");
    }
    // A GGUF file of a GGUF file: of another type, and of the same one.
    let first = directory.path().join("hf.gguf");
    let again = directory.path().join("again.gguf");
    quantize(&first, &again, "f16").run().ok();
    let bytes = fs::read(&again).expect("written");
    assert!(bytes.ends_with(&expected));
}

#[test]
fn a_repository_of_the_cache_is_read() {
    let directory = directory();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repository = directory.path().join("hub/models--org--name");
    let snapshot = repository.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).expect("made");
    fs::create_dir_all(repository.join("refs")).expect("made");
    fs::write(repository.join("refs/main"), commit).expect("written");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden("quantize/model").join(file), snapshot.join(file)).expect("copied");
    }
    let out = directory.path().join("out.gguf");
    quantize("org/name", &out, "q8_0")
        .env("HF_HOME", directory.path())
        .run()
        .ok();
    let report = program(["inspect", "--json"]).model(&out).run().json();
    assert_eq!(report["format"], "GGUF file");
}

#[test]
fn what_is_quantized_already_loses_more_and_a_line_says_so() {
    let directory = directory();
    let out = directory.path().join("out.gguf");
    let ended = quantize(golden("quantize/q8_0.gguf"), &out, "q4_0").run();
    assert!(
        ended.stderr.contains(
            "warning: the model is in q8_0 already: q4_0 adds an error of its own; quantize from the original weights where you have them\n"
        ),
        "{}",
        ended.stderr
    );
    for (source, dtype) in [
        ("q8_0", "q8_0"),
        ("q4_0", "q8_0"),
        ("q6_k", "f16"),
        ("f16", "q4_0"),
    ] {
        let source = golden(&format!("quantize/{source}.gguf"));
        let ended = quantize(source, &out, dtype).arg("--force").run();
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    }
}

#[test]
fn an_out_that_exists_is_never_touched() {
    let directory = directory();
    let out = directory.path().join("out.gguf");
    fs::write(&out, "mine").expect("written");
    let error = quantize("demo", &out, "q8_0").run().error(2);
    assert_eq!(
        error,
        format!(
            "{}: expected no such file, found one of 4 bytes, which stays as it is; give another name, or --force to replace it",
            out.display()
        )
    );
    assert_eq!(fs::read(&out).expect("there"), b"mine");
    assert_eq!(names(directory.path()), ["out.gguf"]);
    quantize("demo", &out, "q8_0").arg("--force").run().ok();
    assert!(fs::read(&out).expect("there").starts_with(b"GGUF"));
    assert_eq!(names(directory.path()), ["out.gguf"]);
}

#[test]
fn an_out_that_is_no_name_of_a_file() {
    let directory = directory();
    let path = directory.path();
    for force in [&[][..], &["--force"]] {
        let mut run = quantize("demo", path, "q8_0");
        for flag in force {
            run = run.arg(flag);
        }
        assert_eq!(
            run.run().error(2),
            format!(
                "{}: expected the name of a file to be written, found a directory; give another name",
                path.display()
            )
        );
    }
    assert_eq!(
        quantize("demo", "..", "q8_0").run().error(2),
        "..: expected the name of a file to be written, found none; name one"
    );
    let out = path.join("no/such/out.gguf");
    let error = fs::File::create(&out).expect_err("no such directory");
    assert_eq!(
        quantize("demo", &out, "q8_0").run().error(7),
        format!(
            "{}: expected to write it, found: {error}; make room or name another place",
            out.display()
        )
    );
    assert!(names(path).is_empty());
}

#[cfg(unix)]
#[test]
fn a_device_stays_a_device() {
    assert_eq!(
        quantize("demo", "/dev/null", "q8_0")
            .arg("--force")
            .run()
            .error(2),
        "/dev/null: expected the name of a file to be written, found no plain file; give another name"
    );
}

#[test]
fn out_is_not_in() {
    let directory = directory();
    let model = directory.path().join("model.gguf");
    fs::copy(golden("quantize/q8_0.gguf"), &model).expect("copied");
    let before = fs::read(&model).expect("there");
    for out in [model.clone(), directory.path().join(".").join("model.gguf")] {
        let error = quantize(&model, &out, "q4_0").arg("--force").run().error(2);
        assert_eq!(
            error,
            format!(
                "{}: expected another file than IN, found the same; give another name",
                out.display()
            )
        );
    }
    #[cfg(unix)]
    {
        let link = directory.path().join("link.gguf");
        std::os::unix::fs::symlink(&model, &link).expect("linked");
        let error = quantize(&model, &link, "q4_0")
            .arg("--force")
            .run()
            .error(2);
        assert!(error.contains("found the same"), "{error}");
    }
    assert!(fs::read(&model).expect("there") == before);
}

#[test]
fn an_in_that_is_no_model_is_exit_3_and_nothing_is_made() {
    let directory = directory();
    let out = directory.path().join("out.gguf");
    for source in [
        demo_directory().join("config.json"),
        directory.path().join("none"),
    ] {
        quantize(&source, &out, "q8_0").run().error(3);
    }
    let cut = directory.path().join("cut.gguf");
    let bytes = fs::read(golden("quantize/q8_0.gguf")).expect("the golden");
    fs::write(&cut, &bytes[..bytes.len() / 2]).expect("written");
    quantize(&cut, &out, "q8_0").run().error(3);
    assert_eq!(names(directory.path()), ["cut.gguf"]);
}

#[test]
fn nan_is_exit_3_and_leaves_nothing() {
    let directory = directory();
    let model = directory.path().join("model");
    fs::create_dir(&model).expect("made");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden("quantize/model").join(file), model.join(file)).expect("copied");
    }
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("there");
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&[0, 0x7e]);
    fs::write(&path, bytes).expect("written");
    let error = quantize(&model, directory.path().join("out.gguf"), "q4_k")
        .run()
        .error(3);
    let (name, rest) = error.split_at(error.rfind("\": ").expect("a name") + 3);
    assert!(name.starts_with("\"model."), "{name}");
    assert_eq!(
        rest,
        "expected finite values, found NaN or infinity; download the checkpoint again"
    );
    assert_eq!(names(directory.path()), ["model"]);
}

#[test]
fn what_gguf_cannot_say_is_exit_3() {
    let directory = directory();
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-model/tests/golden/parity");
    for (model, scaling) in [("rope-dynamic", "dynamic"), ("rope-llama3", "llama3")] {
        let error = quantize(parity.join(model), directory.path().join("out.gguf"), "f16").run();
        assert_eq!(
            error.error(3),
            format!(
                "rope_scaling: expected none or linear, found {scaling}, which GGUF files cannot say; keep the checkpoint as it is"
            )
        );
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_tokenizer_of_another_model_is_exit_3() {
    let directory = directory();
    let model = directory.path().join("model");
    fs::create_dir(&model).expect("made");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden("quantize/model").join(file), model.join(file)).expect("copied");
    }
    let tokenizer = model.join("tokenizer.json");
    fs::copy(demo_directory().join("tokenizer.json"), &tokenizer).expect("copied");
    assert_eq!(
        quantize(&model, directory.path().join("out.gguf"), "f16")
            .run()
            .error(3),
        format!(
            "{}: pieces: expected at most 64, the rows of the embedding, found 1536; vocabulary and weights are of different models",
            tokenizer.display()
        )
    );
}

/// What a killed run left is no file of anybody's.
#[test]
fn what_a_killed_run_left_is_begun_anew() {
    let directory = directory();
    let (out, partial) = (
        directory.path().join("out.gguf"),
        directory.path().join("out.gguf.partial"),
    );
    fs::write(&partial, vec![7; 1 << 20]).expect("written");
    let ended = quantize(golden("quantize/model"), &out, "q4_0").run();
    assert!(
        ended.stderr.contains(&format!(
            "note: {}: 1048576 bytes are left from a run that was cut off; the file is begun anew\n",
            partial.display()
        )),
        "{}",
        ended.stderr
    );
    ended.ok();
    assert_eq!(names(directory.path()), ["out.gguf"]);
    assert!(
        fs::read(&out).expect("there") == fs::read(golden("quantize/q4_0.gguf")).expect("there")
    );
}

#[test]
fn two_processes_do_not_write_one_file() {
    let directory = directory();
    let (out, partial) = (
        directory.path().join("out.gguf"),
        directory.path().join("out.gguf.partial"),
    );
    fs::write(&partial, "half").expect("written");
    let other = fs::File::options()
        .append(true)
        .open(&partial)
        .expect("there");
    fs4::FileExt::try_lock(&other).expect("locked");
    assert_eq!(
        quantize("demo", &out, "q8_0").run().error(7),
        format!(
            "{}: expected to write it alone, found another process at it; wait for that one or give another name",
            out.display()
        )
    );
    drop(other);
    assert_eq!(fs::read(&partial).expect("there"), b"half");
}

/// A safetensors model of one layer in f32, all zeros and none of it on the disk.
#[cfg(unix)]
fn sparse_model(vocabulary: u64, hidden: u64) -> TempDir {
    let directory = directory();
    let mut at = 0;
    let mut tensors = serde_json::Map::new();
    let square = || vec![hidden, hidden];
    for (name, shape) in [
        ("embed_tokens", vec![vocabulary, hidden]),
        ("layers.0.input_layernorm", vec![hidden]),
        ("layers.0.self_attn.q_proj", square()),
        ("layers.0.self_attn.k_proj", square()),
        ("layers.0.self_attn.v_proj", square()),
        ("layers.0.self_attn.o_proj", square()),
        ("layers.0.post_attention_layernorm", vec![hidden]),
        ("layers.0.mlp.gate_proj", square()),
        ("layers.0.mlp.up_proj", square()),
        ("layers.0.mlp.down_proj", square()),
        ("norm", vec![hidden]),
    ] {
        let end = at + shape.iter().product::<u64>() * 4;
        let entry =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] });
        tensors.insert(format!("model.{name}.weight"), entry);
        at = end;
    }
    let header = Value::Object(tensors).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let path = directory.path().join("model.safetensors");
    fs::write(&path, &bytes).expect("written");
    let file = fs::File::options().append(true).open(&path).expect("there");
    file.set_len(bytes.len() as u64 + at)
        .expect("a file system that has such files");
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": hidden, "num_attention_heads": hidden / 128,
        "num_hidden_layers": 1, "vocab_size": vocabulary, "max_position_embeddings": 64, "tie_word_embeddings": true,
    });
    fs::write(directory.path().join("config.json"), config.to_string()).expect("written");
    directory
}

/// A model of 8 TiB, more than disks have left.
#[cfg(unix)]
#[test]
fn what_cannot_fit_is_refused_before_a_byte_is_written() {
    let model = sparse_model(1 << 24, 1 << 17);
    let directory = directory();
    let out = directory.path().join("out.gguf");
    let error = quantize(model.path(), &out, "f16").run().error(7);
    assert!(
        error.starts_with(&format!("{}: expected room for 4638", out.display()))
            && error.ends_with(" free; make room or name another place"),
        "{error}"
    );
    assert!(names(directory.path()).is_empty());
}

#[cfg(target_os = "linux")]
mod disk {
    use super::*;

    /// The disk fills up in the middle of the file.
    #[test]
    fn a_disk_that_fills_up_is_one_error_and_leaves_nothing() {
        let directory = directory();
        let out = directory.path().join("out.gguf");
        for blocks in [0, 64, 128] {
            let ended = quantize(golden("quantize/model"), &out, "f16")
                .arg("-q")
                .in_shell(&format!("trap '' XFSZ; ulimit -f {blocks}"))
                .run();
            assert_eq!(
                ended.error(7),
                format!(
                    "{}: expected to write it, found: File too large (os error 27); make room or name another place",
                    out.display()
                )
            );
            assert!(names(directory.path()).is_empty());
        }
    }

    /// Nothing of the weights is kept: 512 MiB go through an address space that has no room for them besides the mapping, nor for the 256 MiB that
    /// are written.
    #[test]
    fn memory_does_not_grow_with_the_model() {
        let model = sparse_model(1 << 17, 1 << 10);
        let directory = directory();
        let out = directory.path().join("out.gguf");
        // In KiB: the mapped file, the program and its threads' stacks.
        let limit = (512 + 28 + 192) << 10;
        quantize(model.path(), &out, "f16")
            .env("MALLOC_ARENA_MAX", "1")
            .in_shell(&format!("ulimit -v {limit}"))
            .run()
            .ok();
        assert!(fs::metadata(&out).expect("written").len() > 256 << 20);
    }

    #[test]
    fn odd_names_are_names() {
        let directory = directory();
        let long = "x".repeat(200);
        let folder = directory.path().join("модель é 模型 🙂").join(&long);
        fs::create_dir_all(&folder).expect("made");
        let out = folder.join("a file.gguf");
        quantize(golden("quantize/model"), &out, "q4_0").run().ok();
        assert_eq!(names(&folder), ["a file.gguf"]);
        // A name alone lies in the working directory.
        let mut run = quantize(golden("quantize/model"), "alone.gguf", "q4_0");
        run.command().current_dir(&folder);
        run.run().ok();
        assert_eq!(names(&folder), ["a file.gguf", "alone.gguf"]);
    }
}

#[cfg(unix)]
mod signals {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_signal_leaves_nothing_behind() {
        let model = sparse_model(1 << 21, 1 << 10);
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let directory = directory();
            let out = directory.path().join("out.gguf");
            let child = quantize(model.path(), &out, "q6_k").arg("-q").start();
            let partial = directory.path().join("out.gguf.partial");
            let begin = Instant::now();
            // Some of it is written.
            while fs::metadata(&partial).map_or(0, |found| found.len()) < 1 << 20 {
                assert!(
                    begin.elapsed() < Duration::from_secs(60),
                    "nothing is written"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
            let kill = Command::new("kill")
                .arg(format!("-{signal}"))
                .arg(child.id().to_string())
                .status();
            assert!(kill.expect("kill runs").success());
            let output = child.wait_with_output().expect("ends");
            assert_eq!(
                (output.status.code(), output.stderr.as_slice()),
                (Some(code), b"".as_slice()),
                "{signal}"
            );
            assert!(names(directory.path()).is_empty(), "{signal}");
        }
    }
}
