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

/// An unknown piece and a few words; the higher the score, the earlier merged.
fn tiny() -> Result<Tokenizer, Error> {
    let words = ["<unk>", "at", "th", "▁th", "▁the", "▁", "a", "e", "h", "t"];
    let pieces = words.iter().enumerate().map(|(id, word)| Piece {
        text: (*word).to_owned(),
        score: -(id as f32),
        kind: if id == 0 {
            PieceKind::Unknown
        } else {
            PieceKind::Normal
        },
    });
    Tokenizer::from_pieces(pieces.collect(), SpecialTokens::default())
}
