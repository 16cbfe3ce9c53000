//! Generates token ids with a small model of random weights: no file is needed, only a GPU.
//!
//! `cargo run --example synthetic`

use std::ops::ControlFlow;

use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{
    GenerationOptions, KvChoice, LoadOptions, Model, Sampler, SamplerOptions, SessionOptions,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shape = Hyperparameters {
        hidden_size: 256,
        n_layers: 4,
        n_heads: 8,
        n_kv_heads: 4,
        head_dim: 32,
        ffn_size: 704,
        vocab_size: 1000,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: true,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    };
    let checkpoint = Checkpoint::synthetic(shape, DType::F16, 0)?;
    let gpu = Gpu::new(&GpuOptions::default())?;
    let model = Model::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {
        ControlFlow::Continue(())
    })?;
    let mut session = model.session(&SessionOptions {
        context: 128,
        kv: KvChoice::Auto,
        chunk: None,
    })?;
    let mut sampler = Sampler::new(&SamplerOptions::default())?;
    session.prefill(&[1, 500, 20])?;
    let options = GenerationOptions {
        max_tokens: Some(32),
        ..GenerationOptions::default()
    };
    let mut generation = session.generate(&mut sampler, &options);
    for token in generation.by_ref() {
        print!("{} ", token?);
    }
    println!("\n{} · {:?}", gpu.adapter(), generation.finish_reason());
    Ok(())
}
