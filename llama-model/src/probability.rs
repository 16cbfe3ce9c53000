//! What logits say about a token that is already known: log-probability and perplexity.

/// The natural logarithm of the probability that `logits` (one per id) give to `token`, in f64.
///
/// NaN where the logits hold NaN, +∞ or nothing finite, and where `token` is not below their number.
pub fn log_probability(logits: &[f32], token: u32) -> f64 {
    let Some(&logit) = logits.get(token as usize) else {
        return f64::NAN;
    };
    // The largest is taken off first: exp then stays within 0 and 1.
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let below_largest = |&other: &f32| f64::from(other) - largest;
    let sum: f64 = logits.iter().map(|other| below_largest(other).exp()).sum();
    below_largest(&logit) - sum.ln()
}

/// The perplexity of a text: e to the mean negative log-probability; `None` for no token.
pub fn perplexity(log_probabilities: &[f64]) -> Option<f64> {
    if log_probabilities.is_empty() {
        return None;
    }
    let mean = log_probabilities.iter().sum::<f64>() / log_probabilities.len() as f64;
    Some((-mean).exp())
}

#[cfg(test)]
mod tests {
    use super::{log_probability, perplexity};

    #[test]
    fn probabilities_of_all_tokens_add_up_to_one() {
        let logits = [1.0, -2.0, 300.0, 299.5, f32::NEG_INFINITY];
        let sum: f64 = (0..5)
            .map(|token| log_probability(&logits, token).exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn a_uniform_choice_among_four_has_perplexity_four() {
        let one = log_probability(&[0.25; 4], 2);
        let all = perplexity(&[one; 7]).expect("seven tokens");
        assert!((all - 4.0).abs() < 1e-12, "{all}");
        assert_eq!(perplexity(&[]), None);
    }

    #[test]
    fn no_number_comes_of_bad_logits_or_ids() {
        assert!(log_probability(&[0.0, 1.0], 2).is_nan());
        assert!(log_probability(&[0.0, f32::NAN], 0).is_nan());
        assert!(log_probability(&[f32::NEG_INFINITY; 2], 0).is_nan());
        assert!(log_probability(&[f32::INFINITY, 0.0], 1).is_nan());
    }
}
