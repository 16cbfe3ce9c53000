//! The directory of the zip: every entry checked before anything is read through it.
//!
//! The `rawzip` crate parses records; what it does not promise is checked here: that entries are stored as they are, lie in the
//! file, do not overlap (bombs) and have names that stay in the archive.

use std::collections::BTreeMap;
use std::ops::Range;

use rawzip::{CompressionMethod, ErrorKind, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

use super::fault::ArchiveFault;
use crate::error::OneLine;

/// 70B has 723 storages, and each entry takes at least 46 bytes of the directory.
const ENTRY_LIMIT: u64 = 1 << 16;
/// The longest name that file systems have; torch's have some 30 bytes.
pub(super) const NAME_LIMIT: usize = 255;
/// The pickled number 0x1950a86a20f9469cfc6c, with which `torch.save` began a file before 1.6.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// Entries of an archive by name. Their bytes lie in the file, and none twice.
#[derive(Debug)]
pub(super) struct Entries {
    spans: BTreeMap<String, Range<usize>>,
    /// The folder that torch puts every entry into, with the slash.
    folder: String,
}

/// What an entry takes of the file: its header, then its data.
struct Occupied {
    name: String,
    header: u64,
    data: Range<usize>,
}

impl Entries {
    /// Reads and checks the directory of the archive.
    pub(super) fn read(file: &[u8]) -> Result<Self, ArchiveFault> {
        refuse_other_formats(file)?;
        let archive = ZipArchive::from_slice(file).map_err(unreadable)?;
        let promised = archive.entries_hint();
        if promised > ENTRY_LIMIT {
            return Err(ArchiveFault::TooManyEntries {
                limit: ENTRY_LIMIT,
                found: promised,
            });
        }
        let mut occupied = Vec::new();
        let mut records = archive.entries();
        while let Some(record) = records.next_entry().map_err(unreadable)? {
            if occupied.len() as u64 == promised {
                return Err(ArchiveFault::EntryCount {
                    expected: promised,
                    found: "more".to_owned(),
                });
            }
            occupied.push(check(file, &archive, &record)?);
        }
        if (occupied.len() as u64) < promised {
            return Err(ArchiveFault::EntryCount {
                expected: promised,
                found: occupied.len().to_string(),
            });
        }
        refuse_overlaps(&mut occupied, archive.directory_offset())?;
        let mut spans = BTreeMap::new();
        for Occupied { name, data, .. } in occupied {
            if spans.insert(name.clone(), data).is_some() {
                return Err(ArchiveFault::DuplicateEntry { entry: name });
            }
        }
        let folder = folder(spans.keys())?;
        Ok(Self { spans, folder })
    }

    /// Bytes of the file of the entry `name` of the archive's folder.
    pub(super) fn get(&self, name: &str) -> Option<Range<usize>> {
        let path = format!("{}{name}", self.folder);
        self.spans.get(path.as_str()).cloned()
    }
}

fn refuse_other_formats(file: &[u8]) -> Result<(), ArchiveFault> {
    if file.starts_with(b"PK") {
        return Ok(());
    }
    // A TAR header has its mark at 257; torch wrote TAR files before 0.2.
    Err(if file.starts_with(LEGACY) {
        ArchiveFault::Legacy
    } else if file.get(257..262) == Some(b"ustar") {
        ArchiveFault::Tar
    } else {
        let first: Vec<String> = file.iter().take(4).map(|b| format!("{b:02x}")).collect();
        ArchiveFault::NoArchive {
            found: match first.len() {
                0 => "an empty file".to_owned(),
                _ => format!("a file that begins with {}", first.join(" ")),
            },
        }
    })
}

fn unreadable(error: rawzip::Error) -> ArchiveFault {
    match error.kind() {
        ErrorKind::MissingEndOfCentralDirectory => ArchiveFault::NoDirectory,
        _ => ArchiveFault::Directory {
            found: OneLine(&error.to_string()).to_string(),
        },
    }
}

fn check(
    file: &[u8],
    archive: &ZipSliceArchive<&[u8]>,
    record: &ZipFileHeaderRecord<'_>,
) -> Result<Occupied, ArchiveFault> {
    let name = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
    if !is_plain_path(&name) {
        return Err(ArchiveFault::EntryName { entry: name });
    }
    if record.flags().is_encrypted() || record.flags().is_masked() {
        return Err(ArchiveFault::Encrypted { entry: name });
    }
    let stored = record.compressed_size_hint();
    let expanded = record.uncompressed_size_hint();
    if record.compression_method() != CompressionMethod::STORE || stored != expanded {
        return Err(ArchiveFault::Compressed {
            entry: name,
            stored,
            expanded,
        });
    }
    let header = record.local_header_offset();
    let Ok(entry) = archive.get_entry(record.wayfinder()) else {
        return Err(ArchiveFault::OutOfFile {
            entry: name,
            header,
            bytes: stored,
            found: file.len() as u64,
        });
    };
    let (begin, end) = entry.compressed_data_range();
    Ok(Occupied {
        name,
        header,
        // It was cut from a slice.
        data: begin as usize..end as usize,
    })
}

/// Components of plain characters: no way up, no root, no drive, on any system. An entry's name never becomes a path here; a name
/// of another kind was made for a program that unpacks.
fn is_plain_path(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let forbidden =
        |c: char| matches!(c, '\\' | ':' | char::REPLACEMENT_CHARACTER) || c.is_control();
    name.len() <= NAME_LIMIT && !name.contains(forbidden) && name.split('/').all(plain)
}

fn refuse_overlaps(occupied: &mut [Occupied], directory: u64) -> Result<(), ArchiveFault> {
    occupied.sort_by_key(|entry| (entry.header, entry.data.end));
    let overlap = |entry: &Occupied, other: &str| ArchiveFault::Overlap {
        entry: entry.name.clone(),
        other: other.to_owned(),
    };
    for pair in occupied.windows(2) {
        if pair[1].header < pair[0].data.end as u64 {
            return Err(overlap(&pair[1], &pair[0].name));
        }
    }
    match occupied.last() {
        Some(last) if last.data.end as u64 > directory => Err(overlap(last, "the directory")),
        _ => Ok(()),
    }
}

/// The one folder that has a `data.pkl`.
fn folder<'a>(names: impl Iterator<Item = &'a String>) -> Result<String, ArchiveFault> {
    let mut folders = names
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|folder| {
            folder
                .find('/')
                .is_some_and(|slash| slash + 1 == folder.len())
        });
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder.to_owned()),
        (first, _) => Err(ArchiveFault::NoPickle {
            found: if first.is_none() { "none" } else { "several" },
        }),
    }
}
