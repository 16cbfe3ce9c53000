//! The report of `bench`: one JSON object, comma-separated values, or a table for people.

use anyhow::Result;
use llama_kernels::{Peaks, Profile};
use llama_model::Share;
use serde::Serialize;

use super::timing::{Kind, Test};
use crate::devices::Adapter;
use crate::output::Output;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) adapter: Adapter,
    pub(crate) limits: Limits,
    pub(crate) rows: Vec<Row>,
    pub(crate) load_ms: f64,
    pub(crate) first_token_ms: f64,
    /// Only with `--profile`, and where the adapter has timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Vec<KernelTimes>>,
}

/// What the adapter does at best, or several one after the other, measured in this run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Limits {
    read_gb_per_s: f64,
    matmul_gflops: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    test: String,
    model: String,
    dtype: &'static str,
    tokens_per_second: f64,
    /// Standard deviation of the runs.
    sd: f64,
    /// The least that must be read for a token: for a prompt, everything once for all its tokens.
    bytes_per_token: f64,
    /// A generation's bytes per second over the bandwidth; a prompt's operations per second over the multiplication.
    fraction_of_limit: f64,
    #[serde(skip)]
    kind: Kind,
}

/// What a token of a test must cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) bytes: f64,
    /// Floating-point operations.
    pub(crate) operations: f64,
}

/// Where a test's time goes.
#[derive(Debug, Serialize)]
pub(crate) struct KernelTimes {
    test: String,
    /// Of all kernels.
    milliseconds: f64,
    kernels: Vec<KernelTime>,
    /// Dispatches that no timestamps were left for.
    untimed: usize,
}

#[derive(Debug, Serialize)]
struct KernelTime {
    kernel: String,
    dispatches: usize,
    milliseconds: f64,
    share: f64,
}

impl Limits {
    /// Of adapters that work one after the other on their shares of the layers: times add up.
    pub(crate) fn new(adapters: impl Iterator<Item = (Peaks, Share)>) -> Self {
        let (mut layers, mut read, mut multiply) = (0.0, 0.0, 0.0);
        for (peaks, share) in adapters {
            let of_all = share.layers as f64;
            layers += of_all;
            read += of_all / peaks.read_bytes_per_second;
            multiply += of_all / peaks.operations_per_second;
        }
        Self {
            read_gb_per_s: layers / read / 1e9,
            matmul_gflops: layers / multiply / 1e9,
        }
    }
}

impl Row {
    /// A test's row, from the seconds of its runs.
    pub(crate) fn new(
        test: Test,
        (model, dtype): (&str, &'static str),
        seconds: &[f64],
        cost: Cost,
        limits: Limits,
    ) -> Self {
        let rates = seconds.iter().map(|seconds| test.tokens as f64 / seconds);
        let (tokens_per_second, sd) = mean_and_deviation(&rates.collect::<Vec<f64>>());
        let giga_per_second = |each: f64| each * tokens_per_second / 1e9;
        Self {
            test: test.to_string(),
            model: model.to_owned(),
            dtype,
            tokens_per_second,
            sd,
            bytes_per_token: cost.bytes,
            fraction_of_limit: match test.kind {
                Kind::Generation => giga_per_second(cost.bytes) / limits.read_gb_per_s,
                Kind::Prompt => giga_per_second(cost.operations) / limits.matmul_gflops,
            },
            kind: test.kind,
        }
    }
}

impl KernelTimes {
    pub(crate) fn new(test: Test, profile: &Profile) -> Self {
        let sums = profile.by_label();
        let all: f64 = sums.iter().map(|(_, nanoseconds)| nanoseconds).sum();
        let kernels = sums.iter().map(|&(kernel, nanoseconds)| {
            let spans = profile.spans.iter().filter(|span| span.label == kernel);
            KernelTime {
                kernel: kernel.to_owned(),
                dispatches: spans.count(),
                milliseconds: nanoseconds / 1e6,
                share: if all > 0.0 { nanoseconds / all } else { 0.0 },
            }
        });
        Self {
            test: test.to_string(),
            milliseconds: all / 1e6,
            kernels: kernels.collect(),
            untimed: profile.untimed,
        }
    }

    fn table(&self, output: &mut Output) -> Result<()> {
        output.line(&format!(
            "\n{:<20} {:>10} {:>12} {:>8}  in {}",
            "kernel", "dispatches", "ms", "share", self.test
        ))?;
        for kernel in &self.kernels {
            output.line(&format!(
                "{:<20} {:>10} {:>12.3} {:>6.1} %",
                kernel.kernel,
                kernel.dispatches,
                kernel.milliseconds,
                100.0 * kernel.share
            ))?;
        }
        match self.untimed {
            0 => Ok(()),
            untimed => output.line(&format!("{untimed} further dispatches were not timed")),
        }
    }
}

impl Report {
    /// A line for each row, load and first token among them; the last column is the time of those two.
    pub(crate) fn csv(&self, output: &mut Output) -> Result<()> {
        output.line(
            "adapter,read_gb_per_s,matmul_gflops,test,model,dtype,tokens_per_second,sd,bytes_per_token,fraction_of_limit,milliseconds",
        )?;
        let begin = format!(
            "{},{:.3},{:.3}",
            quoted(self.adapter.name()),
            self.limits.read_gb_per_s,
            self.limits.matmul_gflops
        );
        for row in &self.rows {
            output.line(&format!(
                "{begin},{},{},{},{:.4},{:.4},{:.0},{:.5},",
                row.test,
                quoted(&row.model),
                row.dtype,
                row.tokens_per_second,
                row.sd,
                row.bytes_per_token,
                row.fraction_of_limit
            ))?;
        }
        for (what, milliseconds) in self.times() {
            output.line(&format!("{begin},{what},,,,,,,{milliseconds:.2}"))?;
        }
        Ok(())
    }

    pub(crate) fn table(&self, output: &mut Output) -> Result<()> {
        output.line(&format!("adapter  {}", self.adapter))?;
        output.line(&format!(
            "limits   {:.2} GB/s read, {:.1} GFLOP/s multiplied\n",
            self.limits.read_gb_per_s, self.limits.matmul_gflops
        ))?;
        output.line(&format!(
            "{:<14} {:<12} {:<5} {:>12} {:>9} {:>10}  {:>8}",
            "test", "model", "dtype", "tokens/s", "± sd", "MB/token", "reached"
        ))?;
        for row in &self.rows {
            let limit = match row.kind {
                Kind::Generation => "of the bandwidth",
                Kind::Prompt => "of the multiplication",
            };
            output.line(&format!(
                "{:<14} {:<12} {:<5} {:>12.2} {:>9.2} {:>10.3}  {:>6.1} % {limit}",
                row.test,
                row.model,
                row.dtype,
                row.tokens_per_second,
                row.sd,
                row.bytes_per_token / 1e6,
                100.0 * row.fraction_of_limit
            ))?;
        }
        for (what, milliseconds) in self.times() {
            output.line(&format!("{what:<14} {milliseconds:>31.1} ms"))?;
        }
        for times in self.profile.iter().flatten() {
            times.table(output)?;
        }
        Ok(())
    }

    fn times(&self) -> [(&'static str, f64); 2] {
        [("load", self.load_ms), ("first token", self.first_token_ms)]
    }
}

/// Mean, and standard deviation of the sample; 0 for one value.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    match values.len() {
        0 | 1 => (mean, 0.0),
        _ => (mean, (squares / (count - 1.0)).sqrt()),
    }
}

/// A field of comma-separated values (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use llama_kernels::Span;

    use super::*;

    fn test(kind: Kind) -> Test {
        Test {
            kind,
            tokens: 10,
            depth: 0,
        }
    }

    #[test]
    fn a_row_is_held_against_its_limit() {
        let limits = Limits {
            read_gb_per_s: 20.0,
            matmul_gflops: 100.0,
        };
        let cost = Cost {
            bytes: 1e9,
            operations: 2e9,
        };
        // 10 tokens in 1 s and in 2 s: 10 and 5 a second.
        let generation = test(Kind::Generation);
        let row = Row::new(generation, ("m", "f16"), &[1.0, 2.0], cost, limits);
        assert_eq!((row.tokens_per_second, row.fraction_of_limit), (7.5, 0.375));
        assert!((row.sd - 12.5f64.sqrt()).abs() < 1e-12, "{}", row.sd);
        let row = Row::new(test(Kind::Prompt), ("m", "f16"), &[1.0], cost, limits);
        assert_eq!((row.sd, row.fraction_of_limit), (0.0, 0.2));
    }

    #[test]
    fn kernels_are_summed_and_shared_out() {
        let span = |label: &str, nanoseconds| Span {
            label: label.to_owned(),
            nanoseconds,
        };
        let profile = Profile {
            spans: vec![span("a", 1e6), span("b", 6e6), span("a", 1e6)],
            untimed: 2,
        };
        let times = KernelTimes::new(test(Kind::Prompt), &profile);
        assert_eq!((times.milliseconds, times.untimed), (8.0, 2));
        let kernels: Vec<_> = (times.kernels.iter())
            .map(|k| (k.kernel.as_str(), k.dispatches, k.milliseconds, k.share))
            .collect();
        assert_eq!(kernels, [("b", 1, 6.0, 0.75), ("a", 2, 2.0, 0.25)]);
    }

    #[test]
    fn fields_with_commas_are_quoted() {
        assert_eq!(quoted("llvmpipe"), "llvmpipe");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
