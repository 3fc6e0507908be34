//! One line on a terminal that says what is being measured; nothing where nobody watches.
//!
//! It is drawn between measurements only: a clock that ticks by itself would share their core.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub(super) fn new() -> Progress {
        let style = ProgressStyle::with_template("{elapsed_precise} {prefix} [{bar:20}] {msg}");
        let style = style.expect("the template names what there is").progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr()).with_style(style);
        Progress { bar }
    }

    /// Whether somebody watches.
    pub(super) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Begins the group that is number `index`, from 0, of so many.
    pub(super) fn group(&self, name: &str, index: usize, groups: usize) {
        self.bar.set_prefix(format!("{name} ({} of {groups})", index + 1));
        self.show("beginning");
    }

    /// Says what is being done.
    pub(super) fn show(&self, what: &str) {
        self.bar.set_length(1);
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
    }

    /// Says which figure is measured, and the round, from 0, of so many.
    pub(super) fn round(&self, name: &str, round: usize, rounds: usize) {
        self.bar.set_length(rounds as u64);
        self.bar.set_message(format!("{name}, {} of {rounds}", round + 1));
        self.bar.set_position(round as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
