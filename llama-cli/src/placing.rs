//! Where a model is to lie: the layers shared among the adapters, and what of them stays in host memory.

use anyhow::Result;
use llama_kernels::{AdapterDescription, Gpu};
use llama_model::{
    KvChoice, Placement, PlacementPlan, PlacementRequest, Share, Stored, WeightChoice,
};
use llama_weights::Hyperparameters;

use crate::args::MemoryArgs;
use crate::memory;
use crate::notice::Notices;
use crate::size::gibibytes;

/// A model with a session of so many positions, and what the flags say of its place.
pub(crate) struct Placing<'a> {
    pub(crate) hyperparameters: &'a Hyperparameters,
    pub(crate) stored: Stored<'a>,
    pub(crate) context: usize,
    pub(crate) args: &'a MemoryArgs,
}

impl Placing<'_> {
    pub(crate) fn weights(&self) -> WeightChoice {
        self.args.dtype.into()
    }

    pub(crate) fn kv(&self) -> KvChoice {
        self.args.kv_dtype.into()
    }

    /// Where it goes, if it fits; one line says what is slow about it.
    pub(crate) fn place(&self, gpus: &[Gpu], notices: Notices) -> Result<Placement> {
        let adapters: Vec<Option<&AdapterDescription>> =
            gpus.iter().map(|gpu| Some(gpu.adapter())).collect();
        let there = memory::there(&adapters);
        let request = self.request(&there, memory::left());
        let shares = request.shares()?;
        request.check(&shares)?;
        let plan = request.plan(&shares);
        let streamed: usize = shares.iter().map(|share| share.streamed).sum();
        if streamed > 0 {
            notices.note(format_args!(
                "{streamed} of {} layers stay in host memory ({}) and are copied to the adapter in every step: this is slow",
                self.hyperparameters.n_layers,
                gibibytes(plan.host_bytes)
            ));
        }
        for (device, gpu) in plan.devices.iter().zip(gpus) {
            notices.detail(format_args!(
                "{}: layers {} to {}, {} of them streamed, {} in all",
                gpu.adapter().name,
                device.layers.start,
                device.layers.end.saturating_sub(1),
                device.streamed,
                gibibytes(device.total())
            ));
        }
        Ok(Placement::new(gpus.to_vec(), shares))
    }

    /// What lies where on adapters with so much memory, and why that cannot be.
    pub(crate) fn plan(
        &self,
        there: &[Option<u64>],
        host: Option<u64>,
    ) -> Result<(PlacementPlan, Option<llama_model::Error>)> {
        let request = self.request(there, host);
        let shares: Vec<Share> = request.shares()?;
        Ok((request.plan(&shares), request.check(&shares).err()))
    }

    /// Memory that ran out on the only adapter, as what would fit into as much as there was; any other error as it is.
    pub(crate) fn ran_out(&self, error: anyhow::Error, gpus: &[Gpu]) -> anyhow::Error {
        let there = match (error.downcast_ref(), gpus) {
            (
                Some(llama_model::Error::Gpu(llama_kernels::Error::OutOfMemory {
                    allocated, ..
                })),
                [_],
            ) => *allocated,
            _ => return error,
        };
        match self.plan(&[Some(there)], None) {
            Ok((_, Some(does_not_fit))) => does_not_fit.into(),
            _ => error,
        }
    }

    fn request<'a>(&'a self, there: &'a [Option<u64>], host: Option<u64>) -> PlacementRequest<'a> {
        PlacementRequest {
            hyperparameters: self.hyperparameters,
            stored: self.stored,
            weights: self.weights(),
            kv: self.kv(),
            context: self.context,
            devices: there,
            host,
            gpu_layers: self.args.gpu_layers,
            split: self.args.split.as_ref().map(|counts| counts.0.as_slice()),
        }
    }
}
