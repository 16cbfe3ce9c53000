//! Attention by tiles of queries, in the cases of [`attention`](crate::attention).

use crate::attention::{By, check_by};
use libtest_mimic::Failed;
use llama_kernels::Gpu;

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    check_by(gpu, By::Tile)
}
