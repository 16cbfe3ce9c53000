//! The sum of a buffer: exact, for u32 wraps.

use crate::inputs::Random;
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // Fewer vectors than invocations, a round and one vector, many rounds with a rest.
    for (vectors, invocations) in [(1, 64), (7, 64), (64 * 4 + 1, 64), (128 * 21 + 77, 128)] {
        let mut random = Random(vectors as u64);
        let words: Vec<u32> = (0..4 * vectors).map(|_| random.word() as u32).collect();
        let data = gpu.ids("data", words.len())?;
        gpu.write_u32(&data, 0, &words)?;
        let out = gpu.ids("out", invocations)?;
        let op = ops::ReadSum::new(gpu, data.binding(), vectors, &out)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder);
        gpu.submit(recorder)?;

        let parts = gpu.read_u32(&out, 0..invocations)?;
        let (found, expected) = (reference::read_sum(&parts), reference::read_sum(&words));
        if found != expected {
            return Err(
                format!("{vectors} vectors by {invocations}: {found}, not {expected}").into(),
            );
        }
    }
    let out = gpu.ids("out", 65)?;
    let refused = ops::ReadSum::new(gpu, out.binding(), 1, &out).map(drop);
    match refused {
        Err(error) if error.to_string().contains("rows of out") => Ok(()),
        other => Err(format!("65 invocations were not refused: {other:?}").into()),
    }
}
