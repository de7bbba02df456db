//! What must be undone before the process ends, whoever ends it.
//!
//! Whatever holds plaintext or has changed the terminal registers here. A thread waits for SIGINT, SIGQUIT, SIGTERM
//! and SIGHUP; when one comes it ends the editor, undoes everything and exits with 128 + the signal's number. While
//! an editor has the terminal, and for a moment after, SIGINT and SIGQUIT are the editor's and are ignored here.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::plaintext::Directory;

/// How long an editor may take to end after SIGTERM, before SIGKILL.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after an editor's end an interrupt still counts as the editor's: a Ctrl-C that ends it comes here too, and
/// may be looked at only after the editor is gone. What was typed must not be thrown away for that.
const GRACE: Duration = Duration::from_millis(500);

/// One thing to undo. Undoing twice does no harm.
#[derive(Clone)]
pub(crate) enum Undo {
    /// Wipe and remove a private directory.
    Remove(Arc<Directory>),
    /// Give the terminal its old settings.
    Terminal(Arc<OwnedFd>, Box<Termios>),
    /// Give the terminal its old settings, and end the line of the question.
    Prompt(Arc<OwnedFd>, Box<Termios>),
}

impl Undo {
    /// A terminal that is gone has no settings to get back: failures there are no matter.
    fn run(&self) {
        match self {
            Self::Remove(directory) => directory.remove(),
            Self::Terminal(fd, old) => {
                let _ = tcsetattr(fd, OptionalActions::Flush, old);
            }
            Self::Prompt(fd, old) => {
                let _ = tcsetattr(fd, OptionalActions::Flush, old);
                let _ = rustix::io::write(fd, b"\n");
            }
        }
    }
}

struct State {
    next: u64,
    undo: BTreeMap<u64, Undo>,
    editor: Option<Pid>,
    /// When the last editor ended.
    ended: Option<Instant>,
    ending: bool,
}

impl State {
    /// Tells whether an interrupt is meant for the editor rather than for this program.
    fn interrupts_the_editor(&self) -> bool {
        self.editor.is_some() || self.ended.is_some_and(|ended| ended.elapsed() < GRACE)
    }
}

static STATE: Mutex<State> =
    Mutex::new(State { next: 0, undo: BTreeMap::new(), editor: None, ended: None, ending: false });
static EDITOR_ENDED: Condvar = Condvar::new();
static WATCH: Once = Once::new();

/// A registered thing, undone when this is dropped or when a signal ends the process.
pub(crate) struct Guard(u64);

impl Guard {
    /// Registers `undo`, and starts to watch for signals if nobody has.
    pub(crate) fn new(undo: Undo) -> Self {
        WATCH.call_once(watch);
        let mut state = state();
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.undo.insert(id, undo);
        Self(id)
    }
}

impl Drop for Guard {
    /// Undoes first and forgets then: a signal in between undoes again rather than not at all.
    fn drop(&mut self) {
        let todo = state().undo.get(&self.0).cloned();
        if let Some(undo) = todo {
            undo.run();
        }
        state().undo.remove(&self.0);
    }
}

/// Notes that a person is asked something: from now on interrupts are meant for this program.
pub(crate) fn question_begins() {
    state().ended = None;
}

/// Runs a program that works with plaintext to its end; the terminal's interrupts are its own meanwhile.
///
/// SIGTERM and SIGHUP end the program first, then remove everything private, then end this process.
///
/// # Errors
///
/// Those of the system when it cannot be started or waited for.
pub fn run_child(command: &mut Command) -> io::Result<ExitStatus> {
    WATCH.call_once(watch);
    let mut child = spawn(command)?;
    let ended = wait_without_reaping(&child);
    // The number is forgotten before the child is reaped, so that no signal reaches a stranger with the same number.
    {
        let mut state = state();
        state.ended = Some(Instant::now());
        state.editor = None;
    }
    EDITOR_ENDED.notify_all();
    ended?;
    let status = child.wait()?;
    stay_out_of_the_way();
    Ok(status)
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut state = state();
    if state.ending {
        drop(state);
        stay_out_of_the_way();
        return Err(io::ErrorKind::Interrupted.into());
    }
    let child = command.spawn()?;
    state.editor = Some(Pid::from_child(&child));
    Ok(child)
}

fn wait_without_reaping(child: &Child) -> io::Result<()> {
    let who = WaitId::Pid(Pid::from_child(child));
    loop {
        match waitid(who.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// Waits for ever when the process is being ended, so that nobody reports the editor's death as its failure.
fn stay_out_of_the_way() {
    while state().ending {
        thread::park_timeout(Duration::from_secs(1));
    }
}

/// Starts the thread that waits for signals. Without it, dropping still cleans up.
fn watch() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]) else { return };
    let wait = move || {
        for signal in signals.forever() {
            let interrupt = matches!(signal, SIGINT | SIGQUIT);
            let editor_owns_it = interrupt && state().interrupts_the_editor();
            if !editor_owns_it {
                end(signal);
            }
        }
    };
    let _ = thread::Builder::new().name("signals".to_owned()).spawn(wait);
}

fn end(signal: i32) {
    let mut state = state();
    state.ending = true;
    for stronger in [Signal::TERM, Signal::KILL] {
        let Some(editor) = state.editor else { break };
        let _ = kill_process(editor, stronger);
        state = EDITOR_ENDED
            .wait_timeout_while(state, PATIENCE, |state| state.editor.is_some())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    // The terminal comes last: settings changed later are undone earlier.
    for undo in state.undo.values().rev() {
        undo.run();
    }
    signal_hook::low_level::exit(128_i32.saturating_add(signal));
}

/// A panic elsewhere must not keep plaintext from being removed: a poisoned lock is taken all the same.
fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
