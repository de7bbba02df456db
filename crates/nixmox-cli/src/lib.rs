//! Terminal, editor, progress and exit codes of the nixmox programs.
//!
//! | to | use |
//! |---|---|
//! | keep memory out of core files, debuggers and swap | [`harden`] |
//! | let a person edit a secret text | [`editor`] (over [`plaintext`], the private directory) |
//! | ask for a value or a yes, read a piped value | [`prompt`] |
//! | write an identity to a new file | [`write_private`] |
//! | start any other program | [`scrubbed`]; with plaintext in its hands, [`run_child`] |
//! | print what came from a repository | [`terminal::escape`], [`terminal::Table`] |
//! | show that long work goes on | [`Progress`] |
//! | draw over what was drawn, also when Ctrl-C is pressed | [`SilentSignals`] |
//! | take the switches that all programs have | [`Switches`] |
//! | make completions and manual pages | [`pages`] |
//! | end | [`Exit`], [`Failure`] |
//!
//! It knows nothing of secrets files, hosts or sops; each program parses its own arguments. Once an editor or a hidden prompt has
//! been used, SIGINT, SIGQUIT, SIGTERM and SIGHUP end the process with 128 + their number after everything private
//! was removed; destructors of other code do not run then.
//!
//! ```
//! use nixmox_cli::{Exit, Failure, terminal};
//!
//! let name = "db\u{202e}"; // from a repository
//! let failure = Failure::new(Exit::NoFile, format!("no node {name}")).hint("list them: nixmox-secrets nodes");
//! let mut out = terminal::AutoStream::never(Vec::new());
//! failure.write(&mut out).unwrap();
//! assert!(String::from_utf8(out.into_inner()).unwrap().starts_with("error: no node db\\u{202e}\n"));
//! assert_eq!(failure.exit().code(), 100);
//! ```

mod echo;
mod env;
mod exit;
mod failure;
mod guard;
mod harden;
mod progress;
mod switches;
mod table;

pub mod editor;
pub mod pages;
pub mod plaintext;
pub mod prompt;
pub mod terminal;

pub use echo::SilentSignals;
pub use env::{is_root, scrubbed, secret_variables};
pub use exit::Exit;
pub use failure::{Failure, Snippet};
pub use guard::run_child;
pub use harden::{Hardening, harden};
pub use plaintext::write_private;
pub use progress::Progress;
pub use switches::{Color, Switches, similar_command, with_command};
