//! Bytes as people read them.

/// In the largest unit of 1024 that leaves a number of a few digits.
pub(crate) fn gibibytes(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..=0x3fff_ffff => format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)),
        _ => format!("{:.2} GiB", bytes as f64 / (1024.0 * 1024.0 * 1024.0)),
    }
}
