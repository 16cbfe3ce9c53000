//! Whether a model fits into an adapter's memory, and if not, what would.

use llama_weights::Hyperparameters;

use crate::memory::{MemoryPlan, PAGE_SIZE, Stored, memory_plan};
use crate::{Error, KvChoice, WeightChoice};

/// An error unless the model, whose file stores matrices as `stored`, fits with these choices and one session of `context`
/// positions into `there` bytes: those of [`Gpu::memory_bytes`](llama_kernels::Gpu::memory_bytes), or as many as could be
/// allocated before memory ran out.
///
/// # Errors
/// [`Error::DoesNotFit`], with the formats and contexts that would.
pub fn fit<'a>(
    h: &Hyperparameters,
    stored: impl Into<Stored<'a>>,
    weights: WeightChoice,
    kv: KvChoice,
    context: usize,
    there: u64,
) -> Result<(), Error> {
    const GIB: f64 = (1u64 << 30) as f64;
    let stored = stored.into();
    let plan = |weights, context| memory_plan(h, stored, weights, kv, context);
    let needed = plan(weights, context);
    if needed.total() <= there {
        return Ok(());
    }
    let fits = |plan: MemoryPlan| plan.total() <= there;
    let smaller = [
        ("f16", WeightChoice::F16),
        ("q8_0", WeightChoice::Q8_0),
        ("q4_0", WeightChoice::Q4_0),
    ];
    let dtype = (smaller.iter()).find(|(_, smaller)| fits(plan(*smaller, context)));
    let at_most = |weights| longest(context, |context| fits(plan(weights, context)));
    let possible = match (dtype, at_most(weights), at_most(WeightChoice::Q4_0)) {
        (Some((name, _)), Some(context), _) => {
            format!("--dtype {name} or --ctx-size {context} would fit")
        }
        (Some((name, _)), None, _) => format!("--dtype {name} would fit"),
        (None, Some(context), _) => format!("--ctx-size {context} would fit"),
        (None, None, Some(context)) => {
            format!("--dtype q4_0 with --ctx-size {context} would fit")
        }
        (None, None, None) => {
            "no --dtype fits: choose a smaller model or another adapter".to_owned()
        }
    };
    Err(Error::DoesNotFit {
        needed_gib: needed.total() as f64 / GIB,
        weights_gib: needed.weight_bytes as f64 / GIB,
        kv_gib: needed.kv_bytes as f64 / GIB,
        there_gib: there as f64 / GIB,
        possible,
    })
}

/// The longest context below `context`, in whole pages, that fits.
fn longest(context: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    // What is needed grows with the context.
    let (mut none, mut some) = (context.div_ceil(PAGE_SIZE), 0);
    while none - some > 1 {
        let middle = some + (none - some) / 2;
        match fits(middle * PAGE_SIZE) {
            true => some = middle,
            false => none = middle,
        }
    }
    (some > 0).then_some(some * PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_weights::{DType, RopeScaling};

    /// Llama 2 7B.
    fn shape() -> Hyperparameters {
        Hyperparameters {
            hidden_size: 4096,
            n_layers: 32,
            n_heads: 32,
            n_kv_heads: 32,
            head_dim: 128,
            ffn_size: 11_008,
            vocab_size: 32_000,
            max_position_embeddings: 4096,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            tied_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        }
    }

    fn said(weights: WeightChoice, context: usize, there_gib: u64) -> String {
        let kv = KvChoice::Auto;
        match fit(&shape(), DType::F16, weights, kv, context, there_gib << 30) {
            Ok(()) => "it fits".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_would_fit_is_said() {
        use WeightChoice::{Auto, Q4_0};
        assert_eq!(said(Auto, 4096, 16), "it fits");
        let at_12 = said(Auto, 4096, 12);
        assert!(
            at_12.starts_with("the model does not fit: it needs 14.")
                && at_12.ends_with(
                    "(weights 12.55, keys and values 2.00), and there are 12.00 GiB; --dtype q8_0 would fit"
                ),
            "{at_12}"
        );
        let at_14 = said(Auto, 4096, 14);
        assert!(at_14.contains("; --dtype q8_0 or --ctx-size "), "{at_14}");
        let at_4 = said(Auto, 4096, 4);
        assert!(at_4.contains("; --dtype q4_0 with --ctx-size "), "{at_4}");
        let at_5 = said(Q4_0, 4096, 5);
        assert!(at_5.contains("; --ctx-size "), "{at_5}");
        let at_1 = said(Auto, 4096, 1);
        let end = "; no --dtype fits: choose a smaller model or another adapter";
        assert!(at_1.ends_with(end), "{at_1}");
    }

    #[test]
    fn what_is_said_to_fit_fits_and_no_page_more() {
        let message = said(WeightChoice::Auto, 4096, 14);
        let context = message.split("--ctx-size ").nth(1).expect("a context");
        let context: usize = context
            .split(' ')
            .next()
            .unwrap_or("")
            .parse()
            .expect("a number");
        assert_eq!(said(WeightChoice::Auto, context, 14), "it fits");
        assert_ne!(said(WeightChoice::Auto, context + PAGE_SIZE, 14), "it fits");
    }
}
