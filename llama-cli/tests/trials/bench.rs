//! `bench` on whatever adapter is there, with the smallest shape: what it reports, not how fast it is.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::on_adapter;
use crate::program::{Ended, fields, program};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_adapter("bench_json_is_as_promised", bench_json_is_as_promised),
        on_adapter("bench_profiles_every_kernel", bench_profiles_every_kernel),
        on_adapter(
            "bench_csv_has_a_line_for_each_row",
            bench_csv_has_a_line_for_each_row,
        ),
        on_adapter(
            "bench_needs_no_file_and_no_flag",
            bench_needs_no_file_and_no_flag,
        ),
        #[cfg(target_os = "linux")]
        on_adapter(
            "bench_refuses_what_does_not_fit",
            bench_refuses_what_does_not_fit,
        ),
    ]
}

fn tiny(more: &[&str]) -> Ended {
    let short = ["bench", "-q", "--prompt", "12", "--gen", "6", "--reps", "2"];
    program(short.iter().chain(more)).run()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn bench_json_is_as_promised() {
    for dtype in ["f32", "f16", "q8_0", "q4_0"] {
        let flags = ["--synthetic", "tiny", "--json", "--dtype", dtype];
        let report = tiny(&[&flags[..], &["--depth", "0,20", "--depth", "40"]].concat()).json();
        assert_eq!(
            fields(&report),
            ["adapter", "first_token_ms", "limits", "load_ms", "rows"]
        );
        assert_eq!(fields(&report["adapter"]), ["backend", "name"]);
        assert_eq!(
            fields(&report["limits"]),
            ["matmul_gflops", "read_gb_per_s"]
        );
        assert!(number(&report["load_ms"]) > 0.0 && number(&report["first_token_ms"]) > 0.0);
        let rows = report["rows"].as_array().expect("a list");
        let tests: Vec<&str> = rows.iter().filter_map(|row| row["test"].as_str()).collect();
        assert_eq!(
            tests,
            ["pp12", "pp12@d20", "pp12@d40", "tg6", "tg6@d20", "tg6@d40"]
        );
        for row in rows {
            assert_eq!(
                fields(row),
                [
                    "bytes_per_token",
                    "dtype",
                    "fraction_of_limit",
                    "model",
                    "sd",
                    "test",
                    "tokens_per_second"
                ]
            );
            assert_eq!(
                (&row["model"], &row["dtype"]),
                (&"tiny".into(), &dtype.into())
            );
            assert!(number(&row["tokens_per_second"]) > 0.0, "{row}");
            assert!(
                number(&row["sd"]) >= 0.0 && number(&row["fraction_of_limit"]) > 0.0,
                "{row}"
            );
        }
        // 1,441,792 weights of layers and output, five norms in f32 and a row of the embedding, and the keys and values of three positions.
        let kv = if dtype == "f32" { 4.0 } else { 2.0 };
        let bits = match dtype {
            "f32" => 32.0,
            "f16" => 16.0,
            "q8_0" => 8.5,
            _ => 4.5,
        };
        let expected = (1_441_792.0 + 256.0) * bits / 8.0 + 4.0 * 5.0 * 256.0 + 3.0 * 512.0 * kv;
        assert_eq!(number(&rows[3]["bytes_per_token"]), expected, "{dtype}");
    }
}

fn bench_profiles_every_kernel() {
    let report = tiny(&["--synthetic", "tiny", "--json", "--profile"]).json();
    let tests = report["profile"].as_array().expect("a list");
    assert_eq!(tests.len(), 2);
    for (times, test) in tests.iter().zip(["pp12", "tg6"]) {
        assert_eq!(
            (&times["test"], &times["untimed"]),
            (&test.into(), &0.into())
        );
        let kernels = times["kernels"].as_array().expect("a list");
        let shares: f64 = kernels.iter().map(|kernel| number(&kernel["share"])).sum();
        assert!((shares - 1.0).abs() < 1e-6, "{shares}");
        let sum: f64 = kernels
            .iter()
            .map(|kernel| number(&kernel["milliseconds"]))
            .sum();
        assert!((sum - number(&times["milliseconds"])).abs() < 1e-6, "{sum}");
        let attention = kernels.iter().find(|kernel| {
            let name = kernel["kernel"].as_str().unwrap_or_default();
            name.starts_with("attention")
        });
        assert!(attention.is_some(), "{times}");
    }
}

fn bench_csv_has_a_line_for_each_row() {
    let csv = tiny(&["--synthetic", "256,1,4,2,512,1000", "--csv"]).ok();
    let lines: Vec<&str> = csv.lines().collect();
    let header = "adapter,read_gb_per_s,matmul_gflops,test,model,dtype,tokens_per_second,sd,bytes_per_token,fraction_of_limit,milliseconds";
    assert_eq!((lines.len(), lines[0]), (5, header), "{csv}");
    for (line, test) in lines[1..].iter().zip([
        ",pp12,\"256,1,4,2,512,1000\",f16,",
        ",tg6,\"256,1,4,2,512,1000\",f16,",
        ",load,,,,,,,",
        ",first token,,,,,,,",
    ]) {
        assert!(line.contains(test), "{line}");
    }
}

/// Before anything is allocated: 257 GiB would take the machine down. Only on Linux is the memory of every adapter known.
#[cfg(target_os = "linux")]
fn bench_refuses_what_does_not_fit() {
    let error = tiny(&["--synthetic", "70b", "--dtype", "f32"]).error(6);
    let (needed, there) = ("the model does not fit: it needs 256.", " GiB; ");
    assert!(error.contains(needed) && error.contains(there), "{error}");
}

fn bench_needs_no_file_and_no_flag() {
    let table = tiny(&[]).ok();
    for part in [
        "adapter  ",
        "GB/s read",
        "pp12 ",
        "tg6 ",
        "demo",
        "load ",
        "first token ",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}
