//! What the fleet's sealed secrets mean for a deployment.

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Sealed, SecretFiles};
use nixmox_hostkey::HostPublicKey;
use nixmox_instantiate::NixInstantiate;
use nixmox_keyring::pins;
use nixmox_nix::ErrorKind;
use nixmox_secrets::store::RelPath;
use nixmox_secrets::{Accept, Error, Fleet as Repository, Generation, Options, TextProblem};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;

use crate::{Fleet, advice};

/// Returns the keys that a host may answer with: its own, and the one that it is to get.
///
/// # Errors
///
/// When the repository is not as it should be.
pub fn host_keys(repository: &Repository, node: &NodeName) -> Result<Vec<HostPublicKey>, Failure> {
    match nixmox_secrets::host_public_keys(repository, node) {
        Ok(keys) => Ok(keys),
        Err(Error::NoSuchHost { .. }) => Ok(Vec::new()),
        Err(error) => Err(advice::repository(error)),
    }
}

/// Refuses a fleet whose sealed files are not as they should be. A fleet without a master has none; with `real_nix` an
/// installed Nix evaluates the master.
///
/// # Errors
///
/// Says which files.
pub fn check_sealed(fleet: &Fleet, real_nix: bool) -> Result<(), Failure> {
    let Some(repository) = &fleet.repository else { return Ok(()) };
    if repository.recipients().is_err() {
        return Ok(());
    }
    let root = fleet.root();
    let loaded = nixmox_keyring::load();
    let ask = |path: &RelPath| nixmox_instantiate::members(root, path);
    let rosters = nixmox_secrets::trust::read(root).ok().flatten();
    let pin = pins::find(root, rosters.as_ref());
    let interaction = nixmox_keyring::interaction();
    let options = Options {
        identities: &loaded.identities,
        accept: Accept { roster: pin.map(|pin| pin.pinned), ..Accept::default() },
        ask_nix: &ask,
        real_nix: real_nix.then_some(&NixInstantiate),
        interaction: Some(&interaction),
        generation: Generation::default(),
        signer: None,
        fresh: None,
    };
    let checked = match nixmox_secrets::check(root, &options) {
        Err(Error::NoMaster { .. }) => return Ok(()),
        checked => checked.map_err(|e| {
            let needs_nix = matches!(
                &e,
                Error::Text(TextProblem::Nix { source, .. })
                    if matches!(source.kind(), ErrorKind::Unsupported(_))
            );
            let failure = advice::repository(e);
            let failure = if needs_nix {
                failure.hint("with --nix an installed Nix evaluates it, over standard input")
            } else {
                failure
            };
            failure.hint("nothing was done; see `nixmox-secrets check`")
        })?,
    };
    if checked.problems.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Failure, "the fleet's sealed files are not as they should be");
    let problems = checked.problems.iter().take(8);
    let failure = problems.fold(failure, |failure, problem| {
        failure.hint(format!("{}: {}", problem.path, problem.kind))
    });
    Err(failure.hint("nothing was done; see `nixmox-secrets check`"))
}

/// Returns what is put in place on a host: its sealed file where its definition says so, and its new key.
///
/// # Errors
///
/// When the repository is not as it should be, or no identity opens the key.
pub fn secret_files(
    fleet: &Fleet,
    node: &NodeName,
    identities: &Identities,
) -> Result<Option<SecretFiles>, Failure> {
    let Some(repository) = &fleet.repository else { return Ok(None) };
    let place = fleet.settings.get(node).and_then(|own| own.sealed_file.clone());
    let mut files = SecretFiles::default();
    if let Some(path) = place {
        let sealed = nixmox_secrets::sealed_path(repository, node);
        let sealed = sealed.and_then(|sealed| repository.read(&sealed));
        let bytes = sealed.map_err(advice::repository)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(|e| {
            Failure::new(Exit::Failure, format!("the sealed file of {node} is no text")).because(e)
        })?;
        files.sealed = Some(Sealed { path, text });
    }
    files.host_key =
        nixmox_secrets::next_host_key(repository, node, identities).map_err(advice::repository)?;
    let some = files.sealed.is_some() || files.host_key.is_some();
    Ok(some.then_some(files))
}
