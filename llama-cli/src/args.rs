//! The command line: every command, flag, default and environment variable, in one place.
//!
//! Nothing is done here. Values are checked as far as one flag alone allows; what needs the model
//! (a prompt's length, an id's range) is checked where the model is known.

mod bench;
mod device;
mod hub;
mod lora;
mod prompt;
mod quantize;
mod sampling;
mod shape;
mod values;

pub(crate) use bench::BenchArgs;
pub(crate) use device::{AdapterArgs, DeviceArgs, Dtype, KvDtype, MemoryArgs, NamedAdapters};
pub(crate) use hub::{ModelsAction, ModelsArgs, PullArgs, RemoveArgs};
pub(crate) use lora::{Lora, LoraArgs};
pub(crate) use prompt::PromptArgs;
pub(crate) use quantize::QuantizeArgs;
pub(crate) use sampling::SamplingArgs;
pub(crate) use shape::Shape;
pub(crate) use values::parse_ids;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{FalseyValueParser, OsStr, Resettable};
use clap::parser::ValueSource;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Id, Parser, Subcommand, ValueEnum};

/// Run Llama 2 on any GPU: text, chat, scores, and a look into the files.
///
/// Without --model the built-in demo model answers, so every command works with nothing to download.
/// stdout carries only generated text or machine output; everything else goes to stderr.
#[derive(Debug, Parser)]
#[command(
    name = "llama-cli",
    version,
    args_override_self = true,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success                                   5  network
  1  run time, a refused dialog                6  no adapter, device lost, out of memory
  2  usage, a prompt that does not fit         7  disk
  3  bad or missing model file               130  interrupted (SIGINT)
  4  authorisation                           143  terminated (SIGTERM)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Continue a text.
    ///
    /// The prompt is -p, -f or --ids, else stdin, and is taken as it is, a final newline included.
    /// The text is written as it is made.
    Generate(GenerateArgs),
    /// Talk with a model over several turns.
    ///
    /// On a terminal: a line editor with history; /help lists its commands, """ opens and closes a block
    /// of several lines, Ctrl-C stops an answer, Ctrl-D ends. With --json one list of {role, content} is
    /// read from stdin and one object answers. Otherwise each line of stdin is a turn of the user's.
    Chat(ChatArgs),
    /// Log-probability of every token of a text, and its perplexity.
    ///
    /// Prints one line per token: its id, and the natural logarithm of its probability after the tokens before it.
    Score(ScoreArgs),
    /// Text to token ids, separated by commas.
    ///
    /// Needs only the tokenizer's files. What reads like a control token in the text stays text unless
    /// --parse-special is given.
    Tokenize(TokenizeArgs),
    /// Token ids to text.
    ///
    /// Needs only the tokenizer's files.
    Detokenize(DetokenizeArgs),
    /// The exact prompt of a chat.
    ///
    /// Needs only the tokenizer's files.
    Template(TemplateArgs),
    /// What a checkpoint holds, and the memory that it needs.
    ///
    /// Opens the checkpoint as a run would, with the same errors, but needs no adapter and no tokenizer. Says what would lie where
    /// with the flags of a run: how the named adapters share the layers, and what of them stays in host memory.
    Inspect(InspectArgs),
    /// Write a model as one GGUF file, in fewer bits.
    ///
    /// Reads whatever --model of the other commands takes and writes GGUF version 3, which llama.cpp and its kin read too, with the vocabulary and the
    /// chat template in it. Norms and biases stay f32. With q4_k the output matrix (the embedding, where it is both) is q6_k. Where rows are no multiple of
    /// 256, q5_0 stands in for q4_k and q8_0 for q6_k; where they are no multiple of 32, f16 for any; a matrix with a weight beyond 65504 is f32.
    ///
    /// OUT gets its name when it is whole; before that it lies beside as OUT.partial, which goes when the run is stopped or fails. Where a run was killed,
    /// the next one begins that file anew. An OUT that exists is never touched without --force.
    Quantize(QuantizeArgs),
    /// Fetch a model from the Hugging Face Hub.
    ///
    /// Fetches what a run needs into the Hub's cache, which Hugging Face's own programs use too, and prints the directory.
    /// What is there is not fetched again, and what broke off is resumed. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH,
    /// HF_ENDPOINT and HF_HUB_OFFLINE are obeyed. Needs a program built with the feature `hub`, as releases are.
    Pull(PullArgs),
    /// Models in the Hugging Face Hub's cache.
    ///
    /// Lists repository, revision, size and format: each of them answers to --model ORG/NAME, or ORG/NAME@REVISION.
    Models(ModelsArgs),
    /// Adapters, limits, features, kernels, and what is missing.
    ///
    /// Exits with 6 where no adapter works.
    Doctor(DoctorArgs),
    /// How fast a model runs, beside what the adapter could do.
    ///
    /// Tokens per second of a prompt and of an answer; bandwidth and rate of multiplication are measured in the same run. With
    /// --synthetic no file is needed.
    Bench(BenchArgs),
    /// Completions for a shell, on stdout.
    Completions(CompletionsArgs),
    /// The manual page, on stdout, as roff.
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) prompt: PromptArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// What the model is told before the first turn
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) prompt: PromptArgs,
    /// Also write every position's logits there, as f32 [n, vocabulary] named `logits`
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) logits: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {
    /// The text; without it stdin, taken as it is
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Read {"text": …} lines from stdin, write {"ids": […]} lines
    #[arg(long, conflicts_with = "text")]
    pub(crate) jsonl: bool,
    /// Leave the beginning-of-sequence id out
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Turn literal control tokens such as `</s>` into their ids: only for text that you wrote yourself
    #[arg(long)]
    pub(crate) parse_special: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DetokenizeArgs {
    /// Ids separated by commas or spaces; without them stdin
    #[arg(value_name = "IDS", allow_negative_numbers = true)]
    pub(crate) ids: Vec<String>,
    /// Read {"ids": […]} lines from stdin, write {"text": …} lines; a line that has "prompt_ids" too
    /// is answered with {"deltas": […], "text": …}, one delta per id, as streaming prints them
    #[arg(long, conflicts_with = "ids")]
    pub(crate) jsonl: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    /// A JSON list of {role, content}; - is stdin
    #[arg(long, value_name = "FILE.json")]
    pub(crate) messages: PathBuf,
    /// Which format; by default Llama 2's own where the model's template is that or none, else the model's
    #[arg(long, value_enum)]
    pub(crate) format: Option<TemplateFormat>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TemplateFormat {
    /// Meta's own format
    Llama2,
    /// The chat_template of tokenizer_config.json
    Jinja,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Also read every value and name the tensors that hold NaN or infinity (then exit 3)
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) named: NamedAdapters,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The page of one command; without it the program's
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A Hugging Face or Meta directory, a GGUF file, or ORG/NAME from the Hub's cache; without it the built-in demo model
    #[arg(
        short,
        long,
        value_name = "PATH|ORG/NAME",
        env = "LLAMA_MODEL",
        hide_env_values = true
    )]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// One JSON object on stdout
    #[arg(long, env = "LLAMA_JSON", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// No notes and no progress on stderr, only errors
    #[arg(short, long, env = "LLAMA_QUIET", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// More on stderr: the adapter, how weights are held, the seed, timings
    #[arg(short, long, env = "LLAMA_VERBOSE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
}

/// The command line of this process, its environment variables included.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = obey_environment(command(), &args, &|name| std::env::var_os(name));
    let matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The grammar alone: for completions and manual pages.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// An empty variable counts as unset, and LLAMA_TEMPERATURE answers where LLAMA_TEMP does not,
/// since the flag has both names. LLAMA_LORA may hold several values. A variable does not count beside a flag that its own flag excludes.
fn obey_environment(
    command: clap::Command,
    args: &[OsString],
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> clap::Command {
    let excluded = excluded(&command, args);
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let names_lora = (args.iter().filter_map(|arg| arg.to_str()))
        .any(|arg| arg == "--lora" || arg.starts_with("--lora="));
    let obey = |arg: Arg| match arg.get_env().and_then(|name| name.to_str()) {
        Some(_) if excluded.contains(arg.get_id()) => arg.env(Resettable::<OsStr>::Reset),
        // Of the variable alone: a path on the command line may have commas.
        Some("LLAMA_LORA") if is_set("LLAMA_LORA") && !names_lora => arg.value_delimiter(','),
        Some("LLAMA_TEMP") if !is_set("LLAMA_TEMP") && is_set("LLAMA_TEMPERATURE") => {
            arg.env("LLAMA_TEMPERATURE")
        }
        Some(name) if variable(name).is_some_and(|value| value.is_empty()) => {
            arg.env(Resettable::<OsStr>::Reset)
        }
        _ => arg,
    };
    command.mut_subcommands(|sub| {
        sub.mut_args(obey)
            .mut_subcommands(|action| action.mut_args(obey))
    })
}

/// What the flags of this command line exclude: `model` beside --synthetic, `quiet` beside --verbose.
fn excluded(command: &clap::Command, args: &[OsString]) -> Vec<Id> {
    let mut plain = command
        .clone()
        .mut_subcommands(|sub| sub.mut_args(|arg| arg.env(Resettable::<OsStr>::Reset)));
    // A line that is wrong is told so when it is parsed in earnest.
    let Ok(matches) = plain.try_get_matches_from_mut(args) else {
        return Vec::new();
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Vec::new();
    };
    let Some(sub) = plain.find_subcommand(name) else {
        return Vec::new();
    };
    let given = sub.get_arguments().filter(|arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    let mut excluded = Vec::new();
    for arg in given {
        let conflicts = sub.get_arg_conflicts_with(arg);
        excluded.extend(conflicts.into_iter().map(|other| other.get_id().clone()));
        match arg.get_id().as_str() {
            "verbose" => excluded.push("quiet".into()),
            "quiet" => excluded.push("verbose".into()),
            _ => {}
        }
    }
    excluded
}
