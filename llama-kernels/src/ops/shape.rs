//! Checks of shapes, and the arithmetic of dispatch sizes.

use crate::{Error, KvCache, Recorder, StepBuffer, Tensor, reference::Heads};

/// Workgroups that one dimension of a dispatch may have: what WebGPU grants everywhere.
const MAX_GROUPS: u32 = 65_535;

/// An error unless a count is as expected.
pub(super) fn expect(
    op: &'static str,
    what: &str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(mismatch(op, what, expected.to_string(), found))
}

/// An error unless a count is at least the expected one.
pub(super) fn expect_at_least(
    op: &'static str,
    what: &str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if expected <= found {
        return Ok(());
    }
    Err(mismatch(op, what, format!("at least {expected}"), found))
}

/// An error unless the heads are possible ones, and the step and the cache are made for them.
pub(super) fn expect_heads(
    op: &'static str,
    heads: Heads,
    qkv: &Tensor,
    step: &StepBuffer,
    cache: &KvCache,
) -> Result<(), Error> {
    let Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    } = heads;
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        let expected = "an even number above 0".to_string();
        return Err(mismatch(op, "values per head", expected, head_dim));
    }
    if n_kv_heads == 0 || n_heads == 0 || !n_heads.is_multiple_of(n_kv_heads) {
        let expected = format!("a divisor of the {n_heads} query heads");
        return Err(mismatch(op, "key and value heads", expected, n_kv_heads));
    }
    let layout = step.layout();
    expect_at_least(op, "rows of qkv", layout.max_rows, qkv.rows())?;
    expect(op, "columns of qkv", heads.qkv_columns(), qkv.columns())?;
    expect_at_least(op, "pages of the cache", 1, cache.pages())?;
    expect(op, "heads of the cache", n_kv_heads, cache.n_kv_heads())?;
    expect(
        op,
        "values per head of the cache",
        head_dim,
        cache.head_dim(),
    )?;
    expect(
        op,
        "angles per row of the step",
        head_dim / 2,
        layout.rope_pairs,
    )?;
    expect(
        op,
        "page size of the cache",
        layout.page_size,
        cache.page_size(),
    )
}

/// An error where a result is to be added to what stands in out, and cannot be.
pub(super) fn expect_no_sum(op: &'static str, accumulate: bool) -> Result<(), Error> {
    expect(
        op,
        "terms of a value of out",
        1,
        1 + usize::from(accumulate),
    )
}

/// Whether tensors hold as many rows as are to be recorded. Where they do not, the recorder keeps the error:
/// the kernels check no row against its tensor.
pub(super) fn within(
    recorder: &mut Recorder,
    op: &'static str,
    rows: usize,
    max_rows: usize,
) -> bool {
    if rows > max_rows {
        recorder.refuse(mismatch(op, "rows", format!("at most {max_rows}"), rows));
    }
    rows <= max_rows
}

fn mismatch(op: &'static str, what: &str, expected: String, found: usize) -> Error {
    Error::Shape {
        op,
        what: what.to_string(),
        expected,
        found: found.to_string(),
    }
}

/// A number of workgroups as the x and y of a dispatch, as few too many as possible.
pub(super) fn fold(groups: u32) -> [u32; 2] {
    let y = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(y), y]
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn groups_fold_at_the_limit_and_not_before() {
        assert_eq!(fold(1), [1, 1]);
        assert_eq!(fold(65_535), [65_535, 1]);
        assert_eq!(fold(65_536), [32_768, 2]);
        assert_eq!(fold(200_000), [50_000, 4]);
        assert_eq!(fold(65_535 * 3 + 1), [49_152, 4]);
    }
}
