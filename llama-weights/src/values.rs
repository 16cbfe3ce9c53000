//! Reading every value of a tensor once: NaN, infinity, largest magnitude.
//!
//! Works on chunks of rows, so that memory stays small whatever the tensor.

use crate::{TensorRole, TensorView};

/// What the values of one tensor are.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorValues {
    /// Which tensor.
    pub role: TensorRole,
    /// Its name in the file.
    pub name: String,
    /// Number of values.
    pub count: u64,
    /// How many are NaN.
    pub nan: u64,
    /// How many are infinite.
    pub infinite: u64,
    /// Largest magnitude among the finite ones; 0 where there is none.
    pub largest: f32,
}

impl TensorValues {
    /// No NaN and no infinity.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.nan == 0 && self.infinite == 0
    }

    /// Every finite value can be held in an f16 (65,504 is its largest).
    #[must_use]
    pub fn fits_f16(&self) -> bool {
        self.largest <= half::f16::MAX.to_f32()
    }

    pub(crate) fn of(role: TensorRole, view: &TensorView<'_>) -> Self {
        /// Values converted at once: 256 KiB of f32.
        const AT_ONCE: usize = 1 << 16;
        let mut found = Self {
            role,
            name: view.name().to_owned(),
            count: view.n_rows() as u64 * view.n_columns() as u64,
            nan: 0,
            infinite: 0,
            largest: 0.0,
        };
        let step = (AT_ONCE / view.n_columns().max(1)).max(1);
        let mut floats = Vec::new();
        for start in (0..view.n_rows()).step_by(step) {
            view.rows_f32(start..(start + step).min(view.n_rows()), &mut floats);
            found.add(&floats);
        }
        found
    }

    fn add(&mut self, floats: &[f32]) {
        const INFINITY: u32 = f32::INFINITY.to_bits();
        if let Some(largest) = largest(floats) {
            self.largest = self.largest.max(largest);
            return;
        }
        for bits in floats.iter().map(magnitude) {
            match bits.cmp(&INFINITY) {
                std::cmp::Ordering::Less => self.largest = self.largest.max(f32::from_bits(bits)),
                std::cmp::Ordering::Equal => self.infinite += 1,
                std::cmp::Ordering::Greater => self.nan += 1,
            }
        }
    }
}

/// The largest magnitude, 0 where there is no value; `None` where one is NaN or infinite.
pub(crate) fn largest(floats: &[f32]) -> Option<f32> {
    let most = floats.iter().map(magnitude).max().unwrap_or(0);
    Some(f32::from_bits(most)).filter(|most| most.is_finite())
}

/// Bits of magnitudes order as the magnitudes do: infinity is above all finite ones, NaN above infinity.
fn magnitude(x: &f32) -> u32 {
    x.to_bits() & 0x7fff_ffff
}
