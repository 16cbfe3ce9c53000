//! Speed and peak host memory of loading a checkpoint of 1.1 billion parameters (TinyLlama's shape, random weights, a file of
//! up to 2.2 GB in the system's cache) as it is and converted, and of running it; beside a plain copy of the same file to the same
//! adapter, and the reading alone.
//!
//! The bound is 512 MiB above the mapped file. How it is measured, in a process for each case: a thread reads the
//! process's anonymous resident set (`/proc/self/statm`; pages of mapped files are not in it) every millisecond. A
//! software driver's device memory lies in the same process, so from each sample the bytes of weights that had reached the
//! device *before* it are taken off, as far as that is certain: progress less what the ring may still hold. KV cache,
//! activations and whatever else the driver keeps count as host memory, so the figure is an upper bound.
//!
//! `cargo bench -p llama-model --bench memory [-- WORD…]` runs the cases whose name holds one of the words, all without (Linux; 3 GB
//! of disk, as much memory as the weights on a software adapter).

mod files;

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{KvChoice, LoadOptions, Model, SessionOptions, WeightChoice};

use files::Form;

const MIB: f64 = (1 << 20) as f64;
const BOUND_MIB: f64 = 512.0;
/// What may be on its way through the loader's ring, and more.
const RING_BYTES: f64 = 128.0 * MIB;
/// Names a case in the environment of the process that runs it.
const CASE: &str = "LLAMA_BENCH_LOAD";

const CASES: [(&str, Form, DType, WeightChoice); 7] = [
    (
        "safetensors f16",
        Form::Safetensors,
        DType::F16,
        WeightChoice::F16,
    ),
    (
        "safetensors f16 to q8_0",
        Form::Safetensors,
        DType::F16,
        WeightChoice::Q8_0,
    ),
    (
        "safetensors f16 to q4_0",
        Form::Safetensors,
        DType::F16,
        WeightChoice::Q4_0,
    ),
    (
        "safetensors bf16 to f16",
        Form::Safetensors,
        DType::BF16,
        WeightChoice::F16,
    ),
    ("gguf f16", Form::Gguf, DType::F16, WeightChoice::F16),
    ("gguf q4_0", Form::Gguf, DType::Q4_0, WeightChoice::Q4_0),
    ("meta f16", Form::Meta, DType::F16, WeightChoice::F16),
];

fn main() -> Result<(), Box<dyn Error>> {
    if !cfg!(target_os = "linux") {
        println!("memory is measured on Linux only");
        return Ok(());
    }
    if let (Ok(case), Some(folder)) = (std::env::var(CASE), std::env::args_os().nth(1)) {
        return measure(case.parse()?, Path::new(&folder));
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // Words of the command line that are part of a case's name choose it.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    println!(
        "case                     weights on GPU    load       file  plain copy    read  host's peak  (bound {BOUND_MIB} MiB)"
    );
    let mut over = false;
    let mut written = None;
    for (index, (name, form, dtype, _)) in CASES.iter().enumerate() {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let folder = folder.path().join(format!("{form:?} {dtype:?}"));
        if !folder.exists() {
            // One file lies there at a time.
            if let Some(other) = written.replace(folder.clone()) {
                fs::remove_dir_all(other)?;
            }
            form.write(&Checkpoint::synthetic(shape(), *dtype, 0)?, &folder)?;
        }
        let mut run = Command::new(std::env::current_exe()?);
        let status = run.arg(&folder).env(CASE, index.to_string()).status()?;
        over |= !status.success();
    }
    match over {
        true => Err("a load failed, or the host's peak is over its bound".into()),
        false => Ok(()),
    }
}

/// Loads and runs one case, and prints its line.
fn measure(case: usize, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (name, form, dtype, weights) = CASES[case];
    let gpu = Gpu::new(&GpuOptions::default())?;
    // A hardware driver's device memory is not in the process: nothing is taken off.
    let in_process = gpu.adapter().is_software;
    let checkpoint = Checkpoint::open(folder)?;
    let plan = llama_model::memory_plan(&shape(), dtype, weights, KvChoice::Auto, 2048);
    let grown = plan.weight_bytes as f64 / checkpoint.weight_bytes() as f64;
    let uploaded = AtomicU64::new(0);
    let finished = AtomicBool::new(false);
    let (peak, loaded, gpu_bytes) = std::thread::scope(|scope| -> Result<_, Box<dyn Error>> {
        let watch = scope.spawn(|| watch(&uploaded, &finished));
        let work = || -> Result<_, Box<dyn Error>> {
            let arrived = |bytes: f64| {
                if in_process {
                    uploaded.store(bytes.max(0.0) as u64, Ordering::SeqCst);
                }
            };
            let start = Instant::now();
            let options = LoadOptions { weights };
            let model = Model::load(&gpu, &checkpoint, &options, &mut |progress| {
                arrived(progress.bytes_done as f64 * grown - RING_BYTES);
                ControlFlow::Continue(())
            })?;
            let loaded = start.elapsed();
            arrived(model.weight_bytes() as f64);
            let mut session = model.session(&SessionOptions {
                context: 2048,
                kv: KvChoice::Auto,
                chunk: None,
            })?;
            session.prefill(&[1; 16])?;
            session.decode(1)?;
            Ok((loaded, model.weight_bytes()))
        };
        let done = work();
        finished.store(true, Ordering::SeqCst);
        let peak = watch.join().map_err(|_| "the watching thread panicked")??;
        let (loaded, gpu_bytes) = done?;
        Ok((peak, loaded.as_secs_f64(), gpu_bytes))
    })?;
    let (read, copied) = plain_copy(&gpu, &folder.join(form.weights()))?;
    println!(
        "{name:24} {:9.0} MiB  {loaded:6.2} s  {:5.2} GB/s  {:5.2} GB/s {:7.2} {:8.0} MiB",
        gpu_bytes as f64 / MIB,
        checkpoint.weight_bytes() as f64 / loaded / 1e9,
        copied / 1e9,
        read / 1e9,
        peak / MIB
    );
    match peak / MIB > BOUND_MIB {
        true => Err("the host's peak is over its bound".into()),
        false => Ok(()),
    }
}

/// TinyLlama's.
fn shape() -> Hyperparameters {
    Hyperparameters {
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
    }
}

/// Bytes per second of reading a file in pieces into one buffer; and of a file that goes to the adapter as it is, each of the pieces
/// written into new device memory.
fn plain_copy(gpu: &Gpu, file: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    use llama_model::llama_kernels::wgpu;
    let read = pieces_per_second(file, |_| Ok(()))?;
    let mut held = Vec::new();
    let copied = pieces_per_second(file, |bytes| {
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.len().next_multiple_of(4) as u64,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let whole = bytes.len() / 4 * 4;
        gpu.queue().write_buffer(&buffer, 0, &bytes[..whole]);
        gpu.queue().submit([]);
        gpu.wait()?;
        held.push(buffer);
        Ok(())
    })?;
    Ok((read, copied))
}

/// Reads a file piece by piece, and does something with each. Bytes per second.
fn pieces_per_second(
    file: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    /// As the loader's ring has them.
    const PIECE: usize = 8 << 20;
    let mut file = File::open(file)?;
    let mut piece = vec![0; PIECE];
    let (start, mut bytes) = (Instant::now(), 0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(bytes as f64 / start.elapsed().as_secs_f64());
        }
        bytes += read;
        each(&piece[..read])?;
    }
}

/// The largest anonymous resident set less what had been uploaded before it was read, in bytes.
fn watch(uploaded: &AtomicU64, finished: &AtomicBool) -> Result<f64, std::io::Error> {
    let mut peak = 0.0f64;
    while !finished.load(Ordering::SeqCst) {
        let before = uploaded.load(Ordering::SeqCst) as f64;
        peak = peak.max(anonymous()? - before);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(peak)
}

fn anonymous() -> Result<f64, std::io::Error> {
    const PAGE: f64 = 4096.0;
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Vec<f64> = (statm.split_whitespace().skip(1).take(2))
        .filter_map(|pages| pages.parse().ok())
        .collect();
    Ok(match pages[..] {
        [resident, of_files] => (resident - of_files) * PAGE,
        _ => f64::INFINITY,
    })
}
