//! A checkpoint of random weights, written as users have it: safetensors, GGUF, and Meta's archive.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use llama_model::llama_weights::{Checkpoint, DType, LayerPart, TensorRole, TensorView};

type Outcome = Result<(), Box<dyn Error>>;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Safetensors,
    Gguf,
    Meta,
}

impl Form {
    /// Writes a directory of this form, tensor by tensor. Rows of queries and keys are random in any order.
    pub(crate) fn write(self, checkpoint: &Checkpoint, folder: &Path) -> Outcome {
        fs::create_dir(folder)?;
        match self {
            Self::Safetensors => safetensors(checkpoint, folder),
            Self::Gguf => gguf(checkpoint, folder),
            Self::Meta => meta(checkpoint, folder),
        }
    }

    /// The file that holds the weights.
    pub(crate) fn weights(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors",
            Self::Gguf => "model.gguf",
            Self::Meta => "consolidated.00.pth",
        }
    }
}

fn safetensors(checkpoint: &Checkpoint, folder: &Path) -> Outcome {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (_, view) in checkpoint.tensors() {
        let begin = end;
        end += view.n_bytes();
        let entry = serde_json::json!({
            "dtype": format!("{:?}", view.dtype()), "shape": view.shape(), "data_offsets": [begin, end],
        });
        header.insert(view.name().to_owned(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = create(folder, Form::Safetensors)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (_, view) in checkpoint.tensors() {
        write_rows(&mut file, &view)?;
    }
    file.flush()?;
    let h = checkpoint.hyperparameters();
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": h.hidden_size, "num_hidden_layers": h.n_layers,
        "num_attention_heads": h.n_heads, "num_key_value_heads": h.n_kv_heads,
        "intermediate_size": h.ffn_size, "vocab_size": h.vocab_size,
        "max_position_embeddings": h.max_position_embeddings, "rms_norm_eps": h.rms_norm_eps,
        "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
    });
    fs::write(folder.join("config.json"), config.to_string())?;
    Ok(())
}

/// Version 3, of which `docs/gguf.md` of the ggml project is the specification.
fn gguf(checkpoint: &Checkpoint, folder: &Path) -> Outcome {
    const ALIGNMENT: usize = 32;
    let h = checkpoint.hyperparameters();
    let keys = [
        ("context_length", h.max_position_embeddings),
        ("embedding_length", h.hidden_size),
        ("block_count", h.n_layers),
        ("feed_forward_length", h.ffn_size),
        ("attention.head_count", h.n_heads),
        ("attention.head_count_kv", h.n_kv_heads),
        ("vocab_size", h.vocab_size),
    ];
    let mut header = b"GGUF\x03\0\0\0".to_vec();
    header.extend((checkpoint.tensors().count() as u64).to_le_bytes());
    header.extend((keys.len() as u64 + 2).to_le_bytes());
    text(&mut header, "general.architecture");
    header.extend(8u32.to_le_bytes());
    text(&mut header, "llama");
    text(&mut header, "llama.attention.layer_norm_rms_epsilon");
    header.extend(6u32.to_le_bytes());
    header.extend(1e-5f32.to_le_bytes());
    for (key, value) in keys {
        text(&mut header, &format!("llama.{key}"));
        header.extend(4u32.to_le_bytes());
        header.extend((value as u32).to_le_bytes());
    }
    let mut offset = 0;
    for (role, view) in checkpoint.tensors() {
        text(&mut header, &gguf_name(role));
        header.extend((view.shape().len() as u32).to_le_bytes());
        let columns_first = view.shape().iter().rev();
        header.extend(columns_first.flat_map(|&size| (size as u64).to_le_bytes()));
        let kind: u32 = match view.dtype() {
            DType::F32 => 0,
            DType::F16 => 1,
            DType::Q4_0 => 2,
            other => return Err(format!("{other:?} in GGUF").into()),
        };
        header.extend(kind.to_le_bytes());
        header.extend((offset as u64).to_le_bytes());
        offset += (view.n_bytes() as usize).next_multiple_of(ALIGNMENT);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    let mut file = create(folder, Form::Gguf)?;
    file.write_all(&header)?;
    for (_, view) in checkpoint.tensors() {
        write_rows(&mut file, &view)?;
        let bytes = view.n_bytes() as usize;
        file.write_all(&vec![0; bytes.next_multiple_of(ALIGNMENT) - bytes])?;
    }
    Ok(file.flush()?)
}

/// As `torch.save` writes a state dictionary: a zip of stored entries, the first a pickle of protocol 2.
fn meta(checkpoint: &Checkpoint, folder: &Path) -> Outcome {
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, (role, view)) in checkpoint.tensors().enumerate() {
        let elements = view.n_bytes() as usize / view.dtype().block_bytes();
        pickled_text(&mut pickle, &meta_name(role));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickled_text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nHalfStorage\n");
        pickled_text(&mut pickle, &key.to_string());
        pickled_text(&mut pickle, "cpu");
        pickled_number(&mut pickle, elements);
        pickle.extend(b"tQK\0");
        match *view.shape() {
            [rows, columns] => {
                pickled_number(&mut pickle, rows);
                pickled_number(&mut pickle, columns);
                pickle.push(b'\x86');
                pickled_number(&mut pickle, columns);
                pickle.extend(b"K\x01\x86");
            }
            _ => {
                pickled_number(&mut pickle, elements);
                pickle.extend(b"\x85K\x01\x85");
            }
        }
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");

    let mut file = create(folder, Form::Meta)?;
    let mut zip = Zip::default();
    zip.begin(&mut file, "consolidated/data.pkl", pickle.len())?;
    file.write_all(&pickle)?;
    for (key, (_, view)) in checkpoint.tensors().enumerate() {
        let name = format!("consolidated/data/{key}");
        zip.begin(&mut file, &name, view.n_bytes() as usize)?;
        write_rows(&mut file, &view)?;
    }
    zip.end(&mut file)?;
    file.flush()?;
    let h = checkpoint.hyperparameters();
    // int(2 · 4 · 2048 / 3) is 5,461, and 5,632 the next multiple of 256.
    let params = serde_json::json!({
        "dim": h.hidden_size, "n_layers": h.n_layers, "n_heads": h.n_heads, "n_kv_heads": h.n_kv_heads,
        "multiple_of": 256, "norm_eps": h.rms_norm_eps, "vocab_size": h.vocab_size,
    });
    fs::write(folder.join("params.json"), params.to_string())?;
    Ok(())
}

/// The directory of a zip in the making.
#[derive(Default)]
struct Zip {
    directory: Vec<u8>,
    count: u16,
    at: u32,
}

impl Zip {
    /// Writes the header of an entry whose bytes follow.
    fn begin(&mut self, file: &mut impl Write, name: &str, bytes: usize) -> Outcome {
        let size = u32::try_from(bytes)?.to_le_bytes();
        // Version 1.0, no flag, stored, no time, no checksum.
        let mut record = vec![10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(size);
        record.extend(size);
        record.extend((name.len() as u16).to_le_bytes());
        record.extend([0, 0]);
        file.write_all(b"PK\x03\x04")?;
        file.write_all(&record)?;
        file.write_all(name.as_bytes())?;
        self.directory.extend(b"PK\x01\x02\x0a\0");
        self.directory.extend(&record);
        self.directory.extend([0; 10]);
        self.directory.extend(self.at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
        self.at += u32::try_from(4 + record.len() + name.len() + bytes)?;
        Ok(())
    }

    fn end(self, file: &mut impl Write) -> Outcome {
        file.write_all(&self.directory)?;
        file.write_all(b"PK\x05\x06\0\0\0\0")?;
        file.write_all(&self.count.to_le_bytes())?;
        file.write_all(&self.count.to_le_bytes())?;
        file.write_all(&u32::try_from(self.directory.len())?.to_le_bytes())?;
        file.write_all(&self.at.to_le_bytes())?;
        Ok(file.write_all(&[0, 0])?)
    }
}

fn create(folder: &Path, form: Form) -> std::io::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(folder.join(form.weights()))?))
}

fn write_rows(file: &mut impl Write, view: &TensorView<'_>) -> std::io::Result<()> {
    (0..view.n_rows()).try_for_each(|row| file.write_all(&view.rows(row..row + 1)))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn pickled_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn pickled_number(out: &mut Vec<u8>, number: usize) {
    out.push(b'J');
    out.extend((number as u32).to_le_bytes());
}

fn gguf_name(role: TensorRole) -> String {
    match role {
        TensorRole::Embedding => "token_embd.weight".to_owned(),
        TensorRole::OutputNorm => "output_norm.weight".to_owned(),
        TensorRole::Output => "output.weight".to_owned(),
        TensorRole::Layer { index, part } => {
            let part = match part {
                LayerPart::AttentionNorm => "attn_norm",
                LayerPart::Query => "attn_q",
                LayerPart::Key => "attn_k",
                LayerPart::Value => "attn_v",
                LayerPart::AttentionOutput => "attn_output",
                LayerPart::FfnNorm => "ffn_norm",
                LayerPart::Gate => "ffn_gate",
                LayerPart::Up => "ffn_up",
                LayerPart::Down => "ffn_down",
                bias => unreachable!("{bias:?} of a model without biases"),
            };
            format!("blk.{index}.{part}.weight")
        }
    }
}

fn meta_name(role: TensorRole) -> String {
    match role {
        TensorRole::Embedding => "tok_embeddings.weight".to_owned(),
        TensorRole::OutputNorm => "norm.weight".to_owned(),
        TensorRole::Output => "output.weight".to_owned(),
        TensorRole::Layer { index, part } => {
            let part = match part {
                LayerPart::AttentionNorm => "attention_norm",
                LayerPart::Query => "attention.wq",
                LayerPart::Key => "attention.wk",
                LayerPart::Value => "attention.wv",
                LayerPart::AttentionOutput => "attention.wo",
                LayerPart::FfnNorm => "ffn_norm",
                LayerPart::Gate => "feed_forward.w1",
                LayerPart::Up => "feed_forward.w3",
                LayerPart::Down => "feed_forward.w2",
                bias => unreachable!("{bias:?} of a model without biases"),
            };
            format!("layers.{index}.{part}.weight")
        }
    }
}
