use std::io::{Stderr, stderr};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Keeps keys that send a signal from being shown on standard error's terminal, until it is dropped.
///
/// What is drawn in place ends at the right edge of its last line: a `^C` there would push all of it up by a line, and
/// what is drawn next would leave the first line of before behind.
#[derive(Debug)]
pub struct SilentSignals {
    terminal: Stderr,
    before: Termios,
}

impl SilentSignals {
    /// Begins with it; nothing is done where standard error is no terminal, or that of somebody else at the moment.
    pub fn begin() -> Option<Self> {
        let terminal = stderr();
        let before = tcgetattr(&terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHOCTL;
        set(&terminal, &silent).then_some(Self { terminal, before })
    }
}

impl Drop for SilentSignals {
    fn drop(&mut self) {
        set(&self.terminal, &self.before);
    }
}

/// Changes a terminal; one that another program has at the moment would stop this one for that.
fn set(terminal: &Stderr, wanted: &Termios) -> bool {
    tcgetpgrp(terminal) == Ok(getpgrp())
        && tcsetattr(terminal, OptionalActions::Now, wanted).is_ok()
}
