//! What every command works with: the fleet's directory, the user's keys, and who may be asked.

use std::cell::OnceCell;
use std::io::Write as _;
use std::path::PathBuf;

use nixmox_cli::{Exit, Failure};
use nixmox_instantiate::NixInstantiate;
use nixmox_keyring::pins::{self, Pin};
pub(crate) use nixmox_keyring::{config_dir, interaction};
use nixmox_secrets::identities::Loaded;
use nixmox_secrets::store::RelPath;
use nixmox_secrets::{Accept, AskNix, Form, Generation, Options, RealNix};
use nixmox_signing::{Chain, Signer};
use nixmox_sops::Interaction;
use nixmox_tree::SecretString;

use crate::args::{Args, Evaluate, Trust};
use crate::sandbox::SANDBOX;
use crate::{advice, signer};

/// The fleet's directory and the user's keys, which are loaded when first needed.
pub(crate) struct Context {
    pub(crate) root: PathBuf,
    pub(crate) json: bool,
    loaded: OnceCell<Loaded>,
    nix: NixInstantiate,
    ask_nix: Box<AskNix<'static>>,
    interaction: Interaction,
    trust: OnceCell<Trusted>,
    signer: OnceCell<Option<Box<dyn Signer>>>,
}

/// The fleet's rosters, and what this machine knows of them.
#[derive(Default)]
pub(crate) struct Trusted {
    /// Verified link by link; `None` when there are none, and when they are broken, which opening the fleet will say.
    pub(crate) chain: Option<Chain>,
    pub(crate) pin: Option<Pin>,
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
        Ok(Self::at(root, args.switches.json))
    }

    /// Works with the fleet at `root`.
    pub(crate) fn at(root: PathBuf, json: bool) -> Self {
        let asked = root.clone();
        let ask_nix = Box::new(move |path: &RelPath| nixmox_instantiate::members(&asked, path));
        Self {
            root,
            json,
            loaded: OnceCell::new(),
            nix: NixInstantiate,
            ask_nix,
            interaction: interaction(),
            trust: OnceCell::new(),
            signer: OnceCell::new(),
        }
    }

    /// Returns the fleet's rosters and what this machine knows of them.
    pub(crate) fn trusted(&self) -> &Trusted {
        self.trust.get_or_init(|| {
            let chain = nixmox_secrets::trust::read(&self.root).ok().flatten();
            let pin = pins::find(&self.root, chain.as_ref());
            Trusted { chain, pin }
        })
    }

    /// Returns the user's key that signs in this fleet, if it signs and he has one.
    fn signer(&self) -> Option<&dyn Signer> {
        let found = self.signer.get_or_init(|| {
            let trusted = self.trusted();
            let roster = trusted.chain.as_ref()?.current();
            if !roster.delivery {
                return None;
            }
            let named = trusted.pin.as_ref().and_then(|pin| pin.signing_key.as_deref());
            signer::find(&roster.signers(), named)
        });
        found.as_deref()
    }

    /// Remembers the newest roster that was accepted here.
    pub(crate) fn remember(&self, chain: Option<&Chain>) {
        let trusted = self.trusted();
        let (Some(chain), Some(_)) = (chain.or(trusted.chain.as_ref()), &trusted.pin) else {
            return;
        };
        if let Err(error) = pins::remember(&self.root, chain, None) {
            // There is nobody left to tell when standard error is gone.
            let _ = writeln!(anstream::stderr(), "warning: the roster was not noted down: {error}");
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
            accept: Accept {
                admins: trust.accept_admins,
                host_keys: trust.accept_host_keys,
                roster: self.trusted().pin.as_ref().map(|pin| pin.pinned),
            },
            ask_nix: &self.ask_nix,
            real_nix: evaluate.nix.then_some(real_nix),
            interaction: Some(&self.interaction),
            generation: Generation { sandbox: Some(&SANDBOX), ..Generation::default() },
            signer: self.signer(),
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
