//! SwiGLU (Shazeer 2020): the gate of the feed-forward part.

use super::{rows, rows_mut};

/// `out[r, i] = silu(gate_up[r, 2i]) · gate_up[r, 2i + 1]` with `silu(g) = g / (1 + exp(-g))`.
///
/// `gate_up` is `[rows, 2 · ffn]` padded: values of the gate and of up alternate. `out` is `[rows, ffn]` padded.
pub fn swiglu(gate_up: &[f32], ffn: usize, out: &mut [f32]) {
    for (gate_up, out) in rows(gate_up, 2 * ffn).zip(rows_mut(out, ffn)) {
        for (out, pair) in out.iter_mut().zip(gate_up.chunks_exact(2)) {
            let (gate, up) = (f64::from(pair[0]), f64::from(pair[1]));
            *out = (gate / (1.0 + (-gate).exp()) * up) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::swiglu;

    #[test]
    fn silu_is_zero_at_zero_half_at_small_and_the_identity_far_up() {
        let gate_up = matrix(&[&[0.0, 7.0, 100.0, 2.0, -200.0, 3.0, 1.0, 4.0]]);
        let mut out = vec![0.0; 32];
        swiglu(&gate_up, 4, &mut out);
        // silu(1) = 1 / (1 + 1/e) = 0.731058578630004879
        assert_eq!(out[..4], [0.0, 200.0, -0.0, 2.924_234_4]);
    }
}
