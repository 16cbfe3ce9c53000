//! Reads the files of a model's directory. What they mean is decided in `format`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::Error;
use crate::draft::Draft;
use crate::error::{OTHER_TOKENIZER, Origin};
use crate::format::settings::{self, Settings};
use crate::format::{huggingface, sentencepiece};

/// Larger files are not read: the largest vocabularies that exist take half of this.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The tokenizer of a directory.
pub(crate) fn read(dir: &Path) -> Result<Draft, Error> {
    // Otherwise a path that is no directory would be told as the first of its files.
    std::fs::read_dir(dir).map_err(|source| Error::Read {
        path: dir.to_owned(),
        source,
    })?;
    let json = dir.join("tokenizer.json");
    let model = dir.join("tokenizer.model");
    let config = read_settings(dir, "tokenizer_config.json")?;
    let map = read_settings(dir, "special_tokens_map.json")?;
    let mut draft = if let Some(bytes) = read_if_present(&json)? {
        huggingface::read(&bytes, &json.display().to_string())?
    } else if let Some(bytes) = read_if_present(&model)? {
        let mut draft = sentencepiece::read(&bytes, &model.display().to_string())?;
        settings::add_tokens(
            &mut draft,
            &config,
            &map,
            &read_settings(dir, "added_tokens.json")?,
        )?;
        draft
    } else {
        return Err(Error::Missing {
            directory: dir.to_owned(),
        });
    };
    settings::apply(&mut draft, &config, &map)?;
    Ok(draft)
}

/// The bytes of a file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let read_error = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read_error)?;
    let size = file.metadata().map_err(read_error)?.len();
    let mut bytes = Vec::new();
    if size <= MAX_FILE_BYTES {
        // Not the size that was read, which a device or a growing file need not keep to.
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read_error)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > MAX_FILE_BYTES {
        let expected = format!("at most {MAX_FILE_BYTES} bytes");
        let found = format!("{size} or more");
        return Err(Origin(&path.display().to_string()).invalid(
            "size",
            expected,
            found,
            OTHER_TOKENIZER,
        ));
    }
    Ok(bytes)
}

fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_settings(dir: &Path, name: &str) -> Result<Settings, Error> {
    let path = dir.join(name);
    Settings::read(
        read_if_present(&path)?.as_deref(),
        &path.display().to_string(),
    )
}
