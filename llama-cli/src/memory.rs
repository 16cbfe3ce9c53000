//! How much memory there is for a model. What a model needs is `llama_model`'s to say.

use llama_kernels::AdapterDescription;

/// Bytes that each adapter has for a model, where that is known: its own memory, or of a software adapter what the system
/// has left. An adapter that is there twice has half for each.
pub(crate) fn there(adapters: &[Option<&AdapterDescription>]) -> Vec<Option<u64>> {
    let of = |adapter: &Option<&AdapterDescription>| {
        let adapter = (*adapter)?;
        let same = |other: &&Option<&AdapterDescription>| {
            other.is_some_and(|other| other.index == adapter.index)
        };
        let times = adapters.iter().filter(same).count().max(1) as u64;
        let own = adapter.memory_bytes;
        let bytes = own.or_else(|| adapter.is_software.then(left).flatten())?;
        Some(bytes / times)
    };
    adapters.iter().map(of).collect()
}

/// What Linux could give without swapping; `None` elsewhere.
pub(crate) fn left() -> Option<u64> {
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
