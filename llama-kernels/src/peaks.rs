//! What an adapter can do at best, measured: the limits that figures of speed are held against.
//!
//! Wall time of work that takes long enough for its launch not to count; the best of several runs. Says nothing about a
//! specification: a limit is what the plainest kernel reaches.

use std::time::{Duration, Instant};

use crate::ops::{Fill, MultiplyPeak, ReadSum};
use crate::{Error, Gpu, Recorder, WeightFormat, WeightMatrix};

/// An adapter's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peaks {
    /// Bytes that [`ops::ReadSum`](crate::ops::ReadSum) reads of memory far larger than a cache.
    pub read_bytes_per_second: f64,
    /// Floating-point operations of [`ops::MultiplyPeak`](crate::ops::MultiplyPeak), a multiply-add being two.
    pub operations_per_second: f64,
}

/// Bytes that are read in one pass: many times the last cache of a GPU, and of the processors that play one.
const HARDWARE_BYTES: usize = 1 << 30;
const SOFTWARE_BYTES: usize = 128 << 20;
/// A row of the buffer that is read, in f32.
const COLUMNS: usize = 4096;
/// A run repeats its work for about this long; drivers take a GPU for hung after two seconds.
const RUN: Duration = Duration::from_millis(100);
const RUNS: usize = 5;
/// More repetitions would be more commands than work.
const MOST_REPETITIONS: u32 = 512;

impl Peaks {
    /// Measures both, in one to two seconds; memory for it comes and goes.
    ///
    /// # Errors
    /// Any of the GPU's errors.
    pub fn measure(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            read_bytes_per_second: read(gpu)?,
            operations_per_second: multiply(gpu)?,
        })
    }
}

fn read(gpu: &Gpu) -> Result<f64, Error> {
    let bytes = if gpu.adapter().is_software {
        SOFTWARE_BYTES
    } else {
        HARDWARE_BYTES
    };
    let rows = bytes / (4 * COLUMNS);
    // Noise, not zeros: some memory is compressed.
    let data = WeightMatrix::new(gpu, "peak data", WeightFormat::F32, rows, COLUMNS)?;
    let mut recorder = gpu.recorder();
    Fill::new(gpu, &data, 1)?.record(&mut recorder);
    gpu.submit(recorder)?;
    let invocations = if gpu.adapter().is_software {
        1 << 16
    } else {
        1 << 18
    };
    let out = gpu.ids("peak sums", invocations)?;
    let passes = data
        .pieces()
        .iter()
        .flat_map(|piece| {
            let vectors = piece.rows() * COLUMNS / 4;
            let data = piece.bindings().next();
            data.map(|(_, data)| ReadSum::new(gpu, data, vectors, &out))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let seconds = best(gpu, &|recorder| {
        passes.iter().for_each(|pass| pass.record(recorder));
    })?;
    Ok((rows * COLUMNS * 4) as f64 / seconds)
}

fn multiply(gpu: &Gpu) -> Result<f64, Error> {
    let invocations = if gpu.adapter().is_software {
        1 << 10
    } else {
        1 << 20
    };
    let out = gpu.ids("peak products", invocations)?;
    // Values stay about 2: neither growing nor denormal.
    let multiply = MultiplyPeak::new(gpu, 256, [0.5, 1.0], &out)?;
    let seconds = best(gpu, &|recorder| multiply.record(recorder))?;
    Ok(multiply.operations() as f64 / seconds)
}

/// Seconds that what is recorded takes, in the best of some runs.
fn best(gpu: &Gpu, record: &dyn Fn(&mut Recorder)) -> Result<f64, Error> {
    let time = |repetitions: u32| -> Result<f64, Error> {
        let mut recorder = gpu.recorder();
        (0..repetitions).for_each(|_| record(&mut recorder));
        let begin = Instant::now();
        gpu.submit(recorder)?;
        gpu.wait()?;
        Ok(begin.elapsed().as_secs_f64() / f64::from(repetitions))
    };
    gpu.wait()?;
    // Pays for what the driver puts off until a kernel runs.
    time(1)?;
    let once = time(1)?;
    let repetitions = (RUN.as_secs_f64() / once).ceil() as u32;
    let repetitions = repetitions.clamp(1, MOST_REPETITIONS);
    (0..RUNS).try_fold(once, |best, _| Ok(best.min(time(repetitions)?)))
}
