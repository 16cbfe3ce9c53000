//! The project's own commands as functions, so that the tests call what the command line calls.
//!
//! Depends on no other member: these commands have to run while generated files are broken.

pub mod ci;
pub mod codegen;
pub mod demo;
pub mod golden;
pub mod kit;
pub mod process;
pub mod report;
pub mod setup;
