//! The installed Nix, for flakes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{EvaluateError, Nix, NixError};
use nixmox_topology::NodeName;

/// Says how Nix is run: with settings, given as names each followed by its value, and without keys in its environment.
pub fn nix(options: &[String]) -> Nix {
    let pair = |pair: &[String]| match pair {
        [name, value] => Some((name.clone(), value.clone())),
        _ => None,
    };
    Nix {
        options: options.chunks(2).filter_map(pair).collect(),
        hidden: nixmox_cli::secret_variables(),
    }
}

/// A flake as somebody has named it.
#[derive(Debug, Clone, Copy)]
pub struct NamedFlake<'a> {
    /// Its reference.
    pub reference: &'a str,
    /// Settings of Nix, as names each followed by its value.
    pub options: &'a [String],
}

impl NamedFlake<'_> {
    /// Lists the nodes of a flake that declares them nowhere else.
    ///
    /// # Errors
    ///
    /// What Nix says.
    pub fn configurations(self) -> Result<BTreeSet<NodeName>, Failure> {
        let nix = nix(self.options);
        crate::runtime()?.block_on(nix.configurations(self.reference)).map_err(refused)
    }

    /// Returns the fleet that it is, when it is a directory with one.
    pub(crate) fn fleet(self) -> Option<PathBuf> {
        let path = Path::new(self.reference.strip_prefix("path:").unwrap_or(self.reference));
        nixmox_secrets::find(&path.canonicalize().ok().filter(|path| path.is_dir())?)
    }
}

/// Explains why Nix did not say what is wanted, in its own words.
pub fn refused(error: EvaluateError) -> Failure {
    let said = match &error {
        EvaluateError::Nix(NixError::Failed { said, .. }) => said.clone(),
        _ => Vec::new(),
    };
    let failure = Failure::from_error(Exit::Failure, error);
    said.into_iter().fold(failure, Failure::hint)
}

/// Returns where results of evaluations are kept.
pub fn cache() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = set.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(dir.join("nixmox/evaluations"))
}
