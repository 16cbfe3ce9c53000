//! `cargo xtask report DIR`: tables and plots of a folder of results, from the JSON that `llama-cli bench` wrote.
//!
//! Nothing is measured here and nothing is left out: every row of every file is in the table, with the command that made it.

mod plot;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What `llama-cli bench --json` writes.
#[derive(Debug, Deserialize)]
struct Report {
    adapter: Adapter,
    limits: Limits,
    rows: Vec<Row>,
    load_ms: f64,
    first_token_ms: f64,
    profile: Option<Vec<KernelTimes>>,
}

#[derive(Debug, Deserialize)]
struct Adapter {
    name: String,
    backend: String,
}

#[derive(Debug, Deserialize)]
struct Limits {
    read_gb_per_s: f64,
    matmul_gflops: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Row {
    test: String,
    model: String,
    dtype: String,
    tokens_per_second: f64,
    sd: f64,
    bytes_per_token: f64,
    fraction_of_limit: f64,
}

#[derive(Debug, Deserialize)]
struct KernelTimes {
    test: String,
    milliseconds: f64,
    kernels: Vec<KernelTime>,
}

#[derive(Debug, Deserialize)]
struct KernelTime {
    kernel: String,
    dispatches: usize,
    milliseconds: f64,
    share: f64,
}

/// A step of the kit's script: one line of steps.tsv.
struct Step {
    file: String,
    code: String,
    command: String,
}

/// What the bench `software` of llama-model writes: figures of a software adapter beside plain CPU loops on the same cores.
#[derive(Debug, Deserialize)]
struct Ratios {
    stream_gb_per_s: f64,
    sgemm_gflops: f64,
    rows: Vec<Ratio>,
}

#[derive(Debug, Deserialize)]
struct Ratio {
    dtype: String,
    test: String,
    tokens_per_second: f64,
    ratio: f64,
    target: f64,
}

/// The file of [`Ratios`].
pub(crate) const RATIOS: &str = "software-ratios.json";

/// One folder.
struct Results {
    /// By file name.
    reports: BTreeMap<String, Report>,
    ratios: Option<Ratios>,
    steps: Vec<Step>,
    /// What the trials ended with.
    trials: Option<String>,
    /// What a person adds: other programs on the same machine, circumstances.
    notes: Option<String>,
}

/// Writes README.md, depth.svg and size.svg into a folder of results.
///
/// # Errors
/// The folder has no report, a report is malformed, or a file cannot be written.
pub fn report(directory: &Path) -> Result<()> {
    let results = Results::read(directory)?;
    let mut written = vec![("README.md", results.markdown())];
    let rows: Vec<&Row> = results
        .reports
        .values()
        .flat_map(|report| &report.rows)
        .collect();
    written.extend(plot::depth(&rows)?.map(|svg| ("depth.svg", svg)));
    written.extend(plot::size(&rows, results.bandwidth())?.map(|svg| ("size.svg", svg)));
    for (name, text) in written {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        eprintln!("report: {}", path.display());
    }
    Ok(())
}

impl Results {
    fn read(directory: &Path) -> Result<Self> {
        let mut reports = BTreeMap::new();
        let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            // Those two, and empty files of steps that failed, are no reports.
            if !name.ends_with(".json") || [RATIOS, "doctor.json"].contains(&name) {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            if text.trim().is_empty() {
                continue;
            }
            let report = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            reports.insert(name.to_owned(), report);
        }
        if reports.is_empty() {
            bail!(
                "{}: expected results of `llama-cli bench --json`, found none",
                directory.display()
            );
        }
        let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let trials = text("trials.txt").and_then(|trials| {
            let result = trials
                .lines()
                .rev()
                .find(|line| line.starts_with("test result:"));
            result.map(str::to_owned)
        });
        let ratios = text(RATIOS).map(|ratios| serde_json::from_str(&ratios).context(RATIOS));
        Ok(Self {
            reports,
            ratios: ratios.transpose()?,
            steps: text("steps.tsv")
                .map(|steps| steps.lines().filter_map(Step::parse).collect())
                .unwrap_or_default(),
            trials,
            notes: text("notes.md"),
        })
    }

    /// The median over all runs, in bytes per second.
    fn bandwidth(&self) -> f64 {
        1e9 * median(
            self.reports
                .values()
                .map(|report| report.limits.read_gb_per_s),
        )
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        if let Some(report) = self.reports.values().next() {
            let Adapter { name, backend } = &report.adapter;
            let _ = writeln!(text, "# {name}, {backend}\n");
        }
        let multiplied = median(
            self.reports
                .values()
                .map(|report| report.limits.matmul_gflops),
        );
        let _ = writeln!(
            text,
            "Limits measured beside the figures, medians: {:.2} GB/s read, {multiplied:.1} GFLOP/s multiplied. Of the limit: for generated \
             tokens (tg) of the bandwidth, for prompts (pp) of the multiplication, each as measured in the same run.\n",
            self.bandwidth() / 1e9
        );
        if let Some(trials) = &self.trials {
            let _ = writeln!(text, "Trials of the kernels: {trials}\n");
        }
        text += "| test | model | weights | tokens/s | ± sd | MB per token | of the limit | made by |\n|---|---|---|--:|--:|--:|--:|---|\n";
        for (file, report) in &self.reports {
            let command = self.command(file);
            for row in &report.rows {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.1} % | {command} |",
                    row.test,
                    row.model,
                    row.dtype,
                    row.tokens_per_second,
                    row.sd,
                    row.bytes_per_token / 1e6,
                    100.0 * row.fraction_of_limit
                );
            }
        }
        if let Some(ratios) = &self.ratios {
            ratios.markdown(&mut text);
        }
        text += "\n| file | load, ms | first token, ms |\n|---|--:|--:|\n";
        for (file, report) in &self.reports {
            let _ = writeln!(
                text,
                "| {file} | {:.0} | {:.1} |",
                report.load_ms, report.first_token_ms
            );
        }
        text += "\n![tokens per second against depth](depth.svg)\n![tokens per second against size](size.svg)\n";
        for (file, report) in &self.reports {
            for times in report.profile.iter().flatten() {
                times.markdown(file, &mut text);
            }
        }
        for step in self.steps.iter().filter(|step| step.code != "0") {
            let _ = writeln!(
                text,
                "\nNot measured: `{}` ended with {}.",
                step.command, step.code
            );
        }
        if let Some(notes) = &self.notes {
            text += "\n";
            text += notes;
        }
        text
    }

    /// The command that made a file, if steps.tsv says so.
    fn command(&self, file: &str) -> String {
        let step = self.steps.iter().rev().find(|step| step.file == file);
        step.map_or_else(|| file.to_owned(), |step| format!("`{}`", step.command))
    }
}

impl Step {
    fn parse(line: &str) -> Option<Self> {
        let [file, code, _seconds, command] =
            line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            file: file.to_owned(),
            code: code.to_owned(),
            command: command.to_owned(),
        })
    }
}

impl Ratios {
    fn markdown(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nBeside plain loops on the same two cores in one run, medians (`cargo bench -p llama-model --bench software`): a stream read of \
             {:.1} GB/s for tg, an sgemm of {:.1} GFLOP/s for pp.\n\n| test | weights | tokens/s | of the loop | to reach |\n|---|---|--:|--:|--:|",
            self.stream_gb_per_s, self.sgemm_gflops
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.3} | {:.2} |",
                row.test, row.dtype, row.tokens_per_second, row.ratio, row.target
            );
        }
    }
}

impl KernelTimes {
    fn markdown(&self, file: &str, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{} of {file}, {:.1} ms in kernels:\n\n| kernel | dispatches | ms | share |\n|---|--:|--:|--:|",
            self.test, self.milliseconds
        );
        for kernel in &self.kernels {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.1} % |",
                kernel.kernel,
                kernel.dispatches,
                kernel.milliseconds,
                100.0 * kernel.share
            );
        }
    }
}

impl Row {
    /// Whether it generates, and behind how many tokens: `tg128@d4000`.
    fn generation_depth(&self) -> Option<usize> {
        let rest = self.test.strip_prefix("tg")?;
        match rest.split_once("@d") {
            None => Some(0),
            Some((_, depth)) => depth.parse().ok(),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
