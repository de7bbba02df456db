use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::escape;

/// A line on the terminal that says how far long work has come, and vanishes when dropped.
///
/// Nothing is shown when standard error is not a terminal. It is shared between threads by reference.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows a bar of `total` steps.
    pub fn bar(what: &str, total: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
        Self::show(bar, "{prefix} {wide_bar} {pos}/{len} {msg}", what)
    }

    /// Shows that something is going on.
    pub fn spinner(what: &str) -> Self {
        Self::show(ProgressBar::new_spinner(), "{spinner} {prefix} {msg}", what)
    }

    /// Shows nothing, for `--quiet`.
    pub fn none() -> Self {
        Self(ProgressBar::hidden())
    }

    /// One step more is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Shows what is being done now.
    pub fn say(&self, what: &str) {
        self.0.set_message(escape(what).into_owned());
    }

    /// Clears the line while `print` writes to the terminal.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    fn show(bar: ProgressBar, template: &str, what: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(escape(what).into_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for template in ["{prefix} {wide_bar} {pos}/{len} {msg}", "{spinner} {prefix} {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    #[test]
    fn steps_are_counted() {
        let progress = Progress::bar("sealing", 3);
        progress.step();
        progress.say("db\x1b[2J");
        assert_eq!((progress.0.position(), progress.0.length()), (1, Some(3)));
        assert_eq!(progress.0.message(), r"db\u{1b}[2J");
    }
}
