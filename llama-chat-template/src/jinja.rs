//! Hugging Face chat templates: Jinja as transformers sets it up, run by minijinja on a budget.
//!
//! The environment knows what transformers gives a template: `messages`, `tools` and `documents` (both none),
//! `add_generation_prompt`, the special tokens, `raise_exception`, `strftime_now`, `tojson`, loop controls and
//! Python's methods on strings, lists and maps. It knows no file, no other template and no network.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;
use std::{fmt, panic, thread};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, State};
use minijinja_contrib::pycompat;

use crate::control::{self, ControlTokens};
use crate::to_json::to_json;
use crate::{Error, Message, RenderOptions, Segment, SpecialTokens, namespace, python};

/// Work that any template may do, whatever the messages: about one unit per instruction and per 64 bytes.
/// The longest published templates use a few thousand.
const FUEL: u64 = 1_000_000;
const NAME: &str = "chat_template";

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Jinja {
    environment: Environment<'static>,
    control: ControlTokens,
    origin: String,
}

impl Jinja {
    pub(crate) fn compile(
        source: &str,
        tokens: &SpecialTokens,
        origin: &str,
    ) -> Result<Self, Error> {
        let control = ControlTokens::new(tokens, origin)?;
        let source = without_generation_tags(&control.mark(source, origin)?);
        let syntax = |error: minijinja::Error| Error::Syntax {
            origin: origin.to_owned(),
            line: error.line(),
            detail: error_text(&error),
        };

        let mut environment = Environment::new();
        let spaces = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(syntax)?;
        environment.set_syntax(spaces.clone());
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(call_method);
        environment.add_filter("tojson", to_json);
        environment.add_filter("trim", trim);
        environment.add_function("raise_exception", raise_exception);
        let as_value = namespace::used_as_value(&source, spaces);
        environment
            .add_template_owned(NAME, source)
            .map_err(syntax)?;
        if let Some((name, line)) = as_value {
            return Err(Error::Syntax {
                origin: origin.to_owned(),
                line: Some(line),
                detail: format!("namespace used as a value, {name}; only its attributes may be"),
            });
        }
        Ok(Self {
            environment,
            control,
            origin: origin.to_owned(),
        })
    }

    pub(crate) fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Vec<Segment>, Error> {
        control::check_messages(messages)?;
        let bytes: usize = messages
            .iter()
            .map(|message| message.role.as_str().len() + message.content.len())
            .sum();
        let fuel = FUEL.saturating_add(bytes as u64);

        let failed = |detail| Error::Render {
            origin: self.origin.clone(),
            line: None,
            detail,
        };
        let rendered = thread::scope(|scope| {
            thread::Builder::new()
                .name(NAME.to_owned())
                .stack_size(stack_size(fuel))
                .spawn_scoped(scope, || self.run(messages, options, fuel))
                .map_err(|error| failed(format!("no thread to run it on: {error}")))?
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })?;
        self.control.segments(&rendered).map_err(failed)
    }

    fn run(
        &self,
        messages: &[Message],
        options: &RenderOptions,
        fuel: u64,
    ) -> Result<String, Error> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let now = options.now;
        environment.add_function("strftime_now", move |format: Cow<'_, str>| {
            strftime(now, &format)
        });
        environment
            .get_template(NAME)
            .and_then(|template| template.render(self.context(messages, options)))
            .map_err(|error| self.error(&error, fuel))
    }

    fn context(&self, messages: &[Message], options: &RenderOptions) -> Value {
        let variables = self
            .control
            .variables()
            .map(|(name, marker)| (name.to_owned(), Value::from(marker)));
        let mut context: BTreeMap<String, Value> = variables.collect();
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| Value::from(Serde(message)))
            .collect();
        // Last, so that no token's name hides them.
        context.extend([
            ("messages".to_owned(), Value::from(messages)),
            (
                "add_generation_prompt".to_owned(),
                Value::from(options.add_generation_prompt),
            ),
            // As transformers passes them: defined, but none.
            ("tools".to_owned(), Value::from(())),
            ("documents".to_owned(), Value::from(())),
        ]);
        Value::from(context)
    }

    fn error(&self, error: &minijinja::Error, fuel: u64) -> Error {
        let origin = self.origin.clone();
        let line = error.line();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(Raised(reason)) = current.downcast_ref() {
                return Error::Raised {
                    origin,
                    reason: reason.clone(),
                };
            }
            let error = current.downcast_ref::<minijinja::Error>();
            if error.is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
                return Error::OutOfFuel { origin, line, fuel };
            }
            cause = current.source();
        }
        Error::Render {
            origin,
            line,
            detail: error_text(error),
        }
    }
}

/// Address space for the stack, of which only what is used becomes memory.
///
/// A template can nest a list in itself for about 1.5 units of fuel a level, and minijinja prints, compares and drops
/// values recursively: up to 600 bytes a level, measured with printing. Without room for that, a hostile template
/// could abort the process.
fn stack_size(fuel: u64) -> usize {
    const BYTES_PER_FUEL: u64 = 512;
    const MOST: u64 = 1 << 32;
    usize::try_from(fuel.saturating_mul(BYTES_PER_FUEL).min(MOST)).unwrap_or(usize::MAX >> 2)
}

/// The error without the template's name, which `origin` replaces.
fn error_text(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// What a template gave to `raise_exception`, carried through minijinja's errors.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(reason: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::from(ErrorKind::InvalidOperation).with_source(Raised(reason)))
}

/// Python's methods; the strips are ours, since contrib's follow Rust's idea of white space.
fn call_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, minijinja::Error> {
    if let (Some(text), []) = (value.as_str(), args) {
        match method {
            "strip" => return Ok(Value::from(python::strip(text))),
            "lstrip" => return Ok(Value::from(python::lstrip(text))),
            "rstrip" => return Ok(Value::from(python::rstrip(text))),
            _ => {}
        }
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

/// Jinja's `trim` is Python's `strip`.
fn trim(text: Cow<'_, str>, characters: Option<Cow<'_, str>>) -> String {
    match characters {
        Some(characters) => text
            .trim_matches(|character| characters.contains(character))
            .to_owned(),
        None => python::strip(&text).to_owned(),
    }
}

/// `datetime.now().strftime(format)`, in UTC: the local zone is the environment's, which a library does not read.
fn strftime(now: SystemTime, format: &str) -> Result<String, minijinja::Error> {
    let text =
        jiff::Timestamp::try_from(now).and_then(|now| jiff::fmt::strtime::format(format, now));
    text.map_err(|error| {
        minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now: {error}"),
        )
    })
}

/// transformers' `{% generation %}` marks the model's part for training and writes nothing: a block that is always
/// entered stands in for it.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag, after)) = next_block_tag(rest) {
        out.push_str(before);
        match tag
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim()
        {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Splits at the next `{% … %}`: up to and with `{%`, the inside, from `%}` on.
fn next_block_tag(source: &str) -> Option<(&str, &str, &str)> {
    let start = source.find("{%")? + 2;
    let end = start + source[start..].find("%}")?;
    Some((&source[..start], &source[start..end], &source[end..]))
}
