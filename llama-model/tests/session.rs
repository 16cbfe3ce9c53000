//! Sessions, batches and generation on synthetic models: what they hold, refuse and promise.

mod adapter;
#[expect(dead_code, reason = "prompts are fed in pieces here, not whole")]
mod logits;

use std::ops::ControlFlow;

use libtest_mimic::{Arguments, Failed};
use llama_model::llama_kernels::{Gpu, GpuOptions, KvFormat, WeightFormat};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{
    Error, FinishReason, GenerationOptions, KvChoice, LoadOptions, Model, Progress, Sampler,
    SamplerOptions, Session, SessionOptions, WeightChoice, memory_plan,
};

use logits::expect_close;

type Outcome = Result<(), Failed>;

fn main() {
    let trials = vec![
        adapter::trial("an_empty_prompt", an_empty_prompt),
        adapter::trial("a_prompt_of_exactly_the_context", exactly_the_context),
        adapter::trial("a_prompt_of_one_more_and_of_ten_times", too_long_a_prompt),
        adapter::trial("a_token_beyond_the_vocabulary", token_beyond_the_vocabulary),
        adapter::trial("a_context_of_zero", a_context_of_zero),
        adapter::trial("a_cache_too_large", a_cache_too_large),
        adapter::trial("max_tokens_zero_and_huge", max_tokens_zero_and_huge),
        adapter::trial("generation_needs_logits", generation_needs_logits),
        adapter::trial("eos_ends_and_is_not_given_out", eos_ends),
        adapter::trial("ignore_eos_makes_it_ordinary", ignore_eos),
        adapter::trial("stop_ids_stop_and_cancel_end", stop_and_cancel),
        adapter::trial("nan_weights_give_a_typed_error", nan_weights),
        adapter::trial("same_seed_same_tokens", same_seed_same_tokens),
        adapter::trial("cut_back_and_go_on", cut_back_and_go_on),
        adapter::trial("a_cancelled_prefill_leaves_no_trace", cancelled_prefill),
        adapter::trial("a_cancelled_load", cancelled_load),
        adapter::trial("progress_ends_at_the_total", progress_ends_at_the_total),
        adapter::trial("two_sequences_interleaved", two_sequences_interleaved),
        adapter::trial("a_batch_refuses_what_does_not_exist", batch_refusals),
        adapter::trial(
            "nothing_is_allocated_after_a_session_is_made",
            nothing_is_allocated,
        ),
        adapter::trial("a_decode_step_is_six_dispatches_a_layer", dispatches),
        adapter::trial("small_bindings_give_the_same_logits", small_bindings),
        adapter::trial("without_optional_features_the_same_logits", featureless),
        adapter::trial("formats_and_what_is_held_otherwise", formats),
        adapter::trial("a_bf16_weight_beyond_f16", beyond_f16),
        adapter::trial(
            "the_plan_is_what_is_allocated",
            the_plan_is_what_is_allocated,
        ),
        adapter::trial("a_device_lost_between_steps", device_lost),
        adapter::trial("models_and_sessions_move_between_threads", threads),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn shape() -> Hyperparameters {
    Hyperparameters {
        hidden_size: 64,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
        ffn_size: 96,
        vocab_size: 100,
        max_position_embeddings: 256,
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

fn load(gpu: &Gpu, checkpoint: &Checkpoint, weights: WeightChoice) -> Result<Model, Error> {
    let go_on = &mut |_| ControlFlow::Continue(());
    Model::load(gpu, checkpoint, &LoadOptions { weights }, go_on)
}

fn model(gpu: &Gpu) -> Result<Model, Failed> {
    let checkpoint = Checkpoint::synthetic(shape(), DType::F32, 11)?;
    Ok(load(gpu, &checkpoint, WeightChoice::F32)?)
}

fn options(context: usize) -> SessionOptions {
    SessionOptions {
        context,
        kv: KvChoice::F32,
        chunk: None,
    }
}

fn session(gpu: &Gpu, context: usize) -> Result<Session, Failed> {
    Ok(model(gpu)?.session(&options(context))?)
}

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + 5) % 97 + 3).collect()
}

fn greedy() -> Sampler {
    sampler(0.0, 0)
}

fn sampler(temperature: f32, seed: u64) -> Sampler {
    let options = SamplerOptions {
        temperature,
        seed,
        top_p: 1.0,
        ..SamplerOptions::default()
    };
    Sampler::new(&options).expect("options in their ranges")
}

fn ordinary_eos() -> GenerationOptions {
    GenerationOptions {
        ignore_eos: true,
        ..GenerationOptions::default()
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found:?}, expected {expected:?}").into())
}

fn expect_message<T>(result: Result<T, Error>, expected: &str) -> Outcome {
    match result {
        Ok(_) => Err(format!("no error, expected: {expected}").into()),
        Err(error) => expect(error.to_string().as_str(), expected),
    }
}

fn an_empty_prompt(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 16)?;
    expect_message(
        session.prefill(&[]).map(|_| ()),
        "the prompt is empty: expected at least one token",
    )
}

fn exactly_the_context(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 40)?;
    session.prefill(&ids(40))?;
    expect(session.position(), 40)?;
    // No room is left: prompt and tokens together never exceed the context.
    let mut sampler = greedy();
    let mut generation = session.generate(&mut sampler, &ordinary_eos());
    expect(generation.next().is_none(), true)?;
    expect(generation.finish_reason(), Some(FinishReason::Length))
}

fn too_long_a_prompt(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 40)?;
    expect_message(
        session.prefill(&ids(41)).map(|_| ()),
        "the prompt does not fit: 41 tokens behind the 0 held make 41, and the context is 40; shorten the prompt or enlarge the context",
    )?;
    session.prefill(&ids(10))?;
    expect_message(
        session.prefill(&ids(400)).map(|_| ()),
        "the prompt does not fit: 400 tokens behind the 10 held make 410, and the context is 40; shorten the prompt or enlarge the context",
    )?;
    expect(session.tokens(), ids(10).as_slice())?;
    expect(session.logits().is_some(), true)
}

fn token_beyond_the_vocabulary(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 16)?;
    for token in [100, u32::MAX] {
        expect_message(
            session.prefill(&[1, token]).map(|_| ()),
            &format!("token id {token} is not in the vocabulary: expected an id below 100"),
        )?;
    }
    expect(session.position(), 0)
}

fn a_context_of_zero(gpu: &Gpu) -> Outcome {
    expect_message(
        model(gpu)?.session(&options(0)),
        "the context is 0: expected at least 1 position",
    )
}

fn a_cache_too_large(gpu: &Gpu) -> Outcome {
    let model = model(gpu)?;
    let before = gpu.allocated_bytes();
    for context in [1 << 40, usize::MAX] {
        match model.session(&options(context)) {
            Err(Error::KvTooLarge {
                context: asked,
                possible,
                needed_gib,
                ..
            }) => {
                expect(asked, context)?;
                // 2 layers, K and V, 2 heads of 16 in f32: 512 bytes a position.
                let gib = context as f64 * 512.0 / (1u64 << 30) as f64;
                expect(
                    (needed_gib / gib - 1.0).abs() < 1e-6 || context == usize::MAX,
                    true,
                )?;
                expect(possible > 0 && possible < context, true)?;
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    // Other trials may let go of memory meanwhile, but nobody allocates so much.
    expect(gpu.allocated_bytes() < before + (1 << 30), true)
}

fn max_tokens_zero_and_huge(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 24)?;
    session.prefill(&ids(10))?;
    let mut sampler = greedy();
    for (max_tokens, expected) in [(Some(0), 0), (Some(3), 3), (Some(1 << 62), 14), (None, 14)] {
        let options = GenerationOptions {
            max_tokens,
            ..ordinary_eos()
        };
        let mut generation = session.generate(&mut sampler, &options);
        let given = generation.by_ref().collect::<Result<Vec<u32>, Error>>()?;
        expect(given.len(), expected)?;
        expect(generation.finish_reason(), Some(FinishReason::Length))?;
        session.truncate(9);
        session.decode(ids(10)[9])?;
    }
    Ok(())
}

fn generation_needs_logits(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 24)?;
    let message = "the session has no logits to continue from: prefill at least one token first";
    let mut sampler = greedy();
    let mut first = |session: &mut Session| {
        let mut generation = session.generate(&mut sampler, &ordinary_eos());
        let first = generation.next().ok_or("no item")?;
        expect_message(first, message)?;
        expect(generation.next().is_none(), true)?;
        expect(generation.finish_reason(), None)
    };
    first(&mut session)?;
    session.prefill(&ids(4))?;
    session.truncate(2);
    expect(session.logits().is_none(), true)?;
    first(&mut session)
}

/// What the model says greedily after a prompt, eos being ordinary.
fn continuation(gpu: &Gpu, n: usize) -> Result<Vec<u32>, Failed> {
    let mut session = session(gpu, 64)?;
    session.prefill(&ids(8))?;
    let mut sampler = greedy();
    let options = GenerationOptions {
        max_tokens: Some(n),
        ..ordinary_eos()
    };
    let tokens = session.generate(&mut sampler, &options);
    Ok(tokens.collect::<Result<_, _>>()?)
}

/// A model whose eos is the third token that it chooses, and what comes before it.
fn model_with_eos(gpu: &Gpu) -> Result<(Model, Vec<u32>), Failed> {
    let tokens = continuation(gpu, 20)?;
    let eos = tokens[2];
    let before: Vec<u32> = tokens.iter().copied().take_while(|&t| t != eos).collect();
    let h = Hyperparameters {
        eos_token_ids: vec![99, eos],
        ..shape()
    };
    let checkpoint = Checkpoint::synthetic(h, DType::F32, 11)?;
    Ok((load(gpu, &checkpoint, WeightChoice::F32)?, before))
}

fn eos_ends(gpu: &Gpu) -> Outcome {
    let (model, before) = model_with_eos(gpu)?;
    let mut session = model.session(&options(64))?;
    session.prefill(&ids(8))?;
    let mut sampler = greedy();
    let mut generation = session.generate(&mut sampler, &GenerationOptions::default());
    let given = generation.by_ref().collect::<Result<Vec<u32>, Error>>()?;
    expect(generation.finish_reason(), Some(FinishReason::Eos))?;
    expect(given, before.clone())?;
    // Everything given out was fed, or the last logits would not have been known.
    expect(session.tokens(), [ids(8), before].concat().as_slice())
}

fn ignore_eos(gpu: &Gpu) -> Outcome {
    let (model, _) = model_with_eos(gpu)?;
    let mut session = model.session(&options(64))?;
    session.prefill(&ids(8))?;
    let mut sampler = greedy();
    let options = GenerationOptions {
        max_tokens: Some(20),
        ..ordinary_eos()
    };
    let given = session.generate(&mut sampler, &options);
    expect(
        given.collect::<Result<Vec<u32>, _>>()?,
        continuation(gpu, 20)?,
    )
}

fn stop_and_cancel(gpu: &Gpu) -> Outcome {
    let tokens = continuation(gpu, 20)?;
    let mut session = session(gpu, 64)?;
    let mut sampler = greedy();
    let options = GenerationOptions {
        stop_ids: vec![tokens[4]],
        ..ordinary_eos()
    };
    session.prefill(&ids(8))?;
    let mut generation = session.generate(&mut sampler, &options);
    let given = generation.by_ref().collect::<Result<Vec<u32>, Error>>()?;
    expect(generation.finish_reason(), Some(FinishReason::Stop))?;
    let before = tokens.iter().copied().take_while(|&t| t != tokens[4]);
    expect(given, before.collect())?;
    for cancelled in [true, false] {
        session.truncate(0);
        session.prefill(&ids(8))?;
        let mut generation = session.generate(&mut sampler, &ordinary_eos());
        generation.next().ok_or("no token")??;
        let reason = match cancelled {
            true => {
                generation.cancel();
                FinishReason::Cancelled
            }
            false => {
                generation.stop();
                FinishReason::Stop
            }
        };
        expect(generation.next().is_none(), true)?;
        expect(generation.finish_reason(), Some(reason))?;
    }
    Ok(())
}

/// A checkpoint whose output head is one value throughout, as a file.
fn constant_output(value: f32, dtype: safetensors::Dtype) -> Result<tempfile::TempDir, Failed> {
    let synthetic = Checkpoint::synthetic(shape(), DType::F32, 11)?;
    let mut tensors = Vec::new();
    for (role, view) in synthetic.tensors() {
        let mut values = Vec::new();
        view.rows_f32(0..view.n_rows(), &mut values);
        if role == llama_model::llama_weights::TensorRole::Output {
            values.fill(value);
        }
        let bytes: Vec<u8> = match dtype {
            safetensors::Dtype::BF16 => values
                .iter()
                .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
                .collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        tensors.push((view.name().to_owned(), view.shape().to_vec(), bytes));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        view.map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    let folder = tempfile::tempdir()?;
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors"))?;
    let h = shape();
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": h.hidden_size, "num_hidden_layers": h.n_layers,
        "num_attention_heads": h.n_heads, "num_key_value_heads": h.n_kv_heads,
        "intermediate_size": h.ffn_size, "vocab_size": h.vocab_size,
        "max_position_embeddings": h.max_position_embeddings, "rms_norm_eps": 1e-5,
        "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string())?;
    Ok(folder)
}

fn nan_weights(gpu: &Gpu) -> Outcome {
    let folder = constant_output(f32::NAN, safetensors::Dtype::F32)?;
    let checkpoint = Checkpoint::open(folder.path())?;
    // They load; `inspect --check` names them.
    for choice in [WeightChoice::F32, WeightChoice::F16] {
        let mut session = load(gpu, &checkpoint, choice)?.session(&options(16))?;
        session.prefill(&[1])?;
        for temperature in [0.0, 0.7] {
            let mut sampler = sampler(temperature, 0);
            let mut generation = session.generate(&mut sampler, &GenerationOptions::default());
            let first = generation.next().ok_or("no item")?;
            expect_message(
                first,
                "the logits hold NaN: expected numbers, at least one of them finite; the weights are damaged (`inspect --check` names the tensor) or the device computes wrongly",
            )?;
        }
    }
    Ok(())
}

fn same_seed_same_tokens(gpu: &Gpu) -> Outcome {
    let model = model(gpu)?;
    let run = |seed| -> Result<Vec<u32>, Failed> {
        let mut session = model.session(&options(64))?;
        session.prefill(&ids(8))?;
        let mut sampler = sampler(1.5, seed);
        let tokens = session.generate(&mut sampler, &ordinary_eos());
        Ok(tokens.collect::<Result<_, _>>()?)
    };
    expect(run(1)?, run(1)?)?;
    expect(run(1)? == run(2)?, false)
}

fn cut_back_and_go_on(gpu: &Gpu) -> Outcome {
    let mut session = session(gpu, 128)?;
    let prompt = ids(60);
    let straight = session.prefill(&prompt)?.to_vec();
    // In the middle of a page, at its edge, before everything; with another continuation between.
    for position in [59, 48, 17, 16, 0] {
        session.truncate(position);
        session.prefill(&ids(20))?;
        session.truncate(position);
        expect(session.tokens(), &prompt[..position])?;
        expect_close(session.prefill(&prompt[position..])?, &straight, 1e-5)?;
    }
    session.truncate(60);
    expect(session.logits().is_some(), true)?;
    session.truncate(1000);
    expect(session.position(), 60)
}

fn cancelled_prefill(gpu: &Gpu) -> Outcome {
    let mut session = model(gpu)?.session(&SessionOptions {
        chunk: Some(16),
        ..options(128)
    })?;
    session.prefill(&ids(5))?;
    let mut seen = Vec::new();
    let cancelled = session.prefill_with(&ids(60), &mut |done, total| {
        seen.push((done, total));
        match done < 32 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    expect_message(cancelled.map(|_| ()), "cancelled")?;
    expect(seen, vec![(16, 60), (32, 60)])?;
    expect(session.tokens(), ids(5).as_slice())
}

fn cancelled_load(gpu: &Gpu) -> Outcome {
    let checkpoint = Checkpoint::synthetic(shape(), DType::F16, 1)?;
    let mut calls = 0;
    let cancelled = Model::load(gpu, &checkpoint, &LoadOptions::default(), &mut |_| {
        calls += 1;
        match calls < 5 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    expect(matches!(cancelled, Err(Error::Cancelled)), true)?;
    expect(calls, 5)
}

fn progress_ends_at_the_total(gpu: &Gpu) -> Outcome {
    let checkpoint = Checkpoint::synthetic(shape(), DType::BF16, 1)?;
    let mut seen: Vec<Progress> = Vec::new();
    Model::load(gpu, &checkpoint, &LoadOptions::default(), &mut |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    })?;
    expect(seen.is_sorted_by_key(|p| p.bytes_done), true)?;
    let last = seen.last().ok_or("no progress")?;
    expect(last.bytes_done, checkpoint.weight_bytes())?;
    expect(last.bytes_total, checkpoint.weight_bytes())
}

fn two_sequences_interleaved(gpu: &Gpu) -> Outcome {
    let model = model(gpu)?;
    let alone = |tokens: &[u32]| -> Result<Vec<f32>, Failed> {
        Ok(model.session(&options(64))?.prefill(tokens)?.to_vec())
    };
    let (a, b) = (ids(45), ids(60)[13..].to_vec());
    let mut batch = model.batch(&options(64), 2)?;
    // A prompt chunk of one beside single tokens of the other, twice in one step.
    let first = batch.feed(&[(0, &a[..20]), (1, &b[..1]), (0, &a[20..23])])?;
    expect_close(&first[0], &alone(&a[..20])?, 1e-5)?;
    expect_close(&first[1], &alone(&b[..1])?, 1e-5)?;
    expect_close(&first[2], &alone(&a[..23])?, 1e-5)?;
    let mut last = Vec::new();
    for i in 0..22 {
        last = batch.feed(&[(1, &b[1 + 2 * i..3 + 2 * i]), (0, &a[23 + i..24 + i])])?;
    }
    expect_close(&last[0], &alone(&b[..45])?, 1e-5)?;
    expect_close(&last[1], &alone(&a)?, 1e-5)?;
    // One is cut back; the other does not notice.
    batch.truncate(0, 10)?;
    let again = batch.feed(&[(0, &a[10..]), (1, &b[45..])])?;
    expect_close(&again[0], &alone(&a)?, 1e-5)?;
    expect_close(&again[1], &alone(&b)?, 1e-5)?;
    expect(batch.tokens(1), b.as_slice())
}

fn batch_refusals(gpu: &Gpu) -> Outcome {
    let mut batch = model(gpu)?.batch(&options(16), 2)?;
    expect_message(
        batch.feed(&[(2, &[1])]),
        "sequence 2 is not in the batch: expected a number below 2",
    )?;
    let nine = ids(9);
    expect_message(
        batch.feed(&[(0, &nine), (0, &nine)]),
        "the prompt does not fit: 9 tokens behind the 9 held make 18, and the context is 16; shorten the prompt or enlarge the context",
    )?;
    expect(batch.tokens(0).len(), 0)
}

/// Invariant 6.
fn nothing_is_allocated(_: &Gpu) -> Outcome {
    // A device of its own: other trials allocate.
    let gpu = Gpu::new(&GpuOptions::default())?;
    let model = model(&gpu)?;
    let mut session = model.session(&options(200))?;
    let counts = || (gpu.allocation_count(), gpu.pipeline_count());
    let count = counts();
    let mut sampler = greedy();
    session.prefill(&ids(150))?;
    let options = GenerationOptions {
        max_tokens: Some(20),
        ..ordinary_eos()
    };
    for token in session.generate(&mut sampler, &options) {
        token?;
    }
    session.truncate(7);
    session.logits_of_all(&ids(190), &mut |_, _| ControlFlow::Continue(()))?;
    expect(counts(), count)
}

/// A matrix over the binding limit lies in several buffers.
fn dispatches(_: &Gpu) -> Outcome {
    // The count is the device's, so the trial has one of its own.
    let gpu = Gpu::new(&GpuOptions::default())?;
    let of_step = |model: &Model, kv, position: usize| -> Result<u64, Failed> {
        let mut session = model.session(&SessionOptions { kv, ..options(256) })?;
        session.prefill(&ids(position))?;
        let before = gpu.dispatch_count();
        session.decode(1)?;
        Ok(gpu.dispatch_count() - before)
    };
    for (weights, kv) in [
        (WeightChoice::F32, KvChoice::F32),
        (WeightChoice::F16, KvChoice::F16),
        (WeightChoice::Q8_0, KvChoice::F16),
        (WeightChoice::Q4_0, KvChoice::F16),
    ] {
        let mut h = shape();
        let mut of_layers = |n_layers, position| {
            h.n_layers = n_layers;
            let checkpoint = Checkpoint::synthetic(h.clone(), DType::F32, 11)?;
            of_step(&load(&gpu, &checkpoint, weights)?, kv, position)
        };
        // A short context, and the longest.
        for position in [3, 255] {
            let (two, five) = (of_layers(2, position)?, of_layers(5, position)?);
            let per_layer = (five - two) / 3;
            if per_layer > 6 || two > 2 * per_layer + 4 {
                return Err(format!(
                    "{weights:?} at {position}: {per_layer} a layer, {two} for two layers"
                )
                .into());
            }
        }
    }
    Ok(())
}

fn small_bindings(gpu: &Gpu) -> Outcome {
    let expected = session(gpu, 40)?.prefill(&ids(20))?.to_vec();
    let small = Gpu::new(&GpuOptions {
        binding_limit: Some(16 << 10),
        ..GpuOptions::default()
    })?;
    let mut session = model(&small)?.session(&SessionOptions {
        chunk: Some(16),
        ..options(40)
    })?;
    expect_close(session.prefill(&ids(20))?, &expected, 1e-5)
}

/// Kernels that need no optional feature take the place of those that do.
fn featureless(gpu: &Gpu) -> Outcome {
    let plain = Gpu::new(&GpuOptions {
        features: Default::default(),
        ..GpuOptions::default()
    })?;
    expect(plain.capabilities().features(), Vec::new())?;
    let (mut session, mut plain) = (session(gpu, 40)?, session(&plain, 40)?);
    let tokens = ids(20);
    expect_close(
        plain.prefill(&tokens[..19])?,
        session.prefill(&tokens[..19])?,
        1e-5,
    )?;
    expect_close(plain.decode(tokens[19])?, session.decode(tokens[19])?, 1e-5)
}

fn formats(gpu: &Gpu) -> Outcome {
    // Rows of 80 are not whole blocks; those of 64 are.
    let h = Hyperparameters {
        ffn_size: 80,
        ..shape()
    };
    let stored = |dtype, choice| -> Result<Model, Failed> {
        let checkpoint = Checkpoint::synthetic(h.clone(), dtype, 3)?;
        Ok(load(gpu, &checkpoint, choice)?)
    };
    for (dtype, expected) in [
        (DType::F32, WeightFormat::F16),
        (DType::F16, WeightFormat::F16),
        (DType::BF16, WeightFormat::F16),
        (DType::Q8_0, WeightFormat::Q8_0),
        (DType::Q4_0, WeightFormat::Q4_0),
    ] {
        let model = stored(dtype, WeightChoice::Auto)?;
        expect(model.weight_format(), expected)?;
        let mut session = model.session(&SessionOptions {
            kv: KvChoice::Auto,
            ..options(16)
        })?;
        expect(session.kv_format(), KvFormat::F16)?;
        expect(session.prefill(&[1, 2, 3])?.len(), 100)?;
    }
    let model = stored(DType::F16, WeightChoice::Q8_0)?;
    let held: Vec<String> = model
        .held_otherwise()
        .iter()
        .map(ToString::to_string)
        .collect();
    let sentence =
        |layer| format!("layer {layer} down is held in f16: rows of 80 are not a multiple of 32");
    expect(held, vec![sentence(0), sentence(1)])?;
    let session = stored(DType::F16, WeightChoice::F32)?.session(&SessionOptions {
        kv: KvChoice::Auto,
        ..options(16)
    })?;
    expect(session.kv_format(), KvFormat::F32)
}

fn beyond_f16(gpu: &Gpu) -> Outcome {
    let folder = constant_output(1e6, safetensors::Dtype::BF16)?;
    let checkpoint = Checkpoint::open(folder.path())?;
    for choice in [WeightChoice::Auto, WeightChoice::F16] {
        let mut progress = Vec::new();
        let model = Model::load(
            gpu,
            &checkpoint,
            &LoadOptions { weights: choice },
            &mut |p| {
                progress.push(p.bytes_done);
                ControlFlow::Continue(())
            },
        )?;
        let held: Vec<String> = model
            .held_otherwise()
            .iter()
            .map(ToString::to_string)
            .collect();
        let sentence = "output is held in f32: a weight is beyond the range of f16";
        expect(held, vec![sentence.to_owned()])?;
        expect(progress.last().copied(), Some(checkpoint.weight_bytes()))?;
        let logits = model.session(&options(16))?.prefill(&[1])?.to_vec();
        expect(logits.iter().all(|l| l.is_finite() && l.abs() > 1e4), true)?;
    }
    Ok(())
}

fn the_plan_is_what_is_allocated(_: &Gpu) -> Outcome {
    let gpu = Gpu::new(&GpuOptions::default())?;
    for (weights, dtype) in [
        (WeightChoice::F32, DType::F32),
        (WeightChoice::Auto, DType::BF16),
        (WeightChoice::Q8_0, DType::F16),
        (WeightChoice::Q4_0, DType::F16),
    ] {
        let before = gpu.allocated_bytes();
        let plan = memory_plan(&shape(), dtype, weights, KvChoice::Auto, 200);
        let checkpoint = Checkpoint::synthetic(shape(), dtype, 3)?;
        let model = load(&gpu, &checkpoint, weights)?;
        expect(model.weight_bytes(), plan.weight_bytes)?;
        expect(model.held_otherwise(), plan.held_otherwise.as_slice())?;
        let session = model.session(&SessionOptions {
            kv: KvChoice::Auto,
            ..options(200)
        })?;
        expect(session.kv_bytes(), plan.kv_bytes)?;
        let allocated = gpu.allocated_bytes() - before;
        // What is not planned: arguments of operations, page tables, the read-back buffer.
        let planned = plan.total();
        if !(planned..planned + (1 << 20)).contains(&allocated) {
            return Err(format!("allocated {allocated} bytes, planned {plan:?}").into());
        }
    }
    Ok(())
}

fn device_lost(_: &Gpu) -> Outcome {
    let gpu = Gpu::new(&GpuOptions::default())?;
    let model = model(&gpu)?;
    let mut session = model.session(&options(64))?;
    session.prefill(&ids(10))?;
    gpu.device().destroy();
    let is_loss = |error: &Error| {
        let sentence = error.to_string();
        matches!(error, Error::Gpu(_)) && sentence.starts_with("the GPU device was lost: ")
    };
    for _ in 0..2 {
        let error = session.decode(5).err().ok_or("a step on a lost device")?;
        expect(is_loss(&error), true).map_err(|_| error.to_string())?;
        expect(session.position(), 10)?;
    }
    let mut sampler = greedy();
    let mut generation = session.generate(&mut sampler, &ordinary_eos());
    expect(
        matches!(generation.next(), Some(Err(Error::NoLogits))),
        true,
    )?;
    let error = model.session(&options(64)).err().ok_or("a session on it")?;
    expect(is_loss(&error), true).map_err(|_| error.to_string())?;
    let checkpoint = Checkpoint::synthetic(shape(), DType::F16, 1)?;
    let error = load(&gpu, &checkpoint, WeightChoice::Auto).err();
    let error = error.ok_or("a model on it")?;
    expect(is_loss(&error), true).map_err(|_| error.to_string().into())
}

fn threads(gpu: &Gpu) -> Outcome {
    fn movable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync>(_: &T) {}
    let model = model(gpu)?;
    let mut session = model.session(&options(64))?;
    shared(&model);
    movable(&session);
    let expected = session.prefill(&ids(10))?.to_vec();
    let run = || -> Result<Vec<f32>, Error> {
        Ok(model.session(&options(64))?.prefill(&ids(10))?.to_vec())
    };
    let results = std::thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().expect("no panic"))
    });
    for result in results {
        expect_close(&result?, &expected, 1e-6)?;
    }
    Ok(())
}
