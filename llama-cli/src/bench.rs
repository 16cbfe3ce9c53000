//! What `bench` measures, and how it says it.

mod report;
mod timing;

pub(crate) use report::{Cost, KernelTimes, Limits, Report, Row};
pub(crate) use timing::{Bench, Kind, Test};
