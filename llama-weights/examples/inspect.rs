//! Prints the hyperparameters and tensors of a checkpoint: `cargo run --example inspect -- <directory>`.
//! Without a directory it makes a synthetic one.

use std::path::Path;

use llama_weights::{Checkpoint, DType, Error, Hyperparameters, RopeScaling};

fn main() -> Result<(), Error> {
    let checkpoint = open()?;
    let h = checkpoint.hyperparameters();
    println!(
        "{}: {} parameters",
        checkpoint.format(),
        h.parameter_count()
    );
    println!("{h:#?}");
    for (_, tensor) in checkpoint.tensors() {
        println!(
            "{:<50} {:>5} {:?}",
            tensor.name(),
            tensor.dtype(),
            tensor.shape()
        );
    }
    for warning in checkpoint.warnings() {
        println!("warning: {warning}");
    }
    Ok(())
}

fn open() -> Result<Checkpoint, Error> {
    if let Some(directory) = std::env::args_os().nth(1) {
        return Checkpoint::open(Path::new(&directory));
    }
    let shape = Hyperparameters {
        hidden_size: 64,
        n_layers: 2,
        n_heads: 8,
        n_kv_heads: 4,
        head_dim: 8,
        ffn_size: 192,
        vocab_size: 512,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    };
    Checkpoint::synthetic(shape, DType::Q8_0, 42)
}
