//! Adding up the parts of a product.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, tensor};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // Rows of a part, rows that are added up, columns, parts; columns with one, two and three in the last word.
    for (part_rows, rows, columns, parts) in [(1, 1, 5, 2), (7, 3, 66, 8), (64, 64, 1_031, 4)] {
        let mut random = Random((rows * columns) as u64);
        // Padding between rows is whatever a kernel left there.
        let values = random.values(parts * part_rows * padded(columns));
        let (partials, _) = tensor(gpu, "partials", 32, &values)?;
        let (bias, bias_values) = tensor(gpu, "bias", columns, &random.values(columns))?;
        let stood = random.values(part_rows * columns);
        let split: Vec<&[f32]> = values.chunks_exact(part_rows * padded(columns)).collect();
        for added in [false, true] {
            let (out, mut expected) = tensor(gpu, "out", columns, &stood)?;
            let options = ops::MatmulOptions {
                bias: added.then_some(&bias),
                accumulate: added,
                ..ops::MatmulOptions::default()
            };
            let op = ops::MatmulCombine::new(gpu, &partials, part_rows, &out, options)?;
            let mut recorder = gpu.recorder();
            op.record(&mut recorder, rows, parts);
            gpu.submit(recorder)?;
            let epilogue = reference::Epilogue {
                bias: added.then_some(&bias_values[..]),
                accumulate: added,
            };
            expected.truncate(rows * padded(columns));
            reference::matmul_combine(&split, epilogue, columns, &mut expected);
            let found = gpu.read_padded(&out, 0..rows)?;
            // Ten values below 1 are added up. The padding stays zero.
            let what = format!("{parts} parts of [{rows}, {columns}]");
            close(&what, &found, &expected, |_| 10.0 * EPSILON)?;
        }
    }
    Ok(())
}
