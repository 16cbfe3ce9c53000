//! Gathering of columns: exact, for it computes nothing.

use crate::compare::equal;
use crate::inputs::{Random, tensor, unpad};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for (rows, columns, done) in [(1, 3, 1), (5, 64, 4), (9, 300, 9), (70, 33, 70)] {
        let mut random = Random(columns as u64);
        let (x, x_padded) = tensor(gpu, "x", columns, &random.values(rows * columns))?;
        let order = random.order(columns);
        let ids = gpu.ids("order", columns)?;
        gpu.write_u32(&ids, 0, &order)?;
        let out = gpu.tensor("out", rows, columns)?;
        let op = ops::GatherColumns::new(gpu, &x, &ids, &out)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, done);
        gpu.submit(recorder)?;

        let mut expected = vec![0.0; done * padded(columns)];
        reference::gather_columns(&x_padded, &order, &mut expected);
        let found = gpu.read_f32(&out, 0..done)?;
        equal("gathered columns", &found, &unpad(&expected, columns))?;
        let rest = gpu.read_f32(&out, done..rows)?;
        equal("other rows", &rest, &vec![0.0; rest.len()])?;
        // The places behind a row's end stay zero, and a column that x has not is its last.
        gpu.write_u32(&ids, 0, &vec![u32::MAX; columns])?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, 1);
        gpu.submit(recorder)?;
        let row = gpu.read_padded(&out, 0..1)?;
        let mut expected = vec![x_padded[columns - 1]; columns];
        expected.resize(padded(columns), 0.0);
        equal("clamped columns", &row, &expected)?;
    }
    Ok(())
}
