//! Every variant of every kernel against its reference, on every adapter: one named trial for each.
//!
//! A trial whose capability the adapter lacks is ignored with the reason. Without any adapter all are, unless
//! `LLAMA_GPU=require`, which makes that a failure.

mod argmax;
mod attention;
mod compare;
mod embed;
mod gather_rows;
mod inputs;
mod matmul;
mod matvec;
mod pieces;
mod refusals;
mod rms_norm;
mod rope;
mod swiglu;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_kernels::{AdapterChoice, AdapterDescription, Gpu, GpuOptions, Variant, variants};
use std::process::ExitCode;

/// What runs a variant of a kernel: the `Gpu` prefers it.
type Check = fn(&Gpu) -> Result<(), Failed>;

const KERNELS: [(&str, Check); 9] = [
    ("argmax", argmax::check),
    ("attention", attention::check),
    ("embed", embed::check),
    ("gather_rows", gather_rows::check),
    ("matmul", matmul::check),
    ("matvec", matvec::check),
    ("rms_norm", rms_norm::check),
    ("rope", rope::check),
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
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials_of(index: usize, adapter: &AdapterDescription) -> Vec<Trial> {
    let on = format!("on {index} {}", adapter.name);
    let options = GpuOptions {
        adapter: AdapterChoice::Index(index),
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
        trials.push(Trial::test("set ignored on llvmpipe", move || {
            snapshot_of_ignored(&gpu)
        }));
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
    check(&gpu.preferring(variant))?;
    Ok(Completion::Completed)
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
