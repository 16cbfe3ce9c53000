//! Rows from one device to another.

use libtest_mimic::Completion;
use llama_kernels::Bridge;

use super::{Outcome, expect, expect_error, gpu};

pub(crate) fn crossed() -> Outcome {
    let (one, other) = (gpu()?, gpu()?);
    let (source, target) = (one.tensor("x", 5, 40)?, other.tensor("y", 7, 40)?);
    let mut bridge = Bridge::new(&one, &other, 4, 40)?;
    let counts = || [one.allocation_count(), other.allocation_count()];
    let made = counts();
    for round in 0..20u8 {
        let rows = usize::from(round % 4) + 1;
        let values: Vec<f32> = (0..rows * 40)
            .map(|i| i as f32 + f32::from(round))
            .collect();
        one.write_f32(&source, 0, &values)?;
        bridge.cross(one.recorder(), &source, &target, rows)?;
        // Without a wait between: what is submitted next sees them.
        if round % 3 == 0 {
            let found = other.read_f32(&target, 0..rows)?;
            expect(found == values, &format!("round {round}: {found:?}"))?;
        }
    }
    let copied = other.allocation_count();
    expect(
        counts()[0] == made[0] && copied <= made[1] + 2,
        "only reads back for this trial allocate",
    )?;
    Ok(Completion::Completed)
}

pub(crate) fn refused() -> Outcome {
    let (one, other) = (gpu()?, gpu()?);
    let (source, target) = (one.tensor("x", 9, 40)?, other.tensor("y", 3, 40)?);
    let wide = other.tensor("wide", 9, 80)?;
    let mut bridge = Bridge::new(&one, &other, 4, 40)?;
    expect_error(
        bridge.cross(one.recorder(), &source, &target, 5),
        "bridge: rows of x: expected at most 4, found 5",
    )?;
    expect_error(
        bridge.cross(one.recorder(), &source, &target, 4),
        "bridge: rows of y: expected at most 3, found 4",
    )?;
    expect_error(
        bridge.cross(one.recorder(), &source, &wide, 1),
        "bridge: stride of wide: expected 64, found 96",
    )?;
    bridge.cross(one.recorder(), &source, &target, 0)?;
    bridge.cross(one.recorder(), &source, &target, 3)?;
    Ok(Completion::Completed)
}

pub(crate) fn lost() -> Outcome {
    for lost in 0..2 {
        let gpus = [gpu()?, gpu()?];
        let (source, target) = (gpus[0].tensor("x", 4, 40)?, gpus[1].tensor("y", 4, 40)?);
        let mut bridge = Bridge::new(&gpus[0], &gpus[1], 4, 40)?;
        bridge.cross(gpus[0].recorder(), &source, &target, 4)?;
        gpus[lost].device().destroy();
        for _ in 0..2 {
            let crossed = bridge.cross(gpus[0].recorder(), &source, &target, 4);
            let sentence = crossed.err().map(|error| error.to_string());
            let is_loss = sentence.as_deref().unwrap_or("none");
            expect(is_loss.starts_with("the GPU device was lost: "), is_loss)?;
        }
    }
    Ok(Completion::Completed)
}
