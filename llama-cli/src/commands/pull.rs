//! `pull`: a repository of the Hub, into the cache.

use anyhow::Result;

use crate::args::PullArgs;

#[cfg(feature = "hub")]
pub(crate) fn run(args: PullArgs) -> Result<()> {
    use serde_json::json;

    use crate::failure::usage;
    use crate::hub::{self, Environment, Reference};
    use crate::notice::Notices;
    use crate::output::Output;
    use crate::size;

    let Reference {
        repository,
        revision,
    } = args.repository;
    if revision.is_some() && args.revision.is_some() {
        return Err(usage(format!(
            "{repository}: expected one revision, found one after @ and one after --revision"
        )));
    }
    let reference = Reference {
        repository,
        revision: args.revision.or(revision),
    };
    let notices = Notices::new(&args.output);
    let pulled = hub::pull(&reference, &args.include, &Environment::read()?, notices)?;
    notices.note(format_args!(
        "{reference}: {} files, {} received; run it with --model {reference}",
        pulled.files.len(),
        size::gibibytes(pulled.received)
    ));
    let path = pulled.path.display().to_string();
    let mut output = Output::new();
    if !args.output.json {
        return output.line(&path);
    }
    let files = pulled
        .files
        .iter()
        .map(|file| json!({ "name": file.name, "bytes": file.bytes, "hash": file.hash }));
    output.json(&json!({
        "repo": reference.repository.to_string(),
        "revision": reference.revision.map_or_else(|| "main".to_owned(), |it| it.to_string()),
        "commit": pulled.commit,
        "path": path,
        "received_bytes": pulled.received,
        "files": files.collect::<Vec<_>>(),
    }))
}

/// The command is there in every build, so that everyone who types it learns how to get it.
#[cfg(not(feature = "hub"))]
pub(crate) fn run(args: PullArgs) -> Result<()> {
    let PullArgs {
        repository,
        revision,
        include: _,
        output: _,
    } = args;
    let revision = revision.or(repository.revision);
    let revision = revision.map_or_else(String::new, |it| format!(" --revision {it}"));
    Err(crate::failure::usage(format!(
        "pull: this llama-cli was built without the feature hub, which needs a C compiler: build it with --features hub, or take a release; `hf download {}{revision}` of Hugging Face's huggingface_hub fills the same cache",
        repository.repository
    )))
}
