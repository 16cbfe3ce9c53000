//! One file per command, named as the command. Each has a `run` and turns flags into calls of the
//! libraries and their answers into lines; what several commands share lies beside this module.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod detokenize;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod models;
pub(crate) mod pull;
pub(crate) mod quantize;
pub(crate) mod score;
pub(crate) mod template;
pub(crate) mod tokenize;
