//! Trials that need a GPU: ignored with the reason where there is none, failed where one is required.

use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};
use llama_model::llama_kernels::{Error, Gpu, GpuOptions};

/// A trial on the best adapter, which all trials share.
pub(crate) fn trial(
    name: impl Into<String>,
    body: impl FnOnce(&Gpu) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match gpu() {
        Ok(gpu) => body(gpu).map(|()| Completion::Completed),
        Err(Error::NoAdapter { .. }) if std::env::var("LLAMA_GPU").as_deref() != Ok("require") => {
            Ok(Completion::ignored_with("there is no adapter"))
        }
        Err(error) => Err(error.to_string().into()),
    })
}

fn gpu() -> Result<&'static Gpu, &'static Error> {
    static GPU: OnceLock<Result<Gpu, Error>> = OnceLock::new();
    GPU.get_or_init(|| Gpu::new(&GpuOptions::default()))
        .as_ref()
}
