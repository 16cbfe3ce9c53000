//! Tables and plots of a folder of results.

use std::fs;
use std::path::Path;

const DEPTHS: &str = r#"{"adapter":{"name":"Some GPU","backend":"vulkan"},"limits":{"read_gb_per_s":100.0,"matmul_gflops":9000.0},"rows":[
{"test":"pp512","model":"7b","dtype":"f16","tokens_per_second":400.0,"sd":1.0,"bytes_per_token":26000000.0,"fraction_of_limit":0.6},
{"test":"tg128","model":"7b","dtype":"f16","tokens_per_second":6.0,"sd":0.1,"bytes_per_token":13000000000.0,"fraction_of_limit":0.78},
{"test":"tg128@d4000","model":"7b","dtype":"f16","tokens_per_second":5.0,"sd":0.1,"bytes_per_token":15000000000.0,"fraction_of_limit":0.75}],
"load_ms":1234.5,"first_token_ms":1300.0,
"profile":[{"test":"tg8","milliseconds":10.0,"kernels":[{"kernel":"matvec","dispatches":100,"milliseconds":9.0,"share":0.9}],"untimed":0}]}"#;

const SMALL: &str = r#"{"adapter":{"name":"Some GPU","backend":"vulkan"},"limits":{"read_gb_per_s":110.0,"matmul_gflops":9100.0},"rows":[
{"test":"tg128","model":"110m","dtype":"q4_0","tokens_per_second":500.0,"sd":3.0,"bytes_per_token":70000000.0,"fraction_of_limit":0.35}],
"load_ms":20.0,"first_token_ms":9.0}"#;

const RATIOS: &str = r#"{"adapter":"x","stream_gb_per_s":20.0,"sgemm_gflops":150.0,"rows":[
{"dtype":"f16","test":"tg32","tokens_per_second":15.0,"ratio":0.21,"target":0.20}]}"#;

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(directory.join(name), text).expect("written");
    }
}

#[test]
fn every_row_is_in_the_table_with_its_command_and_plots_are_drawn() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let steps = "depth-7b.json\t0\t60\tllama-cli bench -q --json --synthetic 7b --depth 0,4000\n\
                 70b.json\t6\t1\tllama-cli bench -q --json --synthetic 70b\n";
    write(
        directory.path(),
        &[
            ("depth-7b.json", DEPTHS),
            ("small.json", SMALL),
            ("70b.json", ""),
            ("doctor.json", "{}"),
            ("software-ratios.json", RATIOS),
            ("steps.tsv", steps),
            (
                "trials.txt",
                "test a ... ok\n\ntest result: ok. 80 passed; 0 failed\n",
            ),
            ("notes.md", "Another program reached 7 tokens/s.\n"),
        ],
    );
    xtask::report::report(directory.path()).expect("a report");
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).expect("readable");
    insta::assert_snapshot!(read("README.md"));
    let depth = read("depth.svg");
    for text in [
        "<svg",
        "Generation against depth",
        "7b f16",
        "tokens in the cache",
    ] {
        assert!(depth.contains(text), "{text}: {depth}");
    }
    assert!(!depth.contains("110m"), "one depth is no line");
    let size = read("size.svg");
    for text in [
        "Generation against size",
        "measured bandwidth",
        "f16",
        "q4_0",
    ] {
        assert!(size.contains(text), "{text}: {size}");
    }
}

#[test]
fn a_folder_without_results_and_a_malformed_one_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let error = |directory: &Path| {
        format!(
            "{:#}",
            xtask::report::report(directory).expect_err("refused")
        )
    };
    let place = directory.path().display().to_string();
    assert_eq!(
        error(directory.path()),
        format!("{place}: expected results of `llama-cli bench --json`, found none")
    );
    write(directory.path(), &[("a.json", "{\"adapter\":1}")]);
    let malformed = error(directory.path());
    assert!(
        malformed.starts_with(&format!("{}: ", directory.path().join("a.json").display())),
        "{malformed}"
    );
}
