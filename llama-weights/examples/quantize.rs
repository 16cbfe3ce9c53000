//! Writes a checkpoint as a GGUF file without a vocabulary, and says how fast.
//!
//! ```sh
//! cargo run --release -p llama-weights --example quantize -- Llama-2-7b-hf out.gguf q4_k
//! ```
//!
//! Without arguments it makes a synthetic checkpoint, and writes it to memory.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Cursor};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use llama_weights::{Checkpoint, DType, GgufOptions, GgufWriter, Hyperparameters, RopeScaling};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (checkpoint, out, dtype) = match arguments.as_slice() {
        [source, out, name] => {
            let dtype = DType::ALL.into_iter().find(|dtype| dtype.name() == name);
            let dtype = dtype.ok_or("expected a type such as q4_k")?;
            (Checkpoint::open(Path::new(source))?, Some(out), dtype)
        }
        [] => (synthetic()?, None, DType::Q4K),
        _ => return Err("expected a checkpoint, a file to be written, and a type".into()),
    };
    let options = GgufOptions {
        dtype,
        vocabulary: None,
        name: None,
    };
    let mut writer = GgufWriter::new(&checkpoint, &options)?;
    let progress = &mut |_| ControlFlow::Continue(());
    let begin = Instant::now();
    // The header comes last, so that what is there before is read as no GGUF file.
    match out {
        Some(out) => writer.write(&mut BufWriter::new(File::create_new(out)?), progress)?,
        None => writer.write(&mut Cursor::new(Vec::new()), progress)?,
    };
    let seconds = begin.elapsed().as_secs_f64();
    let megabytes = checkpoint.weight_bytes() as f64 / 1e6;
    println!(
        "{megabytes:.0} MB became {:.0} MB in {seconds:.1} s: {:.0} MB/s",
        writer.n_bytes() as f64 / 1e6,
        megabytes / seconds
    );
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
