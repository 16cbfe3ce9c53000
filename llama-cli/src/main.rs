//! Llama 2 at a terminal.

fn main() {}
