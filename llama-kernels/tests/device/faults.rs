//! Loss, hang, exhaustion and refusal.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use libtest_mimic::Completion;
use llama_kernels::{
    AdapterChoice, Bind, Error, Gpu, GpuOptions, StepBuffer, StepLayout, StepRow, Tensor,
    TokenSource, Uniform, WeightFormat, WeightMatrix,
    ops::{Matmul, MatmulOptions, SwiGlu},
};

use super::{Outcome, expect, expect_error, gpu};

fn lost(result: Result<(), Error>) -> Outcome {
    match result {
        Err(Error::DeviceLost { .. }) => Ok(Completion::Completed),
        other => Err(format!("expected a lost device, found {other:?}").into()),
    }
}

pub(crate) fn lost_while_idle() -> Outcome {
    let gpu = gpu()?;
    gpu.device().destroy();
    lost(gpu.wait())?;
    lost(gpu.tensor("late", 1, 32).map(|_| ()))
}

pub(crate) fn lost_before_submit() -> Outcome {
    let gpu = gpu()?;
    let (gate_up, h) = (gpu.tensor("gate and up", 4, 64)?, gpu.tensor("h", 4, 32)?);
    let swiglu = SwiGlu::new(&gpu, &gate_up, &h)?;
    let mut recorder = gpu.recorder();
    swiglu.record(&mut recorder, 4);
    gpu.device().destroy();
    lost(gpu.submit(recorder))?;
    // A recorder made after the loss is no panic either.
    let mut recorder = gpu.recorder();
    swiglu.record(&mut recorder, 4);
    lost(gpu.submit(recorder))
}

pub(crate) fn lost_before_poll() -> Outcome {
    let gpu = gpu()?;
    let (gate_up, h) = (gpu.tensor("gate and up", 4, 64)?, gpu.tensor("h", 4, 32)?);
    let mut recorder = gpu.recorder();
    SwiGlu::new(&gpu, &gate_up, &h)?.record(&mut recorder, 4);
    gpu.submit(recorder)?;
    gpu.device().destroy();
    lost(gpu.wait())
}

pub(crate) fn lost_before_read() -> Outcome {
    let gpu = gpu()?;
    let tensor = gpu.tensor("x", 4, 32)?;
    gpu.device().destroy();
    lost(gpu.read_f32(&tensor, 0..4).map(|_| ()))
}

pub(crate) fn timeout() -> Outcome {
    let limit = Duration::from_micros(10);
    let gpu = Gpu::new(&GpuOptions {
        timeout: limit,
        ..GpuOptions::default()
    })?;
    let weight = WeightMatrix::new(&gpu, "weight", WeightFormat::F32, 1024, 1024)?;
    let (x, out) = (gpu.tensor("x", 256, 1024)?, gpu.tensor("out", 256, 1024)?);
    let matmul = Matmul::new(&gpu, &weight, &x, &out, MatmulOptions::default())?;
    let mut recorder = gpu.recorder();
    // Half a GFLOP each: together more than ten microseconds' work for any adapter.
    for _ in 0..2 {
        matmul.record(&mut recorder, 256);
    }
    let began = Instant::now();
    let result = gpu.submit(recorder).and_then(|()| gpu.wait());
    expect_error(
        result,
        "the GPU did not finish within 10µs; it may hang: start again, or raise the timeout on a slow adapter",
    )?;
    expect(
        began.elapsed() < Duration::from_secs(60),
        "the error came long after the timeout",
    )?;
    Ok(Completion::Completed)
}

/// Set in the process that [`exhaust_memory`] runs in.
pub(crate) const EXHAUST: &str = "LLAMA_TEST_EXHAUST";

/// A software adapter's memory is its process's: with little address space left, allocations fail as on a full GPU.
pub(crate) fn out_of_memory() -> Outcome {
    if !gpu()?.adapter().is_software {
        return Ok(Completion::ignored_with(
            "filling a GPU that others use would fail their work",
        ));
    }
    if !cfg!(target_os = "linux") {
        return Ok(Completion::ignored_with("needs ulimit -v"));
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 4000000 && exec \"$0\""])
        .arg(std::env::current_exe()?)
        .env(EXHAUST, "1")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = said.starts_with("out of GPU memory: filler needs 134217728 bytes and ")
        && said.trim_end().ends_with(
            " are in use; choose a smaller weight format or a shorter context\nstill works",
        );
    let stderr = String::from_utf8_lossy(&output.stderr);
    expect(
        expected && output.status.success(),
        &format!("found {said:?} and {stderr:?}"),
    )?;
    Ok(Completion::Completed)
}

/// Allocates until it fails, prints the error, and shows that the device survived.
pub(crate) fn exhaust_memory() -> ExitCode {
    let run = || -> Result<String, Error> {
        let gpu = Gpu::new(&GpuOptions::default())?;
        let mut fillers = Vec::new();
        let error = loop {
            match gpu.tensor("filler", 1 << 20, 32) {
                Ok(tensor) => fillers.push(tensor),
                Err(error) => break error,
            }
        };
        drop(fillers);
        // Freed memory comes back when the device is polled.
        gpu.wait()?;
        let small = gpu.tensor("small", 1, 32)?;
        gpu.write_f32(&small, 0, &[1.0; 32])?;
        gpu.read_f32(&small, 0..1)?;
        Ok(format!("{error}\nstill works"))
    };
    match run() {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn refused_command() -> Outcome {
    let gpu = gpu()?;
    // A mistake that no scope of ours is around: half a word is no copy size.
    let words = gpu
        .device()
        .create_buffer(&llama_kernels::wgpu::BufferDescriptor {
            label: Some("words"),
            size: 16,
            usage: llama_kernels::wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
    gpu.queue().write_buffer(&words, 2, &[0; 4]);
    match gpu.wait() {
        Err(Error::Driver { reason }) => expect(reason.contains("offset 2"), &reason)?,
        other => return Err(format!("expected a refused command, found {other:?}").into()),
    }
    // Told once; the device works on.
    gpu.wait()?;
    Ok(Completion::Completed)
}

pub(crate) fn no_such_adapter() -> Outcome {
    let options = GpuOptions {
        adapter: AdapterChoice::Name("no such adapter".to_owned()),
        ..GpuOptions::default()
    };
    let found: Vec<String> = Gpu::adapters(&options)
        .iter()
        .map(ToString::to_string)
        .collect();
    let sentence = format!(
        "no GPU adapter named `no such adapter`: found {}; install a Vulkan driver (Debian: apt install \
         mesa-vulkan-drivers) or choose another adapter",
        found.join(", ")
    );
    expect_error(Gpu::new(&options), &sentence)?;
    Ok(Completion::Completed)
}

pub(crate) fn too_many_workgroups() -> Outcome {
    let gpu = gpu()?;
    let limit = gpu.capabilities().limits.workgroups;
    if limit == u32::MAX {
        return Ok(Completion::ignored_with("the adapter has no limit"));
    }
    let operands = Operands::new(&gpu)?;
    let dispatch = gpu
        .checked_pipeline(gpu.select("swiglu", &[])?, &[])?
        .bind(&gpu, "swiglu", operands.bindings())?;
    let mut recorder = gpu.recorder();
    recorder.dispatch(&dispatch, [1, limit + 1, 1]);
    recorder.dispatch(&dispatch, [1, 1, limit + 1]);
    let sentence = format!(
        "swiglu dispatches 1 × {} × 1 workgroups, where the adapter takes at most {limit} in each dimension",
        limit + 1
    );
    expect_error(gpu.submit(recorder), &sentence)?;
    Ok(Completion::Completed)
}

/// What the kernel swiglu binds.
struct Operands {
    args: Uniform,
    gate_up: Tensor,
    out: Tensor,
}

impl Operands {
    fn new(gpu: &Gpu) -> Result<Self, Error> {
        let args = gpu.uniform("args", &[32_u32, 64, 32, 0])?;
        Ok(Self {
            args,
            gate_up: gpu.tensor("gate and up", 1, 64)?,
            out: gpu.tensor("out", 1, 32)?,
        })
    }

    fn bindings(&self) -> [(&'static str, Bind<'_>); 3] {
        [
            ("args", self.args.binding()),
            ("gate_up", self.gate_up.binding()),
            ("out", self.out.binding()),
        ]
    }
}

pub(crate) fn no_such_kernel() -> Outcome {
    let gpu = gpu()?;
    expect_error(
        gpu.select("softmax", &[]),
        "kernel softmax has no variant for any format: kernels.toml lists none",
    )?;
    expect_error(
        gpu.select("matvec", &[("weight", "q3_k")]),
        "kernel matvec has no variant for weight q3_k: kernels.toml lists none",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn bindings_by_name() -> Outcome {
    let gpu = gpu()?;
    let variant = gpu.select("swiglu", &[])?;
    let pipeline = gpu.checked_pipeline(variant, &[])?;
    let operands = Operands::new(&gpu)?;
    let all = || operands.bindings().into_iter();
    pipeline.bind(&gpu, "complete", all())?;
    expect_error(
        pipeline.bind(&gpu, "missing", all().take(2)),
        "swiglu.plain, binding out: no buffer is given for it",
    )?;
    expect_error(
        pipeline.bind(&gpu, "twice", all().chain(all().take(1))),
        "swiglu.plain, binding args: it is given twice",
    )?;
    expect_error(
        pipeline.bind(
            &gpu,
            "unknown",
            all().chain([("bias", operands.args.binding())]),
        ),
        "swiglu.plain, binding bias: the variant has no such binding",
    )?;
    expect_error(
        pipeline.bind(
            &gpu,
            "aliased",
            all().take(2).chain([("out", operands.gate_up.binding())]),
        ),
        "swiglu.plain, binding out: it is written, and `gate_up` is the same buffer",
    )?;
    expect_error(
        gpu.checked_pipeline(variant, &[("NO_SUCH", 1.0)]),
        "swiglu.plain, binding NO_SUCH: the variant declares no such override",
    )?;
    Ok(Completion::Completed)
}

/// Rows, page tables and angles, and what is said of them.
type Refused<'a> = (&'a [StepRow], &'a [&'a [u32]], &'a [f32], &'a str);

pub(crate) fn steps_that_do_not_fit() -> Outcome {
    let gpu = gpu()?;
    let layout = StepLayout {
        max_rows: 2,
        max_sequences: 1,
        pages_per_sequence: 2,
        page_size: 16,
        rope_pairs: 1,
    };
    expect_error(
        StepBuffer::new(
            &gpu,
            StepLayout {
                page_size: 24,
                ..layout
            },
        ),
        "step: positions per page: expected a power of two, at least 16, found 24",
    )?;
    expect_error(
        StepBuffer::new(
            &gpu,
            StepLayout {
                pages_per_sequence: 1 << 20,
                page_size: 1 << 12,
                ..layout
            },
        ),
        "step: positions of a sequence: expected at most 2147483648, found 4294967296",
    )?;
    let step = StepBuffer::new(&gpu, layout)?;
    let row = StepRow {
        token: TokenSource::Id(7),
        position: 31,
        sequence: 0,
        wants_logits: true,
        draw: 0,
    };
    let angles = [1.0, 0.0];
    step.write(&gpu, &[row], &[&[0, 1]], &angles)?;
    let refused: [Refused<'_>; 7] = [
        (
            &[row; 3],
            &[&[0, 1]],
            &[0.0; 6],
            "rows: expected at most 2, found 3",
        ),
        (
            &[row],
            &[&[0], &[1]],
            &angles,
            "sequences: expected at most 1, found 2",
        ),
        (
            &[row],
            &[&[0, 1, 2]],
            &angles,
            "pages of a sequence: expected at most 2, found 3",
        ),
        (
            &[row],
            &[&[0, 1]],
            &[1.0],
            "cosines and sines: expected 2, found 1",
        ),
        (
            &[StepRow { sequence: 1, ..row }],
            &[&[0, 1]],
            &angles,
            "sequence of a row: expected below 1, found 1",
        ),
        (
            &[row],
            &[&[0]],
            &angles,
            "position of a row: expected below 16, the room of its pages, found 31",
        ),
        (
            &[StepRow {
                token: TokenSource::Chosen(2),
                ..row
            }],
            &[&[0, 1]],
            &angles,
            "row of the step before: expected below 2, found 2",
        ),
    ];
    for (rows, tables, angles, sentence) in refused {
        expect_error(
            step.write(&gpu, rows, tables, angles),
            &format!("step: {sentence}"),
        )?;
    }
    Ok(Completion::Completed)
}
