//! Writes GGUF files, good ones and others: every number of the header can be a lie.

/// A metadata value; the number of its type is the format's.
#[derive(Clone)]
pub(crate) enum Value {
    U8(u8),
    U16(u16),
    U32(u32),
    I32(i32),
    F32(f32),
    Flag(bool),
    Text(String),
    U64(u64),
    I64(i64),
    F64(f64),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
    /// Type and bytes as they are.
    Raw(u32, Vec<u8>),
}

/// A tensor as the header describes it, and its bytes.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Columns first, as the format has them.
    pub(crate) sizes: Vec<u64>,
    pub(crate) kind: u32,
    /// Where it is said to begin; `None` is where it does.
    pub(crate) offset: Option<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// A file to be written.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) metadata: Vec<(String, Value)>,
    pub(crate) tensors: Vec<Tensor>,
    /// Counts that are written in place of the true ones: tensors, keys.
    pub(crate) counts: [Option<u64>; 2],
    /// Of the data; the file says so only where the metadata do.
    pub(crate) alignment: usize,
}

impl Value {
    fn kind(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::U16(_) => 2,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Flag(_) => 7,
            Self::Text(_) => 8,
            Self::Texts(_) | Self::F32s(_) | Self::I32s(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
            Self::Raw(kind, _) => *kind,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut array = |kind: u32, count: usize| {
            out.extend(kind.to_le_bytes());
            out.extend((count as u64).to_le_bytes());
        };
        match self {
            Self::Texts(values) => array(8, values.len()),
            Self::F32s(values) => array(6, values.len()),
            Self::I32s(values) => array(5, values.len()),
            _ => {}
        }
        match self {
            Self::U8(value) => out.push(*value),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Flag(value) => out.push(u8::from(*value)),
            Self::Text(value) => text(value, out),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Texts(values) => values.iter().for_each(|value| text(value, out)),
            Self::F32s(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I32s(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Raw(_, bytes) => out.extend(bytes),
        }
    }
}

impl Gguf {
    /// A file of version 3 without anything in it.
    pub(crate) fn empty() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            metadata: Vec::new(),
            tensors: Vec::new(),
            counts: [None, None],
            alignment: 32,
        }
    }

    /// Sets a key, in its place where it is there.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        match self.metadata.iter_mut().find(|(other, _)| other == key) {
            Some((_, place)) => *place = value,
            None => self.metadata.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.retain(|(other, _)| other != key);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut infos = Vec::new();
        for tensor in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            text(&tensor.name, &mut infos);
            infos.extend((tensor.sizes.len() as u32).to_le_bytes());
            infos.extend(tensor.sizes.iter().flat_map(|size| size.to_le_bytes()));
            infos.extend(tensor.kind.to_le_bytes());
            infos.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
        }
        let mut out = self.header();
        out.extend(infos);
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(data);
        out
    }

    /// Everything before what is said of tensors.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        let [tensors, keys] = self.counts;
        out.extend(tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(keys.unwrap_or(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(key, &mut out);
            out.extend(value.kind().to_le_bytes());
            value.write(&mut out);
        }
        out
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
}
