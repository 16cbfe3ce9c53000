//! Opening directories: what a good one gives, and bad input by name. Every item of the groups safetensors, index and shards,
//! config.json, .pth, GPTQ and AWQ is one test that asserts the whole sentence; each refusal is also held to 2 s and 64 MiB.

mod checkpoint;
mod config;
mod directory;
mod fixture;
mod generation_config;
mod index;
mod lora;
mod mutation;
mod packed;
mod safetensors;
mod torch;
