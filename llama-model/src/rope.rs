//! Rotary position embedding: how far each pair of a head turns at a position.
//!
//! RoFormer (<https://arxiv.org/abs/2104.09864>), with the linear, dynamic NTK and llama3 scalings as
//! Hugging Face's transformers computes them. Angles are made here in f64 and stored as f32: f32 angles
//! alone move logits by 2e-4 at position 3,000. The rotation itself is a kernel.

use llama_weights::{Hyperparameters, RopeScaling};

/// Makes the angles of a model's rows.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    theta: f64,
    head_dim: usize,
    scaling: RopeScaling,
    max_position: usize,
    /// Radians per position of each pair: `[head_dim / 2]`, for sequences of `length` tokens.
    frequencies: Vec<f64>,
    length: usize,
}

impl Rope {
    /// Angles for a model of this shape. `head_dim` is even: the checkpoint was validated.
    pub(crate) fn new(h: &Hyperparameters) -> Self {
        let positions = h.max_position_embeddings;
        Self::with_scaling(h.rope_theta, h.head_dim, h.rope_scaling, positions)
    }

    fn with_scaling(
        theta: f64,
        head_dim: usize,
        scaling: RopeScaling,
        max_position: usize,
    ) -> Self {
        let mut rope = Self {
            theta,
            head_dim,
            scaling,
            max_position,
            frequencies: Vec::new(),
            length: max_position,
        };
        rope.frequencies = rope.frequencies_at(max_position);
        rope
    }

    /// Appends cos and sin of every pair, interleaved: `head_dim` values.
    ///
    /// `length` is how many tokens the sequence has with the whole prompt that `position` came in,
    /// or with the token itself after the prompt. Only dynamic NTK scaling depends on it, and a
    /// key keeps the rotation that it was cached with (transformers' cached behaviour).
    pub(crate) fn append(&mut self, position: usize, length: usize, angles: &mut Vec<f32>) {
        let length = length.max(self.max_position);
        if length != self.length && matches!(self.scaling, RopeScaling::Dynamic { .. }) {
            self.frequencies = self.frequencies_at(length);
            self.length = length;
        }
        for frequency in &self.frequencies {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            angles.extend([cos as f32, sin as f32]);
        }
    }

    fn frequencies_at(&self, length: usize) -> Vec<f64> {
        let plain = |theta: f64| {
            let pairs = 0..self.head_dim / 2;
            let exponent = |pair| (2 * pair) as f64 / self.head_dim as f64;
            pairs.map(move |pair| theta.powf(-exponent(pair)))
        };
        match self.scaling {
            RopeScaling::None => plain(self.theta).collect(),
            RopeScaling::Linear { factor } => plain(self.theta).map(|f| f / factor).collect(),
            RopeScaling::Dynamic { factor } => {
                let stretch = factor * length as f64 / self.max_position as f64 - (factor - 1.0);
                let dim = self.head_dim as f64;
                plain(self.theta * stretch.powf(dim / (dim - 2.0))).collect()
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                // Slow pairs are divided by the factor, fast ones stay, those between are blended.
                let original = original_max_position_embeddings as f64;
                let scale = |frequency: f64| {
                    let turns = original * frequency / std::f64::consts::TAU;
                    let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    let keep = keep.clamp(0.0, 1.0);
                    keep * frequency + (1.0 - keep) * frequency / factor
                };
                plain(self.theta).map(scale).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rope;
    use llama_weights::RopeScaling;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        theta: f64,
        head_dim: usize,
        max_position_embeddings: usize,
        scaling: Option<Scaling>,
        length: usize,
        inverse_frequencies: Vec<f64>,
    }

    #[derive(Deserialize)]
    struct Scaling {
        rope_type: String,
        factor: f64,
        #[serde(default)]
        low_freq_factor: f64,
        #[serde(default)]
        high_freq_factor: f64,
        #[serde(default)]
        original_max_position_embeddings: usize,
    }

    fn rope(case: &Case) -> Rope {
        let scaling = match &case.scaling {
            None => RopeScaling::None,
            Some(s) => match s.rope_type.as_str() {
                "linear" => RopeScaling::Linear { factor: s.factor },
                "dynamic" => RopeScaling::Dynamic { factor: s.factor },
                "llama3" => RopeScaling::Llama3 {
                    factor: s.factor,
                    low_freq_factor: s.low_freq_factor,
                    high_freq_factor: s.high_freq_factor,
                    original_max_position_embeddings: s.original_max_position_embeddings,
                },
                other => panic!("the generator writes no {other}"),
            },
        };
        Rope::with_scaling(
            case.theta,
            case.head_dim,
            scaling,
            case.max_position_embeddings,
        )
    }

    fn cases() -> Vec<Case> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rope/rope.json");
        let text = std::fs::read_to_string(path).expect("the golden is committed");
        serde_json::from_str(&text).expect("the golden has the cases' shape")
    }

    fn angles(rope: &mut Rope, position: usize, length: usize) -> Vec<f32> {
        let mut angles = Vec::new();
        rope.append(position, length, &mut angles);
        angles
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        let cases = cases();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let mut rope = rope(&case);
            angles(&mut rope, 0, case.length);
            assert_eq!(rope.frequencies.len(), case.inverse_frequencies.len());
            for (pair, expected) in case.inverse_frequencies.iter().enumerate() {
                let found = rope.frequencies[pair];
                // The reference takes a power in f32: a few units of 6e-8, times the exponent's error.
                let error = (found - expected).abs() / expected;
                assert!(
                    error < 2e-6,
                    "head_dim {}, pair {pair}: {found}, expected {expected}",
                    case.head_dim
                );
            }
        }
    }

    #[test]
    fn angles_are_cos_and_sin_of_position_times_frequency() {
        let mut rope = Rope::with_scaling(10_000.0, 4, RopeScaling::None, 4096);
        let angles = angles(&mut rope, 3_000, 3_001);
        let expected = [3000f64.cos(), 3000f64.sin(), 30f64.cos(), 30f64.sin()];
        for (found, expected) in angles.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 6e-8);
        }
    }

    #[test]
    fn dynamic_scaling_starts_beyond_the_models_positions_and_follows_the_length() {
        let dynamic = RopeScaling::Dynamic { factor: 2.0 };
        let mut scaled = Rope::with_scaling(10_000.0, 64, dynamic, 64);
        let mut plain = Rope::with_scaling(10_000.0, 64, RopeScaling::None, 64);
        let unscaled = angles(&mut plain, 50, 51);
        assert_eq!(angles(&mut scaled, 50, 51), unscaled);
        assert_eq!(angles(&mut scaled, 50, 64), unscaled);
        let longer = angles(&mut scaled, 50, 65);
        assert_ne!(longer, unscaled);
        assert_ne!(angles(&mut scaled, 50, 66), longer);
        // A session that was cut back is short again.
        assert_eq!(angles(&mut scaled, 50, 51), unscaled);
    }

    #[test]
    fn a_head_of_one_pair_turns_by_the_position_alone() {
        let dynamic = RopeScaling::Dynamic { factor: 2.0 };
        let mut rope = Rope::with_scaling(10_000.0, 2, dynamic, 64);
        let found = angles(&mut rope, 1, 100);
        assert_eq!(found, [1f64.cos() as f32, 1f64.sin() as f32]);
    }
}
