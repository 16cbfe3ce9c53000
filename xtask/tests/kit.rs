//! The bench kit's script: run with programs that only say how they were called.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A kit whose programs are scripts.
struct Kit(TempDir);

impl Kit {
    fn new(llama_cli: &str) -> Self {
        let kit = Self(tempfile::tempdir().expect("a temporary directory"));
        kit.program("run.sh", xtask::kit::RUN);
        kit.program("llama-cli", llama_cli);
        kit.program("trials", "#!/bin/sh\necho trials \"$@\"\n");
        kit.program(
            "kernels",
            "#!/bin/sh\necho kernels \"$@\"; test -d \"$CRITERION_HOME\"\n",
        );
        kit
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn run(&self, parts: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.0.path().join("run.sh"));
        command
            .args(parts)
            .env_remove("OUT")
            .env_remove("KIT_SMOKE")
            .env_remove("KIT_SECONDS");
        command.envs(variables.iter().copied());
        command.output().expect("the script starts")
    }

    /// The only folder of results.
    fn results(&self) -> std::path::PathBuf {
        let results = fs::read_dir(self.0.path().join("results")).expect("results");
        let folders: Vec<_> = results
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].clone()
    }
}

/// Says how it was called; bench of q8_0 fails, and doctor knows two adapters.
const CLI: &str = r#"#!/bin/sh
case "$*" in
doctor*) echo '{"version":"0","adapters":[{"index":0,"name":"llvmpipe (LLVM 15)"},{"index":1,"name":"NVIDIA H200 (SXM)"}],"chosen":CHOSEN,"software_only":SOFTWARE,"variants":[]}' ;;
*q8_0*) echo broken >&2; exit 6 ;;
*slow*|*"--gen 8 --reps 2 --depth"*) sleep 5 ;;
*) echo "{\"called\":\"$*\"}" ;;
esac
"#;

fn cli(chosen: &str, software: &str) -> String {
    CLI.replace("CHOSEN", chosen).replace("SOFTWARE", software)
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).expect("readable");
    text.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_smoke_run_makes_every_file_and_goes_on_after_faults() {
    let kit = Kit::new(&cli("1", "false"));
    let output = kit.run(&[], &[("KIT_SMOKE", "1"), ("KIT_SECONDS", "1")]);
    assert!(output.status.success(), "{output:?}");
    let results = kit.results();
    let folder = results
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    assert!(folder.ends_with("-nvidia-h200"), "{folder}");
    assert!(
        results.with_extension("tar").exists()
            || Path::new(&format!("{}.tar", results.display())).exists()
    );
    let steps: Vec<(String, String)> = lines(&results.join("steps.tsv"))
        .into_iter()
        .map(|fields| {
            assert_eq!(fields.len(), 4, "{fields:?}");
            (fields[0].clone(), fields[1].clone())
        })
        .collect();
    let expected = [
        ("trials.txt", "0"),
        ("tiny-f16.json", "0"),
        ("tiny-q8_0.json", "6"),
        ("tiny-q4_0.json", "0"),
        // GNU's timeout ended it.
        ("depth-tiny-f16.json", "124"),
        ("kernels.txt", "0"),
    ];
    assert_eq!(
        steps,
        expected.map(|(file, code)| (file.to_owned(), code.to_owned()))
    );
    let read = |file: &str| fs::read_to_string(results.join(file)).expect("readable");
    assert_eq!(
        read("tiny-q4_0.json"),
        "{\"called\":\"bench -q --json --synthetic tiny --dtype q4_0 --prompt 16 --gen 8 --reps 2 --profile\"}\n"
    );
    assert_eq!(read("trials.txt"), "trials fill\n");
    assert_eq!(read("kernels.txt"), "kernels --test swiglu\n");
    assert!(read("steps.log").contains("broken"));
    assert!(read("doctor.json").starts_with("{\"version\""));
}

#[test]
fn a_gpu_gets_the_large_models_and_a_software_adapter_the_small_ones() {
    let models = |chosen: &str, software: &str| {
        let kit = Kit::new(&cli(chosen, software));
        assert!(kit.run(&["models"], &[]).status.success());
        let steps = lines(&kit.results().join("steps.tsv"));
        steps
            .iter()
            .map(|step| step[0].clone())
            .collect::<Vec<String>>()
    };
    let large = models("1", "false");
    for model in ["7b-f16", "7b-q8_0", "7b-q4_0", "70b-q4_0"] {
        assert!(
            large.contains(&format!("{model}.json")),
            "{model}: {large:?}"
        );
    }
    let small = models("0", "true");
    assert!(small.contains(&"110m-q4_0.json".to_owned()), "{small:?}");
    assert!(!small.iter().any(|file| file.starts_with('7')), "{small:?}");
}

#[test]
fn the_folder_may_be_named_and_an_unknown_part_is_refused() {
    let kit = Kit::new(&cli("0", "true"));
    let out = kit.0.path().join("elsewhere");
    let variables = [("OUT", out.to_str().expect("UTF-8")), ("KIT_SMOKE", "1")];
    assert!(kit.run(&["trials"], &variables).status.success());
    assert!(out.join("trials.txt").exists());
    let refused = kit.run(&["model"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "unknown part model: expected trials, models, depths or kernels\n"
    );
}

#[test]
fn without_an_adapter_nothing_is_measured() {
    let kit = Kit::new("#!/bin/sh\necho 'error: no GPU adapter' >&2\nexit 6\n");
    let output = kit.run(&[], &[]);
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: no GPU adapter"));
    assert!(!kit.0.path().join("results").exists());
}
