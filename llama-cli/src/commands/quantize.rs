//! `quantize`: a model from any form that is read, as one GGUF file. No adapter.

use std::fs;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use llama_weights::{
    Checkpoint, DType, Difference, GgufOptions, GgufTensor, GgufWriteError, GgufWriter,
};
use serde::Serialize;

use crate::args::QuantizeArgs;
use crate::failure::{BadModel, usage};
use crate::interrupt::{Interrupts, Watch};
use crate::new_file::NewFile;
use crate::notice::Notices;
use crate::output::Output;
use crate::progress::Bar;
use crate::size::gibibytes;
use crate::source::Source;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

#[derive(Debug, Serialize)]
struct Report {
    path: String,
    /// The type that was asked for.
    dtype: String,
    bytes: u64,
    parameters: u64,
    /// Whether a vocabulary was there to be written.
    vocabulary: bool,
    seconds: f64,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: u64,
    /// With `--verify`.
    #[serde(flatten)]
    error: Option<TensorError>,
}

#[derive(Debug, Serialize)]
struct TensorError {
    relative_rmse: f64,
    max_abs: f32,
}

pub(crate) fn run(args: QuantizeArgs, interrupts: &Interrupts) -> Result<()> {
    let notices = Notices::new(&args.output);
    NewFile::check(&args.out, args.force)?;
    let begin = Instant::now();
    let source = Source::named(args.input, notices)?;
    let checkpoint = source.checkpoint(&args.lora, notices)?;
    refuse_same(&checkpoint, &args.out)?;
    let vocabulary = source.plain_vocabulary(notices)?;
    if vocabulary.is_none() {
        notices.note(format_args!(
            "{}: no tokenizer, so the file gets no vocabulary; it answers to --ids alone",
            source.name()
        ));
    }
    let dtype = DType::from(args.dtype);
    warn_of_loss(&checkpoint, dtype, notices);
    let name = source.name();
    let options = GgufOptions {
        dtype,
        vocabulary: vocabulary.as_ref(),
        name: Some(&name),
    };
    let mut writer = GgufWriter::new(&checkpoint, &options).map_err(cannot_be)?;

    let watch = interrupts.watch();
    let file = NewFile::create(&args.out, args.force, writer.n_bytes(), notices)?;
    write(&mut writer, &checkpoint, &file, notices, &watch)?;
    let differences = match args.verify {
        true => Some(verify(&checkpoint, file.partial(), notices, &watch)?),
        false => None,
    };
    watch.check()?;
    file.finish()?;
    drop(watch);

    let report = Report {
        path: args.out.display().to_string(),
        dtype: dtype.to_string(),
        bytes: writer.n_bytes(),
        parameters: checkpoint.hyperparameters().parameter_count(),
        vocabulary: vocabulary.is_some(),
        seconds: begin.elapsed().as_secs_f64(),
        tensors: tensors(writer.tensors(), differences.as_deref()),
    };
    for tensor in writer.tensors() {
        if tensor.shape.len() == 2 && tensor.dtype != dtype {
            notices.detail(format_args!("{}: {}", tensor.name, tensor.dtype));
        }
    }
    notices.note(format_args!(
        "{}: {}, {:.2} bits per weight",
        report.path,
        gibibytes(report.bytes),
        report.bytes as f64 * 8.0 / report.parameters as f64
    ));
    let mut output = Output::new();
    match (args.output.json, differences) {
        (true, _) => output.json(&report),
        (false, Some(_)) => report.print(&mut output),
        (false, None) => Ok(()),
    }
}

/// Replacing what is being read would be no disaster, since the new file is another, but nobody means it.
fn refuse_same(checkpoint: &Checkpoint, out: &Path) -> Result<()> {
    let Ok(out_there) = fs::canonicalize(out) else {
        return Ok(());
    };
    let is_out = |file: &Path| fs::canonicalize(file).is_ok_and(|file| file == out_there);
    if checkpoint.files().any(is_out) {
        return Err(usage(format!(
            "{}: expected another file than IN, found the same; give another name",
            out.display()
        )));
    }
    Ok(())
}

/// The type that most bytes are stored in: norms may differ from the matrices.
fn stored_dtype(checkpoint: &Checkpoint) -> DType {
    let bytes = |of: DType| -> u64 {
        let tensors = checkpoint.tensors();
        let tensors = tensors.filter(|(_, view)| view.dtype() == of);
        tensors.map(|(_, view)| view.n_bytes()).sum()
    };
    let types = DType::ALL.into_iter();
    types.max_by_key(|&of| bytes(of)).unwrap_or(DType::F32)
}

fn warn_of_loss(checkpoint: &Checkpoint, dtype: DType, notices: Notices) {
    let stored = stored_dtype(checkpoint);
    let is_repacked = stored == dtype
        || (dtype == DType::Q8_0 && matches!(stored, DType::Q4_0 | DType::Q5_0))
        || (dtype == DType::Q6K && stored == DType::Q3K)
        || dtype == DType::F16;
    if stored.is_quantized() && !is_repacked {
        notices.warn(format_args!(
            "the model is in {stored} already: {dtype} adds an error of its own; quantize from the original weights where you have them"
        ));
    }
}

fn write(
    writer: &mut GgufWriter<'_>,
    checkpoint: &Checkpoint,
    file: &NewFile,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<()> {
    let bar = Bar::of_bytes(notices, "quantizing", checkpoint.weight_bytes());
    let mut buffered = BufWriter::with_capacity(BUFFER, file.file());
    let written = writer.write(&mut buffered, &mut |bytes| {
        bar.set(bytes);
        watch.flow()
    });
    // What is still buffered is of no use after an error, and would meet it again.
    let _ = buffered.into_parts();
    watch.check()?;
    written.map_err(|error| match error {
        GgufWriteError::Write(error) => file.failed(&error),
        other => cannot_be(other),
    })?;
    file.sync()
}

/// The error of every tensor, from the file as it is read again.
fn verify(
    checkpoint: &Checkpoint,
    written: &Path,
    notices: Notices,
    watch: &Watch<'_>,
) -> Result<Vec<Difference>> {
    let bar = Bar::of_bytes(notices, "verifying", checkpoint.weight_bytes());
    let again = Checkpoint::open(written)?;
    let found = checkpoint.differences(&again, &mut |bytes| {
        bar.set(bytes);
        watch.flow()
    });
    watch.check()?;
    found.ok_or_else(|| {
        BadModel(format!(
            "{}: expected the tensors that were written, found others; write the file again",
            written.display()
        ))
        .into()
    })
}

/// A model that cannot become a GGUF file: exit code 3.
fn cannot_be(error: GgufWriteError) -> anyhow::Error {
    BadModel(error.to_string()).into()
}

fn tensors(written: &[GgufTensor], differences: Option<&[Difference]>) -> Vec<Tensor> {
    let error = |tensor: &GgufTensor| {
        let mut all = differences?.iter();
        let found = all.find(|difference| difference.role == tensor.role)?;
        Some(TensorError {
            relative_rmse: found.relative_rmse,
            max_abs: found.max_abs,
        })
    };
    let tensors = written.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        dtype: tensor.dtype.to_string(),
        shape: tensor.shape.clone(),
        bytes: tensor.n_bytes(),
        error: error(tensor),
    });
    tensors.collect()
}

impl Report {
    fn print(&self, output: &mut Output) -> Result<()> {
        let lengths = self.tensors.iter().map(|tensor| tensor.name.len());
        let name = lengths.max().unwrap_or(0);
        output.line(&format!(
            "{:<name$}  {:<5}  {:>13}  {:>13}",
            "tensor", "dtype", "relative rmse", "max abs error"
        ))?;
        for tensor in &self.tensors {
            let Some(error) = &tensor.error else { continue };
            output.line(&format!(
                "{:<name$}  {:<5}  {:>13.3e}  {:>13.3e}",
                tensor.name, tensor.dtype, error.relative_rmse, error.max_abs
            ))?;
        }
        Ok(())
    }
}
