//! The adapters, opened on a thread of its own while the tokenizer is read: drivers take their time.

use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use llama_kernels::{Error, Gpu};

use crate::args::AdapterArgs;
use crate::devices;

/// Devices on their way. Dropping it waits too: no process ends well while a driver begins.
#[derive(Debug)]
pub(crate) struct Opening {
    thread: Option<JoinHandle<Result<Vec<Gpu>, Error>>>,
}

impl Opening {
    pub(crate) fn begin(args: &AdapterArgs) -> Result<Self> {
        let args = args.clone();
        let thread = thread::Builder::new()
            .name("adapter".to_owned())
            .spawn(move || devices::options(&args).iter().map(Gpu::new).collect())?;
        Ok(Self {
            thread: Some(thread),
        })
    }

    /// The devices, or why one is not there.
    pub(crate) fn finish(mut self) -> Result<Vec<Gpu>> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(gpus)) => Ok(gpus?),
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
