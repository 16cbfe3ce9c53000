//! The sum of a buffer: exact, for u32 wraps.

use crate::inputs::Random;
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // Fewer vectors than invocations, rounds of four and two vectors, many rounds with a rest.
    for (vectors, invocations) in [(2, 64), (8, 64), (64 * 4 + 2, 64), (128 * 21 + 78, 128)] {
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
    let data = gpu.ids("data", 8)?;
    for (vectors, invocations, what) in [(2, 65, "rows of out"), (1, 64, "vectors of data")] {
        let out = gpu.ids("out", invocations)?;
        match ops::ReadSum::new(gpu, data.binding(), vectors, &out).map(drop) {
            Err(error) if error.to_string().contains(what) => {}
            other => {
                return Err(format!("{vectors} by {invocations} not refused: {other:?}").into());
            }
        }
    }
    Ok(())
}
