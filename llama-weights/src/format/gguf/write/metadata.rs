//! The metadata of a file that is written: keys as llama.cpp names them.

use super::GgufOptions;
use super::fault::GgufWriteError;
use crate::format::gguf::{config, vocabulary};
use crate::{Checkpoint, DType, Hyperparameters, RopeScaling, Vocabulary};

/// `general.quantization_version`: the meaning of quantized blocks since 2023.
const QUANTIZATION_VERSION: u32 = 2;

/// Keys and values, and how many.
pub(super) fn write(
    checkpoint: &Checkpoint,
    options: &GgufOptions<'_>,
) -> Result<(Vec<u8>, u64), GgufWriteError> {
    let mut keys = Keys::default();
    let h = checkpoint.hyperparameters();
    general(&mut keys, options);
    sizes(&mut keys, h);
    rope(&mut keys, h)?;
    tokenizer(&mut keys, checkpoint, options.vocabulary)?;
    Ok((keys.bytes, keys.count))
}

fn general(keys: &mut Keys, options: &GgufOptions<'_>) {
    keys.text(config::ARCHITECTURE, "llama");
    keys.text("general.type", "model");
    if let Some(name) = options.name {
        keys.text("general.name", name);
    }
    // llama.cpp's llama_ftype.
    let file_type = match options.dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q8_0 => 7,
        DType::Q4K => 14, // Q4_K_S
        DType::Q6K => 18,
        _ => 1024, // guessed
    };
    keys.u32("general.file_type", file_type);
    keys.u32("general.quantization_version", QUANTIZATION_VERSION);
}

fn sizes(keys: &mut Keys, h: &Hyperparameters) {
    for (key, size) in [
        (config::VOCABULARY, h.vocab_size),
        (config::CONTEXT, h.max_position_embeddings),
        (config::HIDDEN, h.hidden_size),
        (config::LAYERS, h.n_layers),
        (config::FFN, h.ffn_size),
        (config::HEADS, h.n_heads),
        (config::KV_HEADS, h.n_kv_heads),
        (config::HEAD_DIM, h.head_dim),
        (config::VALUE_DIM, h.head_dim),
        (config::ROTATED, h.head_dim),
    ] {
        // All are within `hyperparameters::limit`, below 2³¹.
        keys.u32(key, u32::try_from(size).unwrap_or(u32::MAX));
    }
    keys.f32(config::EPSILON, h.rms_norm_eps);
    keys.f32(config::ROPE_BASE, h.rope_theta as f32);
}

fn rope(keys: &mut Keys, h: &Hyperparameters) -> Result<(), GgufWriteError> {
    match h.rope_scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            keys.text(config::SCALING, "linear");
            keys.f32(config::FACTOR, factor as f32);
        }
        RopeScaling::Dynamic { .. } => {
            return Err(GgufWriteError::RopeScaling { found: "dynamic" });
        }
        RopeScaling::Llama3 { .. } => {
            return Err(GgufWriteError::RopeScaling { found: "llama3" });
        }
    }
    Ok(())
}

fn tokenizer(
    keys: &mut Keys,
    checkpoint: &Checkpoint,
    found: Option<&Vocabulary>,
) -> Result<(), GgufWriteError> {
    let h = checkpoint.hyperparameters();
    let ends = checkpoint.eos_token_ids();
    // Where the tokenizer's is none of those that end a generation, theirs counts.
    let of_tokenizer = found.and_then(|found| found.eos);
    let eos = match of_tokenizer {
        Some(eos) if ends.is_empty() || ends.contains(&eos) => Some(eos),
        _ => ends.first().copied(),
    };
    let end_of_turn = ends.iter().copied().find(|&id| Some(id) != eos);
    let bos = found.and_then(|found| found.bos).or(h.bos_token_id);
    match found {
        Some(found) => pieces(keys, h, found)?,
        None => keys.text(vocabulary::MODEL, "no_vocab"),
    }
    // For one that is not there readers take llama.cpp's default: the format has no word for none.
    keys.id(vocabulary::BOS, bos);
    keys.id(vocabulary::EOS, eos);
    keys.id(vocabulary::EOT, end_of_turn);
    if let Some(found) = found {
        keys.id(vocabulary::UNK, found.unk);
        keys.id(vocabulary::PAD, found.pad);
        keys.flag(vocabulary::ADD_BOS, found.add_bos);
        keys.flag(vocabulary::ADD_EOS, found.add_eos);
        keys.flag(vocabulary::ADD_PREFIX, found.add_space_prefix);
        if let Some(template) = &found.chat_template {
            keys.text(vocabulary::TEMPLATE, template);
        }
    }
    Ok(())
}

/// Pieces, scores and kinds. Rows of the embedding that have no piece get an unused one, as llama.cpp's converter has it.
fn pieces(keys: &mut Keys, h: &Hyperparameters, found: &Vocabulary) -> Result<(), GgufWriteError> {
    const UNUSED: u8 = 5;
    let fault = |field, expected: String, found_there: String| GgufWriteError::Vocabulary {
        origin: found.origin.clone(),
        field,
        expected,
        found: found_there,
    };
    if !(1..=h.vocab_size).contains(&found.pieces.len()) {
        return Err(fault(
            "pieces",
            format!("at most {}, the rows of the embedding", h.vocab_size),
            found.pieces.len().to_string(),
        ));
    }
    for (field, id) in [
        ("bos", found.bos),
        ("eos", found.eos),
        ("unk", found.unk),
        ("pad", found.pad),
    ] {
        if let Some(id) = id.filter(|&id| id as usize >= h.vocab_size) {
            let expected = format!("an id below {}, the rows of the embedding", h.vocab_size);
            return Err(fault(field, expected, id.to_string()));
        }
    }
    let missing = found.pieces.len()..h.vocab_size;
    let texts = found.pieces.iter().map(|piece| piece.text.clone());
    let texts = texts.chain(missing.clone().map(|id| format!("[PAD{id}]")));
    let scores = found.pieces.iter().map(|piece| piece.score);
    let scores = scores.chain(missing.clone().map(|_| 0.0));
    let kinds = found.pieces.iter().map(|piece| piece.kind);
    let kinds = kinds.chain(missing.map(|_| UNUSED));
    keys.text(vocabulary::MODEL, "llama");
    keys.array(vocabulary::PIECES, 8, h.vocab_size, texts.map(sized));
    keys.array(
        vocabulary::SCORES,
        6,
        h.vocab_size,
        scores.map(f32::to_le_bytes),
    );
    let kinds = kinds.map(|kind| i32::from(kind).to_le_bytes());
    keys.array(vocabulary::KINDS, 5, h.vocab_size, kinds);
    Ok(())
}

/// Keys and values as the format has them, with the numbers of its types.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    count: u64,
}

impl Keys {
    fn u32(&mut self, key: &str, value: u32) {
        self.put(key, 4, value.to_le_bytes());
    }

    fn id(&mut self, key: &str, id: Option<u32>) {
        if let Some(id) = id {
            self.u32(key, id);
        }
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.put(key, 6, value.to_le_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.put(key, 7, [u8::from(value)]);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.put(key, 8, sized(value.to_owned()));
    }

    fn array<V: AsRef<[u8]>>(
        &mut self,
        key: &str,
        kind: u32,
        count: usize,
        values: impl Iterator<Item = V>,
    ) {
        self.put(key, 9, kind.to_le_bytes());
        self.bytes.extend((count as u64).to_le_bytes());
        for value in values {
            self.bytes.extend(value.as_ref());
        }
    }

    fn put(&mut self, key: &str, kind: u32, value: impl AsRef<[u8]>) {
        self.bytes.extend(sized(key.to_owned()));
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value.as_ref());
        self.count += 1;
    }
}

/// A text behind its length.
fn sized(text: String) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.into_bytes());
    bytes
}
