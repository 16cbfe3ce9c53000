//! Progress, on stderr and only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::notice::Notices;

/// A bar that vanishes when it is dropped; draws nothing where nobody sees it.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of bytes.
    pub(crate) fn loading(notices: Notices, total: u64) -> Self {
        let template = "loading {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}";
        Self::new(notices, Some(total), template, "")
    }

    /// Of runs of something.
    pub(crate) fn counting(notices: Notices, what: &str, total: u64) -> Self {
        let template = "{msg} {wide_bar} {pos} of {len}, {eta}";
        Self::new(notices, Some(total), template, what)
    }

    /// Of something short.
    pub(crate) fn spinning(notices: Notices, what: &str) -> Self {
        Self::new(notices, None, "{msg} …", what)
    }

    fn new(notices: Notices, total: Option<u64>, template: &str, what: &str) -> Self {
        let target = if notices.may_draw() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.tick();
        Self(bar)
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
