//! Line-wise machine formats: JSON lines in and out, and ids as text.

use std::io::BufRead;

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::usage;
use crate::output::Output;

/// Reads one JSON value per line, answers each at once with one line, so that a caller may wait for
/// every answer. Blank lines are skipped; the first malformed line ends it, named by its number.
pub(crate) fn answer_each<Q: DeserializeOwned, A: Serialize>(
    input: impl BufRead,
    output: &mut Output,
    mut answer: impl FnMut(Q) -> Result<A>,
) -> Result<()> {
    for (index, line) in input.split(b'\n').enumerate() {
        let number = index + 1;
        let line = line.map_err(|error| {
            usage(format!(
                "stdin line {number}: expected readable text, found: {error}"
            ))
        })?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let request = serde_json::from_slice(&line).map_err(|error| malformed(number, &error))?;
        output.json(&answer(request)?)?;
    }
    Ok(())
}

/// The line is not quoted, and neither are values out of it: they may be private.
fn malformed(number: usize, error: &serde_json::Error) -> anyhow::Error {
    use serde_json::error::Category;
    let found = match error.classify() {
        Category::Data => "other fields or types",
        Category::Eof => "a line that ends too early",
        Category::Io | Category::Syntax => "no JSON",
    };
    usage(format!(
        "stdin line {number}, column {}: expected a JSON object as --help describes it, found {found}",
        error.column()
    ))
}

/// `1,2,3`: what `--ids` reads.
pub(crate) fn comma_separated(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
