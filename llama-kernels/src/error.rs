//! Every way in which this crate fails, one sentence each.

use std::time::Duration;

/// An error of the runtime. The message names what was asked, what there is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter answers the request.
    #[error(
        "no GPU adapter {wanted}: found {found}; install a Vulkan driver (Debian: apt install mesa-vulkan-drivers) or choose another adapter"
    )]
    NoAdapter {
        /// What was looked for.
        wanted: String,
        /// The adapters there are.
        found: String,
    },
    /// The adapter gave no device.
    #[error(
        "adapter {adapter} gives no device: {reason}; update its driver or choose another adapter"
    )]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// The driver's reason.
        reason: String,
    },
    /// The device is gone; nothing made from it works any more.
    #[error(
        "the GPU device was lost: {reason}; start again, on another adapter if it happens again"
    )]
    DeviceLost {
        /// The driver's reason.
        reason: String,
    },
    /// The device has no memory left for a buffer.
    #[error(
        "out of GPU memory: {label} needs {asked} bytes and {allocated} are in use; choose a smaller weight format or a shorter context"
    )]
    OutOfMemory {
        /// What the buffer was for.
        label: String,
        /// Bytes of the buffer that could not be made.
        asked: u64,
        /// Bytes that were allocated through the same `Gpu` before.
        allocated: u64,
    },
    /// A buffer is larger than the device binds or allocates at once.
    #[error(
        "{label} needs a buffer of {asked} bytes, where the adapter binds at most {limit}; choose a smaller shape"
    )]
    BindingTooLarge {
        /// What the buffer was for.
        label: String,
        /// Its size in bytes.
        asked: u64,
        /// The adapter's limit in bytes.
        limit: u64,
    },
    /// The device did not finish in time.
    #[error(
        "the GPU did not finish within {limit:?}; it may hang: start again, or raise the timeout on a slow adapter"
    )]
    Timeout {
        /// The limit that passed.
        limit: Duration,
    },
    /// No variant of a kernel fits.
    #[error("kernel {kernel} has no variant for {request}: {reason}")]
    NoVariant {
        /// The kernel.
        kernel: String,
        /// The slots and choices asked for.
        request: String,
        /// Why the nearest ones do not fit.
        reason: String,
    },
    /// A pipeline could not be made.
    #[error("variant {variant} makes no pipeline on {adapter}: {reason}")]
    Pipeline {
        /// The variant's id.
        variant: String,
        /// The adapter's name.
        adapter: String,
        /// wgpu's or the driver's reason.
        reason: String,
    },
    /// The buffers named do not fit a variant's bindings.
    #[error("{variant}, binding {name}: {problem}")]
    Binding {
        /// The variant's id.
        variant: String,
        /// The binding's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Operands of an operation do not fit each other.
    #[error("{op}: {what}: expected {expected}, found {found}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The quantity.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A dispatch of more workgroups than the device takes.
    #[error(
        "{label} dispatches {x} × {y} × {z} workgroups, where the adapter takes at most {limit} in each dimension"
    )]
    TooManyWorkgroups {
        /// The dispatch's label.
        label: String,
        /// Workgroups in x.
        x: u32,
        /// Workgroups in y.
        y: u32,
        /// Workgroups in z.
        z: u32,
        /// The adapter's limit.
        limit: u32,
    },
    /// The device lacks an ability that a call needs and no variant replaces.
    #[error("adapter {adapter} has no {what}, which {call} needs")]
    Unsupported {
        /// The adapter's name.
        adapter: String,
        /// The ability.
        what: &'static str,
        /// The call.
        call: &'static str,
    },
    /// wgpu or the driver refused a command: a fault of this crate or of the driver.
    #[error("the GPU refused a command: {reason}")]
    Driver {
        /// The reason given.
        reason: String,
    },
}
