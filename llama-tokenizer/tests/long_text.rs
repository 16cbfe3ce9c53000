//! Ten megabytes: bounded time, bounded memory, and the same ids as when nothing is cut. One thread,
//! because the memory of the whole process is counted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cpu_time::ThreadTime;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use llama_tokenizer::Tokenizer;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MB: usize = 1_000_000;
const PROSE: &str = include_str!("golden/corpus.txt");
/// Highest memory for each byte of text, ids included.
const BYTES_PER_BYTE: usize = 200;
const LONGEST: Duration = Duration::from_secs(15);

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for vocabulary in [Vocabulary::Small, Vocabulary::Llama2] {
        for (name, unit) in [
            ("letters", "a"),
            ("spaces", " "),
            ("newlines", "\n"),
            ("zeros", "\0"),
            ("letters_without_a_piece", "\u{1d573}"),
            ("letters_of_another_script", "日"),
        ] {
            let name = format!("{vocabulary:?}_ten_megabytes_of_{name}");
            trials.push(trial(name, vocabulary, move |tokenizer| {
                one_character(tokenizer, unit)
            }));
        }
        trials.push(trial(
            format!("{vocabulary:?}_ten_megabytes_of_prose"),
            vocabulary,
            prose,
        ));
        trials.push(trial(
            format!("{vocabulary:?}_cutting_changes_nothing"),
            vocabulary,
            cutting,
        ));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

#[derive(Debug, Clone, Copy)]
enum Vocabulary {
    Small,
    Llama2,
}

impl Vocabulary {
    fn path(self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Small => root.join("tests/golden/small.json"),
            Self::Llama2 => root.join("../../shared/data/llama2-vocabulary/tokenizer.json"),
        }
    }
}

fn trial(
    name: String,
    vocabulary: Vocabulary,
    check: impl Fn(&Tokenizer) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name.to_lowercase(), move || {
        if !vocabulary.path().exists() {
            return Ok(Completion::ignored_with(
                "../shared/data/llama2-vocabulary is absent",
            ));
        }
        check(&Tokenizer::from_json_file(&vocabulary.path())?).map(|()| Completion::Completed)
    })
}

/// Seconds of this thread to encode `text` (not of the clock: other tests may run beside); fails
/// where it takes too much memory or does not come back.
fn measure(tokenizer: &Tokenizer, text: &str) -> Result<f64, Failed> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = ThreadTime::now();
    let ids = tokenizer.encode(text)?;
    let seconds = begun.elapsed().as_secs_f64();
    let per_byte = MEMORY.peak_usage().saturating_sub(before) / text.len();
    if per_byte > BYTES_PER_BYTE {
        return Err(format!("{per_byte} bytes of memory for each byte of text").into());
    }
    if tokenizer.decode(&ids)? != text {
        return Err("the text did not come back".into());
    }
    if seconds > LONGEST.as_secs_f64() {
        return Err(format!("{seconds:.1} s").into());
    }
    Ok(seconds)
}

/// The time for ten megabytes is at most `most` times that for one. One megabyte is measured ten
/// times, so that both numbers come from equally long stretches of a busy machine; such a machine
/// has three attempts.
fn grows_at_most(
    most: f64,
    tokenizer: &Tokenizer,
    text: impl Fn(usize) -> String,
) -> Result<(), Failed> {
    let (short, long) = (text(MB), text(10 * MB));
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let one = (0..10)
            .map(|_| measure(tokenizer, &short))
            .sum::<Result<f64, Failed>>()?
            / 10.0;
        let ten = measure(tokenizer, &long)?;
        if ten <= most * one {
            return Ok(());
        }
        attempts.push(format!(
            "{ten:.3} s for 10 MB, {one:.3} s for 1 MB: {:.1} times",
            ten / one
        ));
    }
    Err(attempts.join("\n").into())
}

fn one_character(tokenizer: &Tokenizer, unit: &str) -> Result<(), Failed> {
    grows_at_most(30.0, tokenizer, |bytes| unit.repeat(bytes / unit.len()))
}

fn prose(tokenizer: &Tokenizer) -> Result<(), Failed> {
    grows_at_most(12.0, tokenizer, |bytes| PROSE.repeat(bytes / PROSE.len()))
}

/// Plain `tokenizers` cuts nothing.
fn cutting(tokenizer: &Tokenizer) -> Result<(), Failed> {
    let is_small = tokenizer.vocab_size() < 1000;
    let vocabulary = if is_small {
        Vocabulary::Small
    } else {
        Vocabulary::Llama2
    };
    let plain = tokenizers::Tokenizer::from_file(vocabulary.path())?;
    let text = PROSE.repeat(10);
    let expected = plain.encode_fast(text.as_str(), false)?;
    if tokenizer.encode(&text)? == expected.get_ids() {
        Ok(())
    } else {
        Err("other ids".into())
    }
}
