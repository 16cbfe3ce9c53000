//! The numbers that give a model its shape, and the one place where they are checked.
//!
//! Reading them from a file, with that file's names and defaults, is each format's business.

use crate::Error;

/// The shape and constants of a Llama-architecture model. Fields are plain so that a shape can be written by hand;
/// [`Hyperparameters::validate`] says whether the numbers fit together, and every [`crate::Checkpoint`] holds validated ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub n_layers: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads; divides [`Hyperparameters::n_heads`] (grouped-query attention).
    pub n_kv_heads: usize,
    /// Width of one head, even; `hidden_size / n_heads` unless the file says otherwise.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub ffn_size: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions that the model was made for.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f32,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// How the rotary angles are stretched beyond the trained length.
    pub rope_scaling: RopeScaling,
    /// The output matrix is the embedding; the checkpoint then has no [`crate::TensorRole::Output`].
    pub tied_embeddings: bool,
    /// The four attention projections have biases.
    pub attention_bias: bool,
    /// The three feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Begin-of-sequence id.
    pub bos_token_id: Option<u32>,
    /// Ids that end a generation; may be empty.
    pub eos_token_ids: Vec<u32>,
}

/// Scaling of the rotary position embedding; the names are those of transformers' `rope_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Angles as trained.
    None,
    /// Positions divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Dynamic NTK: the base grows with the length beyond `max_position_embeddings`.
    Dynamic {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are divided by `factor`.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are kept; above `low_freq_factor`.
        high_freq_factor: f64,
        /// The length the model was trained at first.
        original_max_position_embeddings: usize,
    },
}

/// Largest accepted sizes. They are far above any model and low enough that no product of them leaves u64:
/// parameters < 2^61, their f32 bytes < 2^63.
pub(crate) mod limit {
    pub(crate) const HIDDEN_SIZE: u64 = 1 << 20;
    pub(crate) const LAYERS: u64 = 1 << 12;
    pub(crate) const HEADS: u64 = 1 << 14;
    pub(crate) const HEAD_DIM: u64 = 1 << 12;
    pub(crate) const FFN_SIZE: u64 = 1 << 24;
    pub(crate) const VOCAB_SIZE: u64 = 1 << 24;
    pub(crate) const POSITIONS: u64 = (1 << 31) - 1;
}

/// A number that does not fit, with the name of the field of [`Hyperparameters`] that holds it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) field: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Hyperparameters {
    /// Checks that every number is in its range and that they fit together.
    ///
    /// # Errors
    /// [`Error::Field`] names the first field that does not fit, what was expected and what was found.
    pub fn validate(&self) -> Result<(), Error> {
        self.check().map_err(|violation| Error::Field {
            origin: "hyperparameters".to_owned(),
            field: violation.field.to_owned(),
            expected: violation.expected,
            found: violation.found,
            advice: "correct the shape that was given",
        })
    }

    pub(crate) fn check(&self) -> Result<(), Violation> {
        self.check_sizes()?;
        self.check_heads()?;
        self.check_constants()?;
        self.check_ids()
    }

    fn check_sizes(&self) -> Result<(), Violation> {
        let sizes = [
            ("hidden_size", self.hidden_size, limit::HIDDEN_SIZE),
            ("n_layers", self.n_layers, limit::LAYERS),
            ("n_heads", self.n_heads, limit::HEADS),
            ("n_kv_heads", self.n_kv_heads, limit::HEADS),
            ("head_dim", self.head_dim, limit::HEAD_DIM),
            ("ffn_size", self.ffn_size, limit::FFN_SIZE),
            ("vocab_size", self.vocab_size, limit::VOCAB_SIZE),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                limit::POSITIONS,
            ),
        ];
        for (field, size, most) in sizes {
            if !(1..=most).contains(&(size as u64)) {
                return Err(Violation {
                    field,
                    expected: format!("an integer from 1 to {most}"),
                    found: size.to_string(),
                });
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<(), Violation> {
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(Violation {
                field: "n_kv_heads",
                expected: format!("a divisor of the {} attention heads", self.n_heads),
                found: self.n_kv_heads.to_string(),
            });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Violation {
                field: "head_dim",
                expected: "an even number, since rotary embedding turns pairs".to_owned(),
                found: self.head_dim.to_string(),
            });
        }
        Ok(())
    }

    fn check_constants(&self) -> Result<(), Violation> {
        let fault = |field, expected: &str, found: String| {
            Err(Violation {
                field,
                expected: expected.to_owned(),
                found,
            })
        };
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return fault(
                "rms_norm_eps",
                "a number above 0 and below 1",
                self.rms_norm_eps.to_string(),
            );
        }
        if !(self.rope_theta > 0.0 && self.rope_theta.is_finite()) {
            return fault(
                "rope_theta",
                "a finite number above 0",
                self.rope_theta.to_string(),
            );
        }
        let factor = match self.rope_scaling {
            RopeScaling::None => 1.0,
            RopeScaling::Linear { factor }
            | RopeScaling::Dynamic { factor }
            | RopeScaling::Llama3 { factor, .. } => factor,
        };
        if !(factor >= 1.0 && factor.is_finite()) {
            return fault(
                "rope_scaling.factor",
                "a finite number of at least 1",
                factor.to_string(),
            );
        }
        if let RopeScaling::Llama3 {
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: original,
            ..
        } = self.rope_scaling
        {
            if !(low > 0.0 && low.is_finite()) {
                return fault(
                    "rope_scaling.low_freq_factor",
                    "a finite number above 0",
                    low.to_string(),
                );
            }
            if !(high > low && high.is_finite()) {
                return fault(
                    "rope_scaling.high_freq_factor",
                    &format!("a finite number above low_freq_factor ({low})"),
                    high.to_string(),
                );
            }
            if !(1..=limit::POSITIONS).contains(&(original as u64)) {
                return fault(
                    "rope_scaling.original_max_position_embeddings",
                    &format!("an integer from 1 to {}", limit::POSITIONS),
                    original.to_string(),
                );
            }
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<(), Violation> {
        let bos = self.bos_token_id.map(|id| ("bos_token_id", id));
        let eos = self.eos_token_ids.iter().map(|&id| ("eos_token_ids", id));
        for (field, id) in bos.into_iter().chain(eos) {
            if id as usize >= self.vocab_size {
                return Err(Violation {
                    field,
                    expected: format!("an id below vocab_size ({})", self.vocab_size),
                    found: id.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Number of weights, biases and norms included; a tied output matrix is counted once.
    /// Saturates where unvalidated numbers leave u64.
    #[must_use]
    pub fn parameter_count(&self) -> u64 {
        let [hidden, ffn, vocab] = [self.hidden_size, self.ffn_size, self.vocab_size].map(widen);
        let q = widen(self.n_heads) * widen(self.head_dim);
        let kv = widen(self.n_kv_heads) * widen(self.head_dim);
        let attention = product(hidden, 2 * q + 2 * kv);
        let attention_bias = if self.attention_bias {
            q + 2 * kv + hidden
        } else {
            0
        };
        let mlp = product(3 * hidden, ffn);
        let mlp_bias = if self.mlp_bias { 2 * ffn + hidden } else { 0 };
        let layer = [attention, attention_bias, mlp, mlp_bias, 2 * hidden]
            .into_iter()
            .fold(0, u128::saturating_add);
        let outputs = if self.tied_embeddings { 1 } else { 2 };
        let total = product(layer, widen(self.n_layers))
            .saturating_add(product(vocab, hidden).saturating_mul(outputs))
            .saturating_add(hidden);
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    /// Bytes that the keys and values of one position take over all layers: `2 · layers · kv heads · head_dim · bytes`.
    /// Saturates where unvalidated numbers leave u64.
    #[must_use]
    pub fn kv_bytes_per_position(&self, bytes_per_element: u64) -> u64 {
        [self.n_layers, self.n_kv_heads, self.head_dim]
            .into_iter()
            .fold(2u64.saturating_mul(bytes_per_element), |bytes, n| {
                bytes.saturating_mul(n as u64)
            })
    }

    /// Bytes of a KV cache of `positions`, or `None` where the product leaves u64.
    #[must_use]
    pub fn kv_cache_bytes(&self, positions: u64, bytes_per_element: u64) -> Option<u64> {
        self.kv_bytes_per_position(bytes_per_element)
            .checked_mul(positions)
    }
}

fn widen(n: usize) -> u128 {
    n as u128
}

fn product(a: u128, b: u128) -> u128 {
    a.saturating_mul(b)
}
