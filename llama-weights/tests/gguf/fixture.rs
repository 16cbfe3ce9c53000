//! A small good model as a GGUF file in a temporary directory, and the means to spoil it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llama_weights::{Checkpoint, Error};
use tempfile::TempDir;

use crate::writer::{Gguf, Tensor, Value};

/// ROBUSTNESS: refused within 2 s of the last byte read, and no allocation above 64 MiB.
const TIME_LIMIT: Duration = Duration::from_secs(2);
const ALLOCATION_LIMIT: u64 = 64 << 20;

/// Of the good model: hidden 8, 1 layer, 2 heads of 4, 1 kv head, ffn 12, vocabulary 10.
pub(crate) const SHAPES: [(&str, &[u64]); 12] = [
    ("token_embd.weight", &[8, 10]),
    ("blk.0.attn_norm.weight", &[8]),
    ("blk.0.attn_q.weight", &[8, 8]),
    ("blk.0.attn_k.weight", &[8, 4]),
    ("blk.0.attn_v.weight", &[8, 4]),
    ("blk.0.attn_output.weight", &[8, 8]),
    ("blk.0.ffn_norm.weight", &[8]),
    ("blk.0.ffn_gate.weight", &[8, 12]),
    ("blk.0.ffn_up.weight", &[8, 12]),
    ("blk.0.ffn_down.weight", &[12, 8]),
    ("output_norm.weight", &[8]),
    ("output.weight", &[8, 10]),
];

/// An f32 tensor whose values are 0, 1, 2 and so on, from a start of its own.
pub(crate) fn tensor(name: &str, sizes: &[u64]) -> Tensor {
    let count = sizes.iter().product::<u64>() as u32;
    let start = name.len() as u32 * 1000;
    Tensor {
        name: name.to_owned(),
        sizes: sizes.to_vec(),
        kind: 0,
        offset: None,
        bytes: (start..start + count)
            .flat_map(|i| (i as f32).to_le_bytes())
            .collect(),
    }
}

/// The good model.
pub(crate) fn good() -> Gguf {
    let mut gguf = Gguf::empty();
    gguf.set("general.architecture", Value::Text("llama".to_owned()));
    gguf.set("llama.context_length", Value::U32(64));
    gguf.set("llama.embedding_length", Value::U32(8));
    gguf.set("llama.block_count", Value::U32(1));
    gguf.set("llama.feed_forward_length", Value::U32(12));
    gguf.set("llama.attention.head_count", Value::U32(2));
    gguf.set("llama.attention.head_count_kv", Value::U32(1));
    gguf.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    gguf.set("llama.rope.dimension_count", Value::U32(4));
    gguf.set("tokenizer.ggml.model", Value::Text("llama".to_owned()));
    let pieces = [
        "<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "b", "▁a", "ab", "▁ab",
    ];
    gguf.set(
        "tokenizer.ggml.tokens",
        Value::Texts(pieces.map(str::to_owned).into()),
    );
    let scores = [0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0];
    gguf.set("tokenizer.ggml.scores", Value::F32s(scores.into()));
    gguf.set(
        "tokenizer.ggml.token_type",
        Value::I32s(vec![2, 3, 3, 6, 1, 1, 1, 1, 1, 1]),
    );
    gguf.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    gguf.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    gguf.tensors = SHAPES.map(|(name, sizes)| tensor(name, sizes)).into();
    gguf
}

/// The good model after a change.
pub(crate) fn with(change: impl FnOnce(&mut Gguf)) -> Gguf {
    let mut gguf = good();
    change(&mut gguf);
    gguf
}

/// The good model in three parts, the last without tensors.
pub(crate) fn split() -> [Gguf; 3] {
    let number = |gguf: &mut Gguf, number| {
        gguf.set("split.no", Value::U16(number));
        gguf.set("split.count", Value::U16(3));
        gguf.set("split.tensors.count", Value::I32(12));
    };
    let mut parts = [good(), Gguf::empty(), Gguf::empty()];
    parts[1].tensors = parts[0].tensors.split_off(7);
    for (part, n) in parts.iter_mut().zip(0..) {
        number(part, n);
    }
    parts
}

/// A directory on disk.
pub(crate) struct Directory {
    directory: TempDir,
}

impl Directory {
    pub(crate) fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// With these files as `model-00001-of-00003.gguf` and so on.
    pub(crate) fn of_parts(parts: &[Gguf]) -> Self {
        let directory = Self::empty();
        for (part, n) in parts.iter().zip(1..) {
            let name = format!("model-{n:05}-of-{:05}.gguf", parts.len());
            directory.write(&name, part.bytes());
        }
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a written file");
        path
    }

    /// The message of the refusal of what lies at a path in the directory, with the directory's path as `DIR`. Also
    /// holds the refusal to one line and to the limits of time and memory.
    pub(crate) fn refusal(&self, name: &str) -> String {
        self.clean(&refusal(&self.path().join(name)).to_string())
    }

    pub(crate) fn clean(&self, message: &str) -> String {
        assert!(!message.contains(char::is_control), "{message:?}");
        let message = message.replace(&self.path().display().to_string(), "DIR");
        // Windows joins with the other slash.
        message.replace("DIR\\", "DIR/")
    }
}

/// Opens the file.
pub(crate) fn open(gguf: &Gguf) -> Checkpoint {
    let directory = Directory::empty();
    Checkpoint::open(&directory.write("model.gguf", gguf.bytes())).expect("a good file")
}

/// The message of the refusal of a file of these bytes, which is called `FILE` in it.
pub(crate) fn refused_bytes(bytes: impl AsRef<[u8]>) -> String {
    let directory = Directory::empty();
    directory.write("model.gguf", bytes);
    let message = directory.refusal("model.gguf");
    message.replace("DIR/model.gguf", "FILE")
}

/// The message of the refusal of a file.
pub(crate) fn refused(gguf: &Gguf) -> String {
    refused_bytes(gguf.bytes())
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
