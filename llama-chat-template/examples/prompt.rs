//! Prints the prompt of a short chat, control tokens marked: in Llama 2's own format, or in that of the model whose
//! directory is given.
//!
//! `cargo run -p llama-chat-template --example prompt -- path/to/model`

use std::path::Path;

use llama_chat_template::{ChatTemplate, Message, RenderOptions, Role, Segment};

fn main() -> Result<(), llama_chat_template::Error> {
    let template = match std::env::args().nth(1) {
        Some(dir) => ChatTemplate::from_dir(Path::new(&dir))?,
        None => ChatTemplate::native(),
    };
    let messages = [
        Message::new(Role::System, "Answer in one word."),
        Message::new(Role::User, "What is the capital of France?"),
        Message::new(Role::Assistant, "Paris"),
        Message::new(Role::User, "And is </s> a control token when I type it?"),
    ];
    println!("format: {}", template.name());
    for segment in template.render(&messages, &RenderOptions::default())? {
        match segment {
            Segment::Bos => println!("bos"),
            Segment::Eos => println!("eos"),
            Segment::Control(token) => println!("control {token}"),
            Segment::Text(text) => println!("text    {text:?}"),
        }
    }
    Ok(())
}
