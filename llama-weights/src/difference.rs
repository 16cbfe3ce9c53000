//! How far the weights of one checkpoint are from those of another, tensor by tensor: what quantizing cost.

use std::ops::ControlFlow;

use crate::parallel::in_order;
use crate::{Checkpoint, TensorRole, TensorView};

/// Values that a thread compares at once, but for longer rows.
const AT_ONCE: usize = 1 << 18;

/// How far the values of one tensor are from another's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Which tensor.
    pub role: TensorRole,
    /// The root of the mean squared difference, divided by that of the mean square; 0 where the tensors are equal, infinite where
    /// only this one is zero.
    pub relative_rmse: f64,
    /// The largest difference of two values.
    pub max_abs: f32,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    squares: f64,
    errors: f64,
    max_abs: f32,
}

impl Checkpoint {
    /// How far each tensor of `other`, the same model in other types, is from this one's; in the order of the forward pass, those that both have.
    /// Works on all cores with memory for a few chunks of rows. `progress` is given the bytes of this checkpoint that have been compared, up to
    /// [`Checkpoint::weight_bytes`], and can break it off: then there is `None`, as where a tensor's shapes differ.
    #[must_use]
    pub fn differences(
        &self,
        other: &Checkpoint,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Option<Vec<Difference>> {
        let mut found = Vec::new();
        let mut done = 0;
        for (role, view) in self.tensors() {
            let Some(theirs) = other.tensor(role) else {
                continue;
            };
            if view.shape() != theirs.shape() {
                return None;
            }
            let sums = compare(&view, &theirs, &mut |bytes| progress(done + bytes))?;
            done += view.n_bytes();
            found.push(Difference {
                role,
                relative_rmse: if sums.errors == 0.0 {
                    0.0
                } else {
                    (sums.errors / sums.squares).sqrt()
                },
                max_abs: sums.max_abs,
            });
        }
        Some(found)
    }
}

fn compare(
    ours: &TensorView<'_>,
    theirs: &TensorView<'_>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Option<Sums> {
    let rows = ours.n_rows();
    let step = (AT_ONCE / ours.n_columns().max(1)).max(1);
    let starts = (0..rows).step_by(step);
    let mut sums = Sums::default();
    let mut done = 0;
    in_order(
        starts.map(|start| start..(start + step).min(rows)),
        |rows| {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            ours.rows_f32(rows.clone(), &mut x);
            theirs.rows_f32(rows.clone(), &mut y);
            (rows.len() * ours.row_bytes(), Sums::of(&x, &y))
        },
        |(bytes, part)| {
            sums.squares += part.squares;
            sums.errors += part.errors;
            sums.max_abs = sums.max_abs.max(part.max_abs);
            done += bytes as u64;
            match progress(done) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(()),
            }
        },
    )
    .ok()
    .map(|()| sums)
}

impl Sums {
    fn of(x: &[f32], y: &[f32]) -> Self {
        let mut sums = Self::default();
        for (&x, &y) in x.iter().zip(y) {
            let error = f64::from(x) - f64::from(y);
            sums.squares += f64::from(x) * f64::from(x);
            sums.errors += error * error;
            sums.max_abs = sums.max_abs.max((x - y).abs());
        }
        sums
    }
}
