//! The ring of buffers through which weights reach the device.

use std::thread;

use libtest_mimic::Completion;
use llama_kernels::{Gpu, GpuOptions, Stage, WeightFormat, WeightMatrix};

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

/// Rows that a stage in host memory took arrive as those that went straight, and are read back so.
pub(crate) fn kept_on_the_host() -> Outcome {
    // Four rows in a piece.
    let gpu = Gpu::new(&GpuOptions {
        binding_limit: Some(5 * 64),
        ..GpuOptions::default()
    })?;
    let (format, rows, columns) = (WeightFormat::Q8_0, 11, 64);
    let file: Vec<u8> = (0..rows * format.file_row_bytes(columns))
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    let straight = WeightMatrix::new(&gpu, "straight", format, rows, columns)?;
    straight.write_rows(&gpu, 0, &file)?;
    let mut stage = Stage::in_host_memory(format, columns, rows);
    stage.put(0, 1, &file);
    let kept = stage.into_host_rows().ok_or("it is the host's")?;
    expect(
        gpu.read_rows(&straight, 0..rows)? == kept,
        "what is kept is what lies on the device",
    )?;
    let matrix = WeightMatrix::new(&gpu, "slot", format, rows, columns)?;
    let mut upload = gpu.upload(2, 11 * 80)?;
    for _ in 0..5 {
        let mut stage = loop {
            match upload.stage(&matrix, 0, rows)? {
                Some(stage) => break stage,
                None => upload.wait()?,
            }
        };
        stage.fill(&kept)?;
        upload.send(stage, &matrix.clone(), 0)?;
    }
    let part = gpu.read_rows(&matrix, 3..9)?;
    expect(
        part == gpu.read_rows(&straight, 3..9)? && part.rows() == 6,
        "a part is read",
    )?;
    expect_error(
        gpu.read_rows(&matrix, 3..12),
        "upload: rows: expected some within 3..11, found 3..12",
    )?;
    let mut other = Stage::in_host_memory(WeightFormat::F16, columns, rows);
    expect_error(
        other.fill(&kept),
        "upload: rows: expected 11 rows of 64 in f16, found 11 rows of 64 in q8_0",
    )?;
    expect_error(
        upload.send(Stage::in_host_memory(format, columns, rows), &matrix, 0),
        "upload: stage: expected one that was lent, found one in host memory",
    )?;
    let Some(stage) = upload.stage(&matrix, 0, rows)? else {
        upload.finish()?;
        return Ok(Completion::Completed);
    };
    expect(stage.into_host_rows().is_none(), "it was lent")?;
    Ok(Completion::Completed)
}
