//! What a good file gives: tensors by role, rows half-split, hyperparameters, directories, versions.

use std::borrow::Cow;

use llama_weights::{Checkpoint, DType, Format, LayerPart, TensorRole};

use crate::fixture::{Directory, SHAPES, good, open, tensor, with};

fn role(part: LayerPart) -> TensorRole {
    TensorRole::Layer { index: 0, part }
}

fn floats(checkpoint: &Checkpoint, role: TensorRole) -> Vec<f32> {
    let view = checkpoint.tensor(role).expect("the tensor");
    let mut out = Vec::new();
    view.rows_f32(0..view.n_rows(), &mut out);
    out
}

#[test]
fn tensors_come_in_the_order_of_the_forward_pass() {
    let opened = open(&good());
    let names: Vec<&str> = opened.tensors().map(|(_, view)| view.name()).collect();
    assert_eq!(names, SHAPES.map(|(name, _)| name));
    assert_eq!(opened.format(), Format::Gguf);
    assert_eq!(opened.format().to_string(), "GGUF file");
    assert_eq!(opened.hyperparameters().parameter_count(), 664);
    assert_eq!(opened.weight_bytes(), 4 * 664);
    assert!(opened.warnings().is_empty());
    for (role, view) in opened.tensors() {
        assert_eq!(
            Some(view.shape().to_vec()),
            opened.hyperparameters().tensor_shape(role)
        );
    }
}

#[test]
fn query_and_key_rows_are_half_split_and_no_others() {
    let opened = open(&good());
    // Heads of 4 rows: stored 0 1 2 3 come out 0 2 1 3. Rows have 8 values that count up.
    let rows = |part: LayerPart, name: &str, order: &[u32]| {
        let start = name.len() as u32 * 1000;
        let expected: Vec<f32> = order
            .iter()
            .flat_map(|row| (0..8).map(move |i| (start + 8 * row + i) as f32))
            .collect();
        assert_eq!(floats(&opened, role(part)), expected, "{name}");
    };
    rows(
        LayerPart::Query,
        "blk.0.attn_q.weight",
        &[0, 2, 1, 3, 4, 6, 5, 7],
    );
    rows(LayerPart::Key, "blk.0.attn_k.weight", &[0, 2, 1, 3]);
    rows(LayerPart::Value, "blk.0.attn_v.weight", &[0, 1, 2, 3]);
    let view = opened
        .tensor(role(LayerPart::Query))
        .expect("a query matrix");
    assert!(matches!(view.rows(2..3), Cow::Owned(_)));
    assert_eq!(*view.rows(2..3), view.rows(0..8)[64..96]);
    let view = opened
        .tensor(role(LayerPart::Value))
        .expect("a value matrix");
    assert!(matches!(view.rows(0..4), Cow::Borrowed(_)));
}

#[test]
fn biases_of_query_and_key_are_half_split_too() {
    let mut file = good();
    for (name, size) in [("q", 8), ("k", 4), ("v", 4), ("output", 8)] {
        let name = format!("blk.0.attn_{name}.bias");
        file.tensors.push(tensor(&name, &[size]));
    }
    let opened = open(&file);
    assert!(opened.hyperparameters().attention_bias);
    assert!(!opened.hyperparameters().mlp_bias);
    let expected = |order: &[u32]| -> Vec<f32> {
        let start = "blk.0.attn_q.bias".len() as u32 * 1000;
        order.iter().map(|i| (start + i) as f32).collect()
    };
    assert_eq!(
        floats(&opened, role(LayerPart::QueryBias)),
        expected(&[0, 2, 1, 3, 4, 6, 5, 7])
    );
    assert_eq!(
        floats(&opened, role(LayerPart::KeyBias)),
        expected(&[0, 2, 1, 3])
    );
    assert_eq!(
        floats(&opened, role(LayerPart::ValueBias)),
        expected(&[0, 1, 2, 3])
    );
}

#[test]
fn the_output_is_the_embedding_where_there_is_none() {
    let opened = open(&with(|gguf| drop(gguf.tensors.pop())));
    assert!(opened.hyperparameters().tied_embeddings);
    assert!(opened.tensor(TensorRole::Output).is_none());
}

#[test]
fn version_2_is_read() {
    let opened = open(&with(|gguf| gguf.version = 2));
    assert_eq!(opened.weight_bytes(), 4 * 664);
}

#[test]
fn types_are_told_apart() {
    let file = with(|gguf| {
        gguf.tensors[2].kind = 30;
        gguf.tensors[2].bytes.truncate(128);
        gguf.tensors[3].kind = 1;
        gguf.tensors[3].bytes.truncate(64);
    });
    let opened = open(&file);
    let dtype = |part| opened.tensor(role(part)).expect("a tensor").dtype();
    assert_eq!(dtype(LayerPart::Query), DType::BF16);
    assert_eq!(dtype(LayerPart::Key), DType::F16);
    assert_eq!(dtype(LayerPart::Value), DType::F32);
}

#[test]
fn tensors_of_another_model_are_ignored_with_a_warning() {
    let directory = Directory::empty();
    let file = with(|gguf| gguf.tensors.push(tensor("blk.1.attn_q.weight", &[8, 8])));
    let path = directory.write("model.gguf", file.bytes());
    let opened = Checkpoint::open(&path).expect("a good file");
    let warnings: Vec<String> = opened
        .warnings()
        .iter()
        .map(|w| directory.clean(w))
        .collect();
    assert_eq!(
        warnings,
        [
            "DIR/model.gguf: 1 tensors have no place in the configured model and are ignored, \"blk.1.attn_q.weight\" first"
        ]
    );
}

#[test]
fn a_directory_of_one_file_is_that_file() {
    let directory = Directory::empty();
    let path = directory.write("model.gguf", good().bytes());
    directory.write("README.md", "");
    let opened = Checkpoint::open(directory.path()).expect("a good directory");
    assert_eq!(opened.files().collect::<Vec<_>>(), [path]);
}

#[test]
fn a_directory_of_several_files() {
    let directory = Directory::empty();
    directory.write("b.gguf", good().bytes());
    directory.write("a.gguf", good().bytes());
    assert_eq!(
        directory.refusal(""),
        "DIR/: expected one GGUF file, found 2: \"a.gguf\", \"b.gguf\"; give one of them"
    );
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    let directory = Directory::empty();
    let path = directory.write("model.bin", good().bytes());
    assert!(Checkpoint::open(&path).is_ok());
}

/// Opening maps and reads the header: a tensor's bytes are not among what is allocated.
#[test]
fn opening_allocates_nothing_in_proportion_to_the_weights() {
    let directory = Directory::empty();
    let mut file = good();
    file.set("llama.vocab_size", crate::writer::Value::U32(1 << 20));
    file.tensors[0] = tensor("token_embd.weight", &[8, 1 << 20]);
    file.tensors.pop();
    let path = directory.write("model.gguf", file.bytes());
    let mut opened = None;
    let opening = allocation_counter::measure(|| opened = Some(Checkpoint::open(&path)));
    let opened = opened.expect("a result").expect("a good file");
    assert!(opened.weight_bytes() > 32 << 20);
    assert!(
        opening.bytes_max < 64 << 10,
        "{} bytes at once",
        opening.bytes_max
    );
    let view = opened.tensor(TensorRole::Embedding).expect("the embedding");
    let reading = allocation_counter::measure(|| drop(view.rows(0..view.n_rows())));
    assert_eq!(reading.bytes_total, 0);
}
