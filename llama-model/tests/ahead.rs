//! Steps that run ahead: whatever ends a generation, tokens and states are those of one token after the other.

mod adapter;

use std::ops::ControlFlow;

use libtest_mimic::{Arguments, Failed};
use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{
    Error, FinishReason, GenerationOptions, KvChoice, LoadOptions, Model, Sampler, SamplerOptions,
    Session, SessionOptions, WeightChoice,
};

type Outcome = Result<(), Failed>;

fn main() {
    let trials = vec![
        adapter::trial("both_ways_give_the_same", both_ways),
        adapter::trial("rope_that_grows_with_the_context", dynamic_rope),
        adapter::trial("a_dropped_generation_leaves_no_trace", dropped),
        adapter::trial("one_generation_after_another", one_after_another),
        adapter::trial(
            "nothing_is_allocated_while_generating",
            nothing_is_allocated,
        ),
        adapter::trial("a_device_lost_while_generating", device_lost),
        adapter::trial("logits_are_gone_once_a_token_was_fed", logits_afterwards),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

const CONTEXT: usize = 48;
const EOS: u32 = 2;

fn model(gpu: &Gpu, rope_scaling: RopeScaling) -> Result<Model, Failed> {
    let shape = Hyperparameters {
        hidden_size: 64,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
        ffn_size: 96,
        vocab_size: 50,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: Some(1),
        eos_token_ids: vec![EOS],
    };
    let checkpoint = Checkpoint::synthetic(shape, DType::F32, 5)?;
    let options = LoadOptions {
        weights: WeightChoice::F32,
    };
    let go_on = &mut |_| ControlFlow::Continue(());
    Ok(Model::load(gpu, &checkpoint, &options, go_on)?)
}

fn session(model: &Model) -> Result<Session, Failed> {
    Ok(model.session(&SessionOptions {
        context: CONTEXT,
        kv: KvChoice::F32,
        chunk: None,
    })?)
}

/// Tokens of a prompt that depends on `seed`.
fn prompt(seed: u64) -> Vec<u32> {
    (0..5 + seed as u32 % 13)
        .map(|i| (i * 7 + seed as u32 * 11) % 47 + 3)
        .collect()
}

fn sampler(options: &SamplerOptions) -> Sampler {
    Sampler::new(options).expect("options in their ranges")
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}").into())
}

/// What ends a generation besides its options.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Never,
    StopAfter(usize),
    CancelAfter(usize),
    DropAfter(usize),
}

/// Everything that a generation leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    given: Vec<u32>,
    reason: Option<FinishReason>,
    held: Vec<u32>,
    has_logits: bool,
    /// What the sampler draws from then on.
    drawn: Vec<u32>,
}

fn left(
    session: &Session,
    sampler: &mut Sampler,
    given: Vec<u32>,
    reason: Option<FinishReason>,
) -> Result<Left, Error> {
    let drawn = (0..6).map(|_| sampler.sample(&[0.0; 1000], &[]));
    Ok(Left {
        given,
        reason,
        held: session.tokens().to_vec(),
        has_logits: session.logits().is_some(),
        drawn: drawn.collect::<Result<_, _>>()?,
    })
}

fn generated(
    session: &mut Session,
    sampler: &mut Sampler,
    options: &GenerationOptions,
    end: End,
) -> Result<Left, Error> {
    let mut given = Vec::new();
    let mut generation = session.generate(sampler, options);
    while end != End::DropAfter(given.len()) {
        let Some(token) = generation.next() else {
            break;
        };
        given.push(token?);
        if end == End::StopAfter(given.len()) {
            generation.stop();
        }
        if end == End::CancelAfter(given.len()) {
            generation.cancel();
        }
    }
    let reason = generation.finish_reason();
    left(session, sampler, given, reason)
}

/// The meaning of [`generated`]: a token is fed when the next is asked for, and chosen by its logits.
fn by_hand(
    session: &mut Session,
    sampler: &mut Sampler,
    options: &GenerationOptions,
    end: End,
) -> Result<Left, Error> {
    let mut given = Vec::new();
    let mut has_fed = false;
    let reason = loop {
        if end == End::DropAfter(given.len()) {
            break None;
        }
        let is_pending = usize::from(!given.is_empty());
        if options.max_tokens == Some(given.len()) || session.position() + is_pending == CONTEXT {
            break Some(FinishReason::Length);
        }
        if let Some(&last) = given.last() {
            session.decode(last)?;
            has_fed = true;
        }
        let logits = session.logits().ok_or(Error::NoLogits)?;
        let token = sampler.sample(logits, session.tokens())?;
        if token == EOS && !options.ignore_eos {
            break Some(FinishReason::Eos);
        }
        if options.stop_ids.contains(&token) {
            break Some(FinishReason::Stop);
        }
        given.push(token);
        if end == End::StopAfter(given.len()) {
            break Some(FinishReason::Stop);
        }
        if end == End::CancelAfter(given.len()) {
            break Some(FinishReason::Cancelled);
        }
    };
    let mut left = left(session, sampler, given, reason)?;
    left.has_logits = !has_fed;
    Ok(left)
}

/// Each kind of choice: the largest logit, each rule of drawing, and one that only the host knows.
fn sampler_options(seed: u64) -> Vec<SamplerOptions> {
    let drawing = SamplerOptions {
        temperature: 1.3,
        top_p: 1.0,
        seed,
        ..SamplerOptions::default()
    };
    vec![
        SamplerOptions {
            temperature: 0.0,
            ..drawing.clone()
        },
        SamplerOptions {
            top_k: 7,
            ..drawing.clone()
        },
        SamplerOptions {
            top_p: 0.8,
            ..drawing.clone()
        },
        SamplerOptions {
            min_p: 0.1,
            top_k: 30,
            top_p: 0.95,
            ..drawing.clone()
        },
        SamplerOptions {
            repeat_penalty: 1.2,
            ..drawing.clone()
        },
        drawing,
    ]
}

const ENDS: [End; 10] = [
    End::Never,
    End::DropAfter(0),
    End::DropAfter(1),
    End::DropAfter(2),
    End::DropAfter(9),
    End::StopAfter(1),
    End::StopAfter(3),
    End::CancelAfter(1),
    End::CancelAfter(2),
    End::CancelAfter(8),
];

fn check_both_ways(model: &Model) -> Outcome {
    let (mut one, mut other) = (session(model)?, session(model)?);
    let mut reasons = Vec::new();
    for seed in 0..6u64 {
        for (i, sampling) in sampler_options(seed).iter().enumerate() {
            for (j, end) in ENDS.into_iter().enumerate() {
                let n = seed as usize + i + j;
                let options = GenerationOptions {
                    max_tokens: [None, Some(0), Some(1), Some(2), Some(11), None, None][n % 7],
                    ignore_eos: n.is_multiple_of(3),
                    stop_ids: [vec![], vec![9, 17], vec![3 + seed as u32, 20]][n % 3].clone(),
                };
                let mut states = Vec::new();
                for (session, way) in [
                    (&mut one, generated as fn(&mut _, &mut _, &_, _) -> _),
                    (&mut other, by_hand),
                ] {
                    session.truncate(0);
                    session.prefill(&prompt(seed))?;
                    states.push(way(session, &mut sampler(sampling), &options, end)?);
                }
                let expected = states.pop().ok_or("two states")?;
                let found = states.pop().ok_or("two states")?;
                reasons.push(found.reason);
                expect(
                    &format!("{sampling:?}, {options:?}, {end:?}"),
                    found,
                    expected,
                )?;
            }
        }
    }
    for reason in [
        None,
        Some(FinishReason::Length),
        Some(FinishReason::Eos),
        Some(FinishReason::Stop),
        Some(FinishReason::Cancelled),
    ] {
        expect(
            &format!("{reason:?} occurs"),
            reasons.contains(&reason),
            true,
        )?;
    }
    Ok(())
}

fn both_ways(gpu: &Gpu) -> Outcome {
    check_both_ways(&model(gpu, RopeScaling::None)?)
}

/// Its angles depend on how long the sequence is, with or without the steps ahead.
fn dynamic_rope(gpu: &Gpu) -> Outcome {
    check_both_ways(&model(gpu, RopeScaling::Dynamic { factor: 2.0 })?)
}

fn greedy() -> Sampler {
    sampler(&SamplerOptions {
        temperature: 0.0,
        ..SamplerOptions::default()
    })
}

/// What is fed after a generation meets the cache that its own tokens left, and no other.
fn dropped(gpu: &Gpu) -> Outcome {
    let model = model(gpu, RopeScaling::None)?;
    for given in 0..8 {
        for is_leaked in [false, true] {
            let mut session = session(&model)?;
            session.prefill(&prompt(1))?;
            let mut sampler = greedy();
            let options = GenerationOptions::default();
            let mut generation = session.generate(&mut sampler, &options);
            for _ in 0..given {
                generation.next().ok_or("no token")??;
            }
            if is_leaked {
                std::mem::forget(generation);
            }
            let text = [session.tokens(), &prompt(2)].concat();
            let found = session.prefill(&prompt(2))?.to_vec();
            expect("tokens", session.tokens(), text.as_slice())?;
            let expected = self::session(&model)?.prefill(&text)?.to_vec();
            let largest = expected.iter().fold(0f32, |l, e| l.max(e.abs()));
            for (f, e) in found.iter().zip(&expected) {
                // Chunks differ, and so does the order of sums.
                if (f - e).abs().is_nan() || (f - e).abs() > 1e-5 * largest {
                    return Err(format!("after {given} tokens: {f}, expected {e}").into());
                }
            }
        }
    }
    Ok(())
}

/// The second begins where the first was cut, not where its steps ahead were.
fn one_after_another(gpu: &Gpu) -> Outcome {
    let model = model(gpu, RopeScaling::None)?;
    let options = GenerationOptions {
        ignore_eos: true,
        max_tokens: Some(20),
        ..GenerationOptions::default()
    };
    let straight = {
        let mut session = session(&model)?;
        session.prefill(&prompt(3))?;
        let mut sampler = greedy();
        let tokens = session.generate(&mut sampler, &options);
        tokens.collect::<Result<Vec<u32>, Error>>()?
    };
    for cut in 1..10 {
        let mut session = session(&model)?;
        session.prefill(&prompt(3))?;
        let mut sampler = greedy();
        let first = session.generate(&mut sampler, &options).take(cut);
        let mut tokens = first.collect::<Result<Vec<u32>, Error>>()?;
        session.decode(tokens[cut - 1])?;
        for token in session.generate(&mut sampler, &options).take(20 - cut) {
            tokens.push(token?);
        }
        expect(&format!("cut after {cut}"), &tokens, &straight)?;
    }
    Ok(())
}

/// Invariant 6, for each kind of choice.
fn nothing_is_allocated(_: &Gpu) -> Outcome {
    // A device of its own: other trials allocate.
    let gpu = Gpu::new(&GpuOptions::default())?;
    let model = model(&gpu, RopeScaling::None)?;
    let mut session = session(&model)?;
    let (count, bytes) = (gpu.allocation_count(), gpu.allocated_bytes());
    for options in sampler_options(1) {
        session.truncate(0);
        session.prefill(&prompt(0))?;
        let mut sampler = sampler(&options);
        for token in session.generate(&mut sampler, &GenerationOptions::default()) {
            token?;
        }
    }
    expect("buffers made", gpu.allocation_count() - count, 0)?;
    expect("bytes", gpu.allocated_bytes(), bytes)
}

fn device_lost(_: &Gpu) -> Outcome {
    for given in 1..4 {
        let gpu = Gpu::new(&GpuOptions::default())?;
        let model = model(&gpu, RopeScaling::None)?;
        let mut session = session(&model)?;
        session.prefill(&prompt(0))?;
        let mut sampler = greedy();
        let options = GenerationOptions {
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        let mut generation = session.generate(&mut sampler, &options);
        let mut tokens = prompt(0);
        for _ in 0..given {
            tokens.push(generation.next().ok_or("no token")??);
        }
        gpu.device().destroy();
        let error = loop {
            match generation.next().ok_or("it ended")? {
                // A step that was done before the loss was noticed.
                Ok(token) => tokens.push(token),
                Err(error) => break error.to_string(),
            }
        };
        expect(&error, error.starts_with("the GPU device was lost: "), true)?;
        expect("an item after an error", generation.next().is_none(), true)?;
        expect("reason", generation.finish_reason(), None)?;
        // All but the last, which was given and never fed.
        tokens.pop();
        expect("held", session.tokens(), tokens.as_slice())?;
    }
    Ok(())
}

fn logits_afterwards(gpu: &Gpu) -> Outcome {
    let model = model(gpu, RopeScaling::None)?;
    for options in sampler_options(4) {
        let mut session = session(&model)?;
        let prefilled = session.prefill(&prompt(0))?.to_vec();
        let mut sampler = sampler(&options);
        let endless = GenerationOptions {
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        session.generate(&mut sampler, &endless).next();
        expect(
            "nothing was fed",
            session.logits(),
            Some(prefilled.as_slice()),
        )?;
        session.generate(&mut sampler, &endless).nth(1);
        expect("a token was fed", session.logits(), None)?;
        let mut generation = session.generate(&mut sampler, &endless);
        let first = generation.next().ok_or("no item")?;
        expect("error", matches!(first, Err(Error::NoLogits)), true)?;
    }
    Ok(())
}
