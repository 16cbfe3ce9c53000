//! Shows how a text is cut into pieces, and how they stream back:
//!
//!     cargo run -p llama-tokenizer --example pieces -- DIRECTORY "some text"
//!
//! Without a directory it uses a vocabulary of a few pieces, made here.

use std::path::Path;
use std::process::ExitCode;

use llama_tokenizer::{Error, Piece, PieceKind, SpecialTokens, Tokenizer};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, text) = match arguments.as_slice() {
        [directory, text] => (Some(directory), text.as_str()),
        [directory] => (Some(directory), "Hello, world! 😀"),
        _ => (None, "the hat 😀"),
    };
    let tokenizer = match directory {
        Some(directory) => Tokenizer::from_dir(Path::new(directory)),
        None => tiny(),
    };
    match tokenizer.and_then(|tokenizer| show(&tokenizer, text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn show(tokenizer: &Tokenizer, text: &str) -> Result<(), Error> {
    let mut stream = tokenizer.stream(&[]);
    for id in tokenizer.encode_with_bos(text)? {
        let piece = tokenizer.piece(id).unwrap_or_default();
        println!("{id:>6}  {piece:<12} {:?}", stream.push(id)?);
    }
    println!("        {:<12} {:?}", "end", stream.finish());
    Ok(())
}

/// Special tokens, the 256 bytes, and a few words; the higher the score, the earlier merged.
fn tiny() -> Result<Tokenizer, Error> {
    let mut pieces = Vec::new();
    let mut add = |text: &str, kind| {
        pieces.push(Piece {
            text: text.to_owned(),
            score: -(pieces.len() as f32),
            kind,
        })
    };
    add("<unk>", PieceKind::Unknown);
    add("<s>", PieceKind::Control);
    add("</s>", PieceKind::Control);
    (0..=255).for_each(|byte: u8| add(&format!("<0x{byte:02X}>"), PieceKind::Byte));
    for piece in ["at", "th", "▁th", "▁the", "▁", "a", "e", "h", "t"] {
        add(piece, PieceKind::Normal);
    }
    let special = SpecialTokens {
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..SpecialTokens::default()
    };
    Tokenizer::from_pieces(pieces, special)
}
