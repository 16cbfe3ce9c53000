//! Token embedding: exact, for a format's values are f32 values.

use crate::compare::equal;
use crate::inputs::{FORMATS, Random, step, step_row, unpad, weights, whole_blocks};
use libtest_mimic::Failed;
use llama_kernels::{Gpu, StepRow, TokenSource, WeightFormat, ops, padded, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    for format in FORMATS {
        for (vocabulary, columns) in [(5, 24), (67, 96), (3, 4_128), (100, 33)] {
            check_table(gpu, format, vocabulary, whole_blocks(format, columns))?;
        }
    }
    Ok(())
}

/// Ids at both ends, ids chosen by the step before, and ids that no table has.
pub(crate) fn check_table(
    gpu: &Gpu,
    format: WeightFormat,
    vocabulary: usize,
    columns: usize,
) -> Result<(), Failed> {
    let mut random = Random(vocabulary as u64);
    let (table, decoded) = weights(gpu, format, vocabulary, columns, &mut random)?;
    let chosen_ids = [1, vocabulary as u32 - 1, u32::MAX, vocabulary as u32];
    let chosen = gpu.ids("chosen", chosen_ids.len())?;
    gpu.write_u32(&chosen, 0, &chosen_ids)?;

    let mut tokens = vec![0, vocabulary as u32 - 1, vocabulary as u32, 0x7fff_ffff];
    tokens.extend((0..5).map(|_| random.below(vocabulary) as u32));
    let mut rows: Vec<StepRow> = tokens.iter().map(|&id| step_row(id, 0, false)).collect();
    for (row, &id) in chosen_ids.iter().enumerate() {
        rows.push(StepRow {
            token: TokenSource::Chosen(row as u32),
            ..rows[0]
        });
        tokens.push(id);
    }
    for (position, row) in rows.iter_mut().enumerate() {
        row.position = position as u32;
    }
    let angles = vec![0.0; rows.len() * 2];
    let step = step(gpu, &rows, &[&[0]], 16, 1, &angles)?;

    let out = gpu.tensor("out", rows.len(), columns)?;
    // What stands there before must go, also where no token is found.
    gpu.write_f32(&out, 0, &vec![7.0; rows.len() * columns])?;
    let op = ops::Embed::new(gpu, &table, &step, &chosen, &out)?;
    let mut recorder = gpu.recorder();
    op.record(&mut recorder, rows.len());
    gpu.submit(recorder)?;

    let mut expected = vec![0.0; rows.len() * padded(columns)];
    reference::embed(&decoded, columns, &tokens, &mut expected);
    let what = format!("embed of {} [{vocabulary}, {columns}]", format.name());
    let found = gpu.read_f32(&out, 0..rows.len())?;
    equal(&what, &found, &unpad(&expected, columns))
}
