//! What `tokenizer.json` says around its model: `normalizer`, `pre_tokenizer`, `decoder` and
//! `post_processor`, each read for what it does to spaces and special tokens.
//!
//! Both ways in which Llama's files are written mean SentencePiece here: `Prepend` and `Replace` as
//! normalizers, or `Metaspace`. Two habits of Metaspace are deliberately not followed: it puts no
//! dummy space before a text that begins with a space, and decodes every `▁` of the first piece to
//! nothing. Any other step is refused by name.

use serde_json::Value;

use crate::draft::{Draft, Prefix, Rules, Spaces};
use crate::error::{Error, OTHER_TOKENIZER, Origin, quote};

/// What happens to text before its pieces are merged.
pub(super) struct Preparation {
    prefix: Prefix,
    spaces: Spaces,
}

/// What `decoder` says.
pub(super) struct Decoder {
    strips_prefix: bool,
    pub(super) byte_fallback: bool,
}

impl Preparation {
    pub(super) fn rules(
        &self,
        decoder: &Decoder,
        byte_fallback: bool,
        fuse_unknown: bool,
    ) -> Rules {
        let Self { prefix, spaces } = *self;
        Rules {
            prefix,
            spaces,
            strips_prefix: decoder.strips_prefix,
            byte_fallback,
            fuse_unknown,
        }
    }
}

/// Reads `normalizer` and `pre_tokenizer`.
pub(super) fn preparation(
    normalizer: Option<&Value>,
    pre_tokenizer: Option<&Value>,
    origin: Origin<'_>,
) -> Result<Preparation, Error> {
    let mut preparation = Preparation {
        prefix: Prefix::Never,
        spaces: Spaces::Kept,
    };
    for step in steps(normalizer, "normalizers") {
        match kind(step) {
            "Prepend" if step["prepend"] == "▁" => preparation.prefix = Prefix::Always,
            "Replace" if step["pattern"]["String"] == " " && step["content"] == "▁" => {
                preparation.spaces = Spaces::Escaped;
            }
            _ => {
                return Err(refused(
                    "normalizer",
                    "`Prepend` of `▁`, `Replace` of a space by `▁`",
                    step,
                    origin,
                ));
            }
        }
    }
    for step in steps(pre_tokenizer, "pretokenizers") {
        if kind(step) != "Metaspace" || step["replacement"] != "▁" {
            return Err(refused(
                "pre_tokenizer",
                "`Metaspace` with `▁`, or none",
                step,
                origin,
            ));
        }
        preparation.spaces = if step["split"] == false {
            Spaces::Escaped
        } else {
            Spaces::Split
        };
        // A `Prepend` before it has put the dummy space there already.
        if preparation.prefix == Prefix::Never {
            preparation.prefix = metaspace_prefix(step, "pre_tokenizer", origin)?;
        }
    }
    Ok(preparation)
}

/// Reads `decoder`. A file without one decodes as it encodes.
pub(super) fn decoder(
    decoder: Option<&Value>,
    preparation: &Preparation,
    origin: Origin<'_>,
) -> Result<Decoder, Error> {
    let mut read = Decoder {
        strips_prefix: false,
        byte_fallback: false,
    };
    if decoder.is_none() {
        read.strips_prefix = preparation.prefix != Prefix::Never;
    }
    for step in steps(decoder, "decoders") {
        match kind(step) {
            "Replace" if step["pattern"]["String"] == "▁" && step["content"] == " " => {}
            "ByteFallback" => read.byte_fallback = true,
            "Fuse" => {}
            "Strip"
                if step["content"] == " "
                    && step["stop"] == 0
                    && (step["start"] == 0 || step["start"] == 1) =>
            {
                read.strips_prefix = step["start"] == 1;
            }
            "Metaspace" if step["replacement"] == "▁" => {
                read.strips_prefix = metaspace_prefix(step, "decoder", origin)? != Prefix::Never;
            }
            _ => {
                let expected = "`Replace` of `▁` by a space, `ByteFallback`, `Fuse`, `Strip` of one space, `Metaspace`";
                return Err(refused("decoder", expected, step, origin));
            }
        }
    }
    Ok(read)
}

fn metaspace_prefix(step: &Value, field: &str, origin: Origin<'_>) -> Result<Prefix, Error> {
    match (&step["prepend_scheme"], &step["add_prefix_space"]) {
        (_, Value::Bool(false)) => Ok(Prefix::Never),
        (Value::Null, _) => Ok(Prefix::Always),
        (scheme, _) => match scheme.as_str() {
            Some("always") => Ok(Prefix::Always),
            Some("first") => Ok(Prefix::First),
            Some("never") => Ok(Prefix::Never),
            _ => {
                let field = format!("{field}.prepend_scheme");
                let expected = "`always`, `first` or `never`";
                Err(origin.invalid(field, expected, quote(&scheme.to_string()), OTHER_TOKENIZER))
            }
        },
    }
}

/// The special tokens that `post_processor` puts around a text; `None` without one.
pub(super) struct Template(Option<Around>);

#[derive(Default)]
struct Around {
    before: Option<String>,
    after: Option<String>,
}

/// Reads `post_processor`.
pub(super) fn template(processor: Option<&Value>, origin: Origin<'_>) -> Result<Template, Error> {
    let mut template = Template(None);
    for step in steps(processor, "processors") {
        let (Some(single), "TemplateProcessing") = (step["single"].as_array(), kind(step)) else {
            return Err(refused(
                "post_processor",
                "`TemplateProcessing`, or none",
                step,
                origin,
            ));
        };
        let around = template.0.get_or_insert_default();
        let mut text_seen = false;
        for part in single {
            let name = part["SpecialToken"]["id"].as_str().map(str::to_owned);
            match name {
                None => text_seen = true,
                name if text_seen => around.after = name,
                name => around.before = name,
            }
        }
    }
    Ok(template)
}

impl Template {
    /// Sets bos and eos to what the template names, else to Llama's names where they are pieces.
    pub(super) fn apply(self, draft: &mut Draft) -> Result<(), Error> {
        let file = draft.file.clone();
        let find = |name: &Option<String>, usual: &str| match name {
            None => Ok(draft.id_of(usual)),
            Some(name) => draft.id_of(name).map(Some).ok_or_else(|| {
                let found = quote(name);
                Origin(&file).invalid(
                    "post_processor.single",
                    "pieces of the vocabulary",
                    found,
                    OTHER_TOKENIZER,
                )
            }),
        };
        let around = self.0.as_ref();
        let bos = find(&around.and_then(|around| around.before.clone()), "<s>")?;
        let eos = find(&around.and_then(|around| around.after.clone()), "</s>")?;
        draft.special.bos = bos;
        draft.special.eos = eos;
        if let Some(around) = around {
            draft.special.add_bos = around.before.is_some();
            draft.special.add_eos = around.after.is_some();
        }
        Ok(())
    }
}

/// The steps of a component: those of a `Sequence`, under `key`, or the component itself.
fn steps<'v>(component: Option<&'v Value>, key: &str) -> Vec<&'v Value> {
    let mut steps = Vec::new();
    let mut stack: Vec<&Value> = component.into_iter().collect();
    while let Some(step) = stack.pop() {
        match step[key].as_array() {
            Some(inner) if kind(step) == "Sequence" => stack.extend(inner.iter().rev()),
            _ => steps.push(step),
        }
    }
    steps
}

fn kind(step: &Value) -> &str {
    step["type"].as_str().unwrap_or_default()
}

fn refused(field: &str, expected: &str, step: &Value, origin: Origin<'_>) -> Error {
    origin.invalid(field, expected, quote(&step.to_string()), OTHER_TOKENIZER)
}
