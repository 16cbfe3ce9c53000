//! RMSNorm.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, tensor, unpad};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, columns) in [(1, 2), (1, 288), (3, 33), (7, 100), (65, 64), (2, 5_120)] {
        let mut random = Random(columns as u64);
        let (x, x_padded) = tensor(gpu, "x", columns, &random.values(rows * columns))?;
        let (scale, scale_padded) = tensor(gpu, "scale", columns, &random.values(columns))?;
        let out = gpu.tensor("out", rows, columns)?;
        let op = ops::RmsNorm::new(gpu, &x, &scale, &out, 1e-5)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, rows);
        gpu.submit(recorder)?;

        let mut expected = vec![0.0; rows * padded(columns)];
        reference::rms_norm(&x_padded, columns, &scale_padded, 1e-5, &mut expected);
        let expected = unpad(&expected, columns);
        let found = gpu.read_f32(&out, 0..rows)?;
        // The sum of n squares errs by less than sqrt(n) roundings, its root by half of that; inverseSqrt by
        // two units. The rest is two products.
        let bound = EPSILON * (4.0 + (columns as f32).sqrt() / 2.0);
        let what = format!("rms_norm of [{rows}, {columns}]");
        close(&what, &found, &expected, |i| bound * expected[i].abs())?;
    }
    Ok(())
}
