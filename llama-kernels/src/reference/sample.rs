//! Drawing a token: temperature, top-k, top-p, min-p and one draw, in integers alone.
//!
//! Floats would not do: shader compilers may contract, reorder and flush, and exponentials differ between
//! devices. Here each logit's distance from the largest is aligned, multiplied and exponentiated in u32, sums
//! are u64, and nothing depends on the order of summation: the same logits, rules and draw give the same token
//! on every device and on the host, bit for bit.

use super::rows;
use crate::NO_TOKEN;

/// The weight of the largest logit's token; the others' are relative to it.
const LARGEST_WEIGHT: u32 = 1 << 31;

/// `(1 − 2^−y) / y` on [0, 1) as a polynomial of falling signs, in 2^−32: interpolated at Chebyshev's nodes. With it
/// 2^−y is right to 1.2e-8 of its value.
const EXPONENTIAL: [u32; 6] = [
    0xb172_17df,
    0x3d7f_7506,
    0x0e35_3290,
    0x0274_f388,
    0x0054_a612,
    0x0007_8809,
];

/// How a token is drawn, as the kernel takes it.
///
/// Tokens have weights: e^((logit − largest) / temperature) of 2^31, rounded down; those of weight 0, below
/// 4.7e-10 of the largest, are never drawn. In the order of falling weight, equal ones by rising id:
///
/// 1. top-k: the first `top_k` stay;
/// 2. top-p: of these, those stay before which the weights sum to at most `top_p` of all of these;
/// 3. min-p: of these, those stay whose weight is at least `min_p` of the largest.
///
/// The draw, a fraction of 2^64, is taken of the sum of what stayed: the token at that place is chosen, in the
/// order of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawRules {
    /// log2 e / temperature = `factor` · 2^`exponent`; `factor` is at least 2^31.
    factor: u32,
    exponent: i32,
    /// 0 is off.
    top_k: u32,
    /// In 2^−32; [`DrawRules::ALL`] is off.
    top_p: u32,
    /// No smaller weight is drawn, at least 1.
    least: u32,
}

impl DrawRules {
    /// A `top_p` that keeps all. The largest f32 below 1 is 2^8 less.
    const ALL: u32 = u32::MAX;

    /// Rules for a finite `temperature` above 0, `top_k` (0 is off), `top_p` (from 1 on it is off) and
    /// `min_p` from 0 to 1. Bits of `top_p` below 2^−32 are cut off.
    pub fn new(temperature: f32, top_k: usize, top_p: f32, min_p: f32) -> Self {
        let bits = (std::f64::consts::LOG2_E / f64::from(temperature)).to_bits();
        // Not subnormal: no f32 is so large. The shift and the masks leave what fits.
        let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
        Self {
            factor: (mantissa >> 21) as u32,
            exponent: (bits >> 52 & 0x7ff) as i32 - 1023 - 31,
            top_k: u32::try_from(top_k).unwrap_or(u32::MAX),
            top_p: match top_p < 1.0 {
                true => (f64::from(top_p) * (1u64 << 32) as f64) as u32,
                false => Self::ALL,
            },
            least: ((f64::from(min_p) * f64::from(LARGEST_WEIGHT)).ceil() as u32).max(1),
        }
    }

    /// The weight of a token by its logit and the largest one, which is finite and no smaller.
    pub fn weight(&self, largest: f32, logit: f32) -> u32 {
        let (from, to) = (Parts::of(largest), Parts::of(logit));
        if to.exponent == 255 {
            return 0; // −∞
        }
        // Both in units of 2^(exponent − 157), cut off: seven bits below the last of the larger one.
        let exponent = from.exponent.max(to.exponent);
        let (a, b) = (from.aligned(exponent), to.aligned(exponent));
        let distance = match from.is_negative == to.is_negative {
            true => a.abs_diff(b),
            false => a + b,
        };
        if distance == 0 {
            return LARGEST_WEIGHT;
        }
        // distance · factor · 2^… in 2^−26: how many times the weight is halved.
        let zeros = distance.leading_zeros();
        let product = high_product(distance << zeros, self.factor);
        let shift = 99 + zeros as i32 - exponent as i32 - self.exponent;
        if shift < 0 {
            return 0; // 2^31 / 2^26 times and more
        }
        let halvings = product.checked_shr(shift as u32).unwrap_or(0);
        halved(halvings & 0x03ff_ffff)
            .checked_shr(halvings >> 26)
            .unwrap_or(0)
    }

    /// The sum of weights after which, of `total`, tokens go by top-p; `None` where it is off.
    pub fn top_p_of(&self, total: u64) -> Option<u64> {
        let part = || ((u128::from(total) * u128::from(self.top_p)) >> 32) as u64;
        (self.top_p != Self::ALL).then(part)
    }

    /// How many tokens stay by top-k; `None` where it is off.
    pub fn top_k(&self) -> Option<usize> {
        (self.top_k != 0).then_some(self.top_k as usize)
    }

    /// The least weight that stays by min-p; at least 1.
    pub fn least(&self) -> u32 {
        self.least
    }

    /// The rules as the kernel's struct of the same fields.
    pub fn words(&self) -> [u32; 8] {
        let exponent = self.exponent as u32;
        [
            self.factor,
            exponent,
            self.top_k,
            self.top_p,
            self.least,
            0,
            0,
            0,
        ]
    }
}

/// The place, within a sum of weights, that a draw of 2^64 falls on.
pub fn place_of(draw: u64, total: u64) -> u64 {
    ((u128::from(draw) * u128::from(total)) >> 64) as u64
}

/// The token drawn from each row's `columns` logits by the row's rules and draw; [`NO_TOKEN`] where
/// [`argmax`](super::argmax) gives it.
///
/// `logits` is `[rows, columns]` padded; the padding is not looked at.
pub fn sample(logits: &[f32], columns: usize, rules: &[DrawRules], draws: &[u64]) -> Vec<u32> {
    rows(logits, columns)
        .zip(rules.iter().zip(draws))
        .map(|(row, (rules, draw))| sample_of_row(row, rules, *draw))
        .collect()
}

fn sample_of_row(row: &[f32], rules: &DrawRules, draw: u64) -> u32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if row.iter().any(|logit| logit.is_nan()) || !largest.is_finite() {
        return NO_TOKEN;
    }
    let weights = row.iter().map(|&logit| rules.weight(largest, logit));
    let mut kept: Vec<(u32, u32)> = weights.zip(0..).filter(|(weight, _)| *weight > 0).collect();
    kept.sort_by_key(|&(weight, id)| (std::cmp::Reverse(weight), id));
    kept.truncate(rules.top_k().unwrap_or(usize::MAX));
    if let Some(most) = rules.top_p_of(sum(&kept)) {
        let mut before = 0;
        kept.retain(|&(weight, _)| {
            let stays = before <= most;
            before += u64::from(weight);
            stays
        });
    }
    kept.retain(|&(weight, _)| weight >= rules.least());
    kept.sort_by_key(|&(_, id)| id);
    let mut left = place_of(draw, sum(&kept));
    for (weight, id) in kept {
        match left.checked_sub(weight.into()) {
            Some(rest) => left = rest,
            None => return id,
        }
    }
    NO_TOKEN
}

fn sum(kept: &[(u32, u32)]) -> u64 {
    kept.iter().map(|&(weight, _)| u64::from(weight)).sum()
}

/// A float: ± mantissa · 2^(exponent − 150), the mantissa below 2^24.
struct Parts {
    is_negative: bool,
    exponent: u32,
    mantissa: u32,
}

impl Parts {
    fn of(value: f32) -> Self {
        let bits = value.to_bits();
        let (exponent, mantissa) = (bits >> 23 & 0xff, bits & 0x007f_ffff);
        Self {
            is_negative: bits >> 31 != 0,
            exponent: exponent.max(1),
            mantissa: mantissa | u32::from(exponent > 0) << 23,
        }
    }

    /// The magnitude in units of 2^(exponent − 157), below 2^31.
    fn aligned(&self, exponent: u32) -> u32 {
        self.mantissa << 7 >> (exponent - self.exponent).min(31)
    }
}

/// 2^31 · 2^−y for y in 2^−26, below 1.
fn halved(y: u32) -> u32 {
    let y = y << 6;
    let [rest @ .., last] = EXPONENTIAL;
    let sum = rest
        .iter()
        .rev()
        .fold(last, |sum, c| c - high_product(y, sum));
    LARGEST_WEIGHT - high_product(y, sum) / 2
}

/// The upper word of a product.
fn high_product(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix;
    use super::{DrawRules, LARGEST_WEIGHT, NO_TOKEN, sample};

    const INF: f32 = f32::INFINITY;
    const HALF: u64 = 1 << 63;

    fn plain(temperature: f32) -> DrawRules {
        DrawRules::new(temperature, 0, 1.0, 0.0)
    }

    #[test]
    fn weights_are_the_exponential() {
        let logits = [
            -3.0e38, -1e4, -90.0, -20.5, -3.0, -1.0, -0.1, -1e-30, -0.0, 0.0, 1e-42, 1e-8, 0.3,
            1.0, 7.25, 20.0, 1e5,
        ];
        for temperature in [1e-3, 0.6, 1.0, 7.0, 1e4, 1e38] {
            let rules = plain(temperature);
            for largest in logits {
                for logit in logits.into_iter().filter(|l| *l <= largest) {
                    let distance = f64::from(largest) - f64::from(logit);
                    let expected =
                        (-distance / f64::from(temperature)).exp() * f64::from(LARGEST_WEIGHT);
                    let found = f64::from(rules.weight(largest, logit));
                    // 2^−26 of a halving, the polynomial's 1.2e-8; seven bits behind the last of the larger logit;
                    // and a weight is rounded down.
                    let cut_off = f64::from(largest.abs().max(logit.abs()))
                        / f64::from(temperature)
                        / 2f64.powi(30);
                    let bound = expected * (4e-8 + cut_off) + 1.0;
                    assert!(
                        (found - expected).abs() <= bound,
                        "{largest} {logit} at {temperature}: {found}, expected {expected} within {bound}"
                    );
                }
            }
        }
    }

    #[test]
    fn weights_never_rise_as_logits_fall() {
        // Across the borders of floats' exponents, where the alignment changes.
        for temperature in [0.01, 1.0, 30.0] {
            let rules = plain(temperature);
            for start in [16.0f32, 1.0, 0.0, -1.0, -4.0] {
                let mut logit = start + 1e-5;
                let mut above = LARGEST_WEIGHT;
                for _ in 0..2000 {
                    logit = logit.next_down();
                    let weight = rules.weight(16.5, logit);
                    // The polynomial's own rounding may add a unit in 2^30.
                    assert!(weight <= above + 1, "{logit}: {weight} above {above}");
                    above = weight;
                }
            }
        }
    }

    #[test]
    fn the_draw_is_a_place_in_the_order_of_ids() {
        let row: &[f32] = &[0.0; 4];
        let logits = matrix(&[row; 5]);
        let draws = [0, u64::MAX / 4 - 1, HALF - 1, HALF, u64::MAX];
        assert_eq!(
            sample(&logits, 4, &[plain(0.7); 5], &draws),
            [0, 0, 1, 2, 3]
        );
    }

    #[test]
    fn each_rule_keeps_what_it_says() {
        let row: &[f32] = &[0.0, 4f32.ln(), 0.0, 2f32.ln()];
        let last = |rules| sample(&matrix(&[row]), 4, &[rules], &[u64::MAX])[0];
        let first = |rules| sample(&matrix(&[row]), 4, &[rules], &[0])[0];
        assert_eq!((first(plain(1.0)), last(plain(1.0))), (0, 3));
        // 1 and 3; then 0, the lower id of two.
        let top_k = |k| DrawRules::new(1.0, k, 1.0, 0.0);
        assert_eq!((first(top_k(2)), last(top_k(2))), (1, 3));
        assert_eq!((first(top_k(3)), last(top_k(3))), (0, 3));
        assert_eq!((first(top_k(1)), last(top_k(1))), (1, 1));
        // Before 1 there is nothing, before 3 a half, before 0 three quarters, before 2 seven eighths.
        let top_p = |p| DrawRules::new(1.0, 0, p, 0.0);
        assert_eq!((first(top_p(0.0)), last(top_p(0.49))), (1, 1));
        assert_eq!((first(top_p(0.6)), last(top_p(0.6))), (1, 3));
        assert_eq!(first(top_p(0.8)), 0);
        let min_p = |p| DrawRules::new(1.0, 0, 1.0, p);
        assert_eq!((first(min_p(1.0)), last(min_p(0.51))), (1, 1));
        assert_eq!((first(min_p(0.49)), first(min_p(0.24))), (1, 0));
    }

    #[test]
    fn nan_infinity_and_all_minus_infinity_draw_nothing() {
        let logits = matrix(&[
            &[1.0, f32::NAN, 2.0],
            &[-INF, INF, 0.0],
            &[-INF, -INF, -INF],
            &[-INF, f32::MIN, -INF],
        ]);
        let found = sample(&logits, 3, &[plain(1e38); 4], &[u64::MAX; 4]);
        assert_eq!(found, [NO_TOKEN, NO_TOKEN, NO_TOKEN, 1]);
    }
}
