//! The ring of buffers through which weights reach the device.

use std::thread;

use libtest_mimic::Completion;
use llama_kernels::{Gpu, GpuOptions, WeightFormat, WeightMatrix};

use super::memory::expect_rows;
use super::{Outcome, expect, expect_error, gpu};

const ROWS: usize = 22;
const COLUMNS: usize = 40;

/// Small numbers, exact in f16.
fn values() -> Vec<f32> {
    (0..ROWS * COLUMNS).map(|i| (i % 1000) as f32).collect()
}

fn row(values: &[f32], row: usize) -> Vec<u8> {
    let values = &values[row * COLUMNS..][..COLUMNS];
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Rows padded to 64 columns of 4 bytes in pieces of eight, through two buffers of six rows each, every second row first.
pub(crate) fn rows_arrive() -> Outcome {
    let gpu = Gpu::new(&GpuOptions {
        binding_limit: Some(10 * 256),
        ..GpuOptions::default()
    })?;
    let matrix = WeightMatrix::new(&gpu, "table", WeightFormat::F32, ROWS, COLUMNS)?;
    let values = values();
    let mut upload = gpu.upload(2, 6 * 256)?;
    expect(
        upload.rows_at_once(WeightFormat::F32, COLUMNS) == 6,
        "six padded rows fit",
    )?;
    let before = gpu.allocation_count();
    let mut first = 0;
    while first < ROWS {
        let rows = (ROWS - first).min(6);
        let Some(mut stage) = upload.stage(&matrix, first, rows)? else {
            upload.wait()?;
            continue;
        };
        // Filled on another thread, as workers do.
        let filled = thread::scope(|scope| {
            let fill = || {
                for half in 0..2 {
                    let places = (half..rows).step_by(2);
                    let bytes: Vec<u8> = places.flat_map(|at| row(&values, first + at)).collect();
                    stage.put(half, 2, &bytes);
                }
                stage
            };
            scope.spawn(fill).join()
        });
        let stage = filled.map_err(|_| "the thread panicked")?;
        upload.send(stage, &matrix, first)?;
        first += rows;
    }
    upload.finish()?;
    expect(gpu.allocation_count() == before, "the ring is all there is")?;
    expect_rows(&gpu, &matrix, &values)?;
    Ok(Completion::Completed)
}

pub(crate) fn refused() -> Outcome {
    let gpu = gpu()?;
    let matrix = WeightMatrix::new(&gpu, "table", WeightFormat::F16, 8, 64)?;
    let other = WeightMatrix::new(&gpu, "other", WeightFormat::F32, 8, 64)?;
    let mut upload = gpu.upload(1, 4 * 128)?;
    upload.wait()?;
    expect_error(
        upload.stage(&matrix, 0, 5),
        "upload: rows at once: expected at most 4, found 5",
    )?;
    let stage = upload.stage(&matrix, 0, 4)?.ok_or("no buffer is free")?;
    expect(
        upload.stage(&matrix, 0, 1)?.is_none(),
        "the one buffer is lent",
    )?;
    upload.give_back(stage);
    let stage = upload.stage(&matrix, 0, 4)?.ok_or("it was given back")?;
    expect_error(
        upload.send(stage, &matrix, 5),
        "upload: rows: expected at most 8, found 9",
    )?;
    let stage = upload
        .stage(&matrix, 4, 4)?
        .ok_or("a refused one is free")?;
    expect_error(
        upload.send(stage, &other, 0),
        "upload: format of the rows: expected f16, found f32",
    )?;
    Ok(Completion::Completed)
}
