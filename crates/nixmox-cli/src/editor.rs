//! The person's editor on a text that must not be left anywhere.
//!
//! [`Editor::from_env`] finds the editor; [`edit`] lets it change a text once, [`Session`] as often as it takes until
//! the text is accepted. The text lies in a private directory ([`crate::plaintext`]) only while the session lives.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use nixmox_tree::SecretString;
use rustix::fd::AsFd;
use rustix::termios::tcgetattr;

use crate::Exit;
use crate::env::scrubbed;
use crate::guard::{Guard, Undo, run_child};
use crate::plaintext::{Places, PlaintextError, Workspace};

mod command;
mod switches;

pub use command::Editor;

/// Why a text was not edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditorError {
    /// No variable names an editor and none of the usual ones is installed.
    #[error("no editor: set $SOPS_EDITOR, $VISUAL or $EDITOR")]
    NoEditor,
    /// The command has unbalanced quotes.
    #[error("cannot understand the editor command in {from}")]
    BadCommand {
        /// Where the command came from.
        from: &'static str,
        /// What is wrong with it.
        #[source]
        source: shell_words::ParseError,
    },
    /// The program does not exist.
    #[error("editor {} not found", program.display())]
    NotFound {
        /// The missing program.
        program: PathBuf,
    },
    /// The system refused to start the program.
    #[error("cannot start the editor {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program ended with a failure; what was typed is gone.
    #[error("the editor {} failed ({status})", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// There is no private place for the text, or the file cannot be used.
    #[error(transparent)]
    Plaintext(#[from] PlaintextError),
}

impl EditorError {
    /// Returns how a program ends after this error.
    pub fn exit(&self) -> Exit {
        Exit::Editor
    }
}

/// What came back from the editor.
#[derive(Debug)]
pub struct Edited {
    /// The text as it is now.
    pub text: SecretString,
    /// Whether it differs from the text that the session began with.
    pub changed: bool,
    /// Names of files that the editor left beside the text; they are removed already.
    pub leftovers: Vec<String>,
}

/// How to edit: with what, and where the text may lie meanwhile.
#[derive(Clone, Debug)]
pub struct Options {
    /// The editor.
    pub editor: Editor,
    /// Where the text may lie.
    pub places: Places,
}

impl Options {
    /// Takes both from the environment; `allow_disk` lets the text lie on a disk when nothing is in memory.
    ///
    /// # Errors
    ///
    /// [`EditorError::NoEditor`], [`EditorError::BadCommand`] and [`EditorError::NotFound`].
    pub fn from_env(allow_disk: bool) -> Result<Self, EditorError> {
        Ok(Self { editor: Editor::from_env()?, places: Places::from_env(allow_disk) })
    }
}

/// A text that is being edited, perhaps several times, until it is accepted.
pub struct Session {
    workspace: Workspace,
    original: SecretString,
    editor: Editor,
}

impl Session {
    /// Writes `text` to a private file; `name` is what the editor shows and guesses the language from.
    ///
    /// # Errors
    ///
    /// [`EditorError::Plaintext`].
    pub fn open(text: &SecretString, name: &str, options: &Options) -> Result<Self, EditorError> {
        let workspace = Workspace::create(&options.places, name, text)?;
        Ok(Self { workspace, original: text.clone(), editor: options.editor.clone() })
    }

    /// Lets a person edit the text as it is now, and returns what he made of it.
    ///
    /// # Errors
    ///
    /// [`EditorError::Start`], [`EditorError::Failed`] and [`EditorError::Plaintext`].
    pub fn run(&mut self) -> Result<Edited, EditorError> {
        let _terminal = keep_terminal();
        let program = || self.editor.program().to_owned();
        let started = run_child(&mut self.command());
        let leftovers = self.workspace.sweep();
        let status = started.map_err(|source| EditorError::Start { program: program(), source })?;
        if !status.success() {
            return Err(EditorError::Failed { program: program(), status });
        }
        let text = self.workspace.read()?;
        Ok(Edited { changed: text != self.original, text, leftovers })
    }

    fn command(&self) -> Command {
        let mut command = scrubbed(Command::new(self.editor.program()));
        command.args(self.editor.arguments()).arg(self.workspace.path());
        if self.editor.takes_scratch() {
            for name in ["TMPDIR", "TMP", "TEMP"] {
                command.env(name, self.workspace.scratch());
            }
        }
        command
    }
}

/// Lets a person edit `text` once.
///
/// # Errors
///
/// Those of [`Session::open`] and [`Session::run`].
pub fn edit(text: &SecretString, name: &str, options: &Options) -> Result<Edited, EditorError> {
    Session::open(text, name, options)?.run()
}

/// Remembers the terminal's settings, which an editor that dies does not give back.
fn keep_terminal() -> Option<Guard> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    let old = tcgetattr(&stdin).ok()?;
    let fd = stdin.as_fd().try_clone_to_owned().ok()?;
    Some(Guard::new(Undo::Terminal(Arc::new(fd), Box::new(old))))
}

/// Turns words into what a process takes.
fn os_strings<I: IntoIterator<Item: Into<OsString>>>(words: I) -> Vec<OsString> {
    words.into_iter().map(Into::into).collect()
}
