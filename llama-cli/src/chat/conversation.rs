//! The messages of a chat, and which of them the context still holds. Knows no model: the caller says how
//! messages become ids.

use anyhow::Result;
use llama_chat_template::{Message, Role};

use crate::failure::usage;

/// A chat so far: a system message or none, then turns.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    system: Option<String>,
    turns: Vec<Message>,
    /// How many of the oldest turns are no longer sent; always whole pairs.
    forgotten: usize,
}

/// A prompt that fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) ids: Vec<u32>,
    /// Pairs of question and answer that had to go this time.
    pub(crate) dropped_pairs: usize,
}

impl Conversation {
    pub(crate) fn new(system: Option<String>) -> Self {
        Self {
            system,
            ..Self::default()
        }
    }

    /// All of it, forgotten turns too: what /save writes.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.with_system(&self.turns)
    }

    /// From a list that /load read.
    pub(crate) fn from_messages(mut messages: Vec<Message>) -> Self {
        let has_system = messages
            .first()
            .is_some_and(|message| message.role == Role::System);
        let system = has_system.then(|| messages.remove(0).content);
        Self {
            system,
            turns: messages,
            forgotten: 0,
        }
    }

    pub(crate) fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// An empty text is no system message.
    pub(crate) fn set_system(&mut self, text: String) {
        self.system = Some(text).filter(|text| !text.is_empty());
    }

    /// Forgets the turns; the system message stays.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.system.take());
    }

    pub(crate) fn ask(&mut self, text: String) {
        self.turns.push(Message::new(Role::User, text));
    }

    pub(crate) fn answered(&mut self, text: String) {
        self.turns.push(Message::new(Role::Assistant, text));
    }

    /// Takes the last question back, so that the chat can go on as if it had not been asked.
    pub(crate) fn take_back(&mut self) {
        self.turns.pop_if(|message| message.role == Role::User);
    }

    /// Takes an answer at the end back, so that the question before it can be answered again. False where there is no
    /// question; one that was loaded may have no answer yet.
    pub(crate) fn take_answer_back(&mut self) -> bool {
        self.turns.pop_if(|message| message.role == Role::Assistant);
        self.turns
            .last()
            .is_some_and(|message| message.role == Role::User)
    }

    /// The ids of all that is sent. Where they leave no room for an answer, the oldest pairs go until they do.
    pub(crate) fn fit(
        &mut self,
        context: usize,
        encode: impl Fn(&[Message]) -> Result<Vec<u32>>,
    ) -> Result<Fitted> {
        let mut dropped_pairs = 0;
        loop {
            let ids = encode(&self.with_system(&self.turns[self.forgotten..]))?;
            if ids.len() < context {
                return Ok(Fitted { ids, dropped_pairs });
            }
            if self.turns.len() - self.forgotten <= 2 {
                return Err(usage(format!(
                    "the last message alone makes a prompt of {} tokens and the context holds {context}: shorten it or give a larger --ctx-size",
                    ids.len()
                )));
            }
            self.forgotten += 2;
            dropped_pairs += 1;
        }
    }

    fn with_system(&self, turns: &[Message]) -> Vec<Message> {
        let system = self
            .system
            .iter()
            .map(|text| Message::new(Role::System, text));
        system.chain(turns.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten ids a message.
    fn encode(messages: &[Message]) -> Result<Vec<u32>> {
        Ok(messages
            .iter()
            .flat_map(|message| vec![message.content.len() as u32; 10])
            .collect())
    }

    fn three_turns() -> Conversation {
        let mut chat = Conversation::new(Some("system".into()));
        for (question, answer) in [("a", "bb"), ("ccc", "dddd")] {
            chat.ask(question.into());
            chat.answered(answer.into());
        }
        chat.ask("eeeee".into());
        chat
    }

    #[test]
    fn what_fits_is_sent_whole() {
        let mut chat = three_turns();
        let fitted = chat.fit(61, encode).expect("fits");
        assert_eq!((fitted.ids.len(), fitted.dropped_pairs), (60, 0));
    }

    #[test]
    fn the_oldest_pairs_go_and_the_system_message_stays() {
        let mut chat = three_turns();
        let fitted = chat.fit(60, encode).expect("fits without a pair");
        assert_eq!(fitted.dropped_pairs, 1);
        let mut lengths = fitted.ids;
        lengths.dedup();
        assert_eq!(lengths, [6, 3, 4, 5]);
        assert_eq!(
            chat.fit(60, encode).expect("still fits").dropped_pairs,
            0,
            "what is gone stays gone"
        );
        assert_eq!(
            chat.fit(30, encode)
                .expect("fits without both")
                .dropped_pairs,
            1
        );
        assert_eq!(chat.messages().len(), 6, "/save still has all of it");
    }

    #[test]
    fn a_last_message_that_alone_is_too_long_is_refused_with_both_counts() {
        let error = three_turns().fit(20, encode).expect_err("does not fit");
        assert_eq!(
            error.to_string(),
            "the last message alone makes a prompt of 20 tokens and the context holds 20: shorten it or give a larger --ctx-size"
        );
    }

    #[test]
    fn a_question_or_an_answer_can_be_taken_back() {
        let mut chat = three_turns();
        assert!(chat.take_answer_back(), "a question is last");
        assert_eq!(chat.turns.len(), 5);
        chat.take_back();
        chat.take_back();
        assert_eq!(chat.turns.len(), 4, "an answer is last now");
        assert!(chat.take_answer_back());
        assert_eq!(chat.turns.len(), 3);
        assert!(!Conversation::new(None).take_answer_back());
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let chat = three_turns();
        let again = Conversation::from_messages(chat.messages());
        assert_eq!(again.messages(), chat.messages());
        assert_eq!(again.system(), Some("system"));
        let mut cleared = again;
        cleared.clear();
        assert_eq!((cleared.turns.len(), cleared.system()), (0, Some("system")));
    }
}
