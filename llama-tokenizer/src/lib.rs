#![doc = include_str!("../README.md")]

mod cut;
mod decode;
mod directory;
mod draft;
mod encode;
mod error;
mod format;
mod literal;
mod merge;
mod piece;
mod piece_list;
mod special;
mod tokenizer;
mod vocabulary;

pub use decode::StreamDecoder;
pub use error::Error;
pub use piece::{Piece, PieceKind};
pub use piece_list::PieceList;
pub use special::SpecialTokens;
pub use tokenizer::Tokenizer;
