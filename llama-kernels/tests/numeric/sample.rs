//! Sampling: exact, for it is integers on both sides.

use crate::compare::equal;
use crate::inputs::{Random, tensor};
use libtest_mimic::Failed;
use llama_kernels::reference::DrawRules;
use llama_kernels::{Gpu, StepBuffer, StepLayout, StepRow, TokenSource, ops, reference};

pub(crate) fn check(gpu: &Gpu) -> Result<(), Failed> {
    // One value; fewer than a vec4 for each invocation; stretches that are not full; a fine-tune's vocabulary.
    for columns in [1, 3, 31, 257, 4_099, 32_003] {
        let mut random = Random(columns as u64);
        let mut cases = cases(&mut random, columns);
        // Every row and every rule still, on adapters that take milliseconds for one.
        let nth = if columns > 1_000 { 5 } else { 1 };
        cases = cases.into_iter().step_by(nth).collect();
        let mut values = Vec::new();
        for (row, ..) in &cases {
            values.extend_from_slice(row);
        }
        let rules: Vec<DrawRules> = cases.iter().map(|case| case.1).collect();
        let draws: Vec<u64> = cases.iter().map(|case| case.2).collect();
        let (logits, padded) = tensor(gpu, "logits", columns, &values)?;
        let step = step(gpu, &draws)?;
        let chosen = gpu.ids("chosen", cases.len())?;
        let op = ops::Sample::new(gpu, &step, &logits, &chosen, cases.len())?;
        for (sequence, rules) in rules.iter().enumerate() {
            op.set_rules(gpu, sequence, rules)?;
        }
        let mut recorder = gpu.recorder();
        op.record(&mut recorder, cases.len());
        gpu.submit(recorder)?;
        let found = gpu.read_u32(&chosen, 0..cases.len())?;
        let expected = reference::sample(&padded, columns, &rules, &draws);
        equal(&format!("sample of {columns}"), &found, &expected)?;
    }
    Ok(())
}

/// A row for each draw, each of a sequence of its own, behind one whose logits nobody wants.
fn step(gpu: &Gpu, draws: &[u64]) -> Result<StepBuffer, Failed> {
    let layout = StepLayout {
        max_rows: draws.len() + 1,
        max_sequences: draws.len(),
        pages_per_sequence: 1,
        page_size: 16,
        rope_pairs: 1,
    };
    let unwanted = StepRow {
        token: TokenSource::Id(0),
        position: 0,
        sequence: 0,
        wants_logits: false,
        draw: 1,
    };
    let mut rows = vec![unwanted];
    rows.extend(draws.iter().zip(0..).map(|(&draw, sequence)| StepRow {
        sequence,
        wants_logits: true,
        draw,
        ..unwanted
    }));
    let tables: Vec<&[u32]> = draws.iter().map(|_| [0].as_slice()).collect();
    let step = StepBuffer::new(gpu, layout)?;
    step.write(gpu, &rows, &tables, &vec![0.0; 2 * rows.len()])?;
    Ok(step)
}

/// Rows of logits, each with rules and a draw.
fn cases(random: &mut Random, columns: usize) -> Vec<(Vec<f32>, DrawRules, u64)> {
    let mut rows = rows(random, columns);
    let mut cases = Vec::new();
    for (temperature, top_k, top_p, min_p) in [
        (1.0, 0, 1.0, 0.0),
        (0.6, 0, 0.9, 0.0),
        (0.6, 40, 1.0, 0.0),
        (0.8, 40, 0.95, 0.05),
        (1.5, 0, 1.0, 0.1),
        (1.5, 0, 0.5, 0.001),
        (3.0, 7, 1.0, 0.5),
        (1.0, 1, 0.3, 0.0),
        (1.0, 0, 0.0, 0.0),
        (1e-3, 0, 0.9, 0.0),
        (f32::from_bits(1), 0, 0.9, 0.0),
        (1e38, 0, 0.9999, 0.0),
        (1.0, usize::MAX, 0.999, 1.0),
    ] {
        let rules = DrawRules::new(temperature, top_k, top_p, min_p);
        for row in &rows {
            cases.push((row.clone(), rules, random.word()));
        }
        rows.rotate_left(1);
        cases.push((rows[0].clone(), rules, 0));
        cases.push((rows[1].clone(), rules, u64::MAX));
    }
    cases
}

/// Logits as models give them, and as they should not: few values with many ties, every exponent, infinities, NaN.
fn rows(random: &mut Random, columns: usize) -> Vec<Vec<f32>> {
    let (low, high) = (random.below(columns), random.below(columns));
    let mut row = |of: &mut dyn FnMut(&mut Random) -> f32| -> Vec<f32> {
        (0..columns).map(|_| of(random)).collect()
    };
    // A sum of uniform numbers is nearly normal.
    let mut rows = vec![
        row(&mut |r| (0..6).map(|_| 3.0 * r.value()).sum()),
        row(&mut |r| (4.0 * r.value()).round() / 2.0),
        row(&mut |r| -20.0 + r.value()),
        row(&mut |_| -1.5),
        row(&mut |r| f32::from_bits(r.word() as u32 & 0xbf7f_ffff) * 4.0),
        row(&mut |_| f32::NEG_INFINITY),
        row(&mut |_| 0.0),
    ];
    rows[5][high] = -3.0e38;
    rows[6][low] = f32::from_bits(0x7fff_0000);
    let mut infinite = rows[1].clone();
    infinite[low] = f32::INFINITY;
    rows.push(infinite);
    rows.push(vec![f32::NEG_INFINITY; columns]);
    rows
}
