//! One file: from wherever an earlier try ended to a blob of the right length and hash.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Result;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::client::{Ask, Client};
use super::digest::Hasher;
use super::listing::Remote;
use super::patience::{Fault, Patience};
use super::refusal::Asked;
use super::store::{Store, disk, make_parent};

const BUFFER: usize = 1 << 18;

/// Everything that a file is fetched with.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a Store,
    pub(super) commit: &'a str,
    pub(super) remote: &'a Remote,
    pub(super) asked: &'a Asked<'a>,
    /// Told how many of the file's bytes are there.
    pub(super) progress: &'a dyn Fn(u64),
    /// Told what goes wrong and passes.
    pub(super) say: &'a dyn Fn(String),
}

/// A download under way: what is on the disk, and its hash so far.
struct Part {
    file: File,
    hasher: Hasher,
    /// On the disk, and in the hash.
    bytes: u64,
}

/// Whether the snapshot has the file. Its commit never changes, so that the length is proof enough.
pub(super) fn is_there(store: &Store, commit: &str, remote: &Remote) -> bool {
    has_length(&store.snapshot(commit).join(&remote.name), remote.bytes)
}

fn has_length(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == bytes)
}

impl Fetch<'_> {
    /// Puts the file into the snapshot, and gives the bytes that came over the network.
    ///
    /// # Errors
    /// Exit codes 4, 5 and 7; what has come so far stays for the next try, unless its hash is wrong.
    pub(super) fn run(&self) -> Result<u64> {
        let etag = &self.remote.etag;
        let blob = self.store.blob(etag);
        make_parent(&blob)?;
        let name = self.asked.name();
        let _lock = self.store.lock(etag, || {
            (self.say)(format!("{name}: another process is pulling it; waiting"));
        })?;
        // Whoever held the lock may have brought it.
        if is_there(self.store, self.commit, self.remote) {
            return Ok(0);
        }
        let mut received = 0;
        if !has_length(&blob, self.remote.bytes) {
            received = self.download()?;
            let incomplete = self.store.incomplete(etag);
            fs::rename(&incomplete, &blob).map_err(|error| disk(&blob, "write", &error))?;
        }
        self.store.link(etag, self.commit, &self.remote.name)?;
        Ok(received)
    }

    /// Fills the incomplete file, right to its last byte and on the disk.
    fn download(&self) -> Result<u64> {
        let path = self.store.incomplete(&self.remote.etag);
        let mut part = self.open(&path)?;
        let mut is_resumed = part.bytes > 0;
        let mut received = 0;
        let mut patience = Patience::new(self.say);
        let address = Remote::address(self.client, self.asked, self.commit, &self.remote.name);
        loop {
            while part.bytes < self.remote.bytes {
                let before = part.bytes;
                let tried = self.receive(&address, &path, &mut part, &mut received);
                if part.bytes > before {
                    patience.renew();
                }
                if let Err(fault) = tried {
                    patience.wait(fault)?;
                }
            }
            let found = part.hasher.clone().finish();
            if found == self.remote.etag {
                break;
            }
            // Left by an interrupted write, or by a program that fills files out of order: once more from nothing.
            self.restart(&path, &mut part)?;
            if !std::mem::take(&mut is_resumed) {
                let _ = fs::remove_file(&path);
                return Err(self.wrong(&format!(
                    "expected the {} {}, found {found}; what came is removed: run the command again",
                    self.remote.etag.kind(),
                    self.remote.etag
                )));
            }
            (self.say)(format!(
                "{}: what was there of it is broken; beginning anew",
                self.asked.name()
            ));
        }
        // A rename may reach the disk before the bytes do.
        part.file
            .sync_all()
            .map_err(|error| disk(&path, "write", &error))?;
        Ok(received)
    }

    /// The incomplete file as an earlier try left it, its hash taken.
    fn open(&self, path: &Path) -> Result<Part> {
        let failed = |error| disk(path, "write", &error);
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(failed)?;
        let mut part = Part {
            file,
            hasher: self.remote.etag.hasher(self.remote.bytes),
            bytes: 0,
        };
        let len = part.file.metadata().map_err(failed)?.len();
        if len > self.remote.bytes {
            self.restart(path, &mut part)?;
            return Ok(part);
        }
        let mut buffer = vec![0; BUFFER];
        while part.bytes < len {
            let most = BUFFER.min((len - part.bytes) as usize);
            match part.file.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(count) => part.count(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(disk(path, "read", &error)),
            }
            (self.progress)(part.bytes);
        }
        Ok(part)
    }

    fn restart(&self, path: &Path, part: &mut Part) -> Result<()> {
        part.file
            .set_len(0)
            .map_err(|error| disk(path, "write", &error))?;
        part.hasher = self.remote.etag.hasher(self.remote.bytes);
        part.bytes = 0;
        (self.progress)(0);
        Ok(())
    }

    /// One try at the rest of the file.
    fn receive(
        &self,
        address: &str,
        path: &Path,
        part: &mut Part,
        received: &mut u64,
    ) -> Result<(), Fault> {
        let from = part.bytes;
        let response = self.client.ask(address, Ask::Get { from }, self.asked)?;
        match response.status().as_u16() {
            206 if starts_at(&response, from, self.remote.bytes) => {}
            200 if from == 0 => {}
            // The server has no ranges, or not this one.
            200 | 206 | 416 if from > 0 => {
                self.restart(path, part)?;
                if response.status() != 200 {
                    return Err(Fault::passing(format!(
                        "{}: the server does not go on from byte {from}",
                        self.asked.name()
                    )));
                }
            }
            _ => {
                return Err(Fault::Lasting(self.wrong(&format!(
                    "expected the file from its first byte, found status {}",
                    response.status()
                ))));
            }
        }
        let rest = self.remote.bytes - part.bytes;
        if let Some(found) = length(&response).filter(|&found| found != rest) {
            return Err(Fault::Lasting(self.wrong(&format!(
                "expected {rest} bytes from the server, found {found} announced"
            ))));
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(self.broken_off(part, &error.to_string()));
                }
            };
            let rest = self.remote.bytes - part.bytes;
            if count == 0 {
                return if rest == 0 {
                    Ok(())
                } else {
                    Err(self.broken_off(part, "the connection ended"))
                };
            }
            if count as u64 > rest {
                return Err(Fault::Lasting(self.wrong(&format!(
                    "expected {} bytes, found more",
                    self.remote.bytes
                ))));
            }
            part.file
                .write_all(&buffer[..count])
                .map_err(|error| disk(path, "write", &error))?;
            part.count(&buffer[..count]);
            *received += count as u64;
            (self.progress)(part.bytes);
        }
    }

    fn broken_off(&self, part: &Part, why: &str) -> Fault {
        Fault::passing(format!(
            "{}: broke off after {} of {} bytes: {why}",
            self.asked.name(),
            part.bytes,
            self.remote.bytes
        ))
    }

    fn wrong(&self, what: &str) -> anyhow::Error {
        crate::failure::Network(format!("{}: {what}", self.asked.name())).into()
    }
}

impl Part {
    fn count(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

/// Whether a partial answer is the part that was asked for: `bytes FROM-LAST/ALL`.
fn starts_at(response: &Response<Body>, from: u64, all: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let text = range.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let Some((first, total)) = text
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('/'))
    else {
        return false;
    };
    let first = first.split('-').next().and_then(|it| it.parse().ok());
    first == Some(from) && (total == "*" || total.parse() == Ok(all))
}

fn length(response: &Response<Body>) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
