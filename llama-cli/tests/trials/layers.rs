//! Several adapters, and layers in host memory: the same answers as on one adapter that holds everything. One adapter named twice
//! is two.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::on_adapter;
use crate::program::{Ended, fields, program};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter(
            "the_same_tokens_wherever_layers_lie",
            the_same_tokens_wherever_layers_lie,
        ),
        on_adapter("what_is_slow_is_said_once", what_is_slow_is_said_once),
        on_adapter("a_split_has_to_be_the_models", a_split_has_to_be_the_models),
        on_adapter("two_adapters_are_both_named", two_adapters_are_both_named),
        on_adapter(
            "scores_are_the_same_bit_for_bit",
            scores_are_the_same_bit_for_bit,
        ),
        on_adapter("bench_takes_two_adapters", bench_takes_two_adapters),
        on_adapter("doctor_looks_at_the_first", doctor_looks_at_the_first),
        on_adapter("an_adapter_that_is_not_there", an_adapter_that_is_not_there),
    ]
}

/// Index of the adapter that a run uses.
fn index() -> u64 {
    let report = program(["doctor", "--json"]).run().json();
    report["chosen"].as_u64().expect("an adapter")
}

fn twice() -> String {
    format!("{0},{0}", index())
}

fn generate(more: &[&str]) -> Ended {
    let flags = [
        "generate",
        "--ids",
        "1,5,9",
        "-n",
        "12",
        "--ignore-eos",
        "-c",
        "64",
        "--json",
    ];
    program(flags.iter().chain(more)).run()
}

fn ids(answer: &Value) -> Vec<u64> {
    let ids = answer["ids"].as_array().expect("ids");
    ids.iter().filter_map(Value::as_u64).collect()
}

fn the_same_tokens_wherever_layers_lie() {
    let twice = twice();
    for sampling in [["--temp", "0"], ["--seed", "7"]] {
        let of = |more: &[&str]| ids(&generate(&[&sampling, more].concat()).json());
        let expected = of(&[]);
        assert_eq!(expected.len(), 12);
        for placed in [
            &["--adapter", &twice][..],
            &["--gpu-layers", "0"],
            &["--gpu-layers", "1"],
            &["--gpu-layers", "1000"],
            &["--adapter", &twice, "--gpu-layers", "1"],
            &["--adapter", &twice, "--split", "1,3"],
        ] {
            assert_eq!(of(placed), expected, "{placed:?}");
        }
    }
    let by_variable = program(["generate", "--ids", "1,5,9", "-n", "12", "--ignore-eos"])
        .arg("--json")
        .env("LLAMA_ADAPTER", &twice)
        .env("LLAMA_GPU_LAYERS", "2")
        .env("LLAMA_TEMP", "0")
        .env("LLAMA_CTX_SIZE", "64")
        .run();
    assert_eq!(
        ids(&by_variable.json()),
        ids(&generate(&["--temp", "0"]).json())
    );
}

fn what_is_slow_is_said_once() {
    let said = |more: &[&str]| {
        let ended = generate(more);
        let slow = ended
            .stderr
            .lines()
            .filter(|line| line.contains("this is slow"));
        slow.map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = said(&["--gpu-layers", "1"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("note: 3 of 4 layers stay in host memory (")
            && lines[0].ends_with(") and are copied to the adapter in every step: this is slow"),
        "{lines:?}"
    );
    for quiet in [
        &["--gpu-layers", "1", "-q"][..],
        &["--gpu-layers", "4"],
        &[],
    ] {
        assert_eq!(said(quiet), Vec::<String>::new(), "{quiet:?}");
    }
}

fn a_split_has_to_be_the_models() {
    let twice = twice();
    let five = format!("{twice},{twice},{}", index());
    for (flags, expected) in [
        (
            &["--adapter", twice.as_str(), "--split", "3,3"][..],
            "error: the layers are split as 3 + 3: expected counts that add up to the model's 4 layers, one for each of the 2 adapters, none of them 0\n",
        ),
        (
            &["--split", "2,2"],
            "error: the layers are split as 2 + 2: expected counts that add up to the model's 4 layers, one for each of the 1 adapters, none of them 0\n",
        ),
        (
            &["--adapter", &five],
            "error: 5 adapters are named and the model has 4 layers: name at most as many adapters\n",
        ),
    ] {
        let ended = generate(&[flags, &["-q"]].concat());
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(2), expected),
            "{flags:?}"
        );
    }
}

fn two_adapters_are_both_named() {
    let one = generate(&["-q"]).json();
    let two = generate(&["-q", "--adapter", &twice()]).json();
    let name = one["adapter"]["name"].as_str().expect("a name");
    assert_eq!(two["adapter"]["name"], format!("{name} + {name}"));
    assert_eq!(two["adapter"]["backend"], one["adapter"]["backend"]);
    // A name with a comma of its own is one adapter's.
    let by_name = generate(&["-q", "--adapter", name]).json();
    assert_eq!(by_name["adapter"], one["adapter"]);
}

fn scores_are_the_same_bit_for_bit() {
    let twice = twice();
    let score = |more: &[&str]| {
        let flags = [
            "score",
            "-q",
            "--json",
            "-c",
            "64",
            "-p",
            "Once upon a time",
        ];
        program(flags.iter().chain(more)).run().ok()
    };
    let expected = score(&[]);
    assert_eq!(score(&["--adapter", &twice]), expected);
    assert_eq!(score(&["--gpu-layers", "0"]), expected);
}

fn bench_takes_two_adapters() {
    let twice = twice();
    let bench = |more: &[&str]| {
        let flags = ["bench", "-q", "--synthetic", "tiny", "--prompt", "8"];
        let others = ["--gen", "4", "--reps", "1", "--json", "--adapter", &twice];
        program(flags.iter().chain(&others).chain(more)).run()
    };
    let report = bench(&["--gpu-layers", "1"]).json();
    assert_eq!(
        fields(&report["limits"]),
        ["matmul_gflops", "read_gb_per_s"]
    );
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(2));
    let ended = bench(&["--profile"]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (
            Some(2),
            "error: --profile: expected one adapter, found 2: name one with --adapter\n"
        )
    );
}

fn doctor_looks_at_the_first() {
    let plain = program(["doctor", "--json"]).run().json();
    let two = program(["doctor", "--json"]).env("LLAMA_ADAPTER", twice());
    assert_eq!(two.run().json()["chosen"], plain["chosen"]);
}

fn an_adapter_that_is_not_there() {
    let list = format!("{},no such card", index());
    let ended = generate(&["-q", "--adapter", &list]);
    assert_eq!(ended.code, Some(6));
    assert!(
        ended
            .stderr
            .starts_with("error: no GPU adapter named `no such card`: found "),
        "{}",
        ended.stderr
    );
}
