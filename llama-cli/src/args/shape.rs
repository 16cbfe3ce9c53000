//! The shape of a model without a file: a name, or six numbers.

use std::str::FromStr;

use llama_weights::{Hyperparameters, RopeScaling};

/// A shape that fits together, and what the user called it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) hyperparameters: Hyperparameters,
}

/// hidden, layers, heads, key and value heads, ffn, vocabulary
type Numbers = [usize; 6];

const NAMED: [(&str, Numbers); 5] = [
    ("7b", [4096, 32, 32, 32, 11_008, 32_000]),
    ("13b", [5120, 40, 40, 40, 13_824, 32_000]),
    ("70b", [8192, 80, 64, 8, 28_672, 32_000]),
    ("110m", [768, 12, 12, 12, 2048, 32_000]),
    ("tiny", [256, 2, 4, 2, 512, 1024]),
];

/// The positions of Llama 2.
const POSITIONS: usize = 4096;
/// The widest head that there are kernels for.
const MOST_HEAD_DIM: usize = 256;
/// 16 times the largest Llama 2: what is above it is a slip.
const MOST_PARAMETERS: u64 = 1 << 40;

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMED.iter().find(|(name, _)| *name == text);
        let numbers = match named {
            Some((_, numbers)) => *numbers,
            None => numbers(text)?,
        };
        Ok(Self {
            name: text.to_owned(),
            hyperparameters: checked(numbers)?,
        })
    }
}

fn numbers(text: &str) -> Result<Numbers, String> {
    let numbers: Option<Vec<usize>> = (text.split(','))
        .map(|number| number.trim().parse().ok())
        .collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| {
            let names = NAMED.map(|(name, _)| name).join(", ");
            format!("expected {names} or six numbers: hidden,layers,heads,kv,ffn,vocab")
        })
}

fn checked([hidden, layers, heads, kv, ffn, vocab]: Numbers) -> Result<Hyperparameters, String> {
    if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) {
        return Err(format!(
            "expected a number of heads that divides the hidden size {hidden}, found {heads}"
        ));
    }
    let head_dim = hidden / heads;
    if head_dim > MOST_HEAD_DIM {
        return Err(format!(
            "expected heads of at most {MOST_HEAD_DIM} values, found {hidden} by {heads} heads: {head_dim} values"
        ));
    }
    let hyperparameters = Hyperparameters {
        hidden_size: hidden,
        n_layers: layers,
        n_heads: heads,
        n_kv_heads: kv,
        head_dim,
        ffn_size: ffn,
        vocab_size: vocab,
        max_position_embeddings: POSITIONS,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    };
    hyperparameters
        .validate()
        .map_err(|error| error.to_string())?;
    let parameters = hyperparameters.parameter_count();
    if parameters > MOST_PARAMETERS {
        return Err(format!(
            "expected at most {MOST_PARAMETERS} parameters, found {parameters}"
        ));
    }
    Ok(hyperparameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_published_shapes() {
        let parameters = |name: &str| {
            let shape: Shape = name.parse().expect("a known name");
            shape.hyperparameters.parameter_count()
        };
        assert_eq!(parameters("7b"), 6_738_415_616);
        assert_eq!(parameters("13b"), 13_015_864_320);
        assert_eq!(parameters("70b"), 68_976_648_192);
        assert_eq!(parameters("110m"), 134_105_856);
        assert_eq!(parameters("tiny"), parameters("256,2,4,2,512,1024"));
    }

    #[test]
    fn what_does_not_fit_is_refused_in_a_sentence() {
        let cases = [
            (
                "",
                "expected 7b, 13b, 70b, 110m, tiny or six numbers: hidden,layers,heads,kv,ffn,vocab",
            ),
            (
                "8b",
                "expected 7b, 13b, 70b, 110m, tiny or six numbers: hidden,layers,heads,kv,ffn,vocab",
            ),
            (
                "1,2,3,4,5",
                "expected 7b, 13b, 70b, 110m, tiny or six numbers: hidden,layers,heads,kv,ffn,vocab",
            ),
            (
                "256,2,4,2,-1,9",
                "expected 7b, 13b, 70b, 110m, tiny or six numbers: hidden,layers,heads,kv,ffn,vocab",
            ),
            (
                "0,2,4,2,512,9",
                "expected a number of heads that divides the hidden size 0, found 4",
            ),
            (
                "256,2,0,2,512,9",
                "expected a number of heads that divides the hidden size 256, found 0",
            ),
            (
                "256,2,3,1,512,9",
                "expected a number of heads that divides the hidden size 256, found 3",
            ),
            (
                "512,2,1,1,512,9",
                "expected heads of at most 256 values, found 512 by 1 heads: 512 values",
            ),
            (
                "256,0,4,2,512,9",
                "hyperparameters: n_layers: expected an integer from 1 to 4096, found 0; correct the shape that was given",
            ),
            (
                "256,2,4,3,512,9",
                "hyperparameters: n_kv_heads: expected a divisor of the 4 attention heads, found 3; correct the shape that was given",
            ),
            (
                "36,2,4,2,512,9",
                "hyperparameters: head_dim: expected an even number, since rotary embedding turns pairs, found 9; correct the shape that was given",
            ),
            (
                "256,2,4,2,512,0",
                "hyperparameters: vocab_size: expected an integer from 1 to 16777216, found 0; correct the shape that was given",
            ),
            (
                "1048576,4096,8192,1,512,9",
                "expected at most 1099511627776 parameters, found ",
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Shape>().expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
