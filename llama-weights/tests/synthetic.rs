//! Seeded random weights: any shape and type, the same bytes however the rows are asked for, values of sane size.

use std::time::Instant;

use llama_weights::{Checkpoint, DType, Hyperparameters, LayerPart, RopeScaling, TensorRole};

const TYPES: [DType; 14] = DType::ALL;
const QUERY: TensorRole = TensorRole::Layer {
    index: 1,
    part: LayerPart::Query,
};

fn shape() -> Hyperparameters {
    Hyperparameters {
        hidden_size: 256,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        ffn_size: 768,
        vocab_size: 1000,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tied_embeddings: false,
        attention_bias: true,
        mlp_bias: false,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    }
}

fn made(dtype: DType, seed: u64) -> Checkpoint {
    Checkpoint::synthetic(shape(), dtype, seed).expect("a good shape")
}

fn floats(checkpoint: &Checkpoint, role: TensorRole) -> Vec<f32> {
    let view = checkpoint.tensor(role).expect("the tensor");
    let mut out = Vec::new();
    view.rows_f32(0..view.n_rows(), &mut out);
    out
}

#[test]
fn every_tensor_is_there_in_its_shape() {
    for dtype in TYPES {
        let checkpoint = made(dtype, 1);
        let h = checkpoint.hyperparameters();
        assert_eq!(checkpoint.tensors().count(), h.roles().count());
        for (role, view) in checkpoint.tensors() {
            assert_eq!(Some(view.shape().to_vec()), h.tensor_shape(role));
            assert_eq!(view.rows(0..view.n_rows()).len() as u64, view.n_bytes());
        }
    }
}

#[test]
fn rows_do_not_depend_on_how_they_are_asked_for() {
    for dtype in TYPES {
        let checkpoint = made(dtype, 1);
        let view = checkpoint.tensor(QUERY).expect("a query matrix");
        let whole = view.rows(0..view.n_rows());
        let width = view.row_bytes();
        assert_eq!(*view.rows(5..9), whole[5 * width..9 * width]);
        assert_eq!(*view.rows(8..9), whole[8 * width..9 * width]);
    }
}

#[test]
fn seed_tensor_and_row_all_matter() {
    let (one, two) = (made(DType::F16, 1), made(DType::F16, 2));
    assert_eq!(floats(&one, QUERY), floats(&made(DType::F16, 1), QUERY));
    assert_ne!(floats(&one, QUERY), floats(&two, QUERY));
    let other_layer = TensorRole::Layer {
        index: 0,
        part: LayerPart::Query,
    };
    assert_ne!(floats(&one, QUERY), floats(&one, other_layer));
    let values = floats(&one, QUERY);
    assert_ne!(values[..256], values[256..512]);
}

#[test]
fn f32_and_f16_hold_equal_values() {
    let (wide, half) = (made(DType::F32, 3), made(DType::F16, 3));
    for role in shape().roles() {
        assert_eq!(floats(&wide, role), floats(&half, role));
    }
}

#[test]
fn matrices_have_mean_0_and_deviation_0_02_and_norms_lie_around_1() {
    for dtype in TYPES {
        let checkpoint = made(dtype, 1);
        for (role, view) in checkpoint.tensors() {
            let values = floats(&checkpoint, role);
            let n = values.len() as f32;
            let mean = values.iter().sum::<f32>() / n;
            let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n).sqrt();
            if role.is_norm() {
                // 256 values within ±1/8 of 1: five standard errors.
                assert!(
                    (mean - 1.0).abs() < 0.025,
                    "{} {dtype}: mean {mean}",
                    view.name()
                );
                assert!(values.iter().all(|x| (x - 1.0).abs() <= 0.126));
            } else {
                let spread = 5.0 * 0.02 / n.sqrt();
                // Blocks share a sign among values whose mean is half a step, groups of K types a scale and a least value: a wider
                // error of the mean.
                let spread = match view.dtype() {
                    DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0 => spread,
                    _ => 5.0 * spread,
                };
                assert!(mean.abs() < spread, "{} {dtype}: mean {mean}", view.name());
                assert!(
                    (deviation / 0.02 - 1.0).abs() < 0.15,
                    "{} {dtype}: deviation {deviation}",
                    view.name()
                );
            }
        }
    }
}

#[test]
fn quantized_shapes_fall_back_where_blocks_do_not_fit() {
    let mut h = shape();
    h.ffn_size = 100;
    let checkpoint = Checkpoint::synthetic(h, DType::Q4_0, 1).expect("a good shape");
    let dtype = |part| {
        let role = TensorRole::Layer { index: 0, part };
        checkpoint.tensor(role).expect("a tensor").dtype()
    };
    assert_eq!(dtype(LayerPart::Gate), DType::Q4_0);
    assert_eq!(dtype(LayerPart::Down), DType::F16);
    assert_eq!(dtype(LayerPart::FfnNorm), DType::F32);
    assert_eq!(dtype(LayerPart::QueryBias), DType::F32);
}

#[test]
fn a_bad_shape_is_refused() {
    let mut h = shape();
    h.n_kv_heads = 3;
    let refusal = Checkpoint::synthetic(h, DType::F16, 1).expect_err("a refusal");
    assert_eq!(
        refusal.to_string(),
        "hyperparameters: n_kv_heads: expected a divisor of the 4 attention heads, found 3; correct the shape that was given"
    );
    let mut h = shape();
    h.vocab_size = 2;
    let refusal = Checkpoint::synthetic(h, DType::F16, 1).expect_err("a refusal");
    assert_eq!(
        refusal.to_string(),
        "hyperparameters: eos_token_ids: expected an id below vocab_size (2), found 2; correct the shape that was given"
    );
}

/// 70B of f16 would be 138 GB: making the checkpoint costs its list of tensors, a row its own bytes.
#[test]
fn seventy_billion_parameters_cost_no_memory() {
    let h = Hyperparameters {
        hidden_size: 8192,
        n_layers: 80,
        n_heads: 64,
        n_kv_heads: 8,
        head_dim: 128,
        ffn_size: 28_672,
        vocab_size: 32_000,
        attention_bias: false,
        ..shape()
    };
    let mut checkpoint = None;
    let start = Instant::now();
    let making = allocation_counter::measure(|| {
        checkpoint = Some(Checkpoint::synthetic(h, DType::F16, 1).expect("a good shape"));
    });
    let checkpoint = checkpoint.expect("a checkpoint");
    assert!(start.elapsed().as_secs() < 2);
    assert!(
        making.bytes_max < 1 << 20,
        "{} bytes at once",
        making.bytes_max
    );
    assert_eq!(checkpoint.weight_bytes(), 2 * 68_976_648_192);
    let view = checkpoint.tensor(TensorRole::Output).expect("the output");
    let reading =
        allocation_counter::measure(|| assert_eq!(view.rows(31_999..32_000).len(), 16_384));
    assert!(
        reading.bytes_max < 64 << 10,
        "{} bytes at once",
        reading.bytes_max
    );
}
