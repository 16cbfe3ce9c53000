//! GGUF files: what a good one gives, and bad input by name. Every item of the group GGUF is one test that asserts the whole
//! sentence; each refusal is also held to 2 s and 64 MiB.

mod config;
mod fixture;
mod good;
mod header;
mod mutation;
mod split;
mod tensors;
mod vocabulary;
mod writer;
mod written;
