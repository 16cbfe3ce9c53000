//! Matrices over the binding limit: several row pieces, each with its own dispatch, give what one gives.

use crate::compare::close;
use crate::inputs::{FORMATS, Random, file_rows, tensor, unpad, weights};
use crate::{embed, matvec};
use libtest_mimic::{Failed, Trial};
use llama_kernels::{Gpu, GpuOptions, Section, WeightFormat, WeightMatrix, ops, padded, reference};

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
                let (matrix, _) = weights(&gpu, format, ROWS, columns(format), &mut Random(1))?;
                let pieces = matrix.pieces().len();
                if pieces < 2 {
                    return Err(format!("{pieces} piece, so nothing is tried").into());
                }
                check(&gpu, format)
            }));
        }
    }
    let options = GpuOptions {
        binding_limit: Some(LIMIT),
        ..options.clone()
    };
    trials.push(Trial::test(
        format!("sections of a matrix {on}"),
        move || check_sections(&Gpu::new(&options)?),
    ));
    trials
}

const ROWS: usize = 301;

/// An odd number of blocks, or one super-block.
fn columns(format: WeightFormat) -> usize {
    let odd = 288;
    if format.takes_columns(odd) { odd } else { 256 }
}

fn check_embed(gpu: &Gpu, format: WeightFormat) -> Result<(), Failed> {
    embed::check_table(gpu, format, ROWS, columns(format))
}

fn check_matvec(gpu: &Gpu, format: WeightFormat) -> Result<(), Failed> {
    matvec::product(
        gpu,
        format,
        (2, columns(format), ROWS),
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
        (11, columns(format), ROWS),
        |gpu, weight, x, out, options, rows| {
            let op = ops::Matmul::new(gpu, weight, x, out, options)?;
            let mut recorder = gpu.recorder();
            op.record(&mut recorder, rows);
            Ok(gpu.submit(recorder)?)
        },
    )
}

/// Sections of three formats, one of them in pieces, give what rows of each give.
fn check_sections(gpu: &Gpu) -> Result<(), Failed> {
    const COLUMNS: usize = 256;
    let sections = [
        (WeightFormat::Q4K, 200),
        (WeightFormat::F16, 36),
        (WeightFormat::Q6K, 65),
    ];
    let mut random = Random(7);
    let as_sections = sections.map(|(format, rows)| Section { format, rows });
    let matrix = WeightMatrix::of_sections(gpu, "sections", &as_sections, COLUMNS)?;
    if matrix.pieces().len() < 4 {
        return Err("no section is in pieces".into());
    }
    let mut decoded = Vec::new();
    let mut first = 0;
    for (format, rows) in sections {
        let bytes = file_rows(format, rows, COLUMNS, &mut random);
        matrix.write_rows(gpu, first, &bytes)?;
        reference::decode_rows(format, COLUMNS, &bytes, &mut decoded);
        first += rows;
    }
    let rows = matrix.rows();
    for x_rows in [1, 11] {
        let (x, x_padded) = tensor(gpu, "x", COLUMNS, &random.values(x_rows * COLUMNS))?;
        let out = gpu.tensor("out", x_rows, rows)?;
        let op = ops::Matmul::new(gpu, &matrix, &x, &out, ops::MatmulOptions::default())?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, x_rows);
        gpu.submit(recorder)?;
        let mut expected = vec![0.0; x_rows * padded(rows)];
        let plain = reference::Epilogue::default();
        reference::matvec(&decoded, COLUMNS, &x_padded, plain, rows, &mut expected);
        let found = gpu.read_f32(&out, 0..x_rows)?;
        // 256 products of a value below 1 and a weight below 4, and what was taken off.
        let bound = crate::compare::EPSILON * 256.0 * 8.0;
        close("sections", &found, &unpad(&expected, rows), |_| bound)?;
    }
    let refused =
        WeightMatrix::of_sections(gpu, "sections", &[as_sections[2], as_sections[0]], COLUMNS);
    let expected =
        "weight matrix: rows of section 0 of sections: expected a multiple of 4, found 65";
    match refused {
        Err(error) if error.to_string() == expected => Ok(()),
        Err(error) => Err(format!("found {error}").into()),
        Ok(_) => Err("65 rows are no multiple of four".into()),
    }
}
