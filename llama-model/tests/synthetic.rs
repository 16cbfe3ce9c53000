//! Models of noise: no file, no upload, and still a model like any other.

mod adapter;

use std::ops::ControlFlow;

use libtest_mimic::{Arguments, Failed};
use llama_model::llama_kernels::{Gpu, WeightFormat};
use llama_model::llama_weights::{DType, Hyperparameters, RopeScaling};
use llama_model::{Error, KvChoice, Model, Progress, SessionOptions, WeightChoice, memory_plan};

type Outcome = Result<(), Failed>;

fn main() {
    let trials = vec![
        adapter::trial("a_seed_is_a_model", a_seed_is_a_model),
        adapter::trial("every_format_gives_numbers", every_format_gives_numbers),
        adapter::trial("eighty_layers_stay_finite", eighty_layers_stay_finite),
        adapter::trial("memory_is_as_planned", memory_is_as_planned),
        adapter::trial("rows_that_no_block_divides", rows_that_no_block_divides),
        adapter::trial("biases_and_tied_embeddings", biases_and_tied_embeddings),
        adapter::trial("a_shape_that_does_not_fit", a_shape_that_does_not_fit),
        adapter::trial("progress_and_cancelling", progress_and_cancelling),
        adapter::trial("what_a_step_reads_grows_by_the_cache", what_a_step_reads),
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
        vocab_size: 301,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: vec![2],
    }
}

fn model(gpu: &Gpu, h: &Hyperparameters, weights: WeightChoice, seed: u64) -> Result<Model, Error> {
    Model::synthetic(gpu, h, weights, seed, &mut |_| ControlFlow::Continue(()))
}

fn logits(model: &Model) -> Result<Vec<f32>, Error> {
    let mut session = model.session(&SessionOptions {
        context: 32,
        kv: KvChoice::Auto,
        chunk: None,
    })?;
    session.prefill(&[1, 5, 300, 0, 17])?;
    Ok(session.decode(9)?.to_vec())
}

/// Numbers, and not one for all tokens.
fn lively(logits: &[f32]) -> Outcome {
    let finite = logits.iter().all(|logit| logit.is_finite());
    let (least, most) = logits
        .iter()
        .fold((f32::MAX, f32::MIN), |(a, b), &l| (a.min(l), b.max(l)));
    match finite && most - least > 0.01 {
        true => Ok(()),
        false => Err(format!("finite: {finite}, from {least} to {most}").into()),
    }
}

fn a_seed_is_a_model(gpu: &Gpu) -> Outcome {
    let of = |seed| logits(&model(gpu, &shape(), WeightChoice::F16, seed)?);
    let (first, again, other) = (of(1)?, of(1)?, of(1 << 33)?);
    assert_eq!(first, again);
    assert_ne!(first, other);
    Ok(())
}

fn every_format_gives_numbers(gpu: &Gpu) -> Outcome {
    let cases = [
        (WeightChoice::Auto, WeightFormat::F16),
        (WeightChoice::F32, WeightFormat::F32),
        (WeightChoice::F16, WeightFormat::F16),
        (WeightChoice::Q8_0, WeightFormat::Q8_0),
        (WeightChoice::Q4_0, WeightFormat::Q4_0),
    ];
    for (choice, format) in cases {
        let model = model(gpu, &shape(), choice, 7)?;
        assert_eq!(model.weight_format(), format);
        assert_eq!(model.held_otherwise(), []);
        assert_eq!(model.eos_token_ids(), [2]);
        lively(&logits(&model)?)?;
    }
    Ok(())
}

fn eighty_layers_stay_finite(gpu: &Gpu) -> Outcome {
    let h = Hyperparameters {
        n_layers: 80,
        ..shape()
    };
    lively(&logits(&model(gpu, &h, WeightChoice::Q4_0, 0)?)?)
}

fn memory_is_as_planned(gpu: &Gpu) -> Outcome {
    for choice in [
        WeightChoice::F32,
        WeightChoice::F16,
        WeightChoice::Q4_0,
        WeightChoice::Q4K,
        WeightChoice::Q6K,
    ] {
        let model = model(gpu, &shape(), choice, 0)?;
        let plan = memory_plan(&shape(), DType::F16, choice, KvChoice::Auto, 32);
        assert_eq!(model.weight_bytes(), plan.weight_bytes, "{choice:?}");
    }
    Ok(())
}

fn rows_that_no_block_divides(gpu: &Gpu) -> Outcome {
    let h = Hyperparameters {
        ffn_size: 72,
        ..shape()
    };
    let model = model(gpu, &h, WeightChoice::Q8_0, 0)?;
    let held: Vec<String> = model
        .held_otherwise()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        held,
        [0, 1].map(|layer| format!(
            "layer {layer} down is held in f16: rows of 72 are not a multiple of 32"
        ))
    );
    assert_eq!(model.weight_format(), WeightFormat::Q8_0);
    lively(&logits(&model)?)?;
    // Blocks of 256 do not divide rows of 320, but those of q8_0 do.
    let h = Hyperparameters {
        ffn_size: 320,
        ..shape()
    };
    let model = self::model(gpu, &h, WeightChoice::Q6K, 0)?;
    let held: Vec<String> = (model.held_otherwise().iter())
        .map(ToString::to_string)
        .filter(|held| held.contains("down"))
        .collect();
    assert_eq!(
        held,
        [0, 1].map(|layer| format!(
            "layer {layer} down is held in q8_0: rows of 320 are not a multiple of 256"
        ))
    );
    lively(&logits(&model)?)
}

fn biases_and_tied_embeddings(gpu: &Gpu) -> Outcome {
    let h = Hyperparameters {
        tied_embeddings: true,
        attention_bias: true,
        mlp_bias: true,
        ..shape()
    };
    let model = model(gpu, &h, WeightChoice::F16, 0)?;
    let plan = memory_plan(&h, DType::F16, WeightChoice::F16, KvChoice::F16, 1);
    assert_eq!(model.weight_bytes(), plan.weight_bytes);
    // The embedding is the output: all of it is read.
    assert_eq!(model.decode_bytes(KvChoice::F16, 0), plan.weight_bytes);
    lively(&logits(&model)?)
}

fn a_shape_that_does_not_fit(gpu: &Gpu) -> Outcome {
    let h = Hyperparameters {
        n_kv_heads: 3,
        ..shape()
    };
    let refused = model(gpu, &h, WeightChoice::F16, 0).map(drop);
    assert_eq!(
        refused.map_err(|error| error.to_string()),
        Err("hyperparameters: n_kv_heads: expected a divisor of the 4 attention heads, found 3; correct the shape that was given".to_owned())
    );
    Ok(())
}

fn progress_and_cancelling(gpu: &Gpu) -> Outcome {
    let mut seen: Vec<Progress> = Vec::new();
    let whole = Model::synthetic(gpu, &shape(), WeightChoice::F16, 0, &mut |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    })?;
    assert!(seen.is_sorted_by_key(|progress| progress.bytes_done));
    let last = seen.last().ok_or("no progress")?;
    assert_eq!(
        (last.bytes_done, last.bytes_total),
        (whole.weight_bytes(), whole.weight_bytes())
    );
    let mut calls = 0;
    let cancelled = Model::synthetic(gpu, &shape(), WeightChoice::F16, 0, &mut |_| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    assert_eq!(calls, 1);
    Ok(())
}

fn what_a_step_reads(gpu: &Gpu) -> Outcome {
    let model = model(gpu, &shape(), WeightChoice::F16, 0)?;
    // 300 of the embedding's 301 rows are not read.
    let weights = model.weight_bytes() - 300 * 64 * 2;
    assert_eq!(model.decode_bytes(KvChoice::F16, 0), weights);
    // Two layers, keys and values, two heads of 16.
    let position = 2 * 2 * 2 * 16;
    assert_eq!(
        model.decode_bytes(KvChoice::F16, 10),
        weights + 10 * position * 2
    );
    assert_eq!(
        model.decode_bytes(KvChoice::F32, 10),
        weights + 10 * position * 4
    );
    Ok(())
}
