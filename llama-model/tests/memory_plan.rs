//! The memory plan of the published shapes, and of shapes at the edge; no adapter is needed.

use llama_model::llama_kernels::WeightFormat;
use llama_model::llama_weights::{DType, Hyperparameters, RopeScaling};
use llama_model::{HeldReason, KvChoice, Share, WeightChoice, memory_plan, placement_plan};

const KIB: u64 = 1 << 10;

fn llama2(
    hidden_size: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    ffn_size: usize,
) -> Hyperparameters {
    Hyperparameters {
        hidden_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim: 128,
        ffn_size,
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

fn llama2_7b() -> Hyperparameters {
    llama2(4096, 32, 32, 32, 11_008)
}

#[test]
fn a_token_takes_512_800_and_320_kib_of_cache_in_f16() {
    let shapes = [
        (llama2_7b(), 512),
        (llama2(5120, 40, 40, 40, 13_824), 800),
        (llama2(8192, 80, 64, 8, 28_672), 320),
    ];
    for (h, kib) in shapes {
        let plan = |kv, context| memory_plan(&h, DType::F16, WeightChoice::Auto, kv, context);
        assert_eq!(plan(KvChoice::Auto, 4096).kv_bytes, 4096 * kib * KIB);
        assert_eq!(plan(KvChoice::F32, 4096).kv_bytes, 2 * 4096 * kib * KIB);
        // Whole pages of 16.
        assert_eq!(plan(KvChoice::F16, 17).kv_bytes, 32 * kib * KIB);
    }
}

#[test]
fn weights_of_7b_take_their_bits() {
    let h = llama2_7b();
    let norms = (2 * 32 + 1) * 4096;
    let matrices = 6_738_415_616 - norms;
    let plan = |choice| memory_plan(&h, DType::F16, choice, KvChoice::Auto, 4096);
    let weights = |choice| plan(choice).weight_bytes - 4 * norms;
    assert_eq!(weights(WeightChoice::F32), matrices * 4);
    assert_eq!(weights(WeightChoice::F16), matrices * 2);
    assert_eq!(weights(WeightChoice::Auto), matrices * 2);
    // Rows of 4096 and of 11,008 are whole groups of eight scales: no padding.
    assert_eq!(weights(WeightChoice::Q8_0), matrices / 32 * 34);
    assert_eq!(weights(WeightChoice::Q4_0), matrices / 32 * 18);
}

#[test]
fn a_step_of_7b_stays_within_its_budget() {
    let plan = memory_plan(
        &llama2_7b(),
        DType::F16,
        WeightChoice::Auto,
        KvChoice::Auto,
        4096,
    );
    assert!(plan.activation_bytes < 160 << 20, "{plan:?}");
    assert!(plan.activation_bytes > 64 << 20, "{plan:?}");
    assert_eq!(
        plan.total(),
        plan.weight_bytes + plan.kv_bytes + plan.activation_bytes
    );
}

#[test]
fn auto_keeps_what_the_file_has_and_makes_f16_of_the_rest() {
    let h = llama2_7b();
    let weights = |stored, choice| memory_plan(&h, stored, choice, KvChoice::Auto, 16).weight_bytes;
    for (stored, same_as) in [
        (DType::F32, WeightChoice::F16),
        (DType::BF16, WeightChoice::F16),
        (DType::F16, WeightChoice::F16),
        (DType::Q8_0, WeightChoice::Q8_0),
        (DType::Q4_0, WeightChoice::Q4_0),
    ] {
        let auto = weights(stored, WeightChoice::Auto);
        assert_eq!(auto, weights(DType::F32, same_as), "{stored}");
    }
}

#[test]
fn what_is_held_otherwise_is_listed() {
    let h = Hyperparameters {
        hidden_size: 100,
        n_layers: 1,
        ffn_size: 64,
        head_dim: 32,
        n_heads: 2,
        n_kv_heads: 2,
        ..llama2_7b()
    };
    let plan = memory_plan(&h, DType::F16, WeightChoice::Q4_0, KvChoice::Auto, 16);
    let found: Vec<(&str, WeightFormat, HeldReason)> = plan
        .held_otherwise
        .iter()
        .map(|held| (held.matrix.as_str(), held.format, held.reason))
        .collect();
    let of_hidden = |matrix| {
        (
            matrix,
            WeightFormat::F16,
            HeldReason::RowLength {
                columns: 100,
                block: 32,
            },
        )
    };
    assert_eq!(
        found,
        [
            of_hidden("embedding"),
            of_hidden("layer 0 query+key+value"),
            of_hidden("layer 0 gate+up"),
            of_hidden("output"),
        ]
    );
    assert_eq!(
        plan.held_otherwise[0].to_string(),
        "embedding is held in f16: rows of 100 are not a multiple of 32"
    );
}

#[test]
fn an_endless_context_saturates() {
    let plan = memory_plan(
        &llama2_7b(),
        DType::F16,
        WeightChoice::Auto,
        KvChoice::Auto,
        usize::MAX,
    );
    assert_eq!(plan.kv_bytes, u64::MAX);
    assert_eq!(plan.total(), u64::MAX);
}

#[test]
fn shares_of_70b_add_up_to_the_whole() {
    let h = llama2(8192, 80, 64, 8, 28_672);
    let (stored, weights, kv, context) = (DType::F16, WeightChoice::Auto, KvChoice::Auto, 4096);
    let whole = memory_plan(&h, stored, weights, kv, context);
    let share = |layers, streamed| Share { layers, streamed };
    let layer = 855_638_016 * 2;
    for shares in [
        vec![share(80, 0)],
        vec![share(38, 0), share(42, 0)],
        vec![share(30, 10), share(50, 50)],
        vec![share(1, 1), share(78, 0), share(1, 0)],
    ] {
        let plan = placement_plan(&h, stored, weights, kv, context, &shares);
        let sum = |of: &dyn Fn(&llama_model::DeviceMemory) -> u64| -> u64 {
            plan.devices.iter().map(of).sum()
        };
        assert_eq!(sum(&|device| device.kv_bytes), whole.kv_bytes);
        let weights = sum(&|device| device.weight_bytes) + plan.host_bytes;
        assert_eq!(weights, whole.weight_bytes);
        let streamed: usize = shares.iter().map(|share| share.streamed).sum();
        assert_eq!(plan.host_bytes, streamed as u64 * layer);
        let slots = shares.iter().map(|share| share.streamed.min(2) as u64);
        assert_eq!(sum(&|device| device.slot_bytes), slots.sum::<u64>() * layer);
        // Where it ends, a device has what goes to another, 16 MiB for 512 rows.
        let last = plan.devices.last().expect("a device");
        if shares.len() == 1 {
            assert_eq!(last.total(), whole.total());
        }
    }
}

#[test]
fn tied_embeddings_lie_on_both_ends() {
    let h = Hyperparameters {
        tied_embeddings: true,
        ..llama2_7b()
    };
    let plan = |shares: &[Share]| {
        let plan = placement_plan(
            &h,
            DType::F16,
            WeightChoice::Auto,
            KvChoice::Auto,
            16,
            shares,
        );
        plan.devices
            .iter()
            .map(|device| device.weight_bytes)
            .sum::<u64>()
    };
    let share = |layers| Share {
        layers,
        streamed: 0,
    };
    let one = plan(&[share(32)]);
    assert_eq!(plan(&[share(20), share(12)]), one + 2 * 32_000 * 4096);
}
