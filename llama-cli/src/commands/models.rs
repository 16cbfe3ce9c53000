//! `models`: what the Hub's cache holds, and `models rm`, which removes from it. No network.

use anyhow::Result;
use serde::Serialize;

use crate::args::{ModelsAction, ModelsArgs, RemoveArgs};
use crate::failure::BadModel;
use crate::hub::Environment;
use crate::hub::cache::{Cache, Snapshot};
use crate::notice::Notices;
use crate::output::Output;
use crate::size;

#[derive(Debug, Serialize)]
struct Report {
    cache: String,
    models: Vec<Model>,
    /// Downloads that ended early; a pull goes on with them.
    unfinished: Vec<Unfinished>,
}

#[derive(Debug, Serialize)]
struct Model {
    repo: String,
    /// The branches and tags that stand for the commit.
    revisions: Vec<String>,
    commit: String,
    bytes: u64,
    format: Option<&'static str>,
    path: String,
}

#[derive(Debug, Serialize)]
struct Unfinished {
    repo: String,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Removed {
    repo: String,
    bytes: u64,
}

/// How much of a commit tells it from others.
const SHORT_COMMIT: usize = 12;

pub(crate) fn run(args: ModelsArgs) -> Result<()> {
    let cache = Cache::new(Environment::read()?.cache);
    match args.action {
        Some(ModelsAction::Rm(args)) => remove(&cache, &args),
        None => {
            let report = Report::new(&cache);
            let mut output = Output::new();
            if args.output.json {
                return output.json(&report);
            }
            if report.models.is_empty() && report.unfinished.is_empty() {
                let notices = Notices::new(&args.output);
                notices.note(format_args!("no models in {}", report.cache));
            }
            report.print(&mut output)
        }
    }
}

fn remove(cache: &Cache, args: &RemoveArgs) -> Result<()> {
    let repository = &args.repository;
    let Some(bytes) = cache.remove(repository)? else {
        return Err(BadModel(format!(
            "{repository}: expected it in the Hub's cache {}, found no such repository; `llama-cli models` lists what there is",
            cache.root().display()
        ))
        .into());
    };
    if args.output.json {
        return Output::new().json(&Removed {
            repo: repository.to_string(),
            bytes,
        });
    }
    let notices = Notices::new(&args.output);
    notices.note(format_args!(
        "{repository}: removed, {} freed",
        size::gibibytes(bytes)
    ));
    Ok(())
}

impl Report {
    fn new(cache: &Cache) -> Self {
        let unfinished = cache.unfinished().into_iter();
        Self {
            cache: cache.root().display().to_string(),
            models: cache.snapshots().into_iter().map(Model::from).collect(),
            unfinished: unfinished
                .map(|(repository, bytes)| Unfinished {
                    repo: repository.to_string(),
                    bytes,
                })
                .collect(),
        }
    }

    fn print(&self, output: &mut Output) -> Result<()> {
        let mut rows: Vec<[String; 4]> = self.models.iter().map(Model::row).collect();
        rows.extend(self.unfinished.iter().map(|it| {
            let size = size::gibibytes(it.bytes);
            [
                it.repo.clone(),
                "-".to_owned(),
                size,
                "unfinished".to_owned(),
            ]
        }));
        if rows.is_empty() {
            return Ok(());
        }
        rows.insert(
            0,
            ["repository", "revision", "size", "format"].map(str::to_owned),
        );
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let (repository, revision, size) = (width(0), width(1), width(2));
        for row in &rows {
            output.line(&format!(
                "{:<repository$}  {:<revision$}  {:>size$}  {}",
                row[0], row[1], row[2], row[3]
            ))?;
        }
        Ok(())
    }
}

impl Model {
    fn row(&self) -> [String; 4] {
        let revision = if self.revisions.is_empty() {
            self.commit.chars().take(SHORT_COMMIT).collect()
        } else {
            self.revisions.join(",")
        };
        [
            self.repo.clone(),
            revision,
            size::gibibytes(self.bytes),
            self.format.unwrap_or("-").to_owned(),
        ]
    }
}

impl From<Snapshot> for Model {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            repo: snapshot.repository.to_string(),
            revisions: snapshot.revisions,
            commit: snapshot.commit,
            bytes: snapshot.bytes,
            format: snapshot.format.name(),
            path: snapshot.path.display().to_string(),
        }
    }
}
