//! The parts of a product whose columns were split, added up.

use super::{Epilogue, rows, rows_mut};

/// `out[r, i] = Σ_p partials[p][r, i]  (+ bias[i])  (+ out[r, i])`.
///
/// Each part is `[rows, columns]` padded, as `out` is.
///
/// # Panics
/// If a slice is shorter than its shape.
pub fn matmul_combine(
    partials: &[&[f32]],
    epilogue: Epilogue<'_>,
    columns: usize,
    out: &mut [f32],
) {
    for (row, out) in rows_mut(out, columns).enumerate() {
        let parts: Vec<&[f32]> = (partials.iter())
            .filter_map(|part| rows(part, columns).nth(row))
            .collect();
        for (i, out) in out.iter_mut().enumerate() {
            let sum = parts.iter().map(|part| f64::from(part[i])).sum();
            *out = epilogue.of(i, sum, *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Epilogue, matmul_combine};

    #[test]
    fn parts_bias_and_what_stands_there_are_added() {
        let part = |value: f32| vec![value; 64];
        let (a, b) = (part(1.0), part(20.0));
        let bias = [300.0; 32];
        let mut out = part(4000.0);
        let epilogue = Epilogue {
            bias: Some(&bias),
            accumulate: true,
        };
        matmul_combine(&[&a, &b], epilogue, 3, &mut out);
        assert_eq!(out[..4], [4321.0, 4321.0, 4321.0, 4000.0]);
        assert_eq!(out[32..36], [4321.0, 4321.0, 4321.0, 4000.0]);
        matmul_combine(&[&a, &b], Epilogue::default(), 3, &mut out);
        assert_eq!(out[..3], [21.0; 3]);
    }
}
