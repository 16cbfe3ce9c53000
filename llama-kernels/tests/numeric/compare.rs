//! Comparison of what a kernel wrote with what its reference says.

use libtest_mimic::Failed;

/// The distance between 1 and the next f32, twice the largest relative error of one rounding.
pub(crate) const EPSILON: f32 = f32::EPSILON;

/// An error that names the first element further from its expected value than its bound.
pub(crate) fn close(
    what: &str,
    found: &[f32],
    expected: &[f32],
    bound: impl Fn(usize) -> f32,
) -> Result<(), Failed> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} values for {}", found.len(), expected.len()).into());
    }
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let bound = bound(i);
        // A NaN on either side is not near.
        let near = (found - expected).abs() <= bound;
        if !near {
            return Err(format!(
                "{what}: element {i} is {found}, expected {expected} within {bound:e}"
            )
            .into());
        }
    }
    Ok(())
}

/// An error that names the first element that differs.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
) -> Result<(), Failed> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} values for {}", found.len(), expected.len()).into());
    }
    match found.iter().zip(expected).position(|(f, e)| f != e) {
        None => Ok(()),
        Some(i) => {
            let (found, expected) = (&found[i], &expected[i]);
            Err(format!("{what}: element {i} is {found:?}, expected {expected:?}").into())
        }
    }
}
