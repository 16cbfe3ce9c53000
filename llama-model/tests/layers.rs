//! Layers shared by several devices, and layers streamed from host memory: the same logits and tokens, bit for bit, as on
//! one device that holds them all.

mod adapter;
#[expect(dead_code, reason = "logits are compared bit for bit here")]
mod logits;

use std::ops::ControlFlow;

use libtest_mimic::{Arguments, Failed, Trial};
use llama_model::llama_kernels::{Gpu, GpuOptions};
use llama_model::llama_weights::{Checkpoint, DType, Hyperparameters, RopeScaling};
use llama_model::{
    Error, GenerationOptions, KvChoice, LoadOptions, Model, Placement, Progress, Sampler,
    SamplerOptions, Session, SessionOptions, Share, WeightChoice, placement_plan,
};

use logits::all_logits;

type Outcome = Result<(), Failed>;

fn main() {
    let mut trials = Vec::new();
    for (name, shares) in placements() {
        let of = |what: &str| format!("{what}_{name}");
        let (a, b, c, d, e) = (
            shares.clone(),
            shares.clone(),
            shares.clone(),
            shares.clone(),
            shares,
        );
        trials.extend([
            adapter::trial(of("logits_of"), move |gpu| logits_of(gpu, &a)),
            adapter::trial(of("cutting_back_on"), move |gpu| cutting_back(gpu, &b)),
            adapter::trial(of("batches_on"), move |gpu| batches(gpu, &c)),
            adapter::trial(of("tokens_of"), move |gpu| tokens_of(gpu, &d)),
            adapter::trial(of("memory_of"), move |_| memory_of(&e)),
        ]);
    }
    trials.extend(others());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn others() -> Vec<Trial> {
    vec![
        adapter::trial("every_format_streams", every_format_streams),
        adapter::trial("tied_embeddings_and_biases", tied_embeddings),
        adapter::trial("a_device_named_twice_is_two_shares", named_twice),
        adapter::trial("two_sessions_stream_at_once", two_sessions_at_once),
        adapter::trial("noise_is_the_same_wherever_it_lies", noise),
        adapter::trial("progress_ends_at_the_total", progress),
        adapter::trial("a_placement_that_is_not_the_models", refusals),
        adapter::trial("a_device_lost_among_several", device_lost),
        adapter::trial("a_weight_beyond_f16_streams_in_f32", beyond_f16),
    ]
}

const LAYERS: usize = 5;

fn placements() -> Vec<(&'static str, Vec<Share>)> {
    let of = |shares: &[(usize, usize)]| {
        let share = |&(layers, streamed)| Share { layers, streamed };
        shares.iter().map(share).collect()
    };
    vec![
        ("two_devices", of(&[(2, 0), (3, 0)])),
        ("three_devices", of(&[(1, 0), (3, 0), (1, 0)])),
        ("one_streamed_layer", of(&[(5, 1)])),
        ("one_layer_that_stays", of(&[(5, 4)])),
        ("no_layer_that_stays", of(&[(5, 5)])),
        ("two_devices_that_stream", of(&[(2, 2), (3, 2)])),
    ]
}

fn shape() -> Hyperparameters {
    Hyperparameters {
        hidden_size: 64,
        n_layers: LAYERS,
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

/// Devices of their own on the best adapter: their memory is not each other's.
fn placed(shares: &[Share]) -> Result<Placement, Failed> {
    Ok(Placement::new(devices(shares.len())?, shares.to_vec()))
}

fn devices(count: usize) -> Result<Vec<Gpu>, Failed> {
    let gpus = (0..count).map(|_| Gpu::new(&GpuOptions::default()));
    Ok(gpus.collect::<Result<_, _>>()?)
}

fn load(
    placement: impl Into<Placement>,
    checkpoint: &Checkpoint,
    weights: WeightChoice,
) -> Result<Model, Error> {
    let go_on = &mut |_| ControlFlow::Continue(());
    Model::load(placement, checkpoint, &LoadOptions { weights }, go_on)
}

fn checkpoint(dtype: DType) -> Result<Checkpoint, Failed> {
    Ok(Checkpoint::synthetic(shape(), dtype, 11)?)
}

/// The model on one device, and as the shares say.
fn both(gpu: &Gpu, shares: &[Share]) -> Result<[Model; 2], Failed> {
    let checkpoint = checkpoint(DType::F16)?;
    let weights = WeightChoice::Auto;
    Ok([
        load(gpu, &checkpoint, weights)?,
        load(placed(shares)?, &checkpoint, weights)?,
    ])
}

fn options(chunk: Option<usize>) -> SessionOptions {
    SessionOptions {
        context: 128,
        kv: KvChoice::Auto,
        chunk,
    }
}

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + 5) % 97 + 3).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}").into())
}

/// Bit for bit.
fn expect_same(what: &str, found: &[f32], expected: &[f32]) -> Outcome {
    let bits = |logits: &[f32]| -> Vec<u32> { logits.iter().map(|l| l.to_bits()).collect() };
    expect(
        &format!("{what}: number of logits"),
        found.len(),
        expected.len(),
    )?;
    if expected.iter().all(|logit| *logit == expected[0]) {
        return Err(format!("{what}: all logits are alike").into());
    }
    match bits(found) == bits(expected) {
        true => Ok(()),
        false => Err(format!("{what}: the logits differ").into()),
    }
}

fn logits_of(gpu: &Gpu, shares: &[Share]) -> Outcome {
    let [whole, shared] = both(gpu, shares)?;
    expect("shares", shared.shares().collect(), shares.to_vec())?;
    for chunk in [None, Some(16), Some(1)] {
        let mut one = whole.session(&options(chunk))?;
        let mut other = shared.session(&options(chunk))?;
        let prompt = ids(50);
        expect_same(
            &format!("prompt in chunks of {chunk:?}"),
            &all_logits(&mut other, &prompt)?,
            &all_logits(&mut one, &prompt)?,
        )?;
        for token in [7, 3, 99] {
            expect_same("a step", other.decode(token)?, one.decode(token)?)?;
        }
    }
    Ok(())
}

fn cutting_back(gpu: &Gpu, shares: &[Share]) -> Outcome {
    let [whole, shared] = both(gpu, shares)?;
    let mut one = whole.session(&options(None))?;
    let mut other = shared.session(&options(None))?;
    for session in [&mut one, &mut other] {
        session.prefill(&ids(40))?;
        session.truncate(17);
        session.prefill(&ids(30))?;
        session.truncate(16);
    }
    expect("tokens", other.tokens(), one.tokens())?;
    expect_same("cut back", other.prefill(&ids(9))?, one.prefill(&ids(9))?)
}

fn batches(gpu: &Gpu, shares: &[Share]) -> Outcome {
    let [whole, shared] = both(gpu, shares)?;
    let mut one = whole.batch(&options(None), 3)?;
    let mut other = shared.batch(&options(None), 3)?;
    let prompts = [ids(20), ids(33), ids(1)];
    let entries: Vec<(usize, &[u32])> = prompts
        .iter()
        .enumerate()
        .map(|(i, ids)| (i, ids.as_slice()))
        .collect();
    for _ in 0..3 {
        for (found, expected) in other.feed(&entries)?.iter().zip(one.feed(&entries)?) {
            expect_same("a batch", found, &expected)?;
        }
    }
    Ok(())
}

fn generated(session: &mut Session, temperature: f32) -> Result<(Vec<u32>, Vec<u32>), Failed> {
    let options = SamplerOptions {
        temperature,
        seed: 42,
        ..SamplerOptions::default()
    };
    let mut sampler = Sampler::new(&options)?;
    let mut tokens = Vec::new();
    session.truncate(0);
    session.prefill(&ids(6))?;
    // Twice in a row, the first cut off in the middle: what ran ahead is forgotten.
    for count in [3, 40] {
        let options = GenerationOptions {
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        for token in session.generate(&mut sampler, &options).take(count) {
            tokens.push(token?);
        }
        session.prefill(&[5])?;
    }
    Ok((tokens, session.tokens().to_vec()))
}

fn tokens_of(gpu: &Gpu, shares: &[Share]) -> Outcome {
    let [whole, shared] = both(gpu, shares)?;
    let mut one = whole.session(&options(None))?;
    let mut other = shared.session(&options(None))?;
    for temperature in [0.0, 1.2] {
        let expected = generated(&mut one, temperature)?;
        expect("number of tokens", expected.0.len(), 43)?;
        let found = generated(&mut other, temperature)?;
        expect(&format!("temperature {temperature}"), found, expected)?;
    }
    Ok(())
}

/// The plan is what is allocated, and nothing more is allocated afterwards.
fn memory_of(shares: &[Share]) -> Outcome {
    let gpus = devices(shares.len())?;
    let checkpoint = checkpoint(DType::F16)?;
    for weights in [WeightChoice::F16, WeightChoice::Q8_0] {
        let before: Vec<u64> = gpus.iter().map(Gpu::allocated_bytes).collect();
        let (kv, context) = (KvChoice::Auto, options(None).context);
        let plan = placement_plan(&shape(), DType::F16, weights, kv, context, shares);
        let placement = Placement::new(gpus.clone(), shares.to_vec());
        let model = load(placement, &checkpoint, weights)?;
        expect("host memory", model.host_bytes(), plan.host_bytes)?;
        let mut session = model.session(&options(None))?;
        for (index, planned) in plan.devices.iter().enumerate() {
            let allocated = gpus[index].allocated_bytes() - before[index];
            let planned = planned.total();
            // What is not planned: arguments of operations, page tables, the read-back buffer.
            if !(planned..planned + (1 << 18)).contains(&allocated) {
                let message =
                    format!("device {index}: allocated {allocated} bytes, planned {plan:?}");
                return Err(message.into());
            }
        }
        let counts = || -> Vec<(u64, usize)> {
            let count = |gpu: &Gpu| (gpu.allocation_count(), gpu.pipeline_count());
            gpus.iter().map(count).collect()
        };
        let made = counts();
        generated(&mut session, 0.0)?;
        all_logits(&mut session, &ids(60))?;
        expect("allocations and pipelines", counts(), made)?;
    }
    Ok(())
}

fn every_format_streams(gpu: &Gpu) -> Outcome {
    let shares = [
        Share {
            layers: 2,
            streamed: 1,
        },
        Share {
            layers: 3,
            streamed: 2,
        },
    ];
    for (dtype, weights) in [
        (DType::F32, WeightChoice::F32),
        (DType::BF16, WeightChoice::Auto),
        (DType::F32, WeightChoice::Q8_0),
        (DType::Q4_0, WeightChoice::Auto),
    ] {
        let checkpoint = checkpoint(dtype)?;
        let whole = load(gpu, &checkpoint, weights)?;
        let shared = load(placed(&shares)?, &checkpoint, weights)?;
        expect("format", shared.weight_format(), whole.weight_format())?;
        expect("weights", shared.weight_bytes(), whole.weight_bytes())?;
        expect(
            "held otherwise",
            shared.held_otherwise(),
            whole.held_otherwise(),
        )?;
        let mut one = whole.session(&options(None))?;
        let mut other = shared.session(&options(None))?;
        let what = format!("{dtype} as {weights:?}");
        expect_same(&what, other.prefill(&ids(30))?, one.prefill(&ids(30))?)?;
        expect_same(&what, other.decode(8)?, one.decode(8)?)?;
    }
    Ok(())
}

fn tied_embeddings(gpu: &Gpu) -> Outcome {
    let h = Hyperparameters {
        tied_embeddings: true,
        attention_bias: true,
        mlp_bias: true,
        ..shape()
    };
    let checkpoint = Checkpoint::synthetic(h, DType::F32, 5)?;
    let whole = load(gpu, &checkpoint, WeightChoice::F32)?;
    let mut one = whole.session(&options(None))?;
    let expected = one.prefill(&ids(30))?;
    for (name, shares) in placements() {
        let shared = load(placed(&shares)?, &checkpoint, WeightChoice::F32)?;
        // The copy is no weight of its own.
        expect(name, shared.weight_bytes(), whole.weight_bytes())?;
        let kv = KvChoice::F32;
        expect(name, shared.decode_bytes(kv, 9), whole.decode_bytes(kv, 9))?;
        let mut other = shared.session(&options(None))?;
        expect_same(name, other.prefill(&ids(30))?, expected)?;
    }
    Ok(())
}

fn named_twice(gpu: &Gpu) -> Outcome {
    let shares = vec![
        Share {
            layers: 4,
            streamed: 0,
        },
        Share {
            layers: 1,
            streamed: 1,
        },
    ];
    let checkpoint = checkpoint(DType::F16)?;
    let placement = Placement::new(vec![gpu.clone(), gpu.clone()], shares);
    let shared = load(placement, &checkpoint, WeightChoice::Auto)?;
    let whole = load(gpu, &checkpoint, WeightChoice::Auto)?;
    let mut one = whole.session(&options(None))?;
    let mut other = shared.session(&options(None))?;
    expect_same("twice", other.prefill(&ids(30))?, one.prefill(&ids(30))?)
}

/// Their layers do not mix in the slots that they share.
fn two_sessions_at_once(gpu: &Gpu) -> Outcome {
    let shares = [Share {
        layers: LAYERS,
        streamed: LAYERS,
    }];
    let [whole, shared] = both(gpu, &shares)?;
    let run = |model: &Model, from: u32| -> Result<Vec<f32>, Error> {
        let mut session = model.session(&options(None))?;
        let mut last = Vec::new();
        for token in from..from + 20 {
            last = session.decode(token)?.to_vec();
        }
        Ok(last)
    };
    let found = std::thread::scope(|scope| {
        let (run, shared) = (&run, &shared);
        let threads = [3, 40].map(|from| scope.spawn(move || run(shared, from)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    for (found, from) in found.into_iter().zip([3, 40]) {
        expect_same("beside another", &found?, &run(&whole, from)?)?;
    }
    Ok(())
}

fn noise(gpu: &Gpu) -> Outcome {
    for tied_embeddings in [false, true] {
        let h = Hyperparameters {
            tied_embeddings,
            ..shape()
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        let whole = Model::synthetic(gpu, &h, WeightChoice::Q4_0, 3, go_on)?;
        let mut one = whole.session(&options(None))?;
        let expected = one.prefill(&ids(12))?;
        for (name, shares) in placements() {
            let placement = placed(&shares)?;
            let shared = Model::synthetic(placement, &h, WeightChoice::Q4_0, 3, go_on)?;
            expect(name, shared.weight_bytes(), whole.weight_bytes())?;
            let mut other = shared.session(&options(None))?;
            expect_same(name, other.prefill(&ids(12))?, expected)?;
        }
    }
    Ok(())
}

fn progress(_: &Gpu) -> Outcome {
    for tied_embeddings in [false, true] {
        let h = Hyperparameters {
            tied_embeddings,
            ..shape()
        };
        let checkpoint = Checkpoint::synthetic(h, DType::BF16, 1)?;
        for (name, shares) in placements() {
            let mut seen: Vec<Progress> = Vec::new();
            let options = LoadOptions::default();
            Model::load(placed(&shares)?, &checkpoint, &options, &mut |progress| {
                seen.push(progress);
                ControlFlow::Continue(())
            })?;
            expect(name, seen.is_sorted_by_key(|p| p.bytes_done), true)?;
            let last = seen.last().ok_or("no progress")?;
            expect(name, last.bytes_done, last.bytes_total)?;
        }
    }
    Ok(())
}

fn refusals(gpu: &Gpu) -> Outcome {
    let checkpoint = checkpoint(DType::F16)?;
    let refused = |gpus: Vec<Gpu>, shares: &[(usize, usize)]| {
        let share = |&(layers, streamed)| Share { layers, streamed };
        let placement = Placement::new(gpus, shares.iter().map(share).collect());
        let loaded = load(placement, &checkpoint, WeightChoice::Auto);
        loaded.map_or_else(|error| error.to_string(), |_| "loaded".to_owned())
    };
    let one = || vec![gpu.clone()];
    let end = |adapters| {
        format!(
            "expected counts that add up to the model's 5 layers, one for each of the {adapters} adapters, none of them 0"
        )
    };
    for (gpus, shares, found) in [
        (one(), vec![(4, 0)], "4"),
        (one(), vec![(2, 0), (3, 0)], "2 + 3"),
        (one(), vec![], "none"),
        (one(), vec![(5, 6)], "5"),
        (vec![], vec![(5, 0)], "5"),
    ] {
        let message = format!("the layers are split as {found}: {}", end(gpus.len()));
        expect("refused", refused(gpus, &shares), message)?;
    }
    Ok(())
}

fn device_lost(_: &Gpu) -> Outcome {
    for lost in 0..2 {
        let gpus = devices(2)?;
        let shares = [(2, 0), (3, 1)].map(|(layers, streamed)| Share { layers, streamed });
        let placement = Placement::new(gpus.clone(), shares.to_vec());
        let model = load(placement, &checkpoint(DType::F16)?, WeightChoice::Auto)?;
        let mut session = model.session(&options(None))?;
        session.prefill(&ids(10))?;
        gpus[lost].device().destroy();
        for _ in 0..2 {
            let error = session.decode(5).err().ok_or("a step on a lost device")?;
            let sentence = error.to_string();
            let is_loss = sentence.starts_with("the GPU device was lost: ");
            expect(&sentence, is_loss, true)?;
            expect("position", session.position(), 10)?;
        }
    }
    Ok(())
}

/// Layers in one slot need not have one format.
fn beyond_f16(gpu: &Gpu) -> Outcome {
    let folder = one_large_weight()?;
    let checkpoint = Checkpoint::open(folder.path())?;
    let whole = load(gpu, &checkpoint, WeightChoice::Auto)?;
    let held: Vec<String> = whole
        .held_otherwise()
        .iter()
        .map(ToString::to_string)
        .collect();
    let sentence = "layer 2 down is held in f32: a weight is beyond the range of f16";
    expect("held", held, vec![sentence.to_owned()])?;
    let mut one = whole.session(&options(None))?;
    let expected = one.prefill(&ids(20))?;
    for (name, shares) in placements() {
        let shared = load(placed(&shares)?, &checkpoint, WeightChoice::Auto)?;
        expect(name, shared.held_otherwise(), whole.held_otherwise())?;
        let mut other = shared.session(&options(None))?;
        expect_same(name, other.prefill(&ids(20))?, expected)?;
    }
    Ok(())
}

/// A checkpoint in bf16 with one weight beyond f16, in the down projection of layer 2.
fn one_large_weight() -> Result<tempfile::TempDir, Failed> {
    use llama_model::llama_weights::{LayerPart, TensorRole};
    let mut tensors = Vec::new();
    for (role, view) in checkpoint(DType::F32)?.tensors() {
        let mut values = Vec::new();
        view.rows_f32(0..view.n_rows(), &mut values);
        let down = TensorRole::Layer {
            index: 2,
            part: LayerPart::Down,
        };
        if role == down {
            values[7] = 1e5;
        }
        let bytes: Vec<u8> = (values.iter())
            .flat_map(|value| half::bf16::from_f32(*value).to_le_bytes())
            .collect();
        tensors.push((view.name().to_owned(), view.shape().to_vec(), bytes));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::BF16;
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
