//! The generator behind the sampler: xoshiro256++ 1.0, seeded by SplitMix64.
//!
//! Both are public domain algorithms of Blackman and Vigna (<https://prng.di.unimi.it>). They are
//! written out here because "same seed, same tokens" is a promise of this crate across its own
//! versions, which a generator crate makes only within one of its major versions. Not for secrets.

/// A seeded stream of numbers; the same seed gives the same stream on every platform.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// A stream for `seed`; every seed, zero included, is a good one.
    pub(crate) fn new(seed: u64) -> Self {
        let mut split = seed;
        let state = std::array::from_fn(|_| split_mix(&mut split));
        Self { state }
    }

    /// Uniform over all 64 bits: a fraction of 2^64.
    pub(crate) fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

/// One step of SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Random, split_mix};

    /// The first outputs of the authors' C program for the state 1, 2, 3, 4.
    #[test]
    fn xoshiro_matches_the_authors_program() {
        let mut random = Random {
            state: [1, 2, 3, 4],
        };
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
            9_228_616_714_210_784_205,
            9_973_669_472_204_895_162,
            14_011_001_112_246_962_877,
            12_406_186_145_184_390_807,
            15_849_039_046_786_891_736,
            10_450_023_813_501_588_000,
        ];
        for value in expected {
            assert_eq!(random.next_u64(), value);
        }
    }

    /// The first outputs of the authors' C program for the seed 1477776061723855037.
    #[test]
    fn split_mix_matches_the_authors_program() {
        let mut state = 1_477_776_061_723_855_037;
        let expected = [
            1_985_237_415_132_408_290,
            2_979_275_885_539_914_483,
            13_511_426_838_097_143_398,
            8_488_337_342_461_049_707,
            15_141_737_807_933_549_159,
        ];
        for value in expected {
            assert_eq!(split_mix(&mut state), value);
        }
    }

    #[test]
    fn the_numbers_average_one_half() {
        let mut random = Random::new(0);
        let values = (0..100_000).map(|_| random.next_u64() as f64 / 2f64.powi(64));
        let mean = values.sum::<f64>() / 100_000.0;
        // Standard error of the mean is 0.29 / sqrt(100,000) = 0.0009; five of them.
        assert!((mean - 0.5).abs() < 0.0046, "{mean}");
    }
}
