#![doc = include_str!("../README.md")]

mod capabilities;
mod checksum;
mod error;
mod format;
#[cfg(feature = "wgpu")]
mod gpu;
mod kernel;
#[cfg(feature = "wgpu")]
pub mod ops;
#[cfg(feature = "wgpu")]
mod peaks;
mod planes;
pub mod reference;
mod trust;

pub use capabilities::{Capabilities, Limits, SubgroupSizes};
pub use error::Error;
pub use format::{
    BLOCK, KvFormat, NO_TOKEN, SUPER_BLOCK, WeightFormat, kv_row, padded, scale_stride,
};
#[cfg(feature = "wgpu")]
pub use gpu::*;
pub use kernel::{
    Binding, BindingClass, Device, KernelSource, Override, Requirement, Selection, Variant, select,
    selection, variants,
};
#[cfg(feature = "wgpu")]
pub use peaks::Peaks;
pub use planes::Planes;
#[cfg(feature = "wgpu")]
pub use wgpu;
