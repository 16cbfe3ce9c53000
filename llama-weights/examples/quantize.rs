//! Writes a checkpoint as a GGUF file without a vocabulary, and says how fast.
//!
//! ```sh
//! cargo run --release -p llama-weights --example quantize -- Llama-2-7b-hf out.gguf q4_k
//! ```

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use llama_weights::{Checkpoint, DType, GgufOptions, GgufWriter};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, out, name] = arguments.as_slice() else {
        return Err("expected a checkpoint, a file to be written, and a type".into());
    };
    let dtype = DType::ALL.into_iter().find(|dtype| dtype.name() == name);
    let checkpoint = Checkpoint::open(Path::new(source))?;
    let options = GgufOptions {
        dtype: dtype.ok_or("expected a type such as q4_k")?,
        vocabulary: None,
        name: None,
    };
    let mut writer = GgufWriter::new(&checkpoint, &options)?;
    let begin = Instant::now();
    // The header comes last, so that what is there before is read as no GGUF file.
    let mut file = BufWriter::new(File::create_new(out)?);
    writer.write(&mut file, &mut |_| ControlFlow::Continue(()))?;
    let seconds = begin.elapsed().as_secs_f64();
    let megabytes = checkpoint.weight_bytes() as f64 / 1e6;
    println!(
        "{megabytes:.0} MB became {:.0} MB in {seconds:.1} s: {:.0} MB/s",
        writer.n_bytes() as f64 / 1e6,
        megabytes / seconds
    );
    Ok(())
}
