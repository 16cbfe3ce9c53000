//! Archives in torch's layout, written byte by byte, so that hostile ones can be written too, and a good checkpoint in each form.

use serde_json::json;

use crate::fixture::{Directory, Tensor, tensors};

/// A tensor as a view of a storage.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) name: String,
    /// Index of the storage.
    pub(crate) storage: usize,
    pub(crate) offset: i64,
    pub(crate) shape: Vec<i64>,
    pub(crate) strides: Vec<i64>,
}

/// A run of elements.
#[derive(Clone)]
pub(crate) struct Storage {
    /// `FloatStorage` and its like.
    pub(crate) kind: &'static str,
    pub(crate) numel: i64,
    pub(crate) bytes: Vec<u8>,
}

/// A file before it is written.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    pub(crate) views: Vec<View>,
    pub(crate) storages: Vec<Storage>,
}

impl Archive {
    /// Each tensor packed in a storage of its own.
    pub(crate) fn of(tensors: &[Tensor]) -> Self {
        let mut archive = Self::default();
        for tensor in tensors {
            archive.push(tensor);
        }
        archive
    }

    pub(crate) fn push(&mut self, tensor: &Tensor) {
        let (kind, width) = match tensor.dtype {
            "F32" => ("FloatStorage", 4),
            "F16" => ("HalfStorage", 2),
            "BF16" => ("BFloat16Storage", 2),
            "I64" => ("LongStorage", 8),
            other => panic!("no storage of {other}"),
        };
        let shape: Vec<i64> = tensor.shape.iter().map(|&n| n as i64).collect();
        self.views.push(View {
            name: tensor.name.clone(),
            storage: self.storages.len(),
            offset: 0,
            strides: packed(&shape),
            shape,
        });
        self.storages.push(Storage {
            kind,
            numel: (tensor.bytes.len() / width) as i64,
            bytes: tensor.bytes.clone(),
        });
    }

    pub(crate) fn view(&mut self, name: &str) -> &mut View {
        let mut views = self.views.iter_mut();
        views.find(|view| view.name == name).expect("a view")
    }

    /// `data.pkl`, as torch 2 writes it but for the memo.
    pub(crate) fn pickle(&self) -> Vec<u8> {
        let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
        for view in &self.views {
            let storage = &self.storages[view.storage];
            text(&mut pickle, &view.name);
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(&mut pickle, "storage");
            pickle.extend(format!("ctorch\n{}\n", storage.kind).bytes());
            text(&mut pickle, &view.storage.to_string());
            text(&mut pickle, "cpu");
            integer(&mut pickle, storage.numel);
            pickle.extend(b"tQ");
            integer(&mut pickle, view.offset);
            for numbers in [&view.shape, &view.strides] {
                pickle.push(b'(');
                numbers.iter().for_each(|&n| integer(&mut pickle, n));
                pickle.push(b't');
            }
            pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        }
        pickle.extend(b"u.");
        pickle
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::new("archive/data.pkl", self.pickle())];
        entries.push(Entry::new("archive/byteorder", b"little"));
        for (key, storage) in self.storages.iter().enumerate() {
            entries.push(Entry::new(&format!("archive/data/{key}"), &storage.bytes));
        }
        entries.push(Entry::new("archive/version", b"3\n"));
        entries
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        zip(&self.entries())
    }
}

fn packed(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

pub(crate) fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.bytes());
}

/// LONG1 of 8 bytes, whatever the number.
pub(crate) fn integer(pickle: &mut Vec<u8>, integer: i64) {
    pickle.extend([0x8a, 8]);
    pickle.extend(integer.to_le_bytes());
}

/// An entry of a zip, with what its records say.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    /// The length after expansion, where it is another.
    pub(crate) expanded: Option<u32>,
    /// Where the directory says that the header is, where it lies elsewhere.
    pub(crate) header: Option<u32>,
}

impl Entry {
    pub(crate) fn new(name: &str, data: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.to_owned(),
            data: data.as_ref().to_vec(),
            flags: 0x0808,
            method: 0,
            expanded: None,
            header: None,
        }
    }
}

/// A zip of these entries. Checksums are 0, as torch writes on request.
pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let at = file.len() as u32;
        let length = entry.data.len() as u32;
        let mut common = Vec::new();
        common.extend(0u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0; 8]);
        common.extend(length.to_le_bytes());
        common.extend(entry.expanded.unwrap_or(length).to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());

        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(entry.name.bytes());
        file.extend(&entry.data);

        directory.extend(b"PK\x01\x02\0\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(entry.header.unwrap_or(at).to_le_bytes());
        directory.extend(entry.name.bytes());
    }
    let at = file.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// The good checkpoint as `pytorch_model.bin`.
pub(crate) fn bin() -> Directory {
    let directory = Directory::good();
    directory.remove("model.safetensors");
    directory.write("pytorch_model.bin", Archive::of(&tensors()).bytes());
    directory
}

/// A good `bin()` with this file instead; the refusal behind its path.
#[track_caller]
pub(crate) fn refused(file: impl AsRef<[u8]>) -> String {
    let directory = bin();
    directory.write("pytorch_model.bin", file);
    let message = directory.refusal();
    let sentence = message.strip_prefix("DIR/pytorch_model.bin: ");
    sentence.unwrap_or_else(|| panic!("{message}")).to_owned()
}

/// The refusal of a good archive with another pickle.
#[track_caller]
pub(crate) fn refused_pickle(pickle: impl AsRef<[u8]>) -> String {
    let mut entries = Archive::of(&tensors()).entries();
    entries[0].data = pickle.as_ref().to_vec();
    let message = refused(zip(&entries));
    let sentence = message.strip_prefix("data.pkl: ");
    sentence.unwrap_or_else(|| panic!("{message}")).to_owned()
}

/// A good model under Meta's names: as `tensors()`, but with 2 kv heads and ffn 24; 12 tensors.
pub(crate) fn meta_tensors() -> Vec<Tensor> {
    let shapes: [(&str, &[u64]); 12] = [
        ("tok_embeddings.weight", &[10, 8]),
        ("layers.0.attention_norm.weight", &[8]),
        ("layers.0.attention.wq.weight", &[8, 8]),
        ("layers.0.attention.wk.weight", &[8, 8]),
        ("layers.0.attention.wv.weight", &[8, 8]),
        ("layers.0.attention.wo.weight", &[8, 8]),
        ("layers.0.ffn_norm.weight", &[8]),
        ("layers.0.feed_forward.w1.weight", &[24, 8]),
        ("layers.0.feed_forward.w3.weight", &[24, 8]),
        ("layers.0.feed_forward.w2.weight", &[8, 24]),
        ("norm.weight", &[8]),
        ("output.weight", &[10, 8]),
    ];
    shapes.map(|(name, shape)| Tensor::f32(name, shape)).into()
}

/// Shard `number` of `shards` of these tensors.
pub(crate) fn meta_shard(tensors: &[Tensor], number: usize, shards: usize) -> Vec<Tensor> {
    let part = |tensor: &Tensor| {
        let mut part = tensor.clone();
        let columns_cut = ["tok_embeddings", "wo.", "w2."];
        let [rows, columns] = tensor.shape[..] else {
            return part;
        };
        let row_bytes = columns as usize * 4;
        if columns_cut.iter().any(|name| tensor.name.contains(name)) {
            let width = row_bytes / shards;
            let cut = |row: &[u8]| row[number * width..(number + 1) * width].to_vec();
            part.bytes = tensor.bytes.chunks(row_bytes).flat_map(cut).collect();
            part.shape = vec![rows, columns / shards as u64];
        } else {
            let height = rows as usize / shards * row_bytes;
            part.bytes = tensor.bytes[number * height..(number + 1) * height].to_vec();
            part.shape = vec![rows / shards as u64, columns];
        }
        part
    };
    tensors.iter().map(part).collect()
}

/// The `params.json` of `meta_tensors()`.
pub(crate) fn params() -> serde_json::Value {
    // 8/3 of 8 is 21, and 24 the next multiple of 8.
    json!({"dim": 8, "multiple_of": 8, "n_heads": 2, "n_kv_heads": 2, "n_layers": 1, "norm_eps": 1e-5, "vocab_size": -1})
}
