//! Reading back behind: order, what is forgotten, what is refused.

use std::mem;

use libtest_mimic::Completion;
use llama_kernels::{Error, Gpu, ReadBehind, Tensor};

use super::{Outcome, expect, expect_error, gpu};

/// Submits a read of `value`, written before it.
fn submit(gpu: &Gpu, ring: &mut ReadBehind, ids: &Tensor, value: u32) -> Result<(), Error> {
    gpu.write_u32(ids, 0, &[value, value + 1])?;
    ring.submit(gpu, gpu.recorder(), ids, 2)
}

pub(crate) fn in_order() -> Outcome {
    let gpu = gpu()?;
    let ids = gpu.ids("ids", 2)?;
    let mut ring = gpu.read_behind("ring", 2, 3)?;
    let count = gpu.allocation_count();
    expect(ring.fetch(&gpu)?.is_empty(), "there is nothing to fetch")?;
    submit(&gpu, &mut ring, &ids, 0)?;
    submit(&gpu, &mut ring, &ids, 10)?;
    for round in 2..40 {
        submit(&gpu, &mut ring, &ids, 10 * round)?;
        expect(ring.under_way() == 3, "three are under way")?;
        let expected = 10 * (round - 2);
        let found = ring.fetch(&gpu)?;
        expect(
            found == [expected, expected + 1],
            &format!("found {found:?}, expected {expected} and the next"),
        )?;
    }
    expect(
        gpu.allocation_count() == count,
        "the ring allocates only when it is made",
    )?;
    Ok(Completion::Completed)
}

/// What was forgotten never comes back in the place of what follows it.
pub(crate) fn forgotten() -> Outcome {
    let gpu = gpu()?;
    let ids = gpu.ids("ids", 2)?;
    let mut ring = gpu.read_behind("ring", 2, 2)?;
    for round in 0..20 {
        for value in [1_000, 2_000] {
            submit(&gpu, &mut ring, &ids, value + round)?;
        }
        if round % 3 == 0 {
            ring.fetch(&gpu)?;
        }
        ring.forget();
        expect(ring.fetch(&gpu)?.is_empty(), "nothing is left to fetch")?;
        submit(&gpu, &mut ring, &ids, round)?;
        let found = ring.fetch(&gpu)?;
        expect(
            found == [round, round + 1],
            &format!("round {round}: {found:?}"),
        )?;
    }
    Ok(Completion::Completed)
}

pub(crate) fn refused() -> Outcome {
    let gpu = gpu()?;
    let (ids, few) = (gpu.ids("ids", 4)?, gpu.ids("few", 1)?);
    let mut ring = gpu.read_behind("ring", 2, 1)?;
    for rows in [0, 3] {
        expect_error(
            ring.submit(&gpu, gpu.recorder(), &ids, rows),
            &format!("read_behind: rows: expected from 1 to 2, found {rows}"),
        )?;
    }
    expect_error(
        ring.submit(&gpu, gpu.recorder(), &few, 2),
        "copy_out: rows of few: expected within 0..1, found 0..2",
    )?;
    submit(&gpu, &mut ring, &ids, 7)?;
    expect_error(
        submit(&gpu, &mut ring, &ids, 8),
        "read_behind: submissions under way: expected at most 1, found 2",
    )?;
    expect(ring.fetch(&gpu)? == [7, 8], "the first is not disturbed")?;
    Ok(Completion::Completed)
}

pub(crate) fn lost() -> Outcome {
    let gpu = gpu()?;
    let ids = gpu.ids("ids", 2)?;
    let mut ring = gpu.read_behind("ring", 2, 2)?;
    submit(&gpu, &mut ring, &ids, 1)?;
    gpu.device().destroy();
    let lost = |result: Result<(), Error>| {
        expect(
            matches!(result, Err(Error::DeviceLost { .. })),
            &format!("expected a lost device, found {result:?}"),
        )
    };
    lost(ring.fetch(&gpu).map(|_| ()))?;
    lost(submit(&gpu, &mut ring, &ids, 2))?;
    ring.forget();
    lost(submit(&gpu, &mut ring, &ids, 3))?;
    // Nor is it a fault to drop it so.
    mem::drop((ring, gpu));
    Ok(Completion::Completed)
}
