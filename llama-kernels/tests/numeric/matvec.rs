//! Matrix × vector.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, formats, tensor, unpad, weights, whole_blocks};
use crate::{gate, heads};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, Tensor, WeightFormat, WeightMatrix, ops, padded, reference};

/// Rows of x, columns, and rows of the matrix.
pub(crate) type Shape = (usize, usize, usize);

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // Hidden sizes of head_dim 24 and 80, no multiples of 32, one row more or less than a unit of four, more
    // than a workgroup of blocks, a fine-tune's vocabulary.
    let shapes = [
        (1, 32, 1),
        (1, 72, 3),
        (3, 288, 5),
        (2, 320, 257),
        (4, 100, 64),
        (5, 160, 33),
        (1, 4_128, 66),
        (1, 64, 32_003),
    ];
    if gpu.preferred().and_then(|variant| variant.slot("output")) == Some("heads") {
        return heads::check(gpu);
    }
    for format in formats(gpu) {
        for (rows, hidden, ffn) in [(1, 64, 96), (3, 288, 101), (2, 320, 6)] {
            gate::check(gpu, format, rows, hidden, ffn)?;
        }
        for shape in shapes {
            product(gpu, format, shape, |gpu, weight, x, out, options, rows| {
                let op = ops::Matvec::new(gpu, weight, x, out, options)?;
                let mut recorder = gpu.recorder();
                op.record(&mut recorder, rows);
                Ok(gpu.submit(recorder)?)
            })?;
        }
    }
    Ok(())
}

/// Runs a product plain, then with bias and residual over what the first one left, then of x normed, and compares.
pub(crate) fn product(
    gpu: &Gpu,
    format: WeightFormat,
    (rows, columns, matrix_rows): Shape,
    run: impl Fn(
        &Gpu,
        &WeightMatrix,
        &Tensor,
        &Tensor,
        ops::MatmulOptions<'_>,
        usize,
    ) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let columns = whole_blocks(format, columns);
    let mut random = Random((columns * matrix_rows) as u64);
    let (weight, decoded) = weights(gpu, format, matrix_rows, columns, &mut random)?;
    let (x, x_padded) = tensor(gpu, "x", columns, &random.values(rows * columns))?;
    let (bias, bias_values) = tensor(gpu, "bias", matrix_rows, &random.values(matrix_rows))?;
    let out = gpu.tensor("out", rows, matrix_rows)?;
    let mut expected = vec![0.0; rows * padded(matrix_rows)];

    // What each sum's terms add up to without their signs: its rounding errors are a part of that.
    let magnitude = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<f32>>();
    let mut terms = vec![0.0; expected.len()];
    let (abs_weight, abs_x) = (magnitude(&decoded), magnitude(&x_padded));
    let plain = reference::Epilogue::default();
    reference::matvec(&abs_weight, columns, &abs_x, plain, matrix_rows, &mut terms);
    let terms = unpad(&terms, matrix_rows);
    // A sum of n roundings, each at most half an epsilon of the terms so far, that mostly cancel: sqrt(n)
    // of them, and one for the product, the scale and the write each.
    let part = EPSILON * (3.0 + (columns as f32).sqrt() / 4.0);
    // A least value is taken off in the end: what it and the rest are made of is larger than the weight by as much.
    let part = match format {
        WeightFormat::Q5_1 | WeightFormat::Q2K | WeightFormat::Q4K | WeightFormat::Q5K => {
            4.0 * part
        }
        _ => part,
    };
    // A matrix unit takes both operands in f16: each is off by at most 2⁻¹¹ of itself.
    let tile = gpu.preferred().and_then(|variant| variant.slot("tile"));
    let part = part
        + if tile == Some("matrix") {
            1.0 / 1024.0
        } else {
            0.0
        };

    let what = format!("{} [{rows}, {columns}] to {matrix_rows}", format.name());
    run(gpu, &weight, &x, &out, ops::MatmulOptions::default(), rows)?;
    reference::matvec(
        &decoded,
        columns,
        &x_padded,
        plain,
        matrix_rows,
        &mut expected,
    );
    let found = gpu.read_f32(&out, 0..rows)?;
    close(&what, &found, &unpad(&expected, matrix_rows), |i| {
        part * terms[i]
    })?;

    let options = ops::MatmulOptions {
        norm: None,
        bias: Some(&bias),
        accumulate: true,
        partials: None,
    };
    let epilogue = reference::Epilogue {
        bias: Some(&bias_values),
        accumulate: true,
    };
    run(gpu, &weight, &x, &out, options, rows)?;
    reference::matvec(
        &decoded,
        columns,
        &x_padded,
        epilogue,
        matrix_rows,
        &mut expected,
    );
    let found = gpu.read_f32(&out, 0..rows)?;
    let what = format!("{what} with bias and residual");
    close(&what, &found, &unpad(&expected, matrix_rows), |i| {
        part * (3.0 * terms[i] + 1.0)
    })?;

    let (scale, scale_values) = tensor(gpu, "scale", columns, &random.values(columns))?;
    let normed = gpu.tensor("normed", rows, columns)?;
    let norm = ops::Norm {
        scale: &scale,
        eps: 1e-5,
        normed: &normed,
    };
    let options = ops::MatmulOptions {
        norm: Some(norm),
        ..ops::MatmulOptions::default()
    };
    run(gpu, &weight, &x, &out, options, rows)?;
    let mut x_normed = vec![0.0; x_padded.len()];
    reference::rms_norm(&x_padded, columns, &scale_values, 1e-5, &mut x_normed);
    let abs_normed = magnitude(&x_normed);
    let mut terms = vec![0.0; expected.len()];
    reference::matvec(
        &abs_weight,
        columns,
        &abs_normed,
        plain,
        matrix_rows,
        &mut terms,
    );
    let terms = unpad(&terms, matrix_rows);
    reference::matvec(
        &decoded,
        columns,
        &x_normed,
        plain,
        matrix_rows,
        &mut expected,
    );
    let found = gpu.read_f32(&out, 0..rows)?;
    let what = format!("{what} of the norm");
    // The factor has a sum's rounding of its own, and WGSL lets the root err by 2 units.
    close(&what, &found, &unpad(&expected, matrix_rows), |i| {
        2.0 * part * terms[i] + 4.0 * EPSILON * terms[i]
    })
}
