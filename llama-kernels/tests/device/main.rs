//! The runtime on a real adapter: memory, transfer, binding, and every fault that an adapter can be brought to.
//!
//! Without an adapter the trials are ignored, unless `LLAMA_GPU=require`, which makes that a failure.

mod behind;
mod bridge;
mod faults;
mod memory;
mod upload;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_kernels::{Error, Gpu, GpuOptions};

type Outcome = Result<Completion, Failed>;
type Check = fn() -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("an unused device is lost", faults::lost_while_idle),
    (
        "a device is lost before a submit",
        faults::lost_before_submit,
    ),
    ("a device is lost before a poll", faults::lost_before_poll),
    ("a device is lost before a read", faults::lost_before_read),
    ("a submission takes too long", faults::timeout),
    ("memory runs out", faults::out_of_memory),
    ("wgpu's own errors come back typed", faults::refused_command),
    ("an adapter that is not there", faults::no_such_adapter),
    ("too many workgroups", faults::too_many_workgroups),
    ("a kernel that is not there", faults::no_such_kernel),
    ("bindings by name", faults::bindings_by_name),
    ("steps that do not fit", faults::steps_that_do_not_fit),
    ("a device of the caller's own", memory::callers_device),
    ("rows go to the device and back", memory::round_trip),
    (
        "threads that write and read at once",
        memory::threads_at_once,
    ),
    ("an upload of many chunks", memory::many_chunks),
    ("buffers over the limit", memory::over_the_limit),
    ("rows through the ring", upload::rows_arrive),
    ("what the ring refuses", upload::refused),
    ("rows kept on the host", upload::kept_on_the_host),
    ("rows from device to device", bridge::crossed),
    ("rows that do not pass", bridge::refused),
    ("a device is lost between rows", bridge::lost),
    ("bytes and counts of allocation", memory::counted),
    ("matrix rows across pieces", memory::pieces),
    ("rows copied on the device", memory::copied),
    ("ids read behind, in order", behind::in_order),
    ("ids read behind and forgotten", behind::forgotten),
    ("reads behind that are refused", behind::refused),
    ("a device is lost before a read behind", behind::lost),
    ("one pipeline for all threads", memory::one_pipeline),
    (
        "pipelines compiled behind the caller",
        memory::compiled_behind,
    ),
    ("pipelines kept for the next device", memory::pipelines_kept),
    ("a profile names its dispatches", memory::profiled),
    (
        "a profile of work that knows nothing of it",
        memory::profiled_from_outside,
    ),
    ("the adapter's peaks", memory::peaks),
];

fn main() -> ExitCode {
    if std::env::var_os(faults::EXHAUST).is_some() {
        return faults::exhaust_memory();
    }
    let arguments = Arguments::from_args();
    let trials = CHECKS
        .iter()
        .map(|(name, check)| Trial::ignorable_test(*name, move || with_adapter(*check)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn with_adapter(check: Check) -> Outcome {
    let required = std::env::var_os("LLAMA_GPU").is_some_and(|value| value == "require");
    match Gpu::new(&GpuOptions::default()) {
        Err(error @ Error::NoAdapter { .. }) if !required => Ok(Completion::ignored_with(error)),
        Err(error) => Err(error.into()),
        Ok(_) => check(),
    }
}

/// A device of its own for each trial: losing it disturbs no other.
fn gpu() -> Result<Gpu, Failed> {
    Ok(Gpu::new(&GpuOptions::default())?)
}

fn expect_error<T>(result: Result<T, Error>, sentence: &str) -> Result<(), Failed> {
    match result {
        Err(error) if error.to_string() == sentence => Ok(()),
        Err(error) => Err(format!("expected: {sentence}\n   found: {error}").into()),
        Ok(_) => Err(format!("expected: {sentence}\n   found: success").into()),
    }
}

fn expect(condition: bool, what: &str) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(what.into()) }
}
