//! The progress bar of loading, on stderr and only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::notice::Notices;

/// A bar of bytes that vanishes when it is dropped; draws nothing where nobody sees it.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn loading(notices: Notices, total: u64) -> Self {
        let target = if notices.may_draw() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) =
            ProgressStyle::with_template("loading {wide_bar} {bytes} of {total_bytes}, {eta}")
        {
            bar.set_style(style);
        }
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
