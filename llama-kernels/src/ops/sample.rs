//! Drawing a token on the GPU.

use super::shape::{expect_at_least, fold, within};
use crate::{Dispatch, Error, Gpu, Recorder, StepBuffer, Tensor, reference::DrawRules};

/// A token drawn from each row of logits; its meaning is [`reference::sample`](crate::reference::sample).
#[derive(Debug)]
pub struct Sample {
    dispatch: Dispatch,
    /// `[sequences]`, eight words each
    rules: Tensor,
    #[expect(dead_code, reason = "holds its place in `Gpu::allocated_bytes`")]
    scratch: [Tensor; 3],
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    columns: u32,
    stride: u32,
    pad: u32,
}

const RULES_WORDS: usize = 8;

impl Sample {
    /// `logits` is `[rows, vocabulary]`, of the rows that want them in the order of the step; `chosen` a tensor of ids
    /// with a place for each. At most `max_rows` rows are drawn in a step: each takes twelve bytes of scratch a token.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        step: &StepBuffer,
        logits: &Tensor,
        chosen: &Tensor,
        max_rows: usize,
    ) -> Result<Self, Error> {
        expect_at_least("sample", "rows of logits", max_rows, logits.rows())?;
        expect_at_least("sample", "rows of chosen", max_rows, chosen.rows())?;
        expect_at_least("sample", "columns of logits", 1, logits.columns())?;
        let variant = gpu.select("sample", &[])?;
        let args = Args {
            rows: max_rows as u32,
            columns: logits.columns() as u32,
            stride: (logits.stride() / 4) as u32,
            pad: 0,
        };
        let args = gpu.uniform("sample args", &args)?;
        let rules = gpu.ids("rules", RULES_WORDS * step.layout().max_sequences)?;
        let tokens = logits.stride() * max_rows;
        let scratch = |label| gpu.ids(label, tokens);
        let (weights, ids, ranged) = (scratch("weights")?, scratch("ids")?, scratch("ranged")?);
        let operands = [
            ("args", args.binding()),
            ("step", step.binding()),
            ("rules", rules.binding()),
            ("logits", logits.binding()),
            ("weights", weights.binding()),
            ("ids", ids.binding()),
            ("ranged", ranged.binding()),
            ("chosen", chosen.binding()),
        ];
        Ok(Sample {
            dispatch: gpu.pipeline(variant)?.bind(gpu, "sample", operands)?,
            rules,
            scratch: [weights, ids, ranged],
            max_rows,
        })
    }

    /// The rules of a sequence from the next submission on.
    ///
    /// # Errors
    /// [`Error::Shape`] if the step has no such sequence; faults of the device.
    pub fn set_rules(&self, gpu: &Gpu, sequence: usize, rules: &DrawRules) -> Result<(), Error> {
        gpu.write_u32(
            &self.rules,
            sequence.saturating_mul(RULES_WORDS),
            &rules.words(),
        )
    }

    /// Draws for the first `rows` rows of logits.
    pub fn record(&self, recorder: &mut Recorder, rows: usize) {
        if within(recorder, "sample", rows, self.max_rows) {
            let [x, y] = fold(rows as u32);
            recorder.dispatch(&self.dispatch, [x, y, 1]);
        }
    }
}
