//! The adapters of a run: which ones the flags name, and those that are open.

use anyhow::Result;
use llama_kernels::{AdapterChoice, AdapterDescription, Checks, Gpu, GpuOptions};
use serde::Serialize;

use crate::args::{AdapterArgs, DeviceArgs};
use crate::notice::Notices;
use crate::opening::Opening;
use crate::pipeline_file::PipelineFile;

/// Adapters that are open, in the order of the layers, and where their pipelines are kept.
pub(crate) struct Devices {
    /// At least one.
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) adapter: Adapter,
    pub(crate) pipelines: Vec<PipelineFile>,
}

/// The adapter in an answer's JSON; several are joined by " + ".
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Adapter {
    name: String,
    backend: String,
}

impl Devices {
    /// Awaits the adapters.
    pub(crate) fn open(opening: Opening, args: &DeviceArgs, notices: Notices) -> Result<Self> {
        let gpus = opening.finish()?;
        let mut pipelines = Vec::new();
        if !args.no_pipeline_cache {
            let files = gpus.iter().map(|gpu| PipelineFile::open(gpu, notices));
            pipelines.extend(files.flatten());
        }
        let software = gpus.iter().map(Gpu::adapter).find(|a| a.is_software);
        if let Some(adapter) = software {
            notices.note(format_args!(
                "no GPU is used: {} computes on the processor, slowly",
                adapter.name
            ));
        }
        Ok(Self {
            adapter: Adapter::new(gpus.iter().map(Gpu::adapter)),
            gpus,
            pipelines,
        })
    }
}

impl Adapter {
    fn new<'a>(all: impl Iterator<Item = &'a AdapterDescription> + Clone) -> Self {
        let names: Vec<&str> = all.clone().map(|adapter| adapter.name.as_str()).collect();
        let mut backends: Vec<&str> = all.map(|adapter| adapter.backend.as_str()).collect();
        backends.dedup();
        Self {
            name: names.join(" + "),
            backend: backends.join(" + "),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.backend)
    }
}

/// How each named adapter is to be opened; at least one.
pub(crate) fn options(args: &AdapterArgs) -> Vec<GpuOptions> {
    let of = |adapter| GpuOptions {
        adapter,
        checks: match args.kernel_checks {
            true => Checks::Always,
            false => Checks::Trusted,
        },
        ..GpuOptions::default()
    };
    let found = || Gpu::adapters(&of(AdapterChoice::Best));
    let choices = choices(args.named.adapter.as_deref(), found);
    choices.into_iter().map(of).collect()
}

/// The adapters that a list names. A name with a comma of its own is one adapter's where it is part of a name of those that are
/// found; they are looked for only then.
pub(crate) fn choices(
    list: Option<&str>,
    found: impl FnOnce() -> Vec<AdapterDescription>,
) -> Vec<AdapterChoice> {
    let Some(list) = list else {
        return vec![AdapterChoice::Best];
    };
    if list.contains(',') {
        let name = list.to_lowercase();
        let is_one = |one: &AdapterDescription| one.name.to_lowercase().contains(&name);
        let parts = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let parts: Vec<AdapterChoice> = parts.map(choice).collect();
        if !parts.is_empty() && !found().iter().any(is_one) {
            return parts;
        }
    }
    vec![choice(list)]
}

fn choice(text: &str) -> AdapterChoice {
    text.parse().map_or_else(
        |_| AdapterChoice::Name(text.to_owned()),
        AdapterChoice::Index,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &str) -> Vec<AdapterChoice> {
        choices(Some(list), Vec::new)
    }

    #[test]
    fn a_list_is_indices_and_names() {
        use AdapterChoice::{Best, Index, Name};
        assert_eq!(choices(None, Vec::new), [Best]);
        assert_eq!(named("1"), [Index(1)]);
        assert_eq!(named("0,0, 2"), [Index(0), Index(0), Index(2)]);
        let (radeon, zero) = (Name("Radeon".to_owned()), Index(0));
        assert_eq!(named("Radeon, 0,"), [radeon, zero]);
        assert_eq!(named(","), [Name(",".to_owned())]);
    }
}
