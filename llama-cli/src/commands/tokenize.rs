//! `tokenize`: text to ids.

use std::io;

use anyhow::Result;
use llama_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::args::TokenizeArgs;
use crate::lines;
use crate::notice::Notices;
use crate::output::Output;
use crate::prompt;
use crate::source::Source;

/// A line of `--jsonl`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object {\"text\": …}")]
struct Request {
    text: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    ids: Vec<u32>,
}

pub(crate) fn run(args: TokenizeArgs) -> Result<()> {
    let notices = Notices::new(&args.output);
    let tokenizer = Source::new(args.model, notices)?.tokenizer()?;
    let encode = |text: &str| encode(&tokenizer, text, !args.no_bos, args.parse_special);
    let mut output = Output::new();
    if args.jsonl {
        return lines::answer_each(io::stdin().lock(), &mut output, |request: Request| {
            Ok(Answer {
                ids: encode(&request.text)?,
            })
        });
    }
    let text = args.text.map_or_else(prompt::read_stdin, Ok)?;
    let ids = encode(&text)?;
    if args.output.json {
        output.json(&Answer { ids })
    } else {
        output.line(&lines::comma_separated(&ids))
    }
}

/// Ids of `text`, with what the tokenizer's configuration adds around them; `with_bos` false leaves
/// the begin-of-sequence id in front out.
fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    with_bos: bool,
    parse_special: bool,
) -> Result<Vec<u32>> {
    let bos = tokenizer.special_tokens().bos;
    let mut ids = if parse_special {
        let mut ids = tokenizer.encode_with_control(text)?;
        if with_bos && tokenizer.special_tokens().add_bos {
            ids.splice(0..0, bos);
        }
        ids
    } else {
        tokenizer.encode_with_bos(text)?
    };
    let bos_was_added = !parse_special && bos.is_some() && ids.first() == bos.as_ref();
    if !with_bos && bos_was_added {
        ids.remove(0);
    }
    Ok(ids)
}
