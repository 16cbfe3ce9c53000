//! SwiGLU.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, tensor, unpad};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, ffn) in [(1, 1), (2, 63), (3, 64), (5, 65), (1, 11_008), (70, 96)] {
        let mut random = Random(ffn as u64);
        // Gates from -100, where exp(-gate) overflows, to 100.
        let values = random.values(rows * 2 * ffn);
        let values: Vec<f32> = values.iter().map(|v| v * 100.0).collect();
        let (gate_up, padded_values) = tensor(gpu, "gate_up", 2 * ffn, &values)?;
        let out = gpu.tensor("out", rows, ffn)?;
        let op = ops::SwiGlu::new(gpu, &gate_up, &out)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, rows);
        gpu.submit(recorder)?;

        let mut expected = vec![0.0; rows * padded(ffn)];
        reference::swiglu(&padded_values, ffn, &mut expected);
        let expected = unpad(&expected, ffn);
        let found = gpu.read_f32(&out, 0..rows)?;
        // WGSL lets exp(x) err by 3 + 2 |x| units, so up to 203 here; where it overflows, silu is -0 for
        // what is below 1e-36.
        let what = format!("swiglu of [{rows}, {ffn}]");
        close(&what, &found, &expected, |i| {
            210.0 * EPSILON * expected[i].abs() + 1e-34
        })?;
    }
    Ok(())
}
