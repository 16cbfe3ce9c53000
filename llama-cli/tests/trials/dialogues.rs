//! The demo model's held-out dialogues, through `chat --json`: what issue and README promise of it.

use std::thread;

use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::Value;

use crate::on_adapter;
use crate::program::program;

/// Of fifty.
const AT_LEAST: usize = 45;

pub(crate) fn trials() -> Vec<Trial> {
    vec![on_adapter(
        "the_demo_model_answers_45_of_50_dialogues",
        at_least_45,
    )]
}

#[derive(Deserialize)]
struct Dialogue {
    category: String,
    messages: Value,
    answers: Vec<String>,
}

impl Dialogue {
    /// What the model said, where it is none of the answers.
    fn miss(&self) -> Option<String> {
        let answer = program(["chat", "-q", "--json", "--temp", "0"])
            .stdin(self.messages.to_string())
            .run()
            .json();
        let text = answer["text"].as_str().expect("text").trim();
        let is_listed = self.answers.iter().any(|listed| listed == text);
        (!is_listed).then(|| {
            format!(
                "{}: expected {:?}, found {text:?}",
                self.category, self.answers
            )
        })
    }
}

fn at_least_45() {
    let lines = include_str!("../../demo/dialogues.jsonl").lines();
    let dialogues: Vec<Dialogue> = lines
        .map(|line| serde_json::from_str(line).expect("a dialogue"))
        .collect();
    assert_eq!(dialogues.len(), 50);
    // Two at a time: most of a run is its start.
    let (left, right) = dialogues.split_at(25);
    let misses: Vec<String> = thread::scope(|scope| {
        let halves = [left, right]
            .map(|half| scope.spawn(|| half.iter().filter_map(Dialogue::miss).collect::<Vec<_>>()));
        halves
            .into_iter()
            .flat_map(|half| half.join().expect("no run failed"))
            .collect()
    });
    let right_answers = dialogues.len() - misses.len();
    println!("{right_answers} of {} dialogues", dialogues.len());
    assert!(
        right_answers >= AT_LEAST,
        "{right_answers} of 50:\n{}",
        misses.join("\n")
    );
}
