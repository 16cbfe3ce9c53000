//! The committed checkpoints and what transformers computed from them (`parity/generate.py`).

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Deserialize;

/// One folder of `golden/parity/`.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) tolerance_f32: f32,
    pub(crate) tolerance_f16: f32,
    pub(crate) input_ids: Vec<u32>,
    /// `[input_ids.len(), vocab_size]`
    pub(crate) logits: Vec<f32>,
    pub(crate) greedy: Vec<u32>,
    /// Largest less second largest logit at each step of `greedy`.
    pub(crate) greedy_margin: Vec<f32>,
}

#[derive(Deserialize)]
struct Tolerances {
    tolerance_f32: f32,
    tolerance_f16: f32,
}

/// Every case, by name.
pub(crate) fn cases() -> Vec<(String, Case)> {
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parity");
    let entries = std::fs::read_dir(&parity).expect("the goldens are committed");
    let folders = entries.map(|entry| entry.expect("a readable folder").path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.into_iter().map(read).collect()
}

fn read(folder: PathBuf) -> (String, Case) {
    let name = folder.file_name().expect("a folder has a name");
    let name = name.to_string_lossy().into_owned();
    let read = |file| std::fs::read(folder.join(file)).expect("the golden is committed");
    let tolerances: Tolerances =
        serde_json::from_slice(&read("case.json")).expect("the generator's form");
    let bytes = read("golden.safetensors");
    let golden = SafeTensors::deserialize(&bytes).expect("the generator's form");
    let data = |tensor| {
        golden
            .tensor(tensor)
            .expect("the generator's tensor")
            .data()
    };
    let floats = |tensor| {
        let values = data(tensor).chunks_exact(4);
        values
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    let ids = |tensor| {
        let values = data(tensor).chunks_exact(8);
        let id = |b: &[u8]| {
            let bytes = b.try_into().expect("eight bytes");
            u32::try_from(i64::from_le_bytes(bytes)).expect("an id")
        };
        values.map(id).collect()
    };
    let case = Case {
        name: name.clone(),
        tolerance_f32: tolerances.tolerance_f32,
        tolerance_f16: tolerances.tolerance_f16,
        input_ids: ids("input_ids"),
        logits: floats("logits"),
        greedy: ids("greedy"),
        greedy_margin: floats("greedy_margin"),
        folder,
    };
    (name, case)
}
