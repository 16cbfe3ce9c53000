//! The parts of a product whose columns were split, added up.

use super::product::MatmulOptions;
use super::shape::{expect, expect_at_least, within};
use crate::{Dispatch, Error, Gpu, Recorder, Tensor, padded};

/// Parts of the columns at most.
pub(super) const MOST_PARTS: usize = 8;

/// Adds up what [`Matmul`](super::Matmul) left of each part; its meaning is
/// [`reference::matmul_combine`](crate::reference::matmul_combine).
#[derive(Debug)]
pub struct MatmulCombine {
    /// For 2, 4 and 8 parts, as many as fit `partials`.
    dispatches: Vec<Dispatch>,
    groups: u32,
    max_rows: usize,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    words: u32,
    parts: u32,
    part_rows: u32,
    stride: u32,
    out_stride: u32,
    bias: u32,
    accumulate: u32,
    last: u32,
}

impl MatmulCombine {
    /// `partials` holds parts of `part_rows` rows, as wide as those of `out`, end to end, whatever its own rows are; bias and
    /// accumulation are the product's.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit; any of the GPU's errors.
    pub fn new(
        gpu: &Gpu,
        partials: &Tensor,
        part_rows: usize,
        out: &Tensor,
        options: MatmulOptions<'_>,
    ) -> Result<Self, Error> {
        const OP: &str = "matmul_combine";
        let columns = out.columns();
        expect_at_least(OP, "rows of out", part_rows, out.rows())?;
        if let Some(bias) = options.bias {
            expect(OP, "columns of the bias", columns, bias.columns())?;
        }
        let variant = gpu.select(OP, &[])?;
        let pipeline = gpu.pipeline(variant)?;
        let words = columns.div_ceil(4) as u32;
        let of_parts = |log2: u32| {
            let args = Args {
                words,
                parts: 1 << log2,
                part_rows: part_rows as u32,
                stride: (padded(columns) / 4) as u32,
                out_stride: (out.stride() / 4) as u32,
                bias: options.bias.is_some().into(),
                accumulate: options.accumulate.into(),
                last: (columns - 4 * columns.saturating_sub(1).div_euclid(4)) as u32,
            };
            let args = gpu.uniform("matmul_combine args", &args)?;
            let operands = [
                ("args", args.binding()),
                ("partials", partials.binding()),
                ("bias", options.bias.unwrap_or(partials).binding()),
                ("out", out.binding()),
            ];
            pipeline.bind(gpu, OP, operands)
        };
        let room = parts_in(partials, part_rows, columns).min(MOST_PARTS);
        let most = room.max(1).ilog2();
        Ok(Self {
            dispatches: (1..=most).map(of_parts).collect::<Result<_, _>>()?,
            groups: words.div_ceil(variant.workgroup_size[0]),
            max_rows: part_rows,
        })
    }

    /// Adds up `parts` parts (2, 4 or 8, and no more than there is room for) of each of the first `rows` rows.
    pub fn record(&self, recorder: &mut Recorder, rows: usize, parts: usize) {
        if !within(recorder, "matmul_combine", rows, self.max_rows) {
            return;
        }
        let place = (parts.max(1).ilog2() as usize).checked_sub(1);
        match place.and_then(|place| self.dispatches.get(place)) {
            Some(dispatch) if parts.is_power_of_two() => {
                recorder.dispatch(dispatch, [self.groups, rows as u32, 1]);
            }
            _ => recorder.refuse(Error::Shape {
                op: "matmul_combine",
                what: "parts".to_owned(),
                expected: format!("2, 4 or 8, at most {}", 1 << self.dispatches.len()),
                found: parts.to_string(),
            }),
        }
    }
}

/// How many parts of so many rows and columns a tensor has room for.
pub(super) fn parts_in(partials: &Tensor, rows: usize, columns: usize) -> usize {
    partials.rows() * partials.stride() / (rows * padded(columns)).max(1)
}
