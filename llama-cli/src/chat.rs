//! What `chat` is made of: the conversation, the model that answers in it, and the person's terminal.

pub(crate) mod conversation;
mod history;
pub(crate) mod partner;
mod restore;
mod slash;
pub(crate) mod terminal;
