//! `generate`, `chat`, `score` and `doctor` with the demo model on whatever adapter is there.

use std::fs;

use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::on_adapter;
use crate::program::{Ended, demo_copy, fields, program};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter(
            "generate_json_has_every_field",
            generate_json_has_every_field,
        ),
        on_adapter(
            "the_text_is_streamed_and_a_pipe_gets_nothing_added",
            the_text_is_streamed,
        ),
        on_adapter("counts_end_an_answer", counts_end_an_answer),
        on_adapter(
            "a_prompt_of_exactly_the_context_fits",
            a_prompt_of_exactly_the_context_fits,
        ),
        on_adapter(
            "an_end_of_sequence_is_not_among_the_ids",
            an_end_of_sequence_is_not_among_the_ids,
        ),
        on_adapter("a_stop_string_does_not_leak", a_stop_string_does_not_leak),
        on_adapter(
            "the_same_seed_gives_the_same_text",
            the_same_seed_gives_the_same_text,
        ),
        on_adapter("ids_need_no_tokenizer", ids_need_no_tokenizer),
        on_adapter("variables_reach_the_sampler", variables_reach_the_sampler),
        on_adapter("score_json_and_logits_agree", score_json_and_logits_agree),
        on_adapter(
            "score_of_one_id_has_no_perplexity",
            score_of_one_id_has_no_perplexity,
        ),
        on_adapter(
            "damaged_weights_are_an_error_not_a_text",
            damaged_weights_are_an_error,
        ),
        on_adapter(
            "a_chats_prompt_is_what_template_gives",
            a_chats_prompt_is_what_template_gives,
        ),
        on_adapter("each_line_is_a_turn", each_line_is_a_turn),
        on_adapter(
            "the_oldest_pairs_go_when_the_context_is_full",
            the_oldest_pairs_go,
        ),
        on_adapter("doctor_json_has_every_field", doctor_json_has_every_field),
        on_adapter("verbose_says_what_runs", verbose_says_what_runs),
        #[cfg(target_os = "linux")]
        on_adapter(
            "pipelines_are_kept_between_runs",
            pipelines_are_kept_between_runs,
        ),
    ]
}

/// Greedy, from ids, so that nothing depends on a seed.
fn greedy(more: &[&str]) -> Ended {
    program(
        ["generate", "-q", "--temp", "0", "-c", "256"]
            .iter()
            .chain(more),
    )
    .run()
}

fn generate_json_has_every_field() {
    let answer = greedy(&["--json", "-n", "4", "-p", "Hello"]).json();
    assert_eq!(
        fields(&answer),
        [
            "adapter",
            "finish_reason",
            "ids",
            "prompt_ids",
            "seed",
            "text",
            "timings"
        ]
    );
    assert_eq!(fields(&answer["adapter"]), ["backend", "name"]);
    assert_eq!(
        fields(&answer["timings"]),
        [
            "decode_ms",
            "decode_tokens",
            "load_ms",
            "prompt_ms",
            "prompt_tokens"
        ]
    );
    let ids = answer["ids"].as_array().expect("a list");
    let prompt_ids = answer["prompt_ids"].as_array().expect("a list");
    assert_eq!(answer["timings"]["decode_tokens"], ids.len());
    assert_eq!(answer["timings"]["prompt_tokens"], prompt_ids.len());
    assert!(answer["seed"].is_u64());
    assert_eq!(answer["text"], decoded(&answer));
}

/// decode(prompt + ids) less decode(prompt), by `detokenize`.
fn decoded(answer: &Value) -> Value {
    let line = json!({ "prompt_ids": answer["prompt_ids"], "ids": answer["ids"] }).to_string();
    program(["detokenize", "-q", "--jsonl"])
        .stdin(line)
        .run()
        .json()["text"]
        .clone()
}

fn the_text_is_streamed() {
    let answer = greedy(&["--json", "-n", "8", "-p", "Once upon a time"]).json();
    let plain = greedy(&["-n", "8", "-p", "Once upon a time"]).ok();
    assert_eq!(answer["text"], plain);
    let from_stdin = program(["generate", "-q", "--temp", "0", "-n", "8", "-c", "256"])
        .stdin("Once upon a time")
        .run()
        .ok();
    assert_eq!(from_stdin, plain);
}

fn counts_end_an_answer() {
    for (count, expected) in [("0", 0), ("3", 3)] {
        let answer = greedy(&["--json", "--ignore-eos", "-n", count, "-p", "Hello"]).json();
        assert_eq!(answer["ids"].as_array().map(Vec::len), Some(expected));
        assert_eq!(answer["finish_reason"], "length");
    }
    // To the end of the context, however it is said.
    for count in [
        ["-n", "-1"],
        ["-n", "9223372036854775808"],
        ["-n", "1000"],
        ["-s", "1"],
    ] {
        let flags = ["--json", "--ignore-eos", "--ids", "1,5,6", "-c", "16"];
        let answer = greedy(&[flags.as_slice(), &count].concat()).json();
        assert_eq!(
            answer["ids"].as_array().map(Vec::len),
            Some(13),
            "{count:?}"
        );
        assert_eq!(answer["finish_reason"], "length");
    }
}

fn a_prompt_of_exactly_the_context_fits() {
    let answer = greedy(&["--json", "-c", "4", "--ids", "1,5,6,7"]).json();
    assert_eq!(
        (&answer["ids"], &answer["finish_reason"]),
        (&json!([]), &json!("length"))
    );
    let beyond = greedy(&["-c", "4", "--ids", "1,5,6,7,8"]).error(2);
    assert!(
        beyond.starts_with("the prompt has 5 tokens and the context holds 4:"),
        "{beyond}"
    );
}

/// The demo model ends its answers.
fn an_end_of_sequence_is_not_among_the_ids() {
    let prompt = "[INST] Hello [/INST]";
    let answer = greedy(&["--json", "-p", prompt]).json();
    assert_eq!(answer["finish_reason"], "eos");
    let ids = answer["ids"].as_array().expect("a list");
    assert!(!ids.is_empty() && !ids.contains(&json!(2)), "{answer}");
    let more = greedy(&[
        "--json",
        "-p",
        prompt,
        "--ignore-eos",
        "-n",
        &(ids.len() + 1).to_string(),
    ])
    .json();
    assert_eq!(
        more["ids"].as_array().and_then(|ids| ids.last()),
        Some(&json!(2)),
        "eos is an ordinary token then"
    );
}

fn a_stop_string_does_not_leak() {
    let flags = [
        "--json",
        "-n",
        "24",
        "--ignore-eos",
        "-p",
        "Once upon a time",
    ];
    let whole = greedy(&flags).json();
    let whole = whole["text"].as_str().expect("text");
    // From the middle of one word into the next: no token begins there.
    let start = whole.char_indices().nth(6).expect("long enough").0;
    let end = whole.char_indices().nth(11).expect("long enough").0;
    let stop = &whole[start..end];
    let expected = &whole[..whole.find(stop).expect("inside")];
    let answer =
        greedy(&[flags.as_slice(), &["--stop", "never there", "--stop", stop]].concat()).json();
    assert_eq!(
        (answer["text"].as_str(), answer["finish_reason"].as_str()),
        (Some(expected), Some("stop"))
    );
    let plain = greedy(&[
        "-n",
        "24",
        "--ignore-eos",
        "-p",
        "Once upon a time",
        "--stop",
        stop,
    ])
    .ok();
    assert_eq!(plain, expected);
}

fn the_same_seed_gives_the_same_text() {
    let run = |more: &[&str]| {
        let flags = [
            "generate",
            "-q",
            "--json",
            "--temp",
            "1.5",
            "--top-p",
            "1",
            "-n",
            "16",
            "-c",
            "64",
            "--ignore-eos",
            "--ids",
            "1",
        ];
        program(flags.iter().chain(more)).run().json()
    };
    let first = run(&["--seed", "7"]);
    assert_eq!(first["seed"], 7);
    assert_eq!(run(&["--seed", "7"])["ids"], first["ids"]);
    assert_ne!(run(&["--seed", "8"])["ids"], first["ids"]);
    // top-p 0 and top-k 1 are greedy whatever the temperature.
    assert_eq!(run(&["--top-p", "0"])["ids"], run(&["--top-k", "1"])["ids"]);
    // A seed that was drawn is told, and gives the text again.
    let drawn = run(&[]);
    assert_eq!(
        run(&["--seed", &drawn["seed"].to_string()])["ids"],
        drawn["ids"]
    );
}

fn ids_need_no_tokenizer() {
    let directory = demo_copy(&["tokenizer.json", "tokenizer.model", "tokenizer_config.json"]);
    let flags = [
        "generate",
        "--temp",
        "0",
        "-n",
        "4",
        "--ignore-eos",
        "-c",
        "64",
        "--ids",
        "1,5,6",
    ];
    let answer = program(flags.iter().chain(&["--json"]))
        .model(directory.path())
        .run()
        .json();
    assert_eq!(
        (&answer["text"], &answer["prompt_ids"]),
        (&Value::Null, &json!([1, 5, 6]))
    );
    let plain = program(flags).model(directory.path()).run().ok();
    let ids: Vec<u32> = plain
        .split(',')
        .map(|id| id.parse().expect("an id"))
        .collect();
    assert_eq!(answer["ids"], json!(ids));
    let error = program(flags.iter().chain(&["--stop", "a"]))
        .model(directory.path())
        .run()
        .error(2);
    assert!(
        error.starts_with("--stop: expected a model with a tokenizer"),
        "{error}"
    );
    let scores = program(["score", "--json", "-c", "64", "--ids", "1,5,6"])
        .model(directory.path())
        .run()
        .json();
    assert_eq!(scores["ids"], json!([1, 5, 6]));
}

fn variables_reach_the_sampler() {
    let flags = ["generate", "-p", "Hello"];
    let ended = program(flags)
        .env("LLAMA_JSON", "1")
        .env("LLAMA_TEMP", "0")
        .env("LLAMA_MAX_TOKENS", "5")
        .env("LLAMA_SEED", "11")
        .env("LLAMA_CTX_SIZE", "64")
        .env("LLAMA_IGNORE_EOS", "1")
        .run();
    let answer = ended.json();
    assert_eq!(
        (&answer["seed"], &answer["timings"]["decode_tokens"]),
        (&json!(11), &json!(5))
    );
}

fn score_json_and_logits_agree() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("logits.safetensors");
    let scores = program([
        "score",
        "-q",
        "--json",
        "-c",
        "64",
        "-p",
        "Hello, my name is Sam.",
        "--logits",
    ])
    .arg(&path)
    .run()
    .json();
    assert_eq!(fields(&scores), ["ids", "logprobs", "perplexity"]);
    let ids: Vec<usize> = serde_json::from_value(scores["ids"].clone()).expect("ids");
    let logprobs: Vec<Option<f64>> =
        serde_json::from_value(scores["logprobs"].clone()).expect("numbers");
    assert_eq!((logprobs.len(), logprobs[0]), (ids.len(), None));
    let bytes = fs::read(&path).expect("written");
    let file = SafeTensors::deserialize(&bytes).expect("a good file");
    let logits = file.tensor("logits").expect("there");
    let [rows, vocabulary] = logits.shape() else {
        panic!("two dimensions")
    };
    assert_eq!(*rows, ids.len());
    let values: Vec<f64> = logits
        .data()
        .chunks_exact(4)
        .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
        .collect();
    for (position, logprob) in logprobs.iter().enumerate().skip(1) {
        let row = &values[(position - 1) * vocabulary..position * vocabulary];
        let expected = row[ids[position]] - row.iter().map(|value| value.exp()).sum::<f64>().ln();
        // Two ways to sum the same f64.
        assert!(
            (logprob.expect("a number") - expected).abs() < 1e-9,
            "{position}"
        );
    }
    let mean = logprobs.iter().flatten().sum::<f64>() / (ids.len() - 1) as f64;
    let perplexity = scores["perplexity"].as_f64().expect("a number");
    assert!((perplexity - (-mean).exp()).abs() < 1e-9 * perplexity);
    let text = program(["score", "-q", "-c", "64", "-p", "Hello, my name is Sam."])
        .run()
        .ok();
    assert_eq!(text.lines().count(), ids.len() + 1);
    assert_eq!(text.lines().next(), Some("1\t-"));
}

fn score_of_one_id_has_no_perplexity() {
    let scores = program(["score", "-q", "--json", "--ids", "1"])
        .run()
        .json();
    assert_eq!(
        scores,
        json!({ "ids": [1], "logprobs": [null], "perplexity": null })
    );
    let nowhere = program([
        "score",
        "-q",
        "--ids",
        "1",
        "--logits",
        "/no such folder/x.safetensors",
    ])
    .run()
    .error(7);
    assert!(
        nowhere.starts_with("/no such folder/x.safetensors: expected a file that can be written"),
        "{nowhere}"
    );
}

/// All weights of the output norm NaN: every logit is NaN.
fn damaged_weights_are_an_error() {
    let directory = demo_copy(&[]);
    let path = directory.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("readable");
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..start]).expect("a header");
    let span: [usize; 2] =
        serde_json::from_value(header["model.norm.weight"]["data_offsets"].clone())
            .expect("offsets");
    for value in bytes[start + span[0]..start + span[1]].chunks_exact_mut(2) {
        value.copy_from_slice(&[0x00, 0x7e]);
    }
    fs::write(&path, bytes).expect("written");
    for args in [["generate", "-p", "Hello"], ["score", "-p", "Hello"]] {
        let error = program(args).model(directory.path()).run().error(1);
        assert!(error.contains("inspect --check"), "{error}");
    }
}

fn a_chats_prompt_is_what_template_gives() {
    let messages = json!([
        { "role": "system", "content": "Answer in capitals." },
        { "role": "user", "content": "Hello" },
        { "role": "assistant", "content": "HELLO! HOW CAN I HELP YOU?" },
        { "role": "user", "content": "What is 2 plus 3?" },
    ]);
    let template = program(["template", "-q", "--json", "--messages", "-"])
        .stdin(messages.to_string())
        .run()
        .json();
    let answer = program(["chat", "-q", "--json", "--temp", "0", "-n", "4"])
        .stdin(messages.to_string())
        .run()
        .json();
    assert_eq!(answer["prompt_ids"], template["ids"]);
    assert_eq!(
        fields(&answer),
        [
            "adapter",
            "finish_reason",
            "ids",
            "prompt_ids",
            "seed",
            "text",
            "timings"
        ]
    );
    let without_system = json!(messages.as_array().expect("a list")[1..]);
    let flag = program([
        "chat",
        "-q",
        "--json",
        "--temp",
        "0",
        "-n",
        "4",
        "--system",
        "Answer in capitals.",
    ])
    .stdin(without_system.to_string())
    .run()
    .json();
    assert_eq!(
        (&flag["prompt_ids"], &flag["ids"]),
        (&answer["prompt_ids"], &answer["ids"])
    );
}

/// The text of a chat's answer to `messages`, at temperature 0.
fn answered(messages: &Value) -> String {
    let answer = program(["chat", "-q", "--json", "--temp", "0"])
        .stdin(messages.to_string())
        .run()
        .json();
    answer["text"].as_str().expect("text").to_owned()
}

/// With the cache kept between them, lines are answered as one by one from nothing.
fn each_line_is_a_turn() {
    let lines = program(["chat", "-q", "--temp", "0"])
        .stdin("Hello\n\nWhat is 2 plus 3?\n")
        .run()
        .ok();
    let mut messages = json!([{ "role": "user", "content": "Hello" }]);
    let first = answered(&messages);
    let list = messages.as_array_mut().expect("a list");
    list.push(json!({ "role": "assistant", "content": first }));
    list.push(json!({ "role": "user", "content": "What is 2 plus 3?" }));
    let second = answered(&messages);
    assert_eq!(lines, format!("{first}\n{second}\n"));
}

fn the_oldest_pairs_go() {
    let line = "Hello, who are you and what can you do for me today?\n";
    let ended = program(["chat", "--temp", "0", "-c", "96", "-n", "12"])
        .stdin(line.repeat(6))
        .run();
    let said = "no longer fits the context of 96: the model forgets its ";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    ended.ok();
    let alone = program(["chat", "-q", "-c", "8"])
        .stdin(line.repeat(6))
        .run()
        .error(2);
    assert!(alone.contains("tokens and the context holds 8"), "{alone}");
}

fn doctor_json_has_every_field() {
    let report = program(["doctor", "--json"]).run().json();
    assert_eq!(
        fields(&report),
        [
            "adapters",
            "chosen",
            "missing",
            "platform",
            "shader_compiler",
            "software_only",
            "variants",
            "version"
        ]
    );
    let adapters = report["adapters"].as_array().expect("a list");
    for adapter in adapters {
        assert_eq!(
            fields(adapter),
            [
                "backend",
                "device_type",
                "driver",
                "driver_info",
                "features",
                "index",
                "limits",
                "name",
                "software"
            ]
        );
    }
    let chosen = report["chosen"].as_u64().expect("an index");
    assert!(adapters.iter().any(|adapter| adapter["index"] == chosen));
    let variants = report["variants"].as_array().expect("a list");
    assert!(
        variants
            .iter()
            .all(|variant| fields(variant) == ["checks", "format", "kernel", "variant"])
    );
    let checked = program(["doctor", "--json", "--kernel-checks"]);
    let checked = checked.run().json();
    let checked = checked["variants"].as_array().expect("a list");
    assert!(checked.iter().all(|variant| variant["checks"] == true));
    let formats = ["f32", "f16", "q8_0", "q4_0"];
    assert!(
        formats
            .iter()
            .all(|format| variants.iter().any(|variant| variant["format"] == *format)),
        "{report}"
    );
    let text = program(["doctor"]).run().ok();
    assert!(
        text.contains("adapters\n") && text.contains("kernels\n"),
        "{text}"
    );
    let named = program(["doctor", "--json", "--adapter", &chosen.to_string()])
        .run()
        .json();
    assert_eq!(named["chosen"], chosen);
}

fn verbose_says_what_runs() {
    let ended = program([
        "generate", "-v", "-n", "2", "-p", "Hello", "--dtype", "q8_0", "--seed", "5",
    ])
    .run();
    for part in [
        "info: adapter: ",
        "info: weights: ",
        "info: context: ",
        "info: first token after ",
        "info: seed: 5",
        "info: prompt: ",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(
        !ended.stderr.contains("Hello"),
        "prompts are private: {}",
        ended.stderr
    );
}

/// The cache directory is a variable's on Linux.
#[cfg(target_os = "linux")]
fn pipelines_are_kept_between_runs() {
    let cache = tempfile::tempdir().expect("a directory");
    let generate = |more: &[&str]| {
        let ended = program(
            ["generate", "-v", "-n", "1", "-p", "Hello"]
                .iter()
                .chain(more),
        )
        .env("LLAMA_NO_PIPELINE_CACHE", "")
        .env("XDG_CACHE_HOME", cache.path())
        .env("MESA_SHADER_CACHE_DIR", mesa_cache())
        .run();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let line = ended
            .stderr
            .lines()
            .find(|line| line.contains("pipeline cache: "));
        line.unwrap_or_default().to_owned()
    };
    let directory = cache.path().join("llama-cli");
    assert_eq!(generate(&["--no-pipeline-cache"]), "");
    assert!(!directory.exists());
    let first = generate(&[]);
    if first.is_empty() {
        return; // The adapter has no cache.
    }
    assert!(first.ends_with(" begun"), "{first}");
    let files: Vec<_> = fs::read_dir(&directory)
        .expect("the cache's directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "one file, and no temporary one");
    assert!(generate(&[]).ends_with(" taken"));
    fs::write(&files[0], "not a cache").expect("the file is replaced");
    let broken = generate(&[]);
    assert!(
        broken.ends_with(" broken or another driver's: begun anew"),
        "{broken}"
    );
    assert!(generate(&[]).ends_with(" taken"));
}

/// Where Mesa keeps shaders without the variables of a test: a cold one costs seconds.
#[cfg(target_os = "linux")]
fn mesa_cache() -> std::path::PathBuf {
    let own = ["MESA_SHADER_CACHE_DIR", "XDG_CACHE_HOME"];
    let set = own.iter().find_map(std::env::var_os).map(Into::into);
    let home = || std::env::home_dir().unwrap_or_default().join(".cache");
    set.unwrap_or_else(home)
}
