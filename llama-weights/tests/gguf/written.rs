//! Files that we write: read again they are the same model in other types, and what cannot be written is refused by name.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::ops::ControlFlow;

use llama_weights::quant::{
    dequantize_q4_0, dequantize_q4_k, dequantize_q5_0, dequantize_q6_k, dequantize_q8_0,
    quantize_q4_0, quantize_q4_k, quantize_q5_0, quantize_q6_k, quantize_q8_0,
};
use llama_weights::{
    Checkpoint, DType, GgufOptions, GgufWriteError, GgufWriter, Hyperparameters, LayerPart,
    RopeScaling, TensorRole, Vocabulary, VocabularyPiece,
};

use crate::fixture::{Directory, good, open, with};
use crate::writer::{Tensor, Value};

/// A shape whose rows are whole blocks of every type.
fn shape() -> Hyperparameters {
    Hyperparameters {
        hidden_size: 256,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        ffn_size: 512,
        vocab_size: 40,
        max_position_embeddings: 128,
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

fn synthetic(h: Hyperparameters, dtype: DType) -> Checkpoint {
    Checkpoint::synthetic(h, dtype, 7).expect("a good shape")
}

fn plain(dtype: DType) -> GgufOptions<'static> {
    GgufOptions {
        dtype,
        vocabulary: None,
        name: None,
    }
}

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The bytes of a file.
fn written(checkpoint: &Checkpoint, options: &GgufOptions<'_>) -> Vec<u8> {
    let mut writer = GgufWriter::new(checkpoint, options).expect("a plan");
    let mut out = Cursor::new(Vec::new());
    let mut last = 0;
    writer
        .write(&mut out, &mut |bytes| {
            last = bytes;
            ControlFlow::Continue(())
        })
        .expect("written");
    assert_eq!(last, checkpoint.weight_bytes());
    assert_eq!(out.position(), writer.n_bytes());
    assert_eq!(out.get_ref().len() as u64, writer.n_bytes());
    out.into_inner()
}

fn refusal(checkpoint: &Checkpoint, options: &GgufOptions<'_>) -> String {
    let refused = GgufWriter::new(checkpoint, options).map(drop);
    refused.expect_err("a refusal").to_string()
}

fn floats(checkpoint: &Checkpoint, role: TensorRole) -> Vec<f32> {
    let view = checkpoint.tensor(role).expect("the tensor");
    let mut out = Vec::new();
    view.rows_f32(0..view.n_rows(), &mut out);
    out
}

/// What values become in a type.
fn round_trip(dtype: DType, values: &[f32]) -> Vec<f32> {
    type Pair = (fn(&[f32], &mut Vec<u8>), fn(&[u8], &mut Vec<f32>));
    let pair: Pair = match dtype {
        DType::F32 => return values.to_vec(),
        DType::F16 => {
            let halves = values.iter().map(|&x| half::f16::from_f32(x).to_f32());
            return halves.collect();
        }
        DType::Q8_0 => (quantize_q8_0, dequantize_q8_0),
        DType::Q5_0 => (quantize_q5_0, dequantize_q5_0),
        DType::Q4_0 => (quantize_q4_0, dequantize_q4_0),
        DType::Q4K => (quantize_q4_k, dequantize_q4_k),
        DType::Q6K => (quantize_q6_k, dequantize_q6_k),
        other => panic!("{other} is not written"),
    };
    let (mut bytes, mut back) = (Vec::new(), Vec::new());
    pair.0(values, &mut bytes);
    pair.1(&bytes, &mut back);
    back
}

/// Writes, reads again, and compares all that a checkpoint says; gives the types of the tensors.
fn assert_same_model(source: &Checkpoint, dtype: DType) -> Vec<DType> {
    let directory = Directory::empty();
    let path = directory.write("model.gguf", written(source, &plain(dtype)));
    let again = Checkpoint::open(&path).expect("a good file");
    assert_eq!(again.hyperparameters(), source.hyperparameters());
    assert!(again.warnings().is_empty(), "{:?}", again.warnings());
    assert_eq!(again.vocabulary().expect("metadata"), None);
    let mut types = Vec::new();
    for ((role, view), (other, original)) in again.tensors().zip(source.tensors()) {
        assert_eq!((role, view.shape()), (other, original.shape()));
        assert!(view.shape().len() == 2 || view.dtype() == DType::F32);
        let expected = round_trip(view.dtype(), &floats(source, role));
        assert!(floats(&again, role) == expected, "{dtype} {role:?}");
        types.push(view.dtype());
    }
    assert_eq!(types.len(), source.tensors().count());
    types
}

#[test]
fn every_type_of_every_kind_of_model_reads_back() {
    let tied = Hyperparameters {
        tied_embeddings: true,
        ..shape()
    };
    let biases = Hyperparameters {
        attention_bias: true,
        mlp_bias: true,
        n_kv_heads: 1,
        eos_token_ids: vec![2, 5],
        ..shape()
    };
    let linear = Hyperparameters {
        rope_scaling: RopeScaling::Linear { factor: 2.5 },
        rope_theta: 1e6,
        ..shape()
    };
    let wide_heads = Hyperparameters {
        head_dim: 128,
        bos_token_id: Some(7),
        eos_token_ids: vec![9],
        ..shape()
    };
    for h in [shape(), tied, biases, linear, wide_heads] {
        for stored in [DType::F32, DType::F16, DType::BF16] {
            let source = synthetic(h.clone(), stored);
            for dtype in [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q6K] {
                let types = assert_same_model(&source, dtype);
                assert!(
                    types
                        .iter()
                        .all(|&found| found == dtype || found == DType::F32)
                );
            }
        }
    }
}

#[test]
fn the_output_of_q4_k_is_q6_k() {
    let types = assert_same_model(&synthetic(shape(), DType::F32), DType::Q4K);
    assert_eq!((types[0], types[types.len() - 1]), (DType::Q4K, DType::Q6K));
    let tied = Hyperparameters {
        tied_embeddings: true,
        ..shape()
    };
    let types = assert_same_model(&synthetic(tied, DType::F32), DType::Q4K);
    assert_eq!((types[0], types[2]), (DType::Q6K, DType::Q4K));
}

#[test]
fn rows_that_are_no_whole_blocks_get_what_llama_cpp_gives_them() {
    let h = Hyperparameters {
        hidden_size: 96,
        n_heads: 3,
        n_kv_heads: 3,
        head_dim: 32,
        ffn_size: 100,
        ..shape()
    };
    let source = synthetic(h, DType::F32);
    for (asked, stand_in) in [
        (DType::Q4K, DType::Q5_0),
        (DType::Q6K, DType::Q8_0),
        (DType::Q8_0, DType::Q8_0),
        (DType::Q4_0, DType::Q4_0),
    ] {
        let types = assert_same_model(&source, asked);
        let down = source.tensors().position(|(role, _)| {
            role == TensorRole::Layer {
                index: 0,
                part: LayerPart::Down,
            }
        });
        // The embedding has rows of 96, the down projection rows of 100.
        assert_eq!(types[0], stand_in);
        assert_eq!(types[down.expect("a part")], DType::F16);
        let output = if asked == DType::Q4K {
            DType::Q8_0
        } else {
            stand_in
        };
        assert_eq!(types[types.len() - 1], output);
    }
}

/// What the reader's own fixture has, interleaved rows and all, comes out as it went in.
#[test]
fn a_gguf_file_written_again_has_the_same_tensors() {
    let mut file = good();
    for (name, size) in [("q", 8), ("k", 4), ("v", 4), ("output", 8)] {
        let name = format!("blk.0.attn_{name}.bias");
        file.tensors.push(crate::fixture::tensor(&name, &[size]));
    }
    let directory = Directory::empty();
    let path = directory.write("model.gguf", file.bytes());
    let source = Checkpoint::open(&path).expect("a good file");
    let bytes = written(&source, &plain(DType::F32));
    for Tensor {
        name,
        bytes: values,
        ..
    } in &file.tensors
    {
        let found = bytes.windows(values.len()).any(|window| window == values);
        assert!(found, "{name}");
    }
}

#[test]
fn tensors_of_the_type_already_are_copied_and_four_bits_fit_into_eight() {
    use DType::{Q3K, Q4_0, Q4K, Q5_0, Q6K, Q8_0};
    for (stored, targets) in [
        (Q8_0, &[Q8_0][..]),
        (Q4_0, &[Q4_0, Q8_0]),
        (Q5_0, &[Q8_0]),
        (Q4K, &[Q4K]),
        (Q6K, &[Q6K]),
        (Q3K, &[Q6K]),
    ] {
        let source = synthetic(shape(), stored);
        for &dtype in targets {
            let directory = Directory::empty();
            let path = directory.write("model.gguf", written(&source, &plain(dtype)));
            let again = Checkpoint::open(&path).expect("a good file");
            for (role, view) in again.tensors() {
                if view.dtype() == dtype {
                    assert!(
                        floats(&again, role) == floats(&source, role),
                        "{stored} {role:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_weight_beyond_f16_makes_its_matrix_f32() {
    let source = with(|gguf| {
        let value = 70_000f32.to_le_bytes();
        gguf.tensors[2].bytes[64..68].copy_from_slice(&value);
    });
    let source = open(&source);
    let mut writer = GgufWriter::new(&source, &plain(DType::F16)).expect("a plan");
    let planned = writer.n_bytes();
    assert_eq!(writer.tensors()[2].dtype, DType::F16);
    let mut out = Cursor::new(Vec::new());
    writer.write(&mut out, &mut go_on).expect("written");
    assert_eq!(writer.tensors()[2].dtype, DType::F32);
    assert_eq!(writer.n_bytes(), planned + 128);
    let directory = Directory::empty();
    let path = directory.write("model.gguf", out.into_inner());
    let again = Checkpoint::open(&path).expect("a good file");
    for (role, view) in again.tensors() {
        let is_f32 = view.n_rows() == 1 || view.name() == "blk.0.attn_q.weight";
        assert_eq!(view.dtype() == DType::F32, is_f32, "{}", view.name());
        let expected = round_trip(view.dtype(), &floats(&source, role));
        assert_eq!(floats(&again, role), expected);
    }
}

#[test]
fn nan_and_infinity_are_refused() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for tensor in [1, 4] {
            let source = with(|gguf| {
                gguf.tensors[tensor].bytes[4..8].copy_from_slice(&odd.to_le_bytes());
            });
            let source = open(&source);
            let mut writer = GgufWriter::new(&source, &plain(DType::F16)).expect("a plan");
            let refused = writer.write(&mut Cursor::new(Vec::new()), &mut go_on);
            let name = ["", "blk.0.attn_norm.weight", "", "", "blk.0.attn_v.weight"][tensor];
            assert_eq!(
                refused.expect_err("a refusal").to_string(),
                format!(
                    "\"{name}\": expected finite values, found NaN or infinity; download the checkpoint again"
                )
            );
        }
    }
}

#[test]
fn types_that_are_not_written_are_refused() {
    let source = synthetic(shape(), DType::F32);
    for (dtype, name) in [
        (DType::Q5K, "q5_k"),
        (DType::BF16, "bf16"),
        (DType::Q5_0, "q5_0"),
    ] {
        assert_eq!(
            refusal(&source, &plain(dtype)),
            format!(
                "type of the matrices: expected f32, f16, q8_0, q4_0, q6_k or q4_k, found {name}; choose one of these"
            )
        );
    }
}

#[test]
fn scaling_without_words_in_gguf_is_refused() {
    for (rope_scaling, found) in [
        (RopeScaling::Dynamic { factor: 2.0 }, "dynamic"),
        (
            RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 64,
            },
            "llama3",
        ),
    ] {
        let h = Hyperparameters {
            rope_scaling,
            ..shape()
        };
        assert_eq!(
            refusal(&synthetic(h, DType::F32), &plain(DType::F16)),
            format!(
                "rope_scaling: expected none or linear, found {found}, which GGUF files cannot say; keep the checkpoint as it is"
            )
        );
    }
}

fn vocabulary() -> Vocabulary {
    let pieces = ["<unk>", "<s>", "</s>", "▁", "a", "▁a"];
    let kinds = [2, 3, 3, 1, 1, 1];
    let pieces = pieces.iter().zip(kinds).zip(0..);
    let mut vocabulary = Vocabulary::new(
        "a tokenizer",
        pieces
            .map(|((text, kind), id)| VocabularyPiece::new(*text, -(id as f32), kind))
            .collect(),
    );
    vocabulary.bos = Some(1);
    vocabulary.eos = Some(2);
    vocabulary.unk = Some(0);
    vocabulary.pad = Some(2);
    vocabulary.add_eos = true;
    vocabulary.add_space_prefix = false;
    vocabulary.chat_template = Some("{{ bos_token }}ü\n".to_owned());
    vocabulary
}

fn with_vocabulary(vocabulary: &Vocabulary) -> GgufOptions<'_> {
    GgufOptions {
        vocabulary: Some(vocabulary),
        name: Some("a model"),
        ..plain(DType::F16)
    }
}

#[test]
fn a_vocabulary_reads_back_and_rows_without_a_piece_get_one() {
    let h = Hyperparameters {
        vocab_size: 8,
        ..shape()
    };
    let (source, vocabulary) = (synthetic(h, DType::F32), vocabulary());
    let directory = Directory::empty();
    let path = directory.write(
        "model.gguf",
        written(&source, &with_vocabulary(&vocabulary)),
    );
    let found = Vocabulary::open(&path).expect("readable").expect("there");
    let mut expected = vocabulary.clone();
    expected.origin = path.display().to_string();
    for id in [6, 7] {
        let unused = VocabularyPiece::new(format!("[PAD{id}]"), 0.0, 5);
        expected.pieces.push(unused);
    }
    assert_eq!(found, expected);
    assert_eq!(
        Checkpoint::open(&path).expect("good").hyperparameters(),
        source.hyperparameters()
    );
}

#[test]
fn the_vocabulary_of_the_readers_fixture_reads_back() {
    let source = open(&good());
    let found = source.vocabulary().expect("readable").expect("there");
    let directory = Directory::empty();
    let path = directory.write("again.gguf", written(&source, &with_vocabulary(&found)));
    let again = Vocabulary::open(&path).expect("readable").expect("there");
    assert_eq!(again.pieces, found.pieces);
    assert_eq!(
        (again.bos, again.eos, again.unk),
        (found.bos, found.eos, found.unk)
    );
}

#[test]
fn a_vocabulary_that_does_not_fit_is_refused() {
    let h = Hyperparameters {
        vocab_size: 5,
        ..shape()
    };
    let (source, mut vocabulary) = (synthetic(h, DType::F32), vocabulary());
    let end = "vocabulary and weights are of different models";
    assert_eq!(
        refusal(&source, &with_vocabulary(&vocabulary)),
        format!(
            "a tokenizer: pieces: expected at most 5, the rows of the embedding, found 6; {end}"
        )
    );
    vocabulary.pieces.truncate(4);
    vocabulary.pad = Some(5);
    assert_eq!(
        refusal(&source, &with_vocabulary(&vocabulary)),
        format!(
            "a tokenizer: pad: expected an id below 5, the rows of the embedding, found 5; {end}"
        )
    );
}

/// A disk with room for so many bytes.
struct Full(Cursor<Vec<u8>>, u64);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.position() + bytes.len() as u64 > self.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_full_disk_ends_it_wherever_it_is_met() {
    let source = synthetic(shape(), DType::F32);
    let mut writer = GgufWriter::new(&source, &plain(DType::Q8_0)).expect("a plan");
    for room in [0, 100, 50_000, writer.n_bytes() - 1] {
        let mut out = Full(Cursor::new(Vec::new()), room);
        let error = writer.write(&mut out, &mut go_on).expect_err("no room");
        assert!(matches!(error, GgufWriteError::Write(_)), "{room}: {error}");
        // Without its header it is no GGUF file.
        assert!(!out.0.into_inner().starts_with(b"GGUF"));
    }
    let mut out = Full(Cursor::new(Vec::new()), writer.n_bytes());
    writer.write(&mut out, &mut go_on).expect("room");
}

#[test]
fn progress_can_break_it_off() {
    let source = synthetic(shape(), DType::F32);
    let mut writer = GgufWriter::new(&source, &plain(DType::Q8_0)).expect("a plan");
    let mut calls = 0;
    let broken = writer.write(&mut Cursor::new(Vec::new()), &mut |_| {
        calls += 1;
        if calls == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(broken, Err(GgufWriteError::Cancelled)));
    assert_eq!(calls, 3);
}

#[test]
fn differences_are_what_quantizing_cost() {
    let source = synthetic(shape(), DType::F32);
    let directory = Directory::empty();
    // Uniform values: a step of 1/127 is 1/127/√12 of the largest, which is √3 of their root mean square.
    for (dtype, least, most) in [
        (DType::F32, 0.0, 0.0),
        (DType::F16, 0.0, 2e-4),
        (DType::Q8_0, 0.003, 0.005),
        (DType::Q6K, 0.01, 0.017),
        (DType::Q4K, 0.04, 0.065),
        (DType::Q4_0, 0.05, 0.08),
    ] {
        let path = directory.write("model.gguf", written(&source, &plain(dtype)));
        let again = Checkpoint::open(&path).expect("a good file");
        let mut last = 0;
        let found = source.differences(&again, &mut |bytes| {
            last = bytes;
            ControlFlow::Continue(())
        });
        let found = found.expect("not broken off");
        assert_eq!(last, source.weight_bytes());
        assert_eq!(found.len(), source.tensors().count());
        for difference in found {
            let expected = if again.tensor(difference.role).expect("there").dtype() == DType::F32 {
                0.0..=0.0
            } else if dtype == DType::Q4K && difference.role == TensorRole::Output {
                0.01..=0.017
            } else {
                least..=most
            };
            assert!(
                expected.contains(&difference.relative_rmse),
                "{dtype} {difference:?}"
            );
            assert_eq!(difference.max_abs == 0.0, difference.relative_rmse == 0.0);
        }
        assert_eq!(
            source.differences(&again, &mut |_| ControlFlow::Break(())),
            None
        );
    }
    let other = Hyperparameters {
        ffn_size: 256,
        ..shape()
    };
    let other = synthetic(other, DType::F32);
    assert_eq!(source.differences(&other, &mut go_on), None);
}

#[test]
fn special_ids_stay_without_a_vocabulary() {
    let source = with(|gguf| {
        gguf.set("tokenizer.ggml.bos_token_id", Value::U32(4));
        gguf.set("tokenizer.ggml.eos_token_id", Value::U32(5));
        gguf.set("tokenizer.ggml.eot_token_id", Value::U32(6));
    });
    assert_same_model(&open(&source), DType::F16);
}
