//! Chains of multiply-adds.

use crate::compare::{EPSILON, close};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for (loops, invocations) in [(0, 64), (1, 128), (3, 64), (1_000, 192)] {
        for numbers in [[0.5, 1.0], [0.999, 0.01], [-0.75, 3.0]] {
            let out = gpu.ids("out", invocations)?;
            let op = ops::MultiplyPeak::new(gpu, loops, numbers, &out)?;
            let mut recorder = gpu.recorder();
            op.record(&mut recorder);
            gpu.submit(recorder)?;

            let mut expected = vec![0.0; invocations];
            let [factor, addend] = numbers;
            reference::multiply_peak(loops as usize, factor, addend, &mut expected);
            // A chain's value is at most 27 or the fixed point's 10, and forgets its roundings by the factor:
            // at most 1 / (1 - 0.999) of them count, two to a step where the adapter does not fuse.
            let steps = (8.0 * loops as f32).min(1_000.0);
            let bound = 12.0 * 27.0 * EPSILON * (2.0 * steps + 12.0);
            let what = format!("{loops} loops of {numbers:?}");
            close(
                &what,
                &gpu.read_f32(&out, 0..invocations)?,
                &expected,
                |_| bound,
            )?;
            let counted = 192 * u64::from(loops) * invocations as u64;
            if op.operations() != counted {
                return Err(
                    format!("{what}: {} operations, not {counted}", op.operations()).into(),
                );
            }
        }
    }
    Ok(())
}
