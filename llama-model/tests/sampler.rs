//! The sampler against its documented rules: each rule by example, properties, bad input by name.

use llama_model::llama_kernels::reference::{self, DrawRules};
use llama_model::{Error, Sampler, SamplerOptions};
use proptest::prelude::*;

/// Every rule off, temperature 1.
fn plain() -> SamplerOptions {
    SamplerOptions {
        temperature: 1.0,
        top_p: 1.0,
        ..SamplerOptions::default()
    }
}

fn sampler(options: SamplerOptions) -> Sampler {
    Sampler::new(&options).expect("options in their ranges")
}

/// The tokens that may be drawn, most probable first.
fn kept(options: SamplerOptions, logits: &[f32], history: &[u32]) -> Vec<u32> {
    let candidates = sampler(options).candidates(logits, history);
    let candidates = candidates.expect("good logits");
    candidates.iter().map(|c| c.token).collect()
}

fn refusal(options: SamplerOptions) -> String {
    let error = Sampler::new(&options).expect_err("an option outside its range");
    assert!(matches!(error, Error::SamplerOption { .. }));
    error.to_string()
}

fn logits_error(logits: &[f32]) -> String {
    let mut greedy = sampler(SamplerOptions {
        temperature: 0.0,
        ..plain()
    });
    let of_greedy = greedy.sample(logits, &[]).expect_err("bad logits");
    let of_drawn = sampler(plain())
        .sample(logits, &[])
        .expect_err("bad logits");
    assert_eq!(of_greedy.to_string(), of_drawn.to_string());
    of_greedy.to_string()
}

#[test]
fn the_defaults_are_llama_2s_generation_config() {
    let defaults = SamplerOptions::default();
    assert_eq!((defaults.temperature, defaults.top_p), (0.6, 0.9));
    assert_eq!((defaults.top_k, defaults.min_p), (0, 0.0));
    assert_eq!((defaults.repeat_penalty, defaults.repeat_last_n), (1.0, 64));
}

#[test]
fn temperature_zero_takes_the_largest_and_of_equals_the_lowest_id() {
    let mut greedy = sampler(SamplerOptions {
        temperature: 0.0,
        ..plain()
    });
    let chosen = greedy.sample(&[1.0, 7.0, -3.0, 7.0], &[]);
    assert_eq!(chosen.expect("good logits"), 1);
}

#[test]
fn top_k_keeps_k_and_prefers_low_ids_among_equals() {
    let logits = [1.0, 3.0, 2.0, 2.0, 0.0];
    let with = |top_k| kept(SamplerOptions { top_k, ..plain() }, &logits, &[]);
    assert_eq!(with(1), [1]);
    assert_eq!(with(2), [1, 2]);
    assert_eq!(with(3), [1, 2, 3]);
    assert_eq!(with(0), [1, 2, 3, 0, 4]);
}

#[test]
fn top_k_above_the_vocabulary_is_off() {
    for top_k in [5, 6, usize::MAX] {
        let options = SamplerOptions { top_k, ..plain() };
        assert_eq!(kept(options, &[0.0; 5], &[]), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn top_p_keeps_the_token_that_crosses_the_line() {
    // Probabilities 0.5, 0.25, 0.125, 0.125: exact in binary.
    let logits = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
    let with = |top_p| kept(SamplerOptions { top_p, ..plain() }, &logits, &[]);
    assert_eq!(with(0.4), [0]);
    assert_eq!(with(0.6), [0, 1]);
    assert_eq!(with(0.8), [0, 1, 2]);
    assert_eq!(with(0.9), [0, 1, 2, 3]);
}

#[test]
fn top_p_zero_is_greedy() {
    let options = SamplerOptions {
        top_p: 0.0,
        ..plain()
    };
    assert_eq!(kept(options, &[1.0, 2.0, 2.0], &[]), [1]);
}

#[test]
fn top_p_counts_probabilities_among_what_top_k_left() {
    // Of 1/2, 1/4, 1/8, 1/8 top-k leaves 2/3 and 1/3; 0.6 is crossed by the first alone.
    let logits = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
    let options = SamplerOptions {
        top_k: 2,
        top_p: 0.6,
        ..plain()
    };
    assert_eq!(kept(options, &logits, &[]), [0]);
}

#[test]
fn min_p_is_relative_to_the_most_probable() {
    let logits = [4f32.ln(), 2f32.ln(), 0.0];
    let with = |min_p| kept(SamplerOptions { min_p, ..plain() }, &logits, &[]);
    assert_eq!(with(0.51), [0]);
    assert_eq!(with(0.49), [0, 1]);
    assert_eq!(with(0.24), [0, 1, 2]);
    assert_eq!(with(1.0), [0]);
}

#[test]
fn the_repeat_penalty_divides_positive_logits_and_multiplies_the_others_once() {
    let options = SamplerOptions {
        repeat_penalty: 2.0,
        ..plain()
    };
    // 0 twice in the history: 4 becomes 2, not 1. 3: -1 becomes -2.
    let candidates = sampler(options).candidates(&[4.0, 3.0, 0.0, -1.0], &[0, 3, 0, 900]);
    let candidates = candidates.expect("good logits");
    let ids: Vec<u32> = candidates.iter().map(|c| c.token).collect();
    assert_eq!(ids, [1, 0, 2, 3]);
    // A weight is right to 2e-8 of itself, and is a whole number of 2^-31 of the largest.
    let ratio = candidates[0].probability / candidates[1].probability;
    assert!((ratio / 1f64.exp() - 1.0).abs() < 1e-7, "{ratio}");
    let ratio = candidates[2].probability / candidates[3].probability;
    assert!((ratio / 2f64.exp() - 1.0).abs() < 1e-7, "{ratio}");
}

#[test]
fn the_repeat_penalty_sees_its_window_only() {
    let greedy = |repeat_last_n| {
        let mut sampler = sampler(SamplerOptions {
            temperature: 0.0,
            repeat_penalty: 2.0,
            repeat_last_n,
            ..plain()
        });
        let chosen = sampler.sample(&[4.0, 3.0, 2.5], &[1, 0, 2]);
        chosen.expect("good logits")
    };
    assert_eq!(greedy(0), 0);
    assert_eq!(greedy(1), 0);
    assert_eq!(greedy(2), 1);
    assert_eq!(greedy(3), 0);
    assert_eq!(greedy(usize::MAX), 0);
}

#[test]
fn draws_follow_the_probabilities() {
    let mut sampler = sampler(SamplerOptions { seed: 7, ..plain() });
    let logits = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
    let mut counts = [0f64; 4];
    for _ in 0..40_000 {
        let token = sampler.sample(&logits, &[]).expect("good logits");
        counts[token as usize] += 1.0 / 40_000.0;
    }
    // Standard error at most sqrt(0.25 / 40,000) = 0.0025; four of them.
    for (found, expected) in counts.iter().zip([0.5, 0.25, 0.125, 0.125]) {
        assert!((found - expected).abs() < 0.01, "{counts:?}");
    }
}

/// A promise across versions: these tokens were drawn when the rule was written down.
#[test]
fn a_seed_gives_the_same_tokens_for_ever() {
    let mut sampler = sampler(SamplerOptions {
        seed: 42,
        ..plain()
    });
    let drawn: Vec<u32> = (0..16)
        .map(|_| sampler.sample(&[0.0; 100], &[]).expect("good logits"))
        .collect();
    assert_eq!(drawn, SEED_42);
}

/// `floor(100 u)` for xoshiro256++'s numbers of seed 42, by a Python program of its own
/// (`tests/golden/xoshiro/generate.py`).
const SEED_42: [u32; 16] = include!("golden/xoshiro/xoshiro_42.in");

#[test]
fn a_token_of_minus_infinity_is_never_drawn() {
    let mut sampler = sampler(plain());
    for _ in 0..1000 {
        let drawn = sampler.sample(&[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], &[]);
        assert_eq!(drawn.expect("one finite logit"), 1);
    }
}

#[test]
fn temperature_minus_one() {
    let options = SamplerOptions {
        temperature: -1.0,
        ..plain()
    };
    assert_eq!(
        refusal(options),
        "sampling option temperature is -1: expected 0 (greedy) or a finite positive number"
    );
}

#[test]
fn temperature_nan_and_infinite() {
    for (temperature, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let options = SamplerOptions {
            temperature,
            ..plain()
        };
        assert_eq!(
            refusal(options),
            format!(
                "sampling option temperature is {shown}: expected 0 (greedy) or a finite positive number"
            )
        );
    }
}

#[test]
fn temperature_1e38_draws_evenly_and_1e_minus_45_greedily() {
    let logits = [3.0e38, -3.0e38, 0.0];
    let hot = SamplerOptions {
        temperature: 1.0e38,
        ..plain()
    };
    assert_eq!(kept(hot.clone(), &[50.0, -50.0, 0.0], &[]).len(), 3);
    assert_eq!(kept(hot, &logits, &[])[0], 0);
    let mut cold = sampler(SamplerOptions {
        temperature: f32::from_bits(1),
        ..plain()
    });
    assert_eq!(cold.sample(&[1.0, 1.5, 0.0], &[]).expect("good logits"), 1);
}

#[test]
fn top_p_two_and_min_p_minus_one_and_repeat_penalty_zero() {
    let top_p = SamplerOptions {
        top_p: 2.0,
        ..plain()
    };
    assert_eq!(
        refusal(top_p),
        "sampling option top_p is 2: expected a number from 0 to 1"
    );
    let min_p = SamplerOptions {
        min_p: -1.0,
        ..plain()
    };
    assert_eq!(
        refusal(min_p),
        "sampling option min_p is -1: expected a number from 0 to 1"
    );
    let repeat_penalty = SamplerOptions {
        repeat_penalty: 0.0,
        ..plain()
    };
    assert_eq!(
        refusal(repeat_penalty),
        "sampling option repeat_penalty is 0: expected a finite positive number (1 is off)"
    );
}

#[test]
fn logits_nan_or_infinite_or_none() {
    let rest = "expected numbers, at least one of them finite; the weights are damaged (`inspect --check` names the tensor) or the device computes wrongly";
    let cases: [(&[f32], &str); 4] = [
        (&[0.0, f32::NAN, 1.0], "NaN"),
        (&[f32::NEG_INFINITY; 3], "only -infinity"),
        (&[0.0, f32::INFINITY], "+infinity"),
        (&[], "no value"),
    ];
    for (logits, found) in cases {
        let sentence = format!("the logits hold {found}: {rest}");
        assert_eq!(logits_error(logits), sentence);
    }
}

/// The rules once more, straight from their text: a full sort, no shortcut.
fn by_definition(options: &SamplerOptions, logits: &[f32]) -> Vec<u32> {
    let temperature = f64::from(options.temperature);
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |l: f32| ((f64::from(l) - f64::from(largest)) / temperature).exp();
    let mut sorted: Vec<(f64, u32)> = logits.iter().map(|&l| weight(l)).zip(0..).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    if options.top_k > 0 {
        sorted.truncate(options.top_k);
    }
    let total: f64 = sorted.iter().map(|s| s.0).sum();
    let mut before = 0.0;
    sorted.retain(|(weight, _)| {
        let stays = before <= f64::from(options.top_p) * total;
        before += weight;
        stays
    });
    sorted.retain(|(weight, _)| *weight >= f64::from(options.min_p));
    sorted.iter().map(|s| s.1).collect()
}

proptest! {
    #[test]
    fn what_is_kept_is_what_the_rules_say(
        // Few distinct values: ties are the hard part.
        logits in prop::collection::vec((-12i8..12).prop_map(|l| f32::from(l) / 2.0), 1..200),
        temperature in 0.1f32..3.0,
        top_k in 0usize..50,
        top_p in 0.0f32..0.999,
        min_p in 0.0f32..0.5,
    ) {
        let options = SamplerOptions { temperature, top_k, top_p, min_p, ..plain() };
        let expected = by_definition(&options, &logits);
        let mut sampler = sampler(options);
        let candidates = sampler.candidates(&logits, &[]).expect("good logits");
        let sum: f64 = candidates.iter().map(|c| c.probability).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9);
        let found: Vec<u32> = candidates.iter().map(|c| c.token).collect();
        prop_assert_eq!(&found, &expected);
        let drawn = sampler.sample(&logits, &[]).expect("good logits");
        prop_assert!(expected.contains(&drawn));
    }

    /// The kernel's definition: this sampler sorts less, and chooses the same.
    #[test]
    fn tokens_are_those_of_the_kernel(
        logits in prop::collection::vec(
            prop_oneof![-20.0f32..20.0, (-12i8..12).prop_map(|l| f32::from(l) / 2.0)],
            1..200,
        ),
        temperature in prop_oneof![0.1f32..3.0, Just(1e-6), Just(1e30)],
        top_k in prop_oneof![Just(0), 0usize..50],
        top_p in prop_oneof![Just(1.0), Just(0.0), 0.0f32..0.999],
        min_p in prop_oneof![Just(0.0), Just(1.0), 0.0f32..0.5],
        draw: u64,
        seed: u64,
    ) {
        let options = SamplerOptions { temperature, top_k, top_p, min_p, seed, ..plain() };
        let mut padded = logits.clone();
        padded.resize(logits.len().next_multiple_of(32), 0.0);
        let rules = [DrawRules::new(temperature, top_k, top_p, min_p)];
        let drawn = reference::sample(&padded, logits.len(), &rules, &[draw])[0];
        let mut sampler = sampler(options);
        let candidates = sampler.candidates(&logits, &[]).expect("good logits");
        prop_assert!(candidates.iter().any(|c| c.token == drawn));
        // The stream's own number, found by the place in a row of equal tokens that it falls on.
        let mut twin = sampler.clone();
        let token = sampler.sample(&logits, &[]).expect("good logits");
        let place = {
            let equal = SamplerOptions { seed, ..plain() };
            Sampler::new(&equal).expect("options").sample(&[0.0; 4096], &[]).expect("good logits")
        };
        let ends = [u64::from(place) << 52, (u64::from(place) << 52) + ((1 << 52) - 1)];
        let around = ends.map(|draw| reference::sample(&padded, logits.len(), &rules, &[draw])[0]);
        prop_assert!(around[0] <= token && token <= around[1], "{token} not in {around:?}");
        prop_assert_eq!(twin.sample(&logits, &[]).expect("good logits"), token);
    }

    #[test]
    fn same_seed_logits_and_options_give_the_same_tokens(
        logits in prop::collection::vec(-20.0f32..20.0, 1..300),
        seed: u64,
        temperature in 0.0f32..3.0,
    ) {
        let options = SamplerOptions { temperature, seed, repeat_penalty: 1.1, ..plain() };
        let run = || {
            let mut sampler = sampler(options.clone());
            let mut history = vec![0];
            for _ in 0..20 {
                let token = sampler.sample(&logits, &history).expect("good logits");
                history.push(token);
            }
            history
        };
        prop_assert_eq!(run(), run());
    }
}
