//! Progress, on stderr and only on a terminal.

#[cfg(feature = "hub")]
use indicatif::MultiProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[cfg(feature = "hub")]
use crate::escape;
use crate::notice::Notices;

/// A bar that vanishes when it is dropped; draws nothing where nobody sees it.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of bytes.
    pub(crate) fn loading(notices: Notices, total: u64) -> Self {
        Self::of_bytes(notices, "loading", total)
    }

    /// Of bytes to which something is done.
    pub(crate) fn of_bytes(notices: Notices, what: &str, total: u64) -> Self {
        let template = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}";
        Self::new(notices, Some(total), template, what)
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
        let bar = ProgressBar::with_draw_target(total, target(notices));
        style(&bar, template);
        bar.set_message(what.to_owned());
        bar.tick();
        Self(bar)
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

/// Bars of several files at once, and one of them all below.
#[cfg(feature = "hub")]
#[derive(Debug)]
pub(crate) struct Downloads {
    bars: MultiProgress,
    all: ProgressBar,
}

/// The bar of one file; what it gains, the bar of all gains.
#[cfg(feature = "hub")]
#[derive(Debug)]
pub(crate) struct FileBar {
    bar: ProgressBar,
    all: ProgressBar,
}

#[cfg(feature = "hub")]
impl Downloads {
    pub(crate) fn new(notices: Notices) -> Self {
        let bars = MultiProgress::with_draw_target(target(notices));
        let all = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bars, all }
    }

    /// From here on bars are drawn. Of `total` bytes, `present` are there.
    pub(crate) fn begin(&self, total: u64, present: u64) {
        let template = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}";
        self.bars.add(self.all.clone());
        style(&self.all, template);
        self.all.set_length(total);
        self.all.set_position(present);
        self.all.reset_eta();
    }

    pub(crate) fn file(&self, name: &str, bytes: u64) -> FileBar {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let bar = self.bars.insert_before(&self.all, bar);
        style(&bar, "{bytes:>12} of {total_bytes:12} {wide_msg}");
        // It comes from a server.
        bar.set_message(escape::one_line(name).into_owned());
        FileBar {
            bar,
            all: self.all.clone(),
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn say(&self, print: impl FnOnce()) {
        self.bars.suspend(print);
    }
}

#[cfg(feature = "hub")]
impl Drop for Downloads {
    fn drop(&mut self) {
        self.all.finish_and_clear();
    }
}

#[cfg(feature = "hub")]
impl FileBar {
    /// How many of the file's bytes are there: fewer than before where it begins anew.
    pub(crate) fn set(&self, done: u64) {
        let before = self.bar.position();
        self.bar.set_position(done);
        if done >= before {
            self.all.inc(done - before);
        } else {
            self.all
                .set_position(self.all.position().saturating_sub(before - done));
        }
    }
}

#[cfg(feature = "hub")]
impl Drop for FileBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn target(notices: Notices) -> ProgressDrawTarget {
    if notices.may_draw() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
