//! Chains of multiply-adds: work that no memory holds up.

/// Chains of an invocation, and multiply-adds of each in one loop.
const CHAINS: usize = 12;
const STEPS: usize = 8;

/// `out[i]` = the sum over twelve chains, where chain `c` begins with `i % 16 + c` and becomes `v · factor + addend`, `8 · loops` times.
pub fn multiply_peak(loops: usize, factor: f32, addend: f32, out: &mut [f32]) {
    let (factor, addend) = (f64::from(factor), f64::from(addend));
    for (index, out) in out.iter_mut().enumerate() {
        let chain = |c: usize| {
            let first = (index % 16 + c) as f64;
            (0..STEPS * loops).fold(first, |v, _| v * factor + addend)
        };
        *out = (0..CHAINS).map(chain).sum::<f64>() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::multiply_peak;

    #[test]
    fn no_loop_leaves_the_beginning_and_many_come_to_the_fixed_point() {
        let mut out = [0.0; 17];
        multiply_peak(0, 0.5, 1.0, &mut out);
        // 0 + 1 + … + 11, and twelve more for each invocation up to the sixteenth.
        assert_eq!((out[0], out[1], out[16]), (66.0, 78.0, 66.0));
        multiply_peak(100, 0.5, 1.0, &mut out);
        // v = v / 2 + 1 at 2, twelve times.
        assert_eq!(out, [24.0; 17]);
    }
}
