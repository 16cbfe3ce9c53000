//! Norm, gate and up projection and SwiGLU, in as many dispatches as the number of rows asks for.

use crate::compare::{EPSILON, close};
use crate::inputs::{Random, tensor, unpad, weights, whole_blocks};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, WeightFormat, ops, padded, reference};

pub(crate) fn check(
    gpu: &Gpu,
    format: WeightFormat,
    rows: usize,
    hidden: usize,
    ffn: usize,
) -> Result<(), Failed> {
    let hidden = whole_blocks(format, hidden);
    let mut random = Random((hidden * ffn) as u64);
    let (weight, decoded) = weights(gpu, format, 2 * ffn, hidden, &mut random)?;
    let (x, x_padded) = tensor(gpu, "x", hidden, &random.values(rows * hidden))?;
    let (scale, scale_values) = tensor(gpu, "scale", hidden, &random.values(hidden))?;
    let (bias, bias_values) = tensor(gpu, "bias", 2 * ffn, &random.values(2 * ffn))?;
    let normed = gpu.tensor("normed", rows, hidden)?;
    let gate_up = gpu.tensor("gate_up", rows, 2 * ffn)?;
    let out = gpu.tensor("out", rows, ffn)?;
    let norm = ops::Norm {
        scale: &scale,
        eps: 1e-6,
        normed: &normed,
    };
    for with_bias in [false, true] {
        let options = ops::MatmulOptions {
            norm: Some(norm),
            bias: with_bias.then_some(&bias),
            accumulate: false,
            partials: None,
        };
        let op = ops::GatedMatmul::new(gpu, &weight, &x, &gate_up, &out, options)?;
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, rows);
        gpu.submit(recorder)?;

        let mut x_normed = vec![0.0; x_padded.len()];
        reference::rms_norm(&x_padded, hidden, &scale_values, 1e-6, &mut x_normed);
        let epilogue = reference::Epilogue {
            bias: with_bias.then_some(&bias_values),
            accumulate: false,
        };
        let mut joined = vec![0.0; rows * padded(2 * ffn)];
        reference::matmul(&decoded, hidden, &x_normed, epilogue, 2 * ffn, &mut joined);
        let mut expected = vec![0.0; rows * padded(ffn)];
        reference::swiglu(&joined, ffn, &mut expected);

        let magnitude = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<f32>>();
        let mut terms = vec![0.0; joined.len()];
        let plain = reference::Epilogue::default();
        let (abs_weight, abs_x) = (magnitude(&decoded), magnitude(&x_normed));
        reference::matmul(&abs_weight, hidden, &abs_x, plain, 2 * ffn, &mut terms);
        let (terms, joined) = (unpad(&terms, 2 * ffn), unpad(&joined, 2 * ffn));

        let found = gpu.read_f32(&out, 0..rows)?;
        let what = format!(
            "gated {} [{rows}, {hidden}] to {ffn}, bias {with_bias}",
            format.name()
        );
        let part = EPSILON * (8.0 + (hidden as f32).sqrt() / 2.0);
        close(&what, &found, &unpad(&expected, ffn), |i| {
            // silu changes by at most 1.1 per unit of the gate; errors of gate and up as those of a normed product,
            // and of exp by 3 + 2 |gate| units.
            let (gate, up) = (joined[2 * i].abs(), joined[2 * i + 1].abs());
            let (gate_off, up_off) = (part * (terms[2 * i] + 1.0), part * (terms[2 * i + 1] + 1.0));
            1.1 * gate_off * (up + up_off)
                + gate * up_off
                + EPSILON * (8.0 + 2.0 * gate) * gate * up
        })?;
    }
    Ok(())
}
