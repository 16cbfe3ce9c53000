//! Pulling a repository from the Hub into the cache: which files, several at once, each resumed, its length and hash
//! checked before it gets its name.
//!
//! The crate hf-hub does not carry this; ARCHITECTURE.md says why. HTTP and TLS are ureq's and rustls's.

mod address;
mod choice;
mod client;
mod digest;
mod file;
mod listing;
mod patience;
mod refusal;
mod store;
mod token;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

use self::address::Endpoint;
use self::client::Client;
use self::file::{Fetch, is_there};
use self::listing::{Listing, Remote};
use self::refusal::Asked;
use self::store::Store;
use self::token::Token;
use super::cache::Cache;
use super::{Environment, Reference, Revision};
use crate::failure::{Disk, Network};
use crate::notice::Notices;
use crate::progress::Downloads;

/// Connections: more gain nothing from the Hub's servers and lose against its limits.
const AT_ONCE: usize = 4;
/// Left free on the disk beyond what is pulled.
const MARGIN: u64 = 16 << 20;

/// A revision that is in the cache now.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) commit: String,
    pub(crate) path: PathBuf,
    /// Empty where the Hub was not asked.
    pub(crate) files: Vec<PulledFile>,
    /// Over the network.
    pub(crate) received: u64,
}

#[derive(Debug)]
pub(crate) struct PulledFile {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// sha256, or for small files git's hash.
    pub(crate) hash: String,
}

/// Brings what a run needs of a repository into the cache, or with `include` what that names.
///
/// # Errors
/// Exit codes 2 (what is asked for makes no sense), 3 (there is no such repository or revision), 4 (it is gated or
/// private), 5 (the network, or a server that does not do as the Hub does) and 7 (the disk).
pub(crate) fn pull(
    reference: &Reference,
    include: &[String],
    environment: &Environment,
    notices: Notices,
) -> Result<Pulled> {
    let cache = Cache::new(environment.cache.clone());
    let repository = &reference.repository;
    let revision = &super::resolve::revision(reference);
    if environment.offline {
        return offline(&cache, reference, revision, notices);
    }
    let client = Client::new(Endpoint::read()?, Token::find(environment)?)?;
    if let Some(why) = client.withheld() {
        notices.warn(why);
    }
    let asked = Asked {
        repository,
        revision,
        file: None,
        endpoint: &client.endpoint,
        token: client.token.as_ref(),
    };
    let listing = Listing::fetch(&client, &asked, &|what| notices.note(what))?;
    let chosen = choice::choose(repository, &listing.files, include)?;
    let progress = Downloads::new(notices);
    let remotes = each(&chosen, |name| {
        let say = |what| progress.say(|| notices.note(what));
        let asked = Asked {
            file: Some(name),
            ..asked
        };
        Remote::fetch(&client, &asked, &listing.commit, name, &say)
    })?;

    let store = Store::new(&cache, repository);
    let (there, missing): (Vec<&Remote>, Vec<&Remote>) = remotes
        .iter()
        .partition(|remote| is_there(&store, &listing.commit, remote));
    let present: u64 = there.iter().map(|remote| remote.bytes).sum();
    check_room(&store, &missing)?;
    progress.begin(remotes.iter().map(|remote| remote.bytes).sum(), present);
    let received = each(&missing, |remote| {
        let bar = progress.file(&remote.name, remote.bytes);
        let fetch = Fetch {
            client: &client,
            store: &store,
            commit: &listing.commit,
            remote,
            asked: &Asked {
                file: Some(&remote.name),
                ..asked
            },
            progress: &|bytes| bar.set(bytes),
            say: &|what| progress.say(|| notices.note(what)),
        };
        let received = fetch.run()?;
        bar.set(remote.bytes);
        Ok(received)
    })?;
    // Last, so that a revision is never known by its name before it is whole.
    store.write_ref(revision, &listing.commit)?;
    let files = remotes.iter().map(|remote| PulledFile {
        name: remote.name.clone(),
        bytes: remote.bytes,
        hash: remote.etag.to_string(),
    });
    Ok(Pulled {
        path: store.snapshot(&listing.commit),
        files: files.collect(),
        received: received.iter().sum(),
        commit: listing.commit,
    })
}

/// What the cache has, and no socket opened.
fn offline(
    cache: &Cache,
    reference: &Reference,
    revision: &Revision,
    notices: Notices,
) -> Result<Pulled> {
    let Some(path) = cache.snapshot(&reference.repository, revision)? else {
        return Err(Network(format!(
            "{reference}: expected it in {} since HF_HUB_OFFLINE is set, found nothing; pull it without HF_HUB_OFFLINE",
            cache.root().display()
        ))
        .into());
    };
    notices.note(format_args!(
        "HF_HUB_OFFLINE is set: {reference} is what the cache has, and was not compared with the Hub's"
    ));
    let commit = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Pulled {
        commit: commit.into_owned(),
        files: Vec::new(),
        received: 0,
        path,
    })
}

/// Refuses what cannot fit before anything is pulled.
fn check_room(store: &Store, missing: &[&Remote]) -> Result<()> {
    let len = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    let rest = missing.iter().map(|remote| {
        let blob = len(store.blob(&remote.etag));
        if blob == remote.bytes {
            return 0;
        }
        remote
            .bytes
            .saturating_sub(len(store.incomplete(&remote.etag)))
    });
    let needed = rest.fold(0, u64::saturating_add);
    // The folder may not be there yet; whoever can tell nothing of the room is not stopped.
    let free = store
        .folder()
        .ancestors()
        .find_map(|folder| fs4::available_space(folder).ok());
    match free {
        Some(free) if needed > 0 && needed.saturating_add(MARGIN) > free => Err(Disk(format!(
            "{}: expected room for {needed} bytes, found {free} free; HF_HUB_CACHE names another place",
            store.folder().display()
        ))
        .into()),
        _ => Ok(()),
    }
}

/// Works on every item, several at once, and gives the answers in order. The first error ends it: no new work begins.
fn each<T: Sync, A: Send>(items: &[T], work: impl Fn(&T) -> Result<A> + Sync) -> Result<Vec<A>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let answer = work(item);
                    failed.fetch_or(answer.is_err(), Ordering::Relaxed);
                    if let Ok(mut answers) = answers.lock() {
                        answers.push((index, answer));
                    }
                }
            });
        }
    });
    let mut answers = answers
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
