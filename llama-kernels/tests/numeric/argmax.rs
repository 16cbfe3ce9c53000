//! Argmax: exact, for it computes nothing.

use crate::compare::equal;
use crate::inputs::{Random, tensor};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // One value; under, at and over a workgroup; a fine-tune's vocabulary.
    for columns in [1, 3, 31, 255, 256, 257, 1_000, 32_003] {
        let mut values = Vec::new();
        for row in rows(columns) {
            values.extend(row);
        }
        let count = values.len() / columns;
        let (logits, padded) = tensor(gpu, "logits", columns, &values)?;
        let chosen = gpu.ids("chosen", count)?;
        let op = ops::Argmax::new(gpu, &logits, &chosen)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, count);
        gpu.submit(recorder)?;
        let found = gpu.read_u32(&chosen, 0..count)?;
        let expected = reference::argmax(&padded, columns);
        equal(&format!("argmax of {columns}"), &found, &expected)?;
    }
    Ok(())
}

/// Rows with ties, signed zeros, infinities and NaN in places that differ.
fn rows(columns: usize) -> Vec<Vec<f32>> {
    let mut random = Random(columns as u64);
    let (low, high) = (random.below(columns), random.below(columns));
    let with = |fill: f32, set: &[(usize, f32)]| {
        let mut row = vec![fill; columns];
        for &(index, value) in set {
            row[index] = value;
        }
        row
    };
    let infinity = f32::INFINITY;
    let negative_nan = f32::from_bits(0xff80_0001);
    vec![
        random.values(columns),
        random.values(columns).iter().map(|v| v - 5.0).collect(),
        with(1.0, &[]),
        with(-1.0, &[(low, 2.0), (high, 2.0)]),
        with(-1.0, &[(low, -0.0), (high, 0.0)]),
        with(-1.0, &[(high, 0.0), (low, -0.0)]),
        with(f32::MIN, &[(columns - 1, f32::MAX)]),
        with(-infinity, &[(high, -3.0e38)]),
        with(-infinity, &[]),
        with(0.0, &[(low, infinity)]),
        with(0.0, &[(low, f32::NAN), (high, infinity)]),
        with(-infinity, &[(high, negative_nan)]),
        with(-1.0e-40, &[(high, 1.0e-40)]),
    ]
}
