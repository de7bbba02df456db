//! What every command works with: the fleet's directory, the user's keys, and who may be asked.

use std::cell::OnceCell;
use std::path::PathBuf;

use nixmox_cli::{Exit, Failure};
pub(crate) use nixmox_keyring::{config_dir, interaction};
use nixmox_secrets::identities::Loaded;
use nixmox_secrets::store::RelPath;
use nixmox_secrets::{Accept, AskNix, Form, Generation, Options, RealNix};
use nixmox_sops::Interaction;
use nixmox_tree::SecretString;

use crate::advice;
use crate::args::{Args, Evaluate, Trust};
use crate::real_nix::{self, NixInstantiate};
use crate::sandbox::SANDBOX;

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
        self.loaded.get_or_init(nixmox_keyring::load)
    }

    /// Returns the user's keys, if a command has needed them.
    pub(crate) fn loaded_if_asked(&self) -> Option<&Loaded> {
        self.loaded.get()
    }

    /// Returns who talks to the person at the terminal.
    pub(crate) fn interaction(&self) -> &Interaction {
        &self.interaction
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
            generation: Generation { sandbox: Some(&SANDBOX), ..Generation::default() },
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
