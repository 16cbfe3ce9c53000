//! The sum of a buffer's words, which costs what reading them costs.

/// The sum of the words modulo 2³². The kernel leaves it in parts, one for each invocation; which part sums what is the
/// variant's business.
pub fn read_sum(data: &[u32]) -> u32 {
    data.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::read_sum;

    #[test]
    fn overflow_wraps() {
        assert_eq!(read_sum(&[]), 0);
        assert_eq!(read_sum(&[1, 2, u32::MAX, 5]), 7);
    }
}
