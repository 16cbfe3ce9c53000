#![doc = include_str!("../README.md")]

mod config;
mod control;
mod error;
mod jinja;
mod known;
mod llama2;
mod message;
mod namespace;
mod object;
mod python;
mod segment;
mod source;
mod special_tokens;
mod template;
mod to_json;

pub use error::{Error, ErrorKind};
pub use message::{Message, Role, parse_messages};
pub use segment::Segment;
pub use source::TemplateSource;
pub use special_tokens::SpecialTokens;
pub use template::{ChatTemplate, RenderOptions};
