//! The Hugging Face Hub: its cache on this disk, which it shares with Hugging Face's own programs, and (with the
//! feature `hub`) its files over HTTP.
//!
//! Looking into the cache never opens a socket. Nothing here opens a model's files.

pub(crate) mod cache;
mod environment;
#[cfg(feature = "hub")]
mod pull;
mod repository;
mod resolve;

pub(crate) use environment::Environment;
#[cfg(feature = "hub")]
pub(crate) use pull::pull;
pub(crate) use repository::{Reference, Repository, Revision};
pub(crate) use resolve::resolve;
