//! `model.safetensors.index.json` and `pytorch_model.bin.index.json`: which shard holds which tensor.
//!
//! Shard names come from the file and are joined to a path, so only plain names of files in the same directory pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::Error;
use crate::error::Excerpt;
use crate::format::json::{self, Pairs};

/// 70B's index has 66 KB.
const LIMIT: u64 = 16 << 20;

/// A checked index.
pub(super) struct Index {
    /// Tensor to shard.
    pub(super) weight_map: BTreeMap<String, String>,
    /// Bytes of all tensors, where the index says so.
    pub(super) total_size: Option<f64>,
}

#[derive(Deserialize)]
struct Raw {
    metadata: Option<Metadata>,
    weight_map: Pairs<String>,
}

#[derive(Deserialize)]
struct Metadata {
    /// Some tools write it as a float.
    total_size: Option<f64>,
}

impl Index {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let raw: Raw = json::read(path, LIMIT)?;
        let mut weight_map: BTreeMap<String, String> = BTreeMap::new();
        for (tensor, shard) in raw.weight_map.0 {
            if !is_plain_name(&shard) {
                return Err(Error::Field {
                    origin: path.display().to_string(),
                    field: format!("weight_map[{}]", Excerpt(&tensor)),
                    expected: "the name of a file in the same directory".to_owned(),
                    found: Excerpt(&shard).to_string(),
                    advice: "the index is damaged or hostile, take the checkpoint from a source you trust",
                });
            }
            match weight_map.get(&tensor) {
                Some(first) if *first != shard => {
                    return Err(Error::TensorInTwoShards {
                        path: path.to_owned(),
                        first: first.clone(),
                        tensor,
                        second: shard,
                    });
                }
                _ => weight_map.insert(tensor, shard),
            };
        }
        Ok(Self {
            weight_map,
            total_size: raw.metadata.and_then(|metadata| metadata.total_size),
        })
    }

    /// The shards, each once, in the order of their names.
    pub(super) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// One component on every system: no separators of any (`/`, `\`), no drive or stream (`:`), no NUL or other control
/// character, not `.` or `..`. The same on all systems, so that a checkpoint is good or bad everywhere.
fn is_plain_name(name: &str) -> bool {
    let forbidden = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !name.is_empty() && name != "." && name != ".." && !name.contains(forbidden)
}
