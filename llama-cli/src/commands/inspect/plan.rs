//! What would lie where, for the flags of a run: no device is made, and adapters are looked at only where they are named.

use anyhow::Result;
use llama_kernels::{AdapterChoice, AdapterDescription, Gpu, GpuOptions};
use llama_weights::Checkpoint;
use serde::Serialize;

use crate::args::InspectArgs;
use crate::devices;
use crate::engine;
use crate::memory;
use crate::notice::Notices;
use crate::output::Output;
use crate::placing::Placing;
use crate::size::gibibytes;

#[derive(Debug, Serialize)]
pub(super) struct Plan {
    context: usize,
    devices: Vec<Device>,
    /// Matrices of layers that are copied to their device in every step.
    host_bytes: u64,
    total_bytes: u64,
    /// Why a run would be refused, as far as memory is known.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Device {
    /// `None` where no adapter is named, or it is not here.
    adapter: Option<String>,
    /// Memory that it has for a model, where that is known.
    memory_bytes: Option<u64>,
    first_layer: usize,
    layers: usize,
    streamed_layers: usize,
    weight_bytes: u64,
    slot_bytes: u64,
    kv_bytes: u64,
    activation_bytes: u64,
    transfer_bytes: u64,
    total_bytes: u64,
}

impl Plan {
    pub(super) fn new(
        checkpoint: &Checkpoint,
        args: &InspectArgs,
        notices: Notices,
    ) -> Result<Self> {
        let h = checkpoint.hyperparameters();
        let placing = Placing {
            hyperparameters: h,
            stored: checkpoint.into(),
            context: engine::context_size(args.memory.ctx_size.map(Into::into), h, notices),
            args: &args.memory,
        };
        let found = match args.named.adapter {
            Some(_) => Gpu::adapters(&GpuOptions::default()),
            None => Vec::new(),
        };
        let named = devices::choices(args.named.adapter.as_deref(), || found.clone());
        let adapters: Vec<Option<&AdapterDescription>> =
            named.iter().map(|choice| adapter(choice, &found)).collect();
        for (choice, adapter) in named.iter().zip(&adapters) {
            if adapter.is_none() && *choice != AdapterChoice::Best {
                notices.warn(format_args!(
                    "no adapter {} is here: the plan takes its memory for unknown",
                    match choice {
                        AdapterChoice::Index(index) => index.to_string(),
                        AdapterChoice::Name(name) => format!("named {name:?}"),
                        AdapterChoice::Best => String::new(),
                    }
                ));
            }
        }
        let there = memory::there(&adapters);
        let (plan, problem) = placing.plan(&there, memory::left())?;
        let devices = (plan.devices.iter().zip(&adapters).zip(&there)).map(
            |((device, adapter), memory_bytes)| Device {
                adapter: adapter.map(|adapter| adapter.name.clone()),
                memory_bytes: *memory_bytes,
                first_layer: device.layers.start,
                layers: device.layers.len(),
                streamed_layers: device.streamed,
                weight_bytes: device.weight_bytes,
                slot_bytes: device.slot_bytes,
                kv_bytes: device.kv_bytes,
                activation_bytes: device.activation_bytes,
                transfer_bytes: device.transfer_bytes,
                total_bytes: device.total(),
            },
        );
        let devices: Vec<Device> = devices.collect();
        let totals = devices.iter().map(|device| device.total_bytes);
        Ok(Self {
            context: placing.context,
            host_bytes: plan.host_bytes,
            total_bytes: totals.fold(plan.host_bytes, u64::saturating_add),
            devices,
            problem: problem.map(|error| error.to_string()),
        })
    }

    pub(super) fn print(&self, output: &mut Output) -> Result<()> {
        output.line(&format!(
            "\nwhat lies where, for a context of {}",
            self.context
        ))?;
        for device in &self.devices {
            let name = device.adapter.as_deref().unwrap_or("any");
            output.line(&format!("  adapter             {name}"))?;
            if let Some(bytes) = device.memory_bytes {
                output.line(&format!("    there are         {}", gibibytes(bytes)))?;
            }
            let (first, count) = (device.first_layer, device.layers);
            let last = (first + count).saturating_sub(1);
            output.line(&format!("    layers            {first} to {last}"))?;
            if device.streamed_layers > 0 {
                let first = first + count - device.streamed_layers;
                output.line(&format!(
                    "    from host memory  {first} to {last}, in every step"
                ))?;
            }
            for (what, bytes) in [
                ("weights", device.weight_bytes),
                ("streamed weights", device.slot_bytes),
                ("keys and values", device.kv_bytes),
                ("activations", device.activation_bytes),
                ("transfer", device.transfer_bytes),
                ("all", device.total_bytes),
            ] {
                // What a usual run does not have is left out.
                if bytes > 0 {
                    output.line(&format!("    {what:<17} {}", gibibytes(bytes)))?;
                }
            }
        }
        if self.host_bytes > 0 {
            let bytes = gibibytes(self.host_bytes);
            output.line(&format!("  host memory         {bytes}"))?;
        }
        if self.devices.len() > 1 || self.host_bytes > 0 {
            let bytes = gibibytes(self.total_bytes);
            output.line(&format!("  all                 {bytes}"))?;
        }
        match &self.problem {
            Some(problem) => output.line(&format!("  {problem}")),
            None => Ok(()),
        }
    }
}

/// As a run would choose it, but none where none is named.
fn adapter<'a>(
    choice: &AdapterChoice,
    found: &'a [AdapterDescription],
) -> Option<&'a AdapterDescription> {
    match choice {
        AdapterChoice::Best => None,
        AdapterChoice::Index(index) => found.get(*index),
        AdapterChoice::Name(name) => {
            let name = name.to_lowercase();
            let mut named = found.iter();
            named.find(|adapter| adapter.name.to_lowercase().contains(&name))
        }
    }
}
