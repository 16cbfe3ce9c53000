//! `params.json`. Defaults of absent keys are those of `ModelArgs` in Meta's reference code.

use std::path::Path;

use crate::format::fields::{Fields, Integers};
use crate::hyperparameters::{Violation, limit};
use crate::{Error, Hyperparameters, RopeScaling};

/// The length that the models were trained at; the file does not say it.
const POSITIONS: usize = 4096;

/// What `params.json` says.
pub(super) struct Params {
    fields: Fields,
    /// Width of the residual stream.
    pub(super) dim: usize,
}

impl Params {
    pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Self, Error> {
        let fields = Fields::read(path, warnings)?;
        let dim = fields.size("dim", limit::HIDDEN_SIZE)?;
        Ok(Self { fields, dim })
    }

    /// The shape, with the embedding's rows where the file leaves the size of the vocabulary open.
    pub(super) fn hyperparameters(
        &self,
        embedding_rows: Option<usize>,
    ) -> Result<Hyperparameters, Error> {
        const SCALED: &str = "use_scaled_rope";
        let fields = &self.fields;
        if fields.flag(SCALED)? == Some(true) {
            return Err(fields.fault(
                SCALED,
                "false or none, since the file does not say by how much",
            ));
        }
        let n_heads = fields.size("n_heads", limit::HEADS)?;
        if !self.dim.is_multiple_of(n_heads) {
            return Err(fields.fault("n_heads", format!("a divisor of dim ({})", self.dim)));
        }
        let n_kv_heads = fields.integer("n_kv_heads", 1, limit::HEADS)?;
        let h = Hyperparameters {
            hidden_size: self.dim,
            n_layers: fields.size("n_layers", limit::LAYERS)?,
            n_heads,
            n_kv_heads: n_kv_heads.unwrap_or(n_heads),
            head_dim: self.dim / n_heads,
            ffn_size: self.ffn_size()?,
            vocab_size: self.vocab_size(embedding_rows)?,
            max_position_embeddings: POSITIONS,
            rms_norm_eps: fields.number("norm_eps")?.unwrap_or(1e-5) as f32,
            rope_theta: fields.number("rope_theta")?.unwrap_or(10_000.0),
            rope_scaling: RopeScaling::None,
            tied_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        };
        h.check().map_err(|violation| self.fault(violation))?;
        Ok(h)
    }

    /// `multiple_of · ⌈int(ffn_dim_multiplier · int(2 · 4 · dim / 3)) / multiple_of⌉`, as `FeedForward` in Meta's code has it.
    fn ffn_size(&self) -> Result<usize, Error> {
        const MULTIPLIER: &str = "ffn_dim_multiplier";
        let size = |key| self.fields.integer(key, 1, limit::FFN_SIZE);
        let multiple_of = size("multiple_of")?.unwrap_or(256);
        // At most 2^23, so that the product with a float is Python's.
        let mut ffn_size = 8 * self.dim / 3;
        if let Some(multiplier) = self.fields.number(MULTIPLIER)? {
            let scaled = multiplier * ffn_size as f64;
            if !(1.0..=limit::FFN_SIZE as f64).contains(&scaled) {
                let expected = format!(
                    "a number that makes 8/3 of dim ({ffn_size}) a size from 1 to {}",
                    limit::FFN_SIZE
                );
                return Err(self.fields.fault(MULTIPLIER, expected));
            }
            ffn_size = scaled as usize;
        }
        Ok(ffn_size.div_ceil(multiple_of) * multiple_of)
    }

    /// −1 in every Llama 2, which took it from the tokenizer.
    fn vocab_size(&self, embedding_rows: Option<usize>) -> Result<usize, Error> {
        const KEY: &str = "vocab_size";
        let open = self
            .fields
            .get(KEY)
            .is_none_or(|value| value.as_i64() == Some(-1));
        match (open, embedding_rows) {
            (true, Some(rows)) => Ok(rows),
            // The embedding itself is missed later, by name; any size does until then.
            (true, None) => Ok(limit::VOCAB_SIZE as usize),
            (false, _) => {
                let size = self.fields.integer(KEY, 1, limit::VOCAB_SIZE);
                let expected = || format!("-1, or an integer from 1 to {}", limit::VOCAB_SIZE);
                size.ok()
                    .flatten()
                    .ok_or_else(|| self.fields.fault(KEY, expected()))
            }
        }
    }

    fn fault(&self, violation: Violation) -> Error {
        let key = match violation.field {
            "hidden_size" | "head_dim" => "dim",
            "rms_norm_eps" => "norm_eps",
            "ffn_size" => "multiple_of",
            field => field,
        };
        self.fields
            .fault_found(key, violation.expected, violation.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffn_sizes_of_the_published_models() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("params.json");
        for (params, expected) in [
            (r#"{"dim": 4096, "multiple_of": 256}"#, 11_008),
            (r#"{"dim": 5120, "multiple_of": 256}"#, 13_824),
            (
                r#"{"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3}"#,
                28_672,
            ),
            // Code Llama 34B and Llama 3 8B.
            (
                r#"{"dim": 8192, "multiple_of": 256, "ffn_dim_multiplier": 1.0}"#,
                22_016,
            ),
            (
                r#"{"dim": 4096, "multiple_of": 1024, "ffn_dim_multiplier": 1.3}"#,
                14_336,
            ),
            // The default of multiple_of.
            (r#"{"dim": 4096}"#, 11_008),
        ] {
            std::fs::write(&path, params).expect("a written file");
            let params = Params::read(&path, &mut Vec::new()).expect("parameters");
            assert_eq!(params.ffn_size().expect("a size"), expected);
        }
    }
}
