//! One host's keys, for files beside those that the fleet generates.

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{Identities, Recipient};
use nixmox_topology::NodeName;
use nixmox_tree::SecretString;

use crate::Error;
use crate::fleet::Fleet;
use crate::hosts::HostFiles;
use crate::renewal::known_host;
use crate::store::RelPath;

/// Returns the recipient that only `host` opens, by its public key as it lies in the repository.
///
/// Nothing vouches for that key here: who can commit may have put his own there, as [`check`](crate::check) would tell.
///
/// # Errors
///
/// [`Error::NoSuchHost`], [`Error::NoHostKey`] when the host has no key yet, [`Error::HostKey`] when it is malformed.
pub fn host_recipient(fleet: &Fleet, host: &str) -> Result<Recipient, Error> {
    let (host, files) = find(fleet, host)?;
    Recipient::parse(&files.public_key()?.age_recipient())
        .map_err(|source| Error::Recipient { host, source })
}

/// Returns the public key of `host` as it lies in the repository; what vouches for it, see [`host_recipient`].
///
/// # Errors
///
/// [`Error::NoSuchHost`], [`Error::NoHostKey`], [`Error::HostKey`].
pub fn host_public_key(fleet: &Fleet, host: &str) -> Result<HostPublicKey, Error> {
    find(fleet, host)?.1.public_key()
}

/// Returns the public keys that a host may answer with: its own, and the one that it is to get while its key is being
/// replaced; none when it has no key. What vouches for them, see [`host_recipient`].
///
/// # Errors
///
/// [`Error::NoSuchHost`], [`Error::HostKey`].
pub fn host_public_keys(fleet: &Fleet, host: &str) -> Result<Vec<HostPublicKey>, Error> {
    let host = known_host(&fleet.topology, host)?;
    let files = HostFiles::read(fleet, host)?;
    let mut keys = Vec::new();
    if files.key_pair(host)?.is_some() {
        keys.push(files.public_key()?);
    }
    if files.next_pair(host)?.is_some() {
        keys.push(files.next_public_key()?);
    }
    Ok(keys)
}

/// Opens a host's own private key with an admin's keys, to put it on a machine that becomes the host.
///
/// # Errors
///
/// As [`host_recipient`], and [`Error::Open`] when no identity opens the sealed key.
pub fn host_key(fleet: &Fleet, host: &str, identities: &Identities) -> Result<HostKey, Error> {
    find(fleet, host)?.1.open_key(identities)
}

/// Opens the private key that a host is to get, in OpenSSH's form; `None` when its key is not being replaced.
///
/// # Errors
///
/// As [`host_recipient`], and [`Error::Open`] when no identity opens the sealed key.
pub fn next_host_key(
    fleet: &Fleet,
    host: &str,
    identities: &Identities,
) -> Result<Option<SecretString>, Error> {
    let Ok(host) = known_host(&fleet.topology, host) else { return Ok(None) };
    let files = HostFiles::read(fleet, host)?;
    if files.next_pair(host)?.is_none() {
        return Ok(None);
    }
    Ok(Some(files.open_next_key(identities)?.to_openssh(host)))
}

/// Returns the path of a host's sealed file, where it lies now.
///
/// # Errors
///
/// As [`host_recipient`].
pub fn sealed_path(fleet: &Fleet, host: &str) -> Result<RelPath, Error> {
    Ok(find(fleet, host)?.1.sealed.place().clone())
}

/// Opens a host's own key with an admin's keys.
///
/// # Errors
///
/// As [`host_recipient`], and [`Error::Open`] when no identity opens the sealed key.
pub fn host_identities(
    fleet: &Fleet,
    host: &str,
    identities: &Identities,
) -> Result<Identities, Error> {
    let (_, files) = find(fleet, host)?;
    files.identities(identities)
}

fn find(fleet: &Fleet, name: &str) -> Result<(NodeName, HostFiles), Error> {
    let host = known_host(&fleet.topology, name)?;
    let files = HostFiles::read(fleet, host)?;
    if files.key_pair(host)?.is_none() {
        return Err(Error::NoHostKey { host: host.clone() });
    }
    Ok((host.clone(), files))
}
