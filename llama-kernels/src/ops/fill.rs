//! Noise in place of weights.

use super::shape::fold;
use crate::reference::{Noise, scale_seed};
use crate::{Bind, Dispatch, Error, Gpu, Recorder, WeightMatrix};

/// Fills a matrix with seeded noise where it lies; its meaning is [`reference::fill`](crate::reference::fill).
#[derive(Debug)]
pub struct Fill {
    planes: Vec<(Dispatch, [u32; 2])>,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    rows: u32,
    vectors: u32,
    first_row: u32,
    values: u32,
    packed: u32,
    seed: u32,
    record: u32,
    pad: u32,
    /// `(end, mask, base, 0)` of some words of a record each.
    parts: [[u32; 4]; 3],
}

impl Fill {
    /// For every plane of `weight`.
    ///
    /// # Errors
    /// Any of the GPU's errors.
    pub fn new(gpu: &Gpu, weight: &WeightMatrix, seed: u32) -> Result<Self, Error> {
        let columns = weight.columns();
        let mut planes = Vec::new();
        for piece in weight.pieces() {
            let data = Noise::data(piece.format(), columns);
            let scales = Noise::scales(piece.format(), columns);
            let of_piece = (piece.first_row() as u32, piece.rows() as u32);
            for (name, plane) in piece.bindings() {
                let (noise, seed) = match (name, scales) {
                    ("weight_scales", Some(noise)) => (noise, scale_seed(seed)),
                    _ => (data, seed),
                };
                planes.push(bind(gpu, plane, noise, of_piece, seed)?);
            }
        }
        Ok(Fill { planes })
    }

    /// Fills it.
    pub fn record(&self, recorder: &mut Recorder) {
        for (dispatch, [x, y]) in &self.planes {
            recorder.dispatch(dispatch, [*x, *y, 1]);
        }
    }
}

fn bind(
    gpu: &Gpu,
    plane: Bind<'_>,
    noise: Noise,
    (first_row, rows): (u32, u32),
    seed: u32,
) -> Result<(Dispatch, [u32; 2]), Error> {
    let variant = gpu.select("fill", &[])?;
    let args = Args {
        rows,
        vectors: (noise.words / 4) as u32,
        first_row,
        values: noise.values as u32,
        packed: noise.packed as u32,
        seed,
        record: noise.record as u32,
        pad: 0,
        parts: noise.parts.map(|part| {
            let end = u32::try_from(part.end).unwrap_or(u32::MAX);
            [end, part.mask, part.base, 0]
        }),
    };
    // A binding is at most 2 GiB: the product is below 2^27.
    let groups = (args.rows * args.vectors).div_ceil(variant.workgroup_size[0]);
    let args = gpu.uniform("fill args", &args)?;
    let operands = [("args", args.binding()), ("plane", plane)];
    let dispatch = gpu.pipeline(variant)?.bind(gpu, "fill", operands)?;
    Ok((dispatch, fold(groups)))
}
