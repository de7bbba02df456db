//! Where systems come from, as arguments.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};
use nixmox_fleet::NamedFlake;

/// Where systems come from.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct From {
    /// The flake whose nixosConfigurations and darwinConfigurations are meant; without it the fleet's directory.
    #[arg(long, value_name = "FLAKE", conflicts_with_all = ["paths", "build_command"])]
    pub(crate) flake: Option<String>,
    /// Take the systems from a file: JSON `{"node": "/nix/store/…"}`, or a line `node /nix/store/…` each.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) paths: Option<PathBuf>,
    /// Take the systems from a command that prints the same; it gets the nodes' names as arguments.
    #[arg(long, value_name = "COMMAND", conflicts_with = "paths")]
    pub(crate) build_command: Option<String>,
    /// How many evaluations run at once, each for its part of the hosts; memory is needed for each.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) eval_jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) nix: NixOptions,
}

impl From {
    /// Tells whether it is said where systems come from.
    pub(crate) fn is_given(&self) -> bool {
        self.flake.is_some() || self.paths.is_some() || self.build_command.is_some()
    }

    /// Returns the flake, if one is named.
    pub(crate) fn named_flake(&self) -> Option<NamedFlake<'_>> {
        let reference = self.flake.as_deref()?;
        Some(NamedFlake { reference, options: &self.nix.option })
    }
}

/// How Nix is run here.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct NixOptions {
    /// Set an option of Nix; may be given several times.
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"])]
    pub(crate) option: Vec<String>,
}
