//! `doctor`: what this machine offers, what will run on it, what is missing and how to get it.

use std::collections::BTreeMap;

use anyhow::Result;
use llama_kernels::{AdapterDescription, Gpu, KvFormat, WeightFormat, selection};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::devices;
use crate::output::Output;

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    platform: String,
    adapters: Vec<Adapter>,
    /// Index of the adapter that a run would use.
    chosen: Option<usize>,
    software_only: bool,
    /// Of the chosen adapter.
    variants: Vec<Variant>,
    /// Of the chosen adapter, on DX12.
    shader_compiler: Option<&'static str>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Adapter {
    index: usize,
    name: String,
    backend: String,
    driver: String,
    driver_info: String,
    device_type: &'static str,
    software: bool,
    limits: BTreeMap<&'static str, u64>,
    features: Vec<&'static str>,
}

/// What one kernel runs as, for one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Variant {
    kernel: &'static str,
    format: Option<&'static str>,
    variant: Option<&'static str>,
    /// Whether it runs with run-time checks.
    checks: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Missing {
    what: String,
    how: &'static str,
}

pub(crate) fn run(args: DoctorArgs) -> Result<()> {
    // Of several, the first.
    let named = devices::options(&args.adapter).into_iter().next();
    let options = named.unwrap_or_default();
    let found = Gpu::adapters(&options);
    // Whether an adapter works is known only when it has given a device.
    let gpu = Gpu::new(&options);
    let report = Report::new(&found, gpu.as_ref().ok());
    let mut output = Output::new();
    if args.output.json {
        output.json(&report)?;
    } else {
        report.print(&mut output)?;
    }
    gpu?;
    Ok(())
}

impl Report {
    fn new(found: &[AdapterDescription], gpu: Option<&Gpu>) -> Self {
        let variants = gpu.map(variants).unwrap_or_default();
        let chosen = gpu.map(Gpu::adapter);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            adapters: found.iter().map(Adapter::new).collect(),
            chosen: chosen.map(|adapter| adapter.index),
            software_only: !found.is_empty() && found.iter().all(|adapter| adapter.is_software),
            shader_compiler: chosen.and_then(|adapter| adapter.shader_compiler),
            missing: missing(found, chosen, &variants),
            variants,
        }
    }

    fn print(&self, output: &mut Output) -> Result<()> {
        output.line(&format!("llama-cli {} on {}", self.version, self.platform))?;
        output.line("\nadapters")?;
        if self.adapters.is_empty() {
            output.line("  none")?;
        }
        for adapter in &self.adapters {
            let mark = if self.chosen == Some(adapter.index) {
                '*'
            } else {
                ' '
            };
            output.line(&format!(
                "{mark} {} {} ({}, {})",
                adapter.index, adapter.name, adapter.backend, adapter.device_type
            ))?;
            output.line(&format!(
                "    driver    {} {}",
                adapter.driver, adapter.driver_info
            ))?;
            output.line(&format!("    features  {}", adapter.features.join(", ")))?;
            for (name, limit) in &adapter.limits {
                output.line(&format!("    {name:<24} {limit}"))?;
            }
        }
        if let Some(compiler) = self.shader_compiler {
            output.line(&format!("\nshader compiler: {compiler}"))?;
        }
        if !self.variants.is_empty() {
            output.line("\nkernels")?;
        }
        for Variant {
            kernel,
            format,
            variant,
            checks,
        } in &self.variants
        {
            let (format, variant) = (format.unwrap_or("-"), variant.unwrap_or("NONE"));
            let checks = if *checks { "  run-time checks on" } else { "" };
            output.line(&format!("  {kernel:<16} {format:<6} {variant}{checks}"))?;
        }
        if !self.missing.is_empty() {
            output.line("\nmissing")?;
        }
        for Missing { what, how } in &self.missing {
            output.line(&format!("  {what}: {how}"))?;
        }
        Ok(())
    }
}

impl Adapter {
    fn new(adapter: &AdapterDescription) -> Self {
        Self {
            index: adapter.index,
            name: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            driver_info: adapter.driver_info.clone(),
            device_type: adapter.device_type,
            software: adapter.is_software,
            limits: adapter.capabilities.limit_values().into_iter().collect(),
            features: adapter.capabilities.features(),
        }
    }
}

/// Every kernel in every format, each pair once.
fn variants(gpu: &Gpu) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    for weight in WeightFormat::ALL {
        let kv = match weight {
            WeightFormat::F32 => KvFormat::F32,
            _ => KvFormat::F16,
        };
        for selected in selection(gpu.capabilities(), weight, kv) {
            let variant = Variant {
                kernel: selected.kernel,
                format: selected.format,
                variant: selected.variant.map(|variant| variant.name),
                checks: selected.variant.is_some_and(|variant| gpu.checks(variant)),
            };
            if !variants.contains(&variant) {
                variants.push(variant);
            }
        }
    }
    variants.sort_by_key(|variant| variant.kernel);
    variants
}

const INSTALL_DRIVER: &str = if cfg!(target_os = "linux") {
    "install the Vulkan driver of your GPU (AMD, Intel, and without any GPU: apt install mesa-vulkan-drivers, or your \
     distribution's package of that name; NVIDIA: the package nvidia-driver)"
} else if cfg!(target_os = "macos") {
    "Metal is part of macOS 11 and later: update the system"
} else if cfg!(windows) {
    "install the GPU maker's driver; Windows 10 and later bring the software adapter WARP with DirectX 12"
} else {
    "install a Vulkan driver for your GPU"
};

/// What this machine could have and has not.
fn missing(
    found: &[AdapterDescription],
    chosen: Option<&AdapterDescription>,
    variants: &[Variant],
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut lacks = |what: &str, how| {
        missing.push(Missing {
            what: what.to_owned(),
            how,
        })
    };
    let Some(chosen) = chosen else {
        lacks(
            if found.is_empty() {
                "an adapter"
            } else {
                "an adapter that works and fits --adapter"
            },
            INSTALL_DRIVER,
        );
        return missing;
    };
    if chosen.is_software {
        lacks(
            "a GPU (a software adapter computes on the processor, slowly)",
            INSTALL_DRIVER,
        );
    }
    if chosen.shader_compiler == Some("fxc") {
        lacks(
            "the shader compiler DXC (FXC has no subgroup operations and no f16, so slower kernels run)",
            "put dxcompiler.dll beside llama-cli.exe or on the PATH, or use a build with the feature static-dxc",
        );
    }
    for (name, present) in [
        ("subgroups", chosen.capabilities.subgroups.is_some()),
        ("f16", chosen.capabilities.f16),
    ] {
        if !present && chosen.shader_compiler != Some("fxc") {
            lacks(
                name,
                "kernels without it run instead; a newer driver may offer it",
            );
        }
    }
    for variant in variants.iter().filter(|variant| variant.variant.is_none()) {
        let what = format!(
            "a variant of {} for {}",
            variant.kernel,
            variant.format.unwrap_or("this adapter")
        );
        lacks(&what, "choose another --dtype or another adapter");
    }
    missing
}
