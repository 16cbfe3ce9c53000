//! Matrix × matrix.

use crate::inputs::formats;
use crate::matvec::product;
use libtest_mimic::Failed;
use llama_kernels::{Gpu, ops};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // Rows of x under, at and over a tile of 8 and of 64, all enough for tiles; rows of the matrix likewise.
    let shapes = [
        (9, 32, 1),
        (16, 72, 63),
        (31, 288, 65),
        (64, 320, 64),
        (65, 100, 257),
        (130, 1_056, 70),
        // Few tiles and many columns: split in eight parts, in four and an odd number of blocks, and in two.
        (9, 4_096, 66),
        (64, 2_080, 130),
        (33, 2_304, 1_000),
    ];
    for format in formats(gpu) {
        for shape in shapes {
            // Room for two parts of the widest, eight of the others.
            let partials = gpu.tensor("partials", 2 * 64, 1_024)?;
            product(gpu, format, shape, |gpu, weight, x, out, options, rows| {
                let options = ops::MatmulOptions {
                    partials: Some(&partials),
                    ..options
                };
                let op = ops::Matmul::new(gpu, weight, x, out, options)?;
                let mut recorder = gpu.recorder();
                op.record(&mut recorder, rows);
                Ok(gpu.submit(recorder)?)
            })?;
        }
    }
    Ok(())
}
