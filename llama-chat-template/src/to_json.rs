//! The `tojson` filter as transformers defines it: Python's `json.dumps(value, ensure_ascii=False)`.
//!
//! Not minijinja's own, which escapes for HTML. A template can build values that are small in memory and huge or
//! endlessly deep when written out, so the writer pays fuel as it goes and stops at a depth.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// Deepest nesting that is written; tool schemas, the deepest values in use, have about ten levels.
const MAX_DEPTH: usize = 64;
/// Widest indent that is written.
const MAX_INDENT: usize = 16;
/// Bytes that one unit of fuel pays for, as in minijinja.
const BYTES_PER_FUEL: usize = 64;

/// The filter: `value | tojson` or `value | tojson(indent=2)`.
pub(crate) fn to_json(
    state: &State<'_, '_>,
    value: &Value,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ensure_ascii == Some(true) || indent.is_some_and(|width| width > MAX_INDENT) {
        return Err(invalid(format!(
            "tojson: expected ensure_ascii=false and an indent of at most {MAX_INDENT}"
        )));
    }
    let mut writer = Writer {
        json: String::new(),
        paid: 0,
        indent,
        state,
    };
    writer.value(value, 0)?;
    Ok(Value::from(writer.json))
}

struct Writer<'a> {
    json: String,
    /// Bytes of `json` that fuel was taken for.
    paid: usize,
    indent: Option<usize>,
    state: &'a State<'a, 'a>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!(
                "tojson: expected at most {MAX_DEPTH} levels of lists and maps, found more"
            )));
        }
        match value.kind() {
            ValueKind::Map => self.items('{', '}', value, depth, |writer, key| {
                let text = match key.as_str() {
                    Some(text) => scalar(&Value::from(text))?,
                    None => format!("\"{}\"", scalar(key)?),
                };
                writer.json.push_str(&text);
                writer.json.push_str(": ");
                writer.value(&value.get_item(key)?, depth + 1)
            }),
            ValueKind::Seq | ValueKind::Iterable => {
                self.items('[', ']', value, depth, |writer, item| {
                    writer.value(item, depth + 1)
                })
            }
            _ => {
                self.json.push_str(&scalar(value)?);
                self.pay()
            }
        }
    }

    /// The brackets, separators and line breaks around what `write` makes of each item of `container`.
    fn items(
        &mut self,
        open: char,
        close: char,
        container: &Value,
        depth: usize,
        write: impl Fn(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.json.push(open);
        let mut empty = true;
        for item in container.try_iter()?.checked() {
            if !empty {
                self.json
                    .push_str(if self.indent.is_some() { "," } else { ", " });
            }
            empty = false;
            self.new_line(depth + 1);
            write(self, &item?)?;
            self.pay()?;
        }
        if !empty {
            self.new_line(depth);
        }
        self.json.push(close);
        self.pay()
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(width) = self.indent {
            self.json.push('\n');
            self.json.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    /// One unit for the value just written, and one for each 64 bytes.
    fn pay(&mut self) -> Result<(), Error> {
        let fuel = (self.json.len() - self.paid) / BYTES_PER_FUEL;
        self.paid += fuel * BYTES_PER_FUEL;
        self.state.consume_fuel(1 + fuel as u64)
    }
}

fn scalar(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| invalid(format!("tojson: {error}")))
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}
