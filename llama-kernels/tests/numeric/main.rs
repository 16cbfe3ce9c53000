//! Every variant of every kernel against its reference, on every adapter: one named trial for each.
//!
//! A variant is tried with wgpu's run-time checks and then without. With `LLAMA_TRIALS=record` those that passed are written
//! to `src/trusted.txt`, and run without the checks from then on.
//!
//! A trial whose capability the adapter lacks is ignored with the reason. Without any adapter all are, unless
//! `LLAMA_GPU=require`, which makes that a failure.

mod argmax;
mod attention;
mod attention_combine;
mod attention_tile;
mod compare;
mod embed;
mod fill;
mod gate;
mod gather_columns;
mod gather_rows;
mod heads;
mod inputs;
mod matmul;
mod matmul_combine;
mod matvec;
mod multiply_peak;
mod pieces;
mod read_sum;
mod record;
mod refusals;
mod rms_norm;
mod rope;
mod sample;
mod swiglu;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_kernels::{
    AdapterChoice, AdapterDescription, Checks, Gpu, GpuOptions, Variant, variants,
};
use std::process::ExitCode;

/// What runs a variant of a kernel: the `Gpu` prefers it.
type Check = fn(&Gpu) -> Result<(), Failed>;

const KERNELS: &[(&str, Check)] = &[
    ("argmax", argmax::check),
    ("attention", attention::check),
    ("attention_combine", attention_combine::check),
    ("attention_tile", attention_tile::check),
    ("embed", embed::check),
    ("fill", fill::check),
    ("gather_columns", gather_columns::check),
    ("gather_rows", gather_rows::check),
    ("matmul", matmul::check),
    ("matmul_combine", matmul_combine::check),
    ("matvec", matvec::check),
    ("multiply_peak", multiply_peak::check),
    ("read_sum", read_sum::check),
    ("rms_norm", rms_norm::check),
    ("rope", rope::check),
    ("sample", sample::check),
    ("swiglu", swiglu::check),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let adapters = Gpu::adapters(&GpuOptions::default());
    let mut trials = Vec::new();
    for (index, adapter) in adapters.iter().enumerate() {
        trials.extend(trials_of(index, adapter));
    }
    if adapters.is_empty() {
        trials.extend(trials_without_adapter());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if record::is_wanted() && !arguments.list {
        match record::write() {
            Ok(path) => println!("recorded in {}", path.display()),
            Err(error) => {
                println!("the record is not written: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    conclusion.exit_code()
}

fn trials_of(index: usize, adapter: &AdapterDescription) -> Vec<Trial> {
    let on = format!("on {index} {}", adapter.name);
    let options = GpuOptions {
        adapter: AdapterChoice::Index(index),
        checks: Checks::Always,
        ..GpuOptions::default()
    };
    let gpu = match Gpu::new(&options) {
        Ok(gpu) => gpu,
        Err(error) => {
            return vec![Trial::test(format!("device {on}"), move || {
                Err(error.to_string().into())
            })];
        }
    };
    let mut trials: Vec<Trial> = variants()
        .iter()
        .map(|variant| {
            let gpu = gpu.clone();
            let name = format!("{} {on}", variant.id());
            Trial::ignorable_test(name, move || run(&gpu, variant))
        })
        .collect();
    trials.extend(pieces::trials(&options, &on));
    trials.extend(refusals::trials(&gpu, &options, &on));
    if adapter.name.starts_with("llvmpipe") {
        let same = gpu.clone();
        trials.push(Trial::test("set ignored on llvmpipe", move || {
            snapshot_of_ignored(&same)
        }));
        trials.push(Trial::ignorable_test(
            "record of what passed on llvmpipe",
            move || recorded(&gpu),
        ));
    }
    trials
}

fn run(gpu: &Gpu, variant: &'static Variant) -> Result<Completion, Failed> {
    if let Some(missing) = gpu.capabilities().missing(variant) {
        return Ok(Completion::ignored_with(missing));
    }
    let (_, check) = KERNELS
        .iter()
        .find(|(kernel, _)| *kernel == variant.kernel)
        .ok_or_else(|| format!("kernel {} has no trial", variant.kernel))?;
    let tried = try_both(*check, &gpu.preferring(variant));
    record::note(variant, tried.is_ok());
    tried?;
    Ok(Completion::Completed)
}

/// Tries a variant with run-time checks, which `gpu` has, and then without.
#[expect(
    unsafe_code,
    reason = "the trial is what unchecked kernels are trusted by"
)]
fn try_both(check: Check, gpu: &Gpu) -> Result<(), Failed> {
    check(gpu)?;
    // SAFETY: with the checks on, the same kernel has just given the reference's numbers on the same operands; an index
    // that the checks had moved, or a loop that they had ended, would have spoiled them.
    let unchecked = unsafe { gpu.unchecked() };
    check(&unchecked).map_err(|failed| {
        let reason = failed.message().unwrap_or("no reason given").to_owned();
        format!("without run-time checks: {reason}").into()
    })
}

fn trials_without_adapter() -> impl Iterator<Item = Trial> {
    variants().iter().map(|variant| {
        Trial::ignorable_test(format!("{} on no adapter", variant.id()), || {
            if std::env::var("LLAMA_GPU").as_deref() == Ok("require") {
                return Err("LLAMA_GPU=require, and no adapter was found".into());
            }
            Ok(Completion::ignored_with("no adapter was found"))
        })
    })
}

/// None may fall out of the set that runs everywhere unseen.
fn snapshot_of_ignored(gpu: &Gpu) -> Result<(), Failed> {
    let ignored: Vec<String> = variants()
        .iter()
        .filter_map(|variant| {
            let missing = gpu.capabilities().missing(variant)?;
            Some(format!("{}: {missing}", variant.id()))
        })
        .collect();
    let listed = if ignored.is_empty() {
        "none".to_string()
    } else {
        ignored.join("\n")
    };
    insta::assert_snapshot!("ignored_on_llvmpipe", listed);
    Ok(())
}

/// A kernel that changed since its trials were recorded runs checked, on every GPU: that must be seen.
fn recorded(gpu: &Gpu) -> Result<Completion, Failed> {
    if record::is_wanted() {
        return Ok(Completion::ignored_with("it is being written"));
    }
    let left_out: Vec<String> = variants()
        .iter()
        .filter(|variant| gpu.capabilities().missing(variant).is_none() && !variant.is_trusted())
        .map(Variant::id)
        .collect();
    if left_out.is_empty() {
        return Ok(Completion::Completed);
    }
    Err(format!(
        "changed since their trials were recorded: {}; run LLAMA_TRIALS=record cargo test -p llama-kernels --test numeric",
        left_out.join(", ")
    )
    .into())
}
