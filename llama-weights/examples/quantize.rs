//! Writes a checkpoint as a GGUF file without a vocabulary, and says how fast; without arguments a synthetic one.
//!
//! `cargo run --release -p llama-weights --example quantize -- Llama-2-7b-hf out.gguf q4_k`

use std::{error::Error, fs::File, io::BufWriter, ops::ControlFlow, path::Path, time::Instant};

use llama_weights::{Checkpoint, DType, GgufOptions, GgufWriter, Hyperparameters, RopeScaling};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (checkpoint, out, name) = match arguments.as_slice() {
        [source, out, name] => (
            Checkpoint::open(Path::new(source))?,
            File::create_new(out)?,
            name.as_str(),
        ),
        [] => (synthetic()?, tempfile::tempfile()?, "q4_k"),
        _ => return Err("expected a checkpoint, a file to be written, and a type".into()),
    };
    let dtype = DType::ALL.into_iter().find(|dtype| dtype.name() == name);
    let options = GgufOptions {
        dtype: dtype.ok_or("expected a type such as q4_k")?,
        vocabulary: None,
        name: None,
    };
    let begin = Instant::now();
    let mut writer = GgufWriter::new(&checkpoint, &options)?;
    // The header comes last, so that what is there before is read as no GGUF file.
    writer.write(&mut BufWriter::new(out), &mut |_| ControlFlow::Continue(()))?;
    let (source, written) = (checkpoint.weight_bytes(), writer.n_bytes());
    let speed = source as f64 / 1e6 / begin.elapsed().as_secs_f64();
    println!("{source} bytes became {written} at {speed:.0} MB/s");
    Ok(())
}

fn synthetic() -> Result<Checkpoint, llama_weights::Error> {
    let shape = Hyperparameters {
        hidden_size: 256,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        ffn_size: 512,
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
    Checkpoint::synthetic(shape, DType::F16, 42)
}
