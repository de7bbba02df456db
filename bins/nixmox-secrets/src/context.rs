//! What every command works with: the fleet's directory, the user's keys, and who may be asked.

use std::cell::OnceCell;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure, prompt};
use nixmox_secrets::identities::{Loaded, Sources, load};
use nixmox_secrets::store::RelPath;
use nixmox_secrets::{Accept, AskNix, Form, Options, RealNix};
use nixmox_sops::Interaction;
use nixmox_tree::{SecretBytes, SecretString};

use crate::advice;
use crate::args::{Args, Evaluate, Trust};
use crate::real_nix::{self, NixInstantiate};

/// The fleet's directory and the user's keys, which are loaded when first needed.
pub(crate) struct Context {
    pub(crate) root: PathBuf,
    pub(crate) json: bool,
    loaded: OnceCell<Loaded>,
    nix: NixInstantiate,
    ask_nix: Box<AskNix<'static>>,
    interaction: Interaction,
}

impl Context {
    /// Finds the fleet that the arguments name or the current directory lies in.
    pub(crate) fn find(args: &Args) -> Result<Self, Failure> {
        let root = match &args.repo {
            Some(dir) => dir.clone(),
            None => {
                let here = std::env::current_dir().map_err(|e| {
                    Failure::new(Exit::Failure, "the current directory is gone").because(e)
                })?;
                nixmox_secrets::find(&here).ok_or_else(|| advice::no_fleet(&here))?
            }
        };
        Ok(Self::at(root, args.json))
    }

    /// Works with the fleet at `root`.
    pub(crate) fn at(root: PathBuf, json: bool) -> Self {
        let asked = root.clone();
        let ask_nix = Box::new(move |path: &RelPath| real_nix::members(&asked, path));
        Self {
            root,
            json,
            loaded: OnceCell::new(),
            nix: NixInstantiate,
            ask_nix,
            interaction: interaction(),
        }
    }

    /// Returns the user's keys from every place where sops looks.
    pub(crate) fn loaded(&self) -> &Loaded {
        self.loaded.get_or_init(load_identities)
    }

    /// Returns the user's keys, if a command has needed them.
    pub(crate) fn loaded_if_asked(&self) -> Option<&Loaded> {
        self.loaded.get()
    }

    /// Uses these keys instead of the user's.
    pub(crate) fn with_keys(self, loaded: Loaded) -> Self {
        Self { loaded: OnceCell::from(loaded), ..self }
    }

    /// Opens the fleet with the user's keys; a fleet without master is an error.
    pub(crate) fn options(&self, trust: Trust, evaluate: Evaluate) -> Options<'_> {
        let real_nix: &RealNix = &self.nix;
        Options {
            identities: &self.loaded().identities,
            accept: Accept { admins: trust.accept_admins, host_keys: trust.accept_host_keys },
            ask_nix: &self.ask_nix,
            real_nix: evaluate.nix.then_some(real_nix),
            interaction: Some(&self.interaction),
            fresh: None,
        }
    }

    /// The same, but a fleet without master starts from `text`.
    pub(crate) fn options_with_fresh<'a>(
        &'a self,
        trust: Trust,
        evaluate: Evaluate,
        text: &'a SecretString,
    ) -> Options<'a> {
        Options { fresh: Some((Form::Nix, text)), ..self.options(trust, evaluate) }
    }

    /// Turns an error of the libraries into what a person is told.
    pub(crate) fn explain(&self, error: nixmox_secrets::Error) -> Failure {
        advice::explain(error, self.loaded_if_asked())
    }
}

/// Returns the directory of users' configuration as sops finds it.
pub(crate) fn config_dir() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty());
    let home = std::env::home_dir();
    match set {
        Some(dir) => Some(dir.into()),
        None if cfg!(target_os = "macos") => Some(home?.join("Library/Application Support")),
        None => Some(home?.join(".config")),
    }
}

fn load_identities() -> Loaded {
    load(&Sources {
        var: &|name| std::env::var(name).ok().map(SecretString::new),
        home: std::env::home_dir(),
        config: config_dir(),
        run: &run_key_command,
        interaction: Some(&interaction()),
    })
}

/// Lets age and its plugins talk to the person at the terminal.
pub(crate) fn interaction() -> Interaction {
    Interaction::new(Terminal)
}

/// The person at the terminal, as age sees him.
#[derive(Clone)]
struct Terminal;

impl age::Callbacks for Terminal {
    fn display_message(&self, message: &str) {
        // There is nobody left to tell when standard error is gone.
        let _ = writeln!(anstream::stderr(), "{}", escape(message));
    }

    fn confirm(&self, message: &str, yes: &str, _no: Option<&str>) -> Option<bool> {
        prompt::confirm(&format!("{message} ({yes})")).ok()
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        prompt::secret(description).ok().map(|s| s.expose().to_owned())
    }

    fn request_passphrase(&self, description: &str) -> Option<age::secrecy::SecretString> {
        let typed = prompt::secret(&format!("Passphrase of {description}")).ok()?;
        Some(typed.expose().to_owned().into())
    }
}

/// Runs a key command without a shell; what it says on standard error goes to the terminal.
fn run_key_command(command: &str) -> io::Result<SecretBytes> {
    let words = shell_words::split(command).map_err(io::Error::other)?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = nixmox_cli::scrubbed(command).output()?;
    let printed = SecretBytes::new(output.stdout);
    if output.status.success() {
        Ok(printed)
    } else {
        Err(io::Error::other(output.status.to_string()))
    }
}
