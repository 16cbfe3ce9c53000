//! The adapter, opened on a thread of its own while the tokenizer is read: drivers take their time.

use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use llama_kernels::{Error, Gpu};

use crate::args::AdapterArgs;
use crate::engine::gpu_options;

/// A device on its way. Dropping it waits too: no process ends well while a driver begins.
#[derive(Debug)]
pub(crate) struct Opening {
    thread: Option<JoinHandle<Result<Gpu, Error>>>,
}

impl Opening {
    pub(crate) fn begin(args: &AdapterArgs) -> Result<Self> {
        let options = gpu_options(args);
        let thread = thread::Builder::new()
            .name("adapter".to_owned())
            .spawn(move || Gpu::new(&options))?;
        Ok(Self {
            thread: Some(thread),
        })
    }

    /// The device, or why there is none.
    pub(crate) fn finish(mut self) -> Result<Gpu> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(gpu)) => Ok(gpu?),
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(anyhow!("the adapter was opened before")),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Nobody asks for the device any more, nor for what went wrong with it.
            let _ = thread.join();
        }
    }
}
