//! What an open checkpoint gives: tensors by role, rows in each type, and what it costs to open.

use std::borrow::Cow;
use std::io::{Seek, SeekFrom, Write};

use half::{bf16, f16};
use llama_weights::{
    Checkpoint, DType, Format, Hyperparameters, LayerPart, RopeScaling, TensorRole,
};
use serde_json::json;

use crate::fixture::{Directory, Tensor, file, raw, tensors};

const KEY: TensorRole = TensorRole::Layer {
    index: 0,
    part: LayerPart::Key,
};

#[test]
fn tensors_come_in_the_order_of_the_forward_pass() {
    let opened = Directory::good().open();
    let names: Vec<&str> = opened.tensors().map(|(_, view)| view.name()).collect();
    let expected = tensors();
    assert_eq!(
        names,
        expected
            .iter()
            .map(|tensor| &tensor.name)
            .collect::<Vec<_>>()
    );
    assert_eq!(opened.format(), Format::HuggingFace);
    assert_eq!(opened.weight_bytes(), 2656);
    assert_eq!(opened.hyperparameters().parameter_count(), 664);
}

#[test]
fn rows_are_borrowed_from_the_mapped_file() {
    let opened = Directory::good().open();
    let view = opened.tensor(KEY).expect("a key matrix");
    assert_eq!(
        (view.shape(), view.n_rows(), view.n_columns()),
        ([4, 8].as_slice(), 4, 8)
    );
    let rows = view.rows(1..3);
    assert!(matches!(rows, Cow::Borrowed(_)));
    assert_eq!(*rows, tensors()[3].bytes[32..96]);
    assert_eq!(view.rows(4..4).len(), 0);
}

#[test]
fn a_vector_is_one_row() {
    let opened = Directory::good().open();
    let view = opened.tensor(TensorRole::OutputNorm).expect("a norm");
    assert_eq!(
        (view.shape(), view.n_rows(), view.n_columns()),
        ([8].as_slice(), 1, 8)
    );
    assert_eq!(*view.rows(0..1), tensors()[10].bytes);
}

#[test]
#[should_panic(expected = "rows 3..5 of model.layers.0.self_attn.k_proj.weight with 4 rows")]
fn rows_past_the_end_panic() {
    let opened = Directory::good().open();
    let view = opened.tensor(KEY).expect("a key matrix");
    let _ = view.rows(3..5);
}

#[test]
fn rows_are_converted_from_every_type() {
    let values: Vec<f32> = (0..32).map(|i| i as f32 * 0.375 - 5.0).collect();
    let floats = |bytes: Vec<u8>, dtype| Tensor {
        name: tensors()[3].name.clone(),
        dtype,
        shape: vec![4, 8],
        bytes,
    };
    let f16_bytes = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes());
    let bf16_bytes = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes());
    let f32_bytes = values.iter().flat_map(|&x| x.to_le_bytes());
    for (tensor, dtype) in [
        (floats(f32_bytes.collect(), "F32"), DType::F32),
        (floats(f16_bytes.collect(), "F16"), DType::F16),
        (floats(bf16_bytes.collect(), "BF16"), DType::BF16),
    ] {
        let directory = Directory::good();
        let mut all = tensors();
        all[3] = tensor;
        // One byte before it, so that no type is aligned in the file.
        all.insert(
            0,
            Tensor {
                dtype: "U8",
                shape: vec![1],
                bytes: vec![0],
                ..Tensor::f32("pad", &[0])
            },
        );
        directory.write("model.safetensors", file(&all));
        let opened = directory.open();
        let view = opened.tensor(KEY).expect("a key matrix");
        assert_eq!(view.dtype(), dtype);
        let mut out = vec![9.0; 3];
        view.rows_f32(0..4, &mut out);
        assert_eq!(out, values);
        view.rows_f32(2..3, &mut out);
        assert_eq!(out, values[16..24]);
    }
}

#[test]
fn check_values_reports_the_largest_magnitude() {
    let directory = Directory::good();
    let mut all = tensors();
    all[3].dtype = "BF16";
    all[3].bytes = [1.0f32, -3e38, 2.0, 0.0]
        .iter()
        .cycle()
        .take(32)
        .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
        .collect();
    directory.write("model.safetensors", file(&all));
    let opened = directory.open();
    let values: Vec<_> = opened.check_values().collect();
    assert_eq!(values.len(), 12);
    assert!(values.iter().all(|values| values.is_finite()));
    let key = values
        .iter()
        .find(|values| values.role == KEY)
        .expect("the key matrix");
    assert_eq!(
        (key.count, key.largest),
        (32, bf16::from_f32(3e38).to_f32())
    );
    assert!(!key.fits_f16());
    assert_eq!(values.iter().filter(|values| !values.fits_f16()).count(), 1);
}

#[test]
fn llama_2_parameter_counts() {
    let llama = |hidden_size, n_layers, n_heads, n_kv_heads, ffn_size| Hyperparameters {
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
    };
    // FACTS: parameters, and KV cache per token in f16.
    for (h, parameters, kv) in [
        (llama(4096, 32, 32, 32, 11_008), 6_738_415_616, 512 << 10),
        (llama(5120, 40, 40, 40, 13_824), 13_015_864_320, 800 << 10),
        (llama(8192, 80, 64, 8, 28_672), 68_976_648_192, 320 << 10),
    ] {
        h.validate().expect("Llama 2's shape");
        assert_eq!(h.parameter_count(), parameters);
        assert_eq!(h.kv_bytes_per_position(2), kv);
        let summed: usize = h
            .roles()
            .filter_map(|role| h.tensor_shape(role))
            .map(|shape| shape.iter().product::<usize>())
            .sum();
        assert_eq!(summed as u64, parameters);
    }
}

/// Opening maps and reads headers: 256 MiB of weights (a sparse file, never read) cost less heap than one row of them.
#[test]
fn opening_allocates_nothing_in_proportion_to_the_weights() {
    let directory = Directory::good();
    directory.config(json!({"vocab_size": 4_194_304}));
    let rows: u64 = 4_194_304;
    let mut header = serde_json::Map::new();
    let mut end = 0u64;
    for tensor in tensors() {
        let shape = match tensor.name.as_str() {
            "model.embed_tokens.weight" | "lm_head.weight" => vec![rows, 8],
            _ => tensor.shape,
        };
        let begin = end;
        end += 4 * shape.iter().product::<u64>();
        header.insert(
            tensor.name,
            json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}),
        );
    }
    let bytes = raw(json!(header).to_string(), &[]);
    let path = directory.write("model.safetensors", &bytes);
    let mut sparse = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file");
    sparse
        .seek(SeekFrom::Start(bytes.len() as u64 + end - 1))
        .expect("a seek");
    sparse.write_all(&[0]).expect("the last byte");

    let mut opened = None;
    let opening = allocation_counter::measure(|| opened = Some(directory.open()));
    let opened = opened.expect("an open checkpoint");
    assert!(opened.weight_bytes() > 256 << 20);
    assert!(
        opening.bytes_max < 64 << 10,
        "{} bytes at once",
        opening.bytes_max
    );

    // Reading lends bytes of the mapping: nothing at all is allocated.
    let view = opened.tensor(TensorRole::Embedding).expect("the embedding");
    let reading = allocation_counter::measure(|| assert_eq!(view.rows(0..view.n_rows())[77], 0));
    assert_eq!(reading.bytes_total, 0);
}

#[test]
fn a_checkpoint_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Checkpoint>();
}
