//! `pull` against a Hub on 127.0.0.1 that does as the real one does, and one that does not. No test asks another host.

mod disk;
mod download;
mod fixture;
#[path = "../program/mod.rs"]
mod program;
mod refusal;
mod server;
#[cfg(unix)]
mod terminal;
mod token;
