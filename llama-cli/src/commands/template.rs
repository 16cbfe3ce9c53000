//! `template`: the exact prompt of a chat, as text or ids.

use anyhow::Result;
use llama_chat_template::{RenderOptions, Segment, parse_messages};
use llama_tokenizer::Tokenizer;
use serde::Serialize;

use crate::args::TemplateArgs;
use crate::notice::Notices;
use crate::output::Output;
use crate::prompt;
use crate::source::Source;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ids: Vec<u32>,
    segments: Vec<Part<'a>>,
}

/// A segment in the JSON: `{"type": "text", "text": "…"}`, `{"type": "bos"}`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Part<'a> {
    Bos,
    Eos,
    Control { text: &'a str },
    Text { text: &'a str },
}

impl<'a> From<&'a Segment> for Part<'a> {
    fn from(segment: &'a Segment) -> Self {
        match segment {
            Segment::Bos => Self::Bos,
            Segment::Eos => Self::Eos,
            Segment::Control(text) => Self::Control { text },
            Segment::Text(text) => Self::Text { text },
        }
    }
}

pub(crate) fn run(args: TemplateArgs) -> Result<()> {
    let source = Source::new(args.model, Notices::new(&args.output))?;
    let messages = parse_messages(&prompt::read_input(&args.messages)?)?;
    let (tokenizer, template) = source.tokenizer_and_template(args.format)?;
    let segments = template.render(&messages, &RenderOptions::default())?;
    // Also without --json: a prompt that cannot be encoded is none.
    let ids = prompt::encode_segments(&tokenizer, &segments)?;
    let mut output = Output::new();
    if args.output.json {
        return output.json(&Answer {
            ids,
            segments: segments.iter().map(Part::from).collect(),
        });
    }
    for segment in &segments {
        output.text(&written(segment, &tokenizer))?;
    }
    output.end_text()
}

/// A segment as a reader of the prompt expects it: control tokens by their pieces.
fn written(segment: &Segment, tokenizer: &Tokenizer) -> String {
    let special = tokenizer.special_tokens();
    match segment {
        Segment::Text(text) | Segment::Control(text) => text.clone(),
        Segment::Bos => piece(tokenizer, special.bos),
        Segment::Eos => piece(tokenizer, special.eos),
    }
}

fn piece(tokenizer: &Tokenizer, id: Option<u32>) -> String {
    id.and_then(|id| tokenizer.piece(id))
        .map(Into::into)
        .unwrap_or_default()
}
