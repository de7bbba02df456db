//! Who has to be vouched for before a plan is made.

use super::Request;
use crate::Error;
use crate::admins::NewAdmins;
use crate::base::Base;
use crate::trust::{TrustError, admit_fleet};

/// Checks, before anybody writes, that the admins and the keys of hosts with secrets are vouched for, and returns what
/// was read for it.
pub(crate) fn check_trust(request: Request<'_>) -> Result<Base<'_>, Error> {
    admit_fleet(request.fleet, request.accept)?;
    let base = Base::read(request.fleet, request.master)?;
    base.admit_fleet(request.fleet)?;
    if let Some(delivery) = &base.delivery {
        delivery.accept_signer(request.signer.ok_or(TrustError::NoSigner)?)?;
    }
    accept_admins(base.new_admins(|_| false), request)?;
    check_keys(&base, request)?;
    Ok(base)
}

/// Checks that the keys of hosts with secrets are vouched for.
pub(crate) fn check_host_keys(request: Request<'_>) -> Result<(), Error> {
    check_keys(&Base::read(request.fleet, request.master)?, request)
}

fn check_keys(base: &Base<'_>, request: Request<'_>) -> Result<(), Error> {
    if !request.accept.host_keys {
        base.files.iter().try_for_each(|(host, files)| base.vouched_next(host, files).map(drop))?;
    }
    if request.accept.host_keys {
        return Ok(());
    }
    let mut hosts = Vec::new();
    for host in base.unvouched_keys() {
        if let Some(files) = base.files.get(host) {
            hosts.push((host.clone(), files.public_key()?.fingerprint()));
        }
    }
    if hosts.is_empty() { Ok(()) } else { Err(Error::UnknownHostKeys { hosts }) }
}

/// Refuses recipients that nobody has vouched for, and tells whether there are any.
///
/// A signed roster is as good as a person who accepts them.
pub(super) fn accept_admins(new: Option<NewAdmins>, request: Request<'_>) -> Result<bool, Error> {
    let accepted = request.accept.admins || request.fleet.roster.is_some();
    match new {
        Some(NewAdmins { added, removed }) if !accepted => {
            Err(Error::AdminsChanged { added, removed })
        }
        new => Ok(new.is_some()),
    }
}
