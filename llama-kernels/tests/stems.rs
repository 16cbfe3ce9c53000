//! A kernel has one name everywhere: its file in wgsl, in ops, in reference and among the numeric trials.

use std::collections::BTreeSet;
use std::path::Path;

/// The stems of a folder's files with an extension.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    files
        .map(|file| file.expect("a readable folder").path())
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_string()))
        .collect()
}

#[test]
fn every_kernel_has_its_file_in_each_place() {
    let kernels = stems("wgsl", "wesl");
    assert!(kernels.len() >= 9, "{kernels:?}");
    for folder in ["src/ops", "src/reference", "tests/numeric"] {
        let missing: Vec<String> = kernels.difference(&stems(folder, "rs")).cloned().collect();
        assert!(missing.is_empty(), "{folder} lacks {missing:?}");
    }
}

#[test]
fn every_operation_has_its_kernel() {
    let kernels = stems("wgsl", "wesl");
    let operations = stems("src/ops", "rs");
    let others: Vec<&String> = operations.difference(&kernels).collect();
    // The module itself, operands of products, and checks of shapes.
    assert_eq!(others, ["mod", "product", "shape"]);
}

#[test]
fn the_table_has_the_same_kernels() {
    let of_table: BTreeSet<String> = llama_kernels::variants()
        .iter()
        .map(|variant| variant.kernel.to_string())
        .collect();
    assert_eq!(of_table, stems("wgsl", "wesl"));
}
