//! Noise in place of weights: exact, for nothing is rounded.

use crate::compare::equal;
use crate::inputs::{FORMATS, step, step_row, unpad, whole_blocks};
use libtest_mimic::Failed;
use llama_kernels::{
    AdapterChoice, Gpu, GpuOptions, StepRow, WeightFormat, WeightMatrix, ops, reference,
};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // More rows than a workgroup has invocations, an odd number of columns, an odd number of blocks.
    for (rows, columns) in [(1, 32), (70, 96), (5, 33), (3, 4_128), (67, 288)] {
        for format in FORMATS {
            let ids: Vec<u32> = (0..rows as u32).collect();
            check_matrix(gpu, format, (rows, whole_blocks(format, columns)), &ids)?;
        }
    }
    in_pieces(gpu)
}

/// Reads some rows back, as an embedding of their numbers.
fn check_matrix(
    gpu: &Gpu,
    format: WeightFormat,
    (rows, columns): (usize, usize),
    ids: &[u32],
) -> Result<(), Failed> {
    let seed = 0xfeed_5eed ^ rows as u32;
    let matrix = WeightMatrix::new(gpu, "noise", format, rows, columns)?;
    let fill = ops::Fill::new(gpu, &matrix, seed)?;
    let wanted: Vec<StepRow> = (ids.iter().enumerate())
        .map(|(position, &id)| step_row(id, position, false))
        .collect();
    let pages: Vec<u32> = (0..ids.len().div_ceil(16) as u32).collect();
    let angles = vec![0.0; ids.len() * 2];
    let step = step(gpu, &wanted, &[&pages], 16, 1, &angles)?;
    let out = gpu.tensor("out", ids.len(), columns)?;
    let chosen = gpu.ids("chosen", 1)?;
    let embed = ops::Embed::new(gpu, &matrix, &step, &chosen, &out)?;
    let mut recorder = gpu.recorder();
    fill.record(&mut recorder);
    embed.record(&mut recorder, ids.len());
    gpu.submit(recorder)?;

    let mut expected = Vec::new();
    for &id in ids {
        let row = id as usize..id as usize + 1;
        let file = reference::fill(format, columns, row, seed).unpack(format, columns);
        reference::decode_rows(format, columns, &file, &mut expected);
    }
    let what = format!("noise in {} [{rows}, {columns}]", format.name());
    let found = gpu.read_f32(&out, 0..ids.len())?;
    equal(&what, &found, &unpad(&expected, columns))
}

/// A row's noise does not depend on the piece that it lies in: rows around the ends of pieces of 14, 28, 56 and 113 rows.
fn in_pieces(gpu: &Gpu) -> Result<(), Failed> {
    let options = GpuOptions {
        adapter: AdapterChoice::Index(gpu.adapter().index),
        binding_limit: Some(16 << 10),
        ..GpuOptions::default()
    };
    let split = Gpu::new(&options)?;
    let ids = [0, 13, 14, 27, 28, 55, 56, 112, 113, 114, 300];
    for format in FORMATS {
        let columns = if format.takes_columns(288) { 288 } else { 256 };
        check_matrix(&split, format, (301, columns), &ids)?;
    }
    Ok(())
}
