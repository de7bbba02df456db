//! One host's keys, for files beside those that the fleet generates.

use nixmox_hostkey::HostPublicKey;
use nixmox_sops::{Identities, Recipient};
use nixmox_topology::NodeName;

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
