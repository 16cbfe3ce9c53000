//! A small good checkpoint in a temporary directory, and the means to spoil it.
//!
//! Files are written byte by byte here, not by the `safetensors` crate, which refuses to write what hostile tests need.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llama_weights::{Checkpoint, Error};
use serde_json::{Value, json};
use tempfile::TempDir;

/// ROBUSTNESS: refused within 2 s of the last byte read, and no allocation above 64 MiB.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(2);
pub(crate) const ALLOCATION_LIMIT: u64 = 64 << 20;

/// One tensor to be written.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// An f32 tensor whose values depend on its name alone.
    pub(crate) fn f32(name: &str, shape: &[u64]) -> Self {
        let seed = name.bytes().map(u32::from).sum::<u32>();
        let count = shape.iter().product::<u64>() as u32;
        let value = |i: u32| ((seed + i) % 97) as f32 / 97.0 - 0.5;
        Self {
            name: name.to_owned(),
            dtype: "F32",
            shape: shape.to_vec(),
            bytes: (0..count).flat_map(|i| value(i).to_le_bytes()).collect(),
        }
    }
}

/// The tensors of the good checkpoint: hidden 8, 1 layer, 2 heads, 1 kv head, ffn 12, vocabulary 10; 12 tensors, 2,656 bytes.
pub(crate) fn tensors() -> Vec<Tensor> {
    let shapes: [(&str, &[u64]); 12] = [
        ("model.embed_tokens.weight", &[10, 8]),
        ("model.layers.0.input_layernorm.weight", &[8]),
        ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
        ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.v_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", &[8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", &[8]),
        ("model.layers.0.mlp.gate_proj.weight", &[12, 8]),
        ("model.layers.0.mlp.up_proj.weight", &[12, 8]),
        ("model.layers.0.mlp.down_proj.weight", &[8, 12]),
        ("model.norm.weight", &[8]),
        ("lm_head.weight", &[10, 8]),
    ];
    shapes.map(|(name, shape)| Tensor::f32(name, shape)).into()
}

/// A well-formed file of these tensors.
pub(crate) fn file(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut data = Vec::new();
    for tensor in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.bytes);
        header.insert(
            tensor.name.clone(),
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()]}),
        );
    }
    raw(Value::Object(header).to_string(), &data)
}

/// A file of this header and this data, whatever they say.
pub(crate) fn raw(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(data);
    bytes
}

/// A directory on disk, good until it is spoilt.
pub(crate) struct Directory {
    directory: TempDir,
}

impl Directory {
    /// The good checkpoint in one file.
    pub(crate) fn good() -> Self {
        let good = Self::empty();
        good.write("config.json", good_config().to_string());
        good.write("model.safetensors", file(&tensors()));
        good
    }

    /// The good checkpoint in two shards, the second begins with the norm before the feed-forward part.
    pub(crate) fn sharded() -> Self {
        let good = Self::empty();
        good.write("config.json", good_config().to_string());
        let tensors = tensors();
        let (first, second) = tensors.split_at(6);
        good.write("a.safetensors", file(first));
        good.write("b.safetensors", file(second));
        good.write("model.safetensors.index.json", good_index().to_string());
        good
    }

    pub(crate) fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a written file");
        path
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).expect("a removed file");
    }

    /// Writes the good configuration with these keys changed.
    pub(crate) fn config(&self, changes: Value) {
        let mut config = good_config();
        merge(&mut config, changes);
        self.write("config.json", config.to_string());
    }

    /// Writes the good index with these keys of `weight_map` changed.
    pub(crate) fn weight_map(&self, changes: Value) {
        let mut index = good_index();
        merge(&mut index["weight_map"], changes);
        self.write("model.safetensors.index.json", index.to_string());
    }

    pub(crate) fn open(&self) -> Checkpoint {
        Checkpoint::open(self.path()).expect("a good checkpoint")
    }

    /// The message of the refusal, with the directory's path as `DIR`. Also holds the refusal to one line and to the limits
    /// of time and memory.
    pub(crate) fn refusal(&self) -> String {
        self.clean(&refusal(self.path()).to_string())
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let opened = self.open();
        opened.warnings().iter().map(|w| self.clean(w)).collect()
    }

    pub(crate) fn clean(&self, message: &str) -> String {
        assert!(!message.contains(char::is_control), "{message:?}");
        let message = message.replace(&self.path().display().to_string(), "DIR");
        // Windows joins with the other slash.
        message.replace("DIR\\", "DIR/")
    }
}

/// Opens what must be refused, within the limits.
pub(crate) fn refusal(path: &Path) -> Error {
    let start = Instant::now();
    let mut result = None;
    let allocated = allocation_counter::measure(|| result = Some(Checkpoint::open(path)));
    assert!(start.elapsed() < TIME_LIMIT, "took {:?}", start.elapsed());
    assert!(
        allocated.bytes_max < ALLOCATION_LIMIT,
        "held {} bytes",
        allocated.bytes_max
    );
    result.expect("a result").expect_err("a refusal")
}

/// What the system says of a file that is not there.
pub(crate) fn absent() -> std::io::Error {
    // ENOENT, and ERROR_FILE_NOT_FOUND of Windows.
    std::io::Error::from_raw_os_error(2)
}

fn good_config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 12, "vocab_size": 10, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
        "torch_dtype": "float32"
    })
}

fn good_index() -> Value {
    let tensors = tensors();
    let shard = |i: usize| {
        if i < 6 {
            "a.safetensors"
        } else {
            "b.safetensors"
        }
    };
    let map: serde_json::Map<String, Value> = tensors
        .iter()
        .enumerate()
        .map(|(i, tensor)| (tensor.name.clone(), json!(shard(i))))
        .collect();
    let total: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    json!({"metadata": {"total_size": total}, "weight_map": map})
}

/// Sets keys; the string "(absent)" removes one.
pub(crate) fn merge(object: &mut Value, changes: Value) {
    let (Value::Object(object), Value::Object(changes)) = (object, changes) else {
        panic!("two objects");
    };
    for (key, value) in changes {
        if value == json!("(absent)") {
            object.remove(&key);
        } else {
            object.insert(key, value);
        }
    }
}
