//! The record of variants that passed their trials with and without run-time checks: `src/trusted.txt`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use llama_kernels::{Variant, variants};

const HEADER: &str = "# Written by the trials: variants that passed with and without run-time checks, and what of them was tried.\n";

/// What became of the variants tried in this run: true where every trial of one passed.
static OUTCOMES: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

/// Whether this run writes the record.
pub(crate) fn is_wanted() -> bool {
    std::env::var("LLAMA_TRIALS").as_deref() == Ok("record")
}

/// Notes that a trial of a variant passed, or did not.
pub(crate) fn note(variant: &Variant, passed: bool) {
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    let all = outcomes.entry(variant.id()).or_insert(true);
    *all &= passed;
}

/// Writes the record: what passed now, and, of the lines there are, those of variants that were not tried and are
/// trusted still. A machine that runs more variants adds to it.
pub(crate) fn write() -> io::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trusted.txt");
    let outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lines: Vec<String> = variants()
        .iter()
        .filter(|variant| (outcomes.get(&variant.id()).copied()).unwrap_or(variant.is_trusted()))
        .map(|variant| format!("{} {:016x}\n", variant.id(), variant.fingerprint()))
        .collect();
    lines.sort_unstable();
    fs::write(&path, HEADER.to_owned() + &lines.concat())?;
    Ok(path)
}
