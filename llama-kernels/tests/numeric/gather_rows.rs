//! Gathering: exact, for it computes nothing.

use crate::compare::equal;
use crate::inputs::{Random, step, step_row, tensor, unpad};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, columns, every) in [(1, 3, 1), (5, 64, 2), (9, 300, 4), (70, 33, 1)] {
        let mut random = Random(columns as u64);
        let (x, x_padded) = tensor(gpu, "x", columns, &random.values(rows * columns))?;
        let wanted: Vec<u32> = (0..rows as u32).filter(|row| row % every == 0).collect();
        let step_rows: Vec<_> = (0..rows)
            .map(|row| step_row(0, row, wanted.contains(&(row as u32))))
            .collect();
        let angles = vec![0.0; rows * 2];
        let step = step(gpu, &step_rows, &[&[0, 1, 2, 3, 4]], 16, 1, &angles)?;
        let out = gpu.tensor("out", wanted.len(), columns)?;
        let op = ops::GatherRows::new(gpu, &x, &step, &out)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, wanted.len());
        gpu.submit(recorder)?;

        let mut expected = vec![0.0; wanted.len() * padded(columns)];
        reference::gather_rows(&x_padded, columns, &wanted, &mut expected);
        let found = gpu.read_f32(&out, 0..wanted.len())?;
        equal("gathered rows", &found, &unpad(&expected, columns))?;
    }
    Ok(())
}
