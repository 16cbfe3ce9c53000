//! The runtime on a real adapter.

fn main() {}
