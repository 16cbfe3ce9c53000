//! Models that were split into several files: `NAME-00001-of-00003.gguf`, with `split.no` and `split.count` in the metadata of each.
//!
//! The first part has the metadata of the whole. Any part may be opened.

use std::path::{Path, PathBuf};

use super::header::Header;
use super::metadata::Metadata;
use crate::Error;
use crate::error::Excerpt;
use crate::format::fields::Integers;
use crate::mapping::Mapping;

const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";
/// Both are u16 in the file.
const MOST_PARTS: u64 = 65_535;

/// Every part of the model that `path` is a part of, all of which exist.
pub(super) fn parts(path: &Path, file: &Mapping) -> Result<Vec<PathBuf>, Error> {
    let header = Header::read(path, file.bytes()).map_err(super::at(path))?;
    let Some((name, count)) = name_and_count(path, &header.metadata)? else {
        return Ok(vec![path.to_owned()]);
    };
    let beside = |number| path.with_file_name(name.of(number, count));
    let missing: Vec<String> = (0..count)
        .filter(|&number| !beside(number).exists())
        .map(|number| name.of(number, count))
        .collect();
    if !missing.is_empty() {
        return Err(Error::MissingParts {
            path: path.to_owned(),
            expected: count,
            missing,
        });
    }
    Ok((0..count).map(beside).collect())
}

/// The part that has the metadata of the whole.
pub(super) fn first_part(path: &Path, metadata: &Metadata<'_>) -> Result<PathBuf, Error> {
    Ok(match name_and_count(path, metadata)? {
        Some((name, count)) => path.with_file_name(name.of(0, count)),
        None => path.to_owned(),
    })
}

/// The numbers in a part's metadata are those of its name.
pub(super) fn check_part(
    metadata: &Metadata<'_>,
    n_parts: usize,
    number: usize,
) -> Result<(), Error> {
    if n_parts == 1 {
        return Ok(());
    }
    let expect = |key, expected: usize| match metadata.integer(key, 0, MOST_PARTS)? {
        Some(found) if found == expected => Ok(()),
        _ => Err(metadata.fault(key, format!("{expected}, as the file's name says"))),
    };
    expect(COUNT, n_parts)?;
    expect(NUMBER, number)
}

/// All parts together have as many tensors as the first one says.
pub(super) fn check_tensor_count(metadata: &Metadata<'_>, found: usize) -> Result<(), Error> {
    match metadata.integer(TENSORS, 0, u64::from(u32::MAX))? {
        Some(expected) if expected != found => Err(metadata.fault_found(
            TENSORS,
            format!("{found}, the tensors of all parts"),
            expected.to_string(),
        )),
        _ => Ok(()),
    }
}

/// The only model among files: the one file, or the first part of the one that was split.
pub(super) fn only_one(names: &[String]) -> Option<String> {
    let mut parsed = names.iter().map(|name| PartName::parse(name));
    match (names, parsed.next()?) {
        ([name], None) => Some(name.clone()),
        (_, Some((first, _, count))) => parsed
            .all(|other| other.is_some_and(|(name, _, n)| name == first && n == count))
            .then(|| names.iter().min().cloned())
            .flatten(),
        _ => None,
    }
}

/// What the names of the parts have in common, and how many there are; `None` where the file was not split.
fn name_and_count(
    path: &Path,
    metadata: &Metadata<'_>,
) -> Result<Option<(PartName, usize)>, Error> {
    let count = match metadata.integer(COUNT, 0, MOST_PARTS)? {
        None | Some(0 | 1) => return Ok(None),
        Some(count) => count,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match PartName::parse(&name) {
        Some((part, _, n)) if n == count => Ok(Some((part, count))),
        _ => Err(metadata.fault_found(
            COUNT,
            format!("a file whose name ends in -00001-of-{count:05}.gguf, as the parts of a split model do"),
            format!("{count} parts and the name {}", Excerpt(&name)),
        )),
    }
}

/// The name of a part without its numbers.
#[derive(Clone, Debug, PartialEq)]
struct PartName(String);

impl PartName {
    /// `NAME-00001-of-00003.gguf` as NAME, 0 and 3.
    fn parse(name: &str) -> Option<(Self, usize, usize)> {
        let stem = name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            let all = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            all.then(|| text.parse::<usize>().ok()).flatten()
        };
        let (number, count) = (digits(number)?, digits(count)?);
        (1..=count)
            .contains(&number)
            .then(|| (Self(prefix.to_owned()), number - 1, count))
    }

    /// The name of a part, counted from 0.
    fn of(&self, number: usize, count: usize) -> String {
        format!("{}-{:05}-of-{count:05}.gguf", self.0, number + 1)
    }
}
