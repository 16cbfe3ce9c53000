//! `detokenize`: ids to text.

use std::io;

use anyhow::Result;
use llama_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::args::{DetokenizeArgs, parse_ids};
use crate::failure::usage;
use crate::lines;
use crate::notice::Notices;
use crate::output::Output;
use crate::prompt;
use crate::source::Source;

/// A line of `--jsonl`.
#[derive(Debug, Deserialize)]
struct Request {
    prompt_ids: Option<Vec<u32>>,
    ids: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Answer {
    /// What streaming would print for each id; only for a request with a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    deltas: Option<Vec<String>>,
    text: String,
}

pub(crate) fn run(args: DetokenizeArgs) -> Result<()> {
    let notices = Notices::new(&args.output);
    let tokenizer = Source::new(args.model, notices)?.tokenizer()?;
    let mut output = Output::new();
    if args.jsonl {
        return lines::answer_each(io::stdin().lock(), &mut output, |request| {
            answer(&tokenizer, request)
        });
    }
    let words = if args.ids.is_empty() {
        prompt::read_stdin()?
    } else {
        args.ids.join(" ")
    };
    let ids = parse_ids(&words).map_err(usage)?.0;
    let answer = answer(
        &tokenizer,
        Request {
            prompt_ids: None,
            ids,
        },
    )?;
    if args.output.json {
        output.json(&answer)
    } else {
        output.text(&answer.text)?;
        output.end_text()
    }
}

fn answer(tokenizer: &Tokenizer, Request { prompt_ids, ids }: Request) -> Result<Answer> {
    prompt::within_vocabulary(&ids, tokenizer.vocab_size())?;
    let Some(prompt_ids) = prompt_ids else {
        return Ok(Answer {
            deltas: None,
            text: tokenizer.decode(&ids)?,
        });
    };
    prompt::within_vocabulary(&prompt_ids, tokenizer.vocab_size())?;
    let mut stream = tokenizer.stream(&prompt_ids);
    let mut deltas = ids
        .iter()
        .map(|&id| stream.push(id))
        .collect::<Result<Vec<String>, _>>()?;
    // Bytes that never became a character come out at the end, with the last id.
    let rest = stream.finish();
    if let Some(last) = deltas.last_mut() {
        last.push_str(&rest);
    }
    let text = deltas.concat();
    Ok(Answer {
        deltas: Some(deltas),
        text,
    })
}
