//! Buffers: their limits, their count, and what goes through them.

use std::thread;

use libtest_mimic::{Completion, Failed};
use llama_kernels::{
    Error, Gpu, GpuOptions, Peaks, StepBuffer, StepLayout, StepRow, TokenSource, WeightFormat,
    WeightMatrix,
    ops::{Embed, Matmul, MatmulOptions, SwiGlu},
    wgpu,
};

use super::{Outcome, expect, expect_error, gpu};

#[expect(clippy::cast_precision_loss, reason = "small numbers, exact in f32")]
fn counting(values: usize) -> Vec<f32> {
    (0..values).map(|value| (value % 65_536) as f32).collect()
}

pub(crate) fn callers_device() -> Outcome {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions::default();
    let adapter = pollster::block_on(instance.request_adapter(&options))?;
    // No feature and WebGPU's default limits: kernels have to run on that too.
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let gpu = Gpu::from_device(&adapter, device, queue);
    expect(
        gpu.capabilities().subgroups.is_none(),
        "the device was asked for no subgroups",
    )?;
    let (gate_up, h) = (gpu.tensor("gate and up", 1, 64)?, gpu.tensor("h", 1, 32)?);
    gpu.write_f32(&gate_up, 0, &[0.0; 64])?;
    let mut recorder = gpu.recorder();
    SwiGlu::new(&gpu, &gate_up, &h)?.record(&mut recorder, 1);
    gpu.submit(recorder)?;
    expect(gpu.read_f32(&h, 0..1)? == [0.0; 32], "silu(0) · 0 is 0")?;
    Ok(Completion::Completed)
}

/// One thread's wait must neither end another's early nor leave a read-back buffer mapped under it.
pub(super) fn threads_at_once() -> Outcome {
    let gpu = gpu()?;
    let threads: Vec<_> = (0..4_u16)
        .map(|number| {
            let gpu = gpu.clone();
            thread::spawn(move || -> Result<(), Error> {
                let tensor = gpu.tensor("of one thread", 3, 70)?;
                let copy = gpu.tensor("its copy", 3, 70)?;
                for round in 0..60_u16 {
                    let values = vec![f32::from(number * 100 + round); 3 * 70];
                    gpu.write_f32(&tensor, 0, &values)?;
                    let mut recorder = gpu.recorder();
                    recorder.copy_rows(&tensor, 0..3, &copy, 0);
                    gpu.submit(recorder)?;
                    if round % 3 == 0 {
                        gpu.wait()?;
                    }
                    assert_eq!(gpu.read_f32(&copy, 0..3)?, values);
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread read other values")??;
    }
    Ok(Completion::Completed)
}

pub(crate) fn round_trip() -> Outcome {
    let gpu = gpu()?;
    let tensor = gpu.tensor("x", 5, 33)?;
    expect(
        gpu.read_f32(&tensor, 0..5)? == vec![0.0; 5 * 33],
        "a new tensor is zero",
    )?;
    let values = counting(3 * 33);
    gpu.write_f32(&tensor, 1, &values)?;
    expect(
        gpu.read_f32(&tensor, 1..4)? == values,
        "the rows written come back",
    )?;
    let padded = gpu.read_padded(&tensor, 1..2)?;
    expect(
        padded.len() == 64 && padded[33..] == [0.0; 31],
        "the padding is zero",
    )?;
    expect(
        gpu.read_f32(&tensor, 2..2)?.is_empty(),
        "no rows are no values",
    )?;

    let ids = gpu.ids("chosen", 7)?;
    gpu.write_u32(&ids, 5, &[u32::MAX, 3])?;
    expect(
        gpu.read_u32(&ids, 4..7)? == [0, u32::MAX, 3],
        "ids come back",
    )?;

    expect_error(
        gpu.read_f32(&tensor, 4..6),
        "read_f32: rows of x: expected within 0..5, found 4..6",
    )?;
    expect_error(
        gpu.write_f32(&tensor, 3, &counting(99)),
        "write_f32: rows of x: expected within 0..5, found 3..6",
    )?;
    expect_error(
        gpu.write_f32(&tensor, 0, &[0.0; 34]),
        "write_f32: values for x: expected a multiple of its 33 columns, found 34",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn many_chunks() -> Outcome {
    let gpu = gpu()?;
    // 40 MB: two full chunks and a part.
    let (rows, columns) = (10_000, 1_024);
    let tensor = gpu.tensor("large", rows, columns)?;
    let values = counting(rows * columns);
    gpu.write_f32(&tensor, 0, &values)?;
    expect(
        gpu.read_f32(&tensor, 0..rows)? == values,
        "every chunk is at its place",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn over_the_limit() -> Outcome {
    let gpu = Gpu::new(&GpuOptions {
        binding_limit: Some(1 << 20),
        ..GpuOptions::default()
    })?;
    let before = (gpu.allocated_bytes(), gpu.allocation_count());
    expect_error(
        gpu.tensor("logits", 9, 32_768),
        "logits needs a buffer of 1179648 bytes, where the adapter binds at most 1048576; choose a smaller shape",
    )?;
    expect_error(
        gpu.tensor("huge", usize::MAX / 64, 32),
        "huge needs a buffer of 18446744073709551615 bytes, where the adapter binds at most 1048576; choose a smaller \
         shape",
    )?;
    expect_error(
        WeightMatrix::new(&gpu, "wide", WeightFormat::F32, 2, 300_000),
        "4 rows of wide needs a buffer of 4800000 bytes, where the adapter binds at most 1048576; choose a smaller \
         shape",
    )?;
    expect_error(
        WeightMatrix::new(&gpu, "odd", WeightFormat::Q4_0, 2, 48),
        "weight matrix: columns of odd: expected a multiple of 32 for q4_0, found 48",
    )?;
    expect(
        (gpu.allocated_bytes(), gpu.allocation_count()) == before,
        "nothing was allocated",
    )?;
    gpu.tensor("logits", 8, 32_768)?;
    Ok(Completion::Completed)
}

pub(crate) fn counted() -> Outcome {
    let gpu = gpu()?;
    expect(
        gpu.allocated_bytes() == 0 && gpu.allocation_count() == 0,
        "a new device holds nothing",
    )?;
    let tensor = gpu.tensor("x", 3, 33)?;
    expect(
        gpu.allocated_bytes() == 3 * 64 * 4 && gpu.allocation_count() == 1,
        "one tensor, its padding included",
    )?;
    gpu.read_f32(&tensor, 0..3)?;
    let after_read = gpu.allocation_count();
    expect(after_read == 2, "the first read makes its staging buffer")?;
    gpu.read_f32(&tensor, 0..2)?;
    expect(
        gpu.allocation_count() == after_read,
        "a second read makes none",
    )?;
    gpu.reserve_read_back(4096)?;
    let reserved = gpu.allocation_count();
    let larger = gpu.tensor("y", 16, 64)?;
    gpu.read_f32(&larger, 0..16)?;
    expect(
        gpu.allocation_count() == reserved + 1,
        "a reserved read makes none",
    )?;
    drop((tensor, larger));
    expect(
        gpu.allocated_bytes() == 4096,
        "what is dropped is no longer counted",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn pieces() -> Outcome {
    // Rows of 96 columns are 384 bytes: five would fit, and pieces hold whole units of four.
    let gpu = Gpu::new(&GpuOptions {
        binding_limit: Some(2000),
        ..GpuOptions::default()
    })?;
    let (rows, columns) = (11, 96);
    let matrix = WeightMatrix::new(&gpu, "table", WeightFormat::F32, rows, columns)?;
    let sizes: Vec<(usize, usize)> = matrix
        .pieces()
        .iter()
        .map(|piece| (piece.first_row(), piece.rows()))
        .collect();
    expect(
        sizes == [(0, 4), (4, 4), (8, 3)],
        &format!("found {sizes:?}"),
    )?;

    // Written in parts that begin and end inside pieces.
    let values = counting(rows * columns);
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let row_bytes = columns * 4;
    for part in [0..1, 1..6, 6..11] {
        matrix.write_rows(
            &gpu,
            part.start,
            &bytes[part.start * row_bytes..part.end * row_bytes],
        )?;
    }
    expect_error(
        matrix.write_rows(&gpu, 10, &bytes[..2 * row_bytes]),
        "weight matrix: rows of table: expected at most 11, found 12",
    )?;
    expect_error(
        matrix.write_rows(&gpu, 0, &bytes[..10]),
        "weight matrix: bytes for table: expected a multiple of 384, found 10",
    )?;

    expect_rows(&gpu, &matrix, &values)?;
    Ok(Completion::Completed)
}

/// An embedding of every row reads a matrix back: two at a time, as a small limit holds for activations too.
pub(crate) fn expect_rows(gpu: &Gpu, matrix: &WeightMatrix, values: &[f32]) -> Result<(), Failed> {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    let layout = StepLayout {
        max_rows: 2,
        max_sequences: 1,
        pages_per_sequence: 1,
        page_size: 16,
        rope_pairs: 0,
    };
    let step = StepBuffer::new(gpu, layout)?;
    let (chosen, out) = (gpu.ids("chosen", 2)?, gpu.tensor("out", 2, columns)?);
    let embed = Embed::new(gpu, matrix, &step, &chosen, &out)?;
    for token in 0..rows {
        let id = u32::try_from(token)?;
        let row = StepRow {
            token: TokenSource::Id(id),
            position: 0,
            sequence: 0,
            wants_logits: false,
            draw: 0,
        };
        step.write(gpu, &[row], &[&[0]], &[])?;
        let mut recorder = gpu.recorder();
        embed.record(&mut recorder, 1);
        gpu.submit(recorder)?;
        let expected = &values[token * columns..][..columns];
        expect(
            gpu.read_f32(&out, 0..1)? == expected,
            &format!("row {token} is another"),
        )?;
    }
    Ok(())
}

pub(crate) fn copied() -> Outcome {
    let gpu = gpu()?;
    let (from, to) = (gpu.tensor("from", 4, 40)?, gpu.tensor("to", 6, 48)?);
    let values = counting(4 * 40);
    gpu.write_f32(&from, 0, &values)?;
    let mut recorder = gpu.recorder();
    recorder.copy_rows(&from, 1..3, &to, 4);
    gpu.submit(recorder)?;
    expect(
        gpu.read_f32(&to, 3..5)?[48..88] == values[40..80],
        "row 1 is row 4",
    )?;

    let other = gpu.tensor("other", 4, 32)?;
    let mut recorder = gpu.recorder();
    recorder.copy_rows(&from, 0..1, &other, 0);
    expect_error(
        gpu.submit(recorder),
        "copy_rows: stride of other: expected 64, found 32",
    )?;
    let mut recorder = gpu.recorder();
    recorder.copy_rows(&from, 0..4, &to, 3);
    expect_error(
        gpu.submit(recorder),
        "copy_rows: rows of to: expected within 0..6, found 3..7",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn one_pipeline() -> Outcome {
    let gpu = gpu()?;
    let variant = gpu.select("swiglu", &[])?;
    let pipelines: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| gpu.checked_pipeline(variant, &[])))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect::<Result<_, Error>>()
    })?;
    expect(pipelines.len() == 4, "a thread panicked")?;
    expect(
        pipelines
            .iter()
            .all(|pipeline| std::sync::Arc::ptr_eq(pipeline, &pipelines[0])),
        "all threads were given one pipeline",
    )?;
    Ok(Completion::Completed)
}

/// Operations on a small matrix, whose pipelines compile meanwhile.
fn products(gpu: &Gpu) -> Result<[Matmul; 2], Error> {
    let (x, out) = (gpu.tensor("x", 16, 64)?, gpu.tensor("out", 16, 32)?);
    let product = |format| {
        let weight = WeightMatrix::new(gpu, "weight", format, 32, 64)?;
        Matmul::new(gpu, &weight, &x, &out, MatmulOptions::default())
    };
    Ok([product(WeightFormat::F16)?, product(WeightFormat::Q8_0)?])
}

pub(crate) fn compiled_behind() -> Outcome {
    let gpu = gpu()?;
    expect(gpu.pipeline_count() == 0, "nothing is compiled unasked")?;
    let [product, _] = products(&gpu)?;
    let count = gpu.pipeline_count();
    expect(count >= 4, "a matvec and a matmul in two formats")?;
    // What is not finished is waited for where it runs.
    let mut recorder = gpu.recorder();
    product.record(&mut recorder, 16);
    gpu.submit(recorder)?;
    gpu.finish_pipelines()?;
    let time = gpu.pipeline_time();
    expect(!time.is_zero(), "compiling takes time")?;
    gpu.finish_pipelines()?;
    products(&gpu)?;
    expect(
        (gpu.pipeline_count(), gpu.pipeline_time()) == (count, time),
        "nothing is compiled twice",
    )?;
    // Dropped while threads compile: the drop waits for them.
    products(&super::gpu()?)?;
    Ok(Completion::Completed)
}

pub(crate) fn pipelines_kept() -> Outcome {
    let first = gpu()?;
    let Some(key) = first.pipeline_cache_key() else {
        expect(!first.cache_pipelines(&[])?, "no cache without a key")?;
        return Ok(Completion::ignored_with(
            "the adapter has no pipeline cache",
        ));
    };
    expect(first.pipeline_cache_data().is_none(), "no cache unasked")?;
    expect(!first.cache_pipelines(b"something else")?, "no such data")?;
    products(&first)?;
    first.finish_pipelines()?;
    let data = first.pipeline_cache_data().unwrap_or_default();
    expect(!data.is_empty(), "the driver gives something")?;

    let second = gpu()?;
    expect(
        second.pipeline_cache_key() == Some(key),
        "one adapter, one key",
    )?;
    expect(second.cache_pipelines(&data)?, "its own data are taken")?;
    expect(!second.cache_pipelines(&data)?, "once")?;
    products(&second)?;
    second.finish_pipelines()?;
    Ok(Completion::Completed)
}

pub(crate) fn profiled() -> Outcome {
    let gpu = gpu()?;
    if !gpu.capabilities().timestamps {
        return Ok(Completion::ignored_with("the adapter has no timestamps"));
    }
    let (gate_up, h) = (gpu.tensor("gate and up", 4, 64)?, gpu.tensor("h", 4, 32)?);
    let swiglu = SwiGlu::new(&gpu, &gate_up, &h)?;
    let mut recorder = gpu.profiling_recorder()?;
    for _ in 0..100 {
        swiglu.record(&mut recorder, 4);
    }
    let profile = gpu.submit_profiled(recorder)?;
    expect(
        profile.spans.len() == 100 && profile.untimed == 0,
        "a span for each dispatch",
    )?;
    expect(
        profile
            .spans
            .iter()
            .all(|span| span.label == "swiglu" && span.nanoseconds >= 0.0),
        "spans are named",
    )?;
    let sums = profile.by_label();
    expect(
        sums.len() == 1 && sums[0].1 > 0.0,
        "the device's clock moved",
    )?;
    Ok(Completion::Completed)
}

/// Recorders that know nothing of the profile are timed while it is taken, and not before or after.
pub(crate) fn profiled_from_outside() -> Outcome {
    let gpu = gpu()?;
    if !gpu.capabilities().timestamps {
        return Ok(Completion::ignored_with("the adapter has no timestamps"));
    }
    let (gate_up, h) = (gpu.tensor("gate and up", 4, 64)?, gpu.tensor("h", 4, 32)?);
    let swiglu = SwiGlu::new(&gpu, &gate_up, &h)?;
    let run = |times: usize| -> Result<usize, Error> {
        let mut recorder = gpu.recorder();
        for _ in 0..times {
            swiglu.record(&mut recorder, 4);
        }
        gpu.submit(recorder)?;
        Ok(times)
    };
    run(5)?;
    let (sum, profile) = gpu.profiled(|| Ok::<_, Error>(run(3)? + run(0)? + run(70)?))?;
    run(7)?;
    expect(sum == 73, "what the work gave comes back")?;
    expect(
        profile.spans.len() == 73 && profile.untimed == 0,
        "a span for each dispatch of the work",
    )?;
    let (_, again) = gpu.profiled(|| run(2))?;
    expect(again.spans.len() == 2, "a profile begins empty")?;
    expect_error(
        gpu.profiled(|| -> Result<(), Error> {
            run(4)?;
            Err(Error::Timeout {
                limit: std::time::Duration::from_secs(1),
            })
        }),
        &Error::Timeout {
            limit: std::time::Duration::from_secs(1),
        }
        .to_string(),
    )?;
    let (_, after) = gpu.profiled(|| run(1))?;
    expect(after.spans.len() == 1, "a failed profile leaves nothing")?;
    Ok(Completion::Completed)
}

/// Both limits are numbers that a machine can have, and their buffers go.
pub(crate) fn peaks() -> Outcome {
    let gpu = gpu()?;
    let before = gpu.allocated_bytes();
    let peaks = Peaks::measure(&gpu)?;
    expect(
        (1e8..1e14).contains(&peaks.read_bytes_per_second),
        "bytes per second between 0.1 GB and 100 TB",
    )?;
    expect(
        (1e8..1e16).contains(&peaks.operations_per_second),
        "operations per second between 0.1 G and 10 P",
    )?;
    expect(gpu.allocated_bytes() == before, "nothing stays allocated")?;
    Ok(Completion::Completed)
}
