//! Joining the parts of split attention.

use crate::compare::close;
use crate::inputs::Random;
use libtest_mimic::Failed;
use llama_kernels::{
    Gpu, kv_row, ops, padded,
    reference::{self, Heads},
};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // head_dim with and without padding; fewer and more words than a workgroup; some parts empty.
    for (n_heads, head_dim, rows, splits) in
        [(1, 2, 1, 2), (3, 24, 5, 4), (2, 6, 3, 64), (8, 128, 1, 16)]
    {
        let heads = Heads {
            n_heads,
            n_kv_heads: 1,
            head_dim,
        };
        let mut random = Random((n_heads * head_dim * splits) as u64);
        let part_length = 4 + kv_row(head_dim);
        let mut values = Vec::new();
        for part in 0..rows * n_heads * splits {
            // The first part of a query is never empty: position 0 is always attended to.
            let empty = part % splits != 0 && random.below(3) == 0;
            let total = if empty { 0.0 } else { 1.5 + random.value() };
            let largest = if empty {
                -3.0e38
            } else {
                20.0 * random.value()
            };
            values.extend([largest, total, 0.0, 0.0]);
            values.extend((4..part_length).map(|i| {
                let outside = i - 4 >= head_dim || empty;
                if outside { 0.0 } else { total * random.value() }
            }));
        }
        // The kernel takes the parts end to end, without the padding of a tensor's rows.
        let columns = n_heads * part_length;
        let flat = values.len().div_ceil(32);
        let padded_rows = (flat * 32).div_ceil(padded(columns)).max(rows * splits);
        let partials = gpu.tensor("partials", padded_rows, padded(columns))?;
        let mut filled = values.clone();
        filled.resize(padded_rows * padded(columns), 0.0);
        gpu.write_f32(&partials, 0, &filled)?;
        let out = gpu.tensor("out", rows, heads.columns())?;
        let combine = ops::AttentionCombine::new(gpu, &partials, heads, &out)?;
        let mut recorder = gpu.recorder();
        combine.record(&mut recorder, rows, splits);
        gpu.submit(recorder)?;

        let mut expected = vec![0.0; rows * padded(heads.columns())];
        reference::attention_combine(&values, heads, splits, &mut expected);
        let found = gpu.read_padded(&out, 0..rows)?;
        // Weights err by the rounding of their exponents, 40 · 2⁻²⁴ = 2.4e-6 of themselves and as much for exp;
        // what is joined is below 1.
        let what = format!("attention_combine of {heads:?} in {splits}");
        close(&what, &found, &expected, |_| 1e-5)?;
    }
    Ok(())
}
