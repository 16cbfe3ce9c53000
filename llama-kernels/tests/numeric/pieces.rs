//! Matrices over the binding limit: several row pieces, each with its own dispatch, give what one gives.

use crate::inputs::{FORMATS, Random, weights};
use crate::{embed, matvec};
use libtest_mimic::{Failed, Trial};
use llama_kernels::{Gpu, GpuOptions, WeightFormat, ops};

/// What tries a kernel with matrices of a format.
type Check = fn(&Gpu, WeightFormat) -> Result<(), Failed>;

/// A binding limit that the small tensors of these trials keep and none of their matrices does.
const LIMIT: u64 = 16 << 10;

pub(crate) fn trials(options: &GpuOptions, on: &str) -> Vec<Trial> {
    let kernels: [(&str, Check); 3] = [
        ("embed", check_embed),
        ("matvec", check_matvec),
        ("matmul", check_matmul),
    ];
    let mut trials = Vec::new();
    for (kernel, check) in kernels {
        for format in FORMATS {
            let options = GpuOptions {
                binding_limit: Some(LIMIT),
                ..options.clone()
            };
            let name = format!("row pieces of {kernel} {} {on}", format.name());
            trials.push(Trial::test(name, move || {
                let gpu = Gpu::new(&options)?;
                let (matrix, _) = weights(&gpu, format, ROWS, COLUMNS, &mut Random(1))?;
                let pieces = matrix.pieces().len();
                if pieces < 2 {
                    return Err(format!("{pieces} piece, so nothing is tried").into());
                }
                check(&gpu, format)
            }));
        }
    }
    trials
}

const ROWS: usize = 301;
const COLUMNS: usize = 288;

fn check_embed(gpu: &Gpu, format: WeightFormat) -> Result<(), Failed> {
    embed::check_table(gpu, format, ROWS, COLUMNS)
}

fn check_matvec(gpu: &Gpu, format: WeightFormat) -> Result<(), Failed> {
    matvec::product(
        gpu,
        format,
        (2, COLUMNS, ROWS),
        |gpu, weight, x, out, options, rows| {
            let op = ops::Matvec::new(gpu, weight, x, out, options)?;
            let mut recorder = gpu.recorder();
            op.record(&mut recorder, rows);
            Ok(gpu.submit(recorder)?)
        },
    )
}

fn check_matmul(gpu: &Gpu, format: WeightFormat) -> Result<(), Failed> {
    matvec::product(
        gpu,
        format,
        (11, COLUMNS, ROWS),
        |gpu, weight, x, out, options, rows| {
            let op = ops::Matmul::new(gpu, weight, x, out, options)?;
            let mut recorder = gpu.recorder();
            op.record(&mut recorder, rows);
            Ok(gpu.submit(recorder)?)
        },
    )
}
