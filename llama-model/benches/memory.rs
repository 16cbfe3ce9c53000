//! Peak host memory of loading and running a synthetic checkpoint of 1.1 billion parameters in f16.
//!
//! The bound is 1 GiB, not counting a mapped file (there is none here) and the software driver's own
//! device memory. How it is measured: a thread reads the process's resident set (`/proc/self/statm`)
//! every millisecond. A software driver's device memory lies in the same process, so from each sample the
//! bytes of weights that were uploaded *before* it are taken off; KV cache, activations and whatever else the
//! driver keeps count as host memory, so the figure is an upper bound. What is uploaded is known from the
//! load's progress, which is reported after each upload of at most 8 MiB.
//!
//! `cargo bench -p llama-model --bench memory` (Linux; 2.2 GB for the weights on a software adapter).

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{KvChoice, LoadOptions, Model, SessionOptions};

const MIB: f64 = (1 << 20) as f64;
const BOUND_MIB: f64 = 1024.0;

fn main() -> Result<(), Box<dyn Error>> {
    if !cfg!(target_os = "linux") {
        println!("memory is measured on Linux only");
        return Ok(());
    }
    // TinyLlama's shape.
    let shape = Hyperparameters {
        hidden_size: 2048,
        n_layers: 22,
        n_heads: 32,
        n_kv_heads: 4,
        head_dim: 64,
        ffn_size: 5632,
        vocab_size: 32_000,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    };
    let parameters = shape.parameter_count();
    let checkpoint = Checkpoint::synthetic(shape, DType::F16, 0)?;
    let gpu = Gpu::new(&GpuOptions::default())?;
    // A hardware driver's device memory is not in the process: nothing is taken off.
    let in_process = gpu.adapter().is_software;
    let uploaded = AtomicU64::new(0);
    let finished = AtomicBool::new(false);
    let start = Instant::now();
    let (peak, loaded, ran, gpu_bytes) =
        std::thread::scope(|scope| -> Result<_, Box<dyn Error>> {
            let watch = scope.spawn(|| watch(&uploaded, &finished));
            let work = || -> Result<_, Box<dyn Error>> {
                let model = Model::load(
                    &gpu,
                    &checkpoint,
                    &LoadOptions::default(),
                    &mut |progress| {
                        if in_process {
                            uploaded.store(progress.bytes_done, Ordering::SeqCst);
                        }
                        ControlFlow::Continue(())
                    },
                )?;
                let loaded = start.elapsed();
                let mut session = model.session(&SessionOptions {
                    context: 2048,
                    kv: KvChoice::Auto,
                    chunk: None,
                })?;
                session.prefill(&[1; 16])?;
                for token in 0..8 {
                    session.decode(token)?;
                }
                Ok((loaded, start.elapsed(), gpu.allocated_bytes()))
            };
            let done = work();
            finished.store(true, Ordering::SeqCst);
            let peak = watch.join().map_err(|_| "the watching thread panicked")??;
            let (loaded, ran, gpu_bytes) = done?;
            Ok((peak, loaded, ran, gpu_bytes))
        })?;
    println!("adapter                {}", gpu.adapter());
    println!("parameters             {parameters}");
    println!(
        "weights                {:.0} MiB",
        checkpoint.weight_bytes() as f64 / MIB
    );
    println!("on the GPU             {:.0} MiB", gpu_bytes as f64 / MIB);
    println!("loaded after           {:.1} s", loaded.as_secs_f64());
    println!("16 + 8 tokens after    {:.1} s", ran.as_secs_f64());
    println!(
        "peak of the process    {:.0} MiB (VmHWM)",
        high_water_mark()? / MIB
    );
    println!(
        "peak of the host       {:.0} MiB, bound {BOUND_MIB:.0} MiB",
        peak / MIB
    );
    if peak / MIB > BOUND_MIB {
        return Err("the host's peak is over its bound".into());
    }
    Ok(())
}

/// The largest resident set less what had been uploaded before it was read, in bytes.
fn watch(uploaded: &AtomicU64, finished: &AtomicBool) -> Result<f64, std::io::Error> {
    let mut peak = 0.0f64;
    while !finished.load(Ordering::SeqCst) {
        let before = uploaded.load(Ordering::SeqCst) as f64;
        peak = peak.max(resident()? - before);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(peak)
}

fn resident() -> Result<f64, std::io::Error> {
    const PAGE: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    Ok(pages.unwrap_or(f64::INFINITY) * PAGE)
}

fn high_water_mark() -> Result<f64, std::io::Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(kib.unwrap_or(f64::NAN) * 1024.0)
}
