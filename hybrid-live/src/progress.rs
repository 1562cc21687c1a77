//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things, by number.
    Items,
    /// Bytes of a file.
    Bytes,
}

/// The progress of one step.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    /// When the next line is due; `None` on a terminal, which shows the bar.
    next_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// Begins to show a step of `total` units.
    pub(crate) fn new(what: &str, total: u64, unit: Unit) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = match unit {
            Unit::Items => "{msg:<24} [{bar:30}] {human_pos}/{human_len}  {eta}",
            Unit::Bytes => "{msg:<24} [{bar:30}] {bytes}/{total_bytes}  {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        let next_line = (!on_terminal).then(|| Mutex::new(Instant::now() + BETWEEN_LINES));
        Self { bar, what: what.to_owned(), next_line }
    }

    /// `count` more are done.
    pub(crate) fn add(&self, count: u64) {
        self.bar.inc(count);
        self.tell_if_due();
    }

    /// `done` are done in all.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
        self.tell_if_due();
    }

    /// A line that stays, above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| terminal::complain(line));
    }

    /// Ends the step.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn tell_if_due(&self) {
        let Some(next_line) = &self.next_line else { return };
        // Whoever finds it taken leaves the line to the other.
        let Ok(mut next_line) = next_line.try_lock() else { return };
        let now = Instant::now();
        if now >= *next_line {
            *next_line = now + BETWEEN_LINES;
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            terminal::complain(&format!("{}: {done} of {total}", self.what));
        }
    }
}
