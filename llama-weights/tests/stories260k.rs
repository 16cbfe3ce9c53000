//! The really trained checkpoint of `../shared/data`, where it is present.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_weights::{Checkpoint, DType, Format, RopeScaling, TensorRole};
use safetensors::SafeTensors;

fn main() -> ExitCode {
    let trials = vec![
        trial("stories260k_opens_as_its_config_says", opens),
        trial(
            "stories260k_bytes_equal_the_safetensors_crate_s",
            bytes_equal,
        ),
        trial("stories260k_values_are_finite", values_are_finite),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: fn(&Path) -> Result<(), Failed>) -> Trial {
    Trial::ignorable_test(name, move || {
        let directory = directory();
        if directory.is_dir() {
            test(&directory)?;
            return Ok(Completion::Completed);
        }
        Ok(Completion::ignored_with(
            "shared/data/stories260K is absent",
        ))
    })
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/stories260K")
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, found {found:?}").into())
}

fn opens(directory: &Path) -> Result<(), Failed> {
    let checkpoint = Checkpoint::open(directory)?;
    let h = checkpoint.hyperparameters();
    same(checkpoint.format(), Format::HuggingFace)?;
    same(
        (
            h.hidden_size,
            h.n_layers,
            h.n_heads,
            h.n_kv_heads,
            h.head_dim,
        ),
        (64, 5, 8, 4, 8),
    )?;
    same(
        (h.ffn_size, h.vocab_size, h.max_position_embeddings),
        (172, 512, 512),
    )?;
    same(
        (h.rms_norm_eps, h.rope_theta, h.rope_scaling),
        (1e-5, 10_000.0, RopeScaling::None),
    )?;
    same(
        (h.tied_embeddings, h.attention_bias, h.mlp_bias),
        (true, false, false),
    )?;
    same(checkpoint.eos_token_ids(), vec![2])?;
    same(checkpoint.declared_dtype(), Some(DType::F32))?;
    same(h.parameter_count(), 260_032)?;
    same(checkpoint.weight_bytes(), 4 * 260_032)?;
    same(checkpoint.tensor(TensorRole::Output).is_none(), true)?;
    same(checkpoint.warnings().to_vec(), Vec::new())
}

fn bytes_equal(directory: &Path) -> Result<(), Failed> {
    let checkpoint = Checkpoint::open(directory)?;
    let bytes = std::fs::read(directory.join("model.safetensors"))?;
    let reference = SafeTensors::deserialize(&bytes)?;
    same(checkpoint.tensors().count(), reference.len())?;
    for (_, view) in checkpoint.tensors() {
        let expected = reference.tensor(view.name())?;
        same(view.shape(), expected.shape())?;
        if *view.rows(0..view.n_rows()) != *expected.data() {
            return Err(format!("{} differs", view.name()).into());
        }
    }
    Ok(())
}

fn values_are_finite(directory: &Path) -> Result<(), Failed> {
    let checkpoint = Checkpoint::open(directory)?;
    let bad = checkpoint
        .check_values()
        .filter(|values| !values.is_finite());
    same(bad.count(), 0)
}
