//! Four-bit matrices as AutoGPTQ and AutoAWQ pack them (see `golden/int4/generate.py`): every value as their own functions have it.

use std::path::{Path, PathBuf};

use llama_weights::quant::{INT4_BYTES, dequantize_int4};
use llama_weights::{Checkpoint, DType, TensorView};
use safetensors::SafeTensors;

/// Every eleventh row of a matrix is in the golden file.
const EVERY: usize = 11;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/int4")
        .join(name)
}

fn open(form: &str) -> Checkpoint {
    Checkpoint::open(&golden(form)).expect("a good checkpoint")
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    let mut floats = Vec::new();
    view.rows_f32(0..view.n_rows(), &mut floats);
    floats
}

/// The matrices of four bits, and their rows in the golden file.
fn each_matrix(form: &str, mut see: impl FnMut(&TensorView<'_>, &[Vec<f32>])) {
    let bytes = std::fs::read(golden(&format!("{form}.safetensors"))).expect("the golden file");
    let expected = SafeTensors::deserialize(&bytes).expect("safetensors");
    let checkpoint = open(form);
    let mut seen = 0;
    for (_, view) in checkpoint.tensors() {
        let Some(module) = view.name().strip_suffix(".qweight") else {
            continue;
        };
        let tensor = expected.tensor(&format!("{module}.weight"));
        let rows: Vec<Vec<f32>> = tensor
            .expect("the matrix's values")
            .data()
            .chunks_exact(4 * view.n_columns())
            .map(|row| {
                let floats = row.chunks_exact(4);
                floats
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect()
            })
            .collect();
        assert_eq!(rows.len(), view.n_rows().div_ceil(EVERY));
        see(&view, &rows);
        seen += 1;
    }
    let of_golden = expected.names().len() - 2;
    assert_eq!(seen, of_golden, "all but input_ids and logits");
}

/// The values are equal, the type is as said, and so are the names of the matrices whose columns are sorted.
fn values_equal(form: &str, dtype: DType, sorted: &[&str]) {
    let mut found_sorted = Vec::new();
    each_matrix(form, |view, expected| {
        assert_eq!(view.dtype(), dtype, "{}", view.name());
        let found = floats(view);
        let rows = found.chunks_exact(view.n_columns()).step_by(EVERY);
        for (index, (found, expected)) in rows.zip(expected).enumerate() {
            assert_eq!(found, expected, "{}: row {}", view.name(), index * EVERY);
        }
        if view.column_order().is_some() {
            let part = view.name().rsplit('.').nth(1).expect("a module");
            found_sorted.push(part.to_owned());
        }
    });
    assert_eq!(found_sorted, sorted);
}

const ALL: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

#[test]
fn gptq_in_groups_of_32_by_activation_with_a_packed_output() {
    let all: Vec<&str> = ALL.into_iter().chain(["lm_head"]).collect();
    values_equal("gptq-32", DType::Int4, &all);
}

#[test]
fn gptq_in_symmetric_groups_of_64_declared_in_a_file_of_its_own() {
    values_equal("gptq-64", DType::Int4, &[]);
}

#[test]
fn gptq_in_groups_of_128_by_activation_in_the_second_form() {
    // The others have one group, which needs no order.
    values_equal("gptq-128", DType::Int4, &["down_proj"]);
}

#[test]
fn gptq_in_one_group_with_scales_in_bf16() {
    values_equal("gptq-all", DType::Int4, &[]);
}

#[test]
fn gptq_in_groups_of_16_is_read_as_f32_and_said() {
    values_equal("gptq-16", DType::F32, &[]);
    let folder = golden("gptq-16").display().to_string();
    assert_eq!(
        open("gptq-16").warnings(),
        [format!(
            "{folder}: 7 matrices of four bits are read as f32, \"model.layers.0.self_attn.q_proj.qweight\" first: 32 columns that \
             follow each other are of several groups"
        )]
    );
}

#[test]
fn gptq_with_an_order_for_each_matrix() {
    values_equal("gptq-apart", DType::Int4, &ALL);
}

#[test]
fn awq_in_groups_of_32_with_biases() {
    values_equal("awq-32", DType::Int4, &[]);
}

#[test]
fn awq_in_groups_of_64_declared_in_a_file_of_its_own() {
    values_equal("awq-64", DType::Int4, &[]);
}

#[test]
fn awq_in_groups_of_128() {
    values_equal("awq-128", DType::Int4, &[]);
}

#[test]
fn matrices_that_see_one_input_share_its_order() {
    let checkpoint = open("gptq-32");
    let order = |part: &str| {
        let mut tensors = checkpoint.tensors();
        let found = tensors.find(|(_, view)| view.name().contains(part));
        let (_, view) = found.expect("the tensor");
        view.column_order().expect("an order").to_vec()
    };
    assert_eq!(order("q_proj"), order("k_proj"));
    assert_eq!(order("q_proj"), order("v_proj"));
    assert_eq!(order("gate_proj"), order("up_proj"));
    assert_ne!(order("q_proj"), order("o_proj"));
    let mut columns = order("down_proj");
    columns.sort_unstable();
    assert!(columns.into_iter().eq(0..128));
}

#[test]
fn nothing_is_odd_about_them() {
    for form in ["gptq-32", "gptq-64", "gptq-128", "gptq-all", "awq-32"] {
        assert_eq!(open(form).warnings(), [""; 0], "{form}");
    }
}

#[test]
fn blocks_hold_the_same_values_in_the_order_that_they_say() {
    for form in ["gptq-32", "gptq-64", "gptq-128", "awq-32", "awq-128"] {
        each_matrix(form, |view, _| {
            let blocks = view.rows(0..view.n_rows());
            assert_eq!(
                blocks.len(),
                view.n_rows() * view.n_columns() / 32 * INT4_BYTES
            );
            let mut found = Vec::new();
            dequantize_int4(&blocks, &mut found);
            let values = floats(view);
            let own: Vec<u32> = (0..view.n_columns() as u32).collect();
            let order = view.column_order().unwrap_or(&own);
            let rows = found.chunks(order.len()).zip(values.chunks(order.len()));
            for (found, values) in rows {
                for (&found, &column) in found.iter().zip(order) {
                    assert_eq!(found, values[column as usize]);
                }
            }
        });
    }
}

#[test]
fn rows_do_not_depend_on_how_they_are_asked_for() {
    for form in ["gptq-32", "gptq-64", "gptq-16", "awq-32"] {
        each_matrix(form, |view, _| {
            let (bytes, values) = (view.rows(0..view.n_rows()), floats(view));
            let last = view.n_rows();
            for range in [0..1, 3..13, 7..8, 5..5, 8..24, 1..last, last - 9..last - 2] {
                let [start, end] = [range.start, range.end].map(|row| row * view.row_bytes());
                assert_eq!(*view.rows(range.clone()), bytes[start..end], "{range:?}");
                let [start, end] = [range.start, range.end].map(|row| row * view.n_columns());
                let mut some = vec![7.0];
                view.rows_f32(range.clone(), &mut some);
                assert_eq!(some, values[start..end], "{range:?}");
            }
        });
    }
}
