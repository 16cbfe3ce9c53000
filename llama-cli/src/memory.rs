//! How much memory there is for a model. What a model needs is `llama_model`'s to say.

use llama_model::llama_kernels::Gpu;

/// Bytes that an adapter has for a model, where that is known: its own memory, or of a software adapter what the system
/// has left.
pub(crate) fn there(gpu: &Gpu) -> Option<u64> {
    let own = gpu.memory_bytes();
    own.or_else(|| gpu.adapter().is_software.then(left).flatten())
}

/// What Linux could give without swapping; `None` elsewhere.
fn left() -> Option<u64> {
    available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let rest = (meminfo.lines()).find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn the_line_of_memory_that_is_left_is_found() {
        let meminfo = "MemTotal:       24684132 kB\nMemAvailable:   23985356 kB\n";
        assert_eq!(available(meminfo), Some(23_985_356 * 1024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
        assert_eq!(available("MemAvailable: 18446744073709551615 kB\n"), None);
    }
}
