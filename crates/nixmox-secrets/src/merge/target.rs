//! To whom and how a merged file is sealed; only where an admin has vouched for it.

use std::collections::BTreeSet;

use nixmox_hostkey::HostPublicKey;
use nixmox_sops::{Format, Recipient, SealOptions};
use nixmox_topology::NodeName;
use subtle::ConstantTimeEq;

use super::{FileKind, MergeError, Opened};
use crate::Error;
use crate::admins::{Admins, NewAdmins};
use crate::base::{known, read_digests};
use crate::digests::{DigestKey, Digests};
use crate::generated::file::data_key;
use crate::hosts::HostFiles;
use crate::master::Master;

/// How a file is sealed.
pub(super) struct Target {
    pub(super) options: SealOptions,
    /// Whether the data key of our version may seal more.
    pub(super) keeps_key: bool,
}

/// Finds out to whom the merged file is sealed.
pub(super) fn target(file: &Opened<'_>) -> Result<Target, MergeError> {
    let digests = read_digests(file.fleet)?;
    let master = match &file.kind {
        FileKind::Master => Some(file.ours.data_key().clone()),
        _ => match Master::open(file.fleet, file.options.identities) {
            Ok(master) => master.file.as_ref().map(|file| file.data_key().clone()),
            Err(Error::NoMaster { .. }) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let known = known(&digests, master.as_ref());
    let mut target = match &file.kind {
        FileKind::Host(host) => of_host(file, host, known.as_ref())?,
        FileKind::Other => of_other(file, known.as_ref())?,
        kind => of_admins(file, kind, known.as_ref())?,
    };
    if file.kind == FileKind::Generated {
        // Its data key is the one derived from the master's, or none that may be used again.
        let own = master.map(|key| data_key(&key));
        let ours = file.ours.data_key().expose();
        target.keeps_key = own.is_some_and(|own| own.expose().ct_eq(ours).into());
    }
    target.options.interaction = file.options.interaction.cloned();
    Ok(target)
}

type Known<'a> = Option<&'a (DigestKey, Digests)>;

/// Returns the recipients that an admin recorded, if the digests prove it.
fn trusted<'a>(known: Known<'a>) -> Option<&'a Digests> {
    known.filter(|(key, digests)| digests.vouches_for_admins(key)).map(|(_, digests)| digests)
}

/// The master, what was generated, or a host's private key.
fn of_admins(file: &Opened<'_>, kind: &FileKind, known: Known<'_>) -> Result<Target, MergeError> {
    let admins = Admins::read(file.fleet)?;
    let labels: BTreeSet<String> =
        file.ours.metadata().recipients().into_iter().map(str::to_owned).collect();
    let new = admins.since(trusted(known), &labels, |_| false);
    if let Some(NewAdmins { added, removed }) = new.filter(|_| !file.options.accept.admins) {
        return Err(Error::AdminsChanged { added, removed }.into());
    }
    let recipients = match kind {
        FileKind::Key(host) => admins.of_key(host),
        _ => &admins.master,
    };
    if recipients.is_empty() {
        return Err(Error::NoRecipients { path: file.path.clone() }.into());
    }
    let mut options = SealOptions::new(recipients.iter().cloned());
    options.strict = file.format == Format::Yaml;
    // A private key is sealed whole, and always anew.
    Ok(Target { options, keeps_key: *kind == FileKind::Master })
}

/// A host's values: they go to the key that an admin vouched for.
fn of_host(file: &Opened<'_>, host: &NodeName, known: Known<'_>) -> Result<Target, MergeError> {
    let files = HostFiles::read(file.fleet, host)?;
    let public = files.public_key()?;
    let pair = files.key_pair(host)?;
    let record = known.and_then(|(key, digests)| Some((key, digests.hosts.get(host.as_ref())?)));
    let vouched = record.zip(pair).is_some_and(|((key, record), pair)| {
        record.key.matches(&key.key(host, pair.private, pair.public))
    });
    if !vouched && !file.options.accept.host_keys {
        let hosts = vec![(host.clone(), public.fingerprint())];
        return Err(Error::UnknownHostKeys { hosts }.into());
    }
    let mut owners = vec![public];
    // While its key is being replaced, the host has two; the next one must be vouched for as well.
    if let (Some(pair), Some((key, record))) = (files.next_pair(host)?, record) {
        let digest = key.next(host, pair.private, pair.public);
        if record.next.as_ref().is_some_and(|next| next.matches(&digest)) {
            owners.push(files.next_public_key()?);
        }
    }
    let recipient = |key: &HostPublicKey| {
        Recipient::parse(&key.age_recipient())
            .map_err(|source| Error::Recipient { host: host.clone(), source })
    };
    let recipients = owners.iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
    let mut options = SealOptions::new(recipients);
    options.strict = true;
    // A data key that somebody else chose is never used again: he could read what it will seal.
    let keeps_key = record.is_some_and(|(key, record)| {
        record.sealed.as_ref().is_some_and(|d| d.matches(&key.sealed(host, &file.bytes)))
    });
    Ok(Target { options, keeps_key })
}

/// Any other file: to whom the rules name, if they could open both sides already or are known admins.
fn of_other(file: &Opened<'_>, known: Known<'_>) -> Result<Target, MergeError> {
    let rule = file.fleet.rules()?.rule(&file.path)?;
    let admins = trusted(known).map(|digests| &digests.admins);
    let labels = [&file.ours, &file.theirs].map(|f| f.metadata().recipients());
    let stranger = rule.recipients.iter().find(|recipient| {
        let labelled = labels.iter().all(|labels| labels.contains(&recipient.as_str()));
        !labelled && !admins.is_some_and(|admins| admins.contains(recipient.as_str()))
    });
    if let Some(recipient) = stranger.filter(|_| !file.options.accept.admins) {
        return Err(MergeError::NewRecipient { recipient: recipient.to_string() });
    }
    let mut options = SealOptions::new(rule.recipients);
    (options.rule, options.mac_only_encrypted) = (rule.rule, rule.mac_only_encrypted);
    options.indent = rule.indent;
    Ok(Target { options, keeps_key: true })
}
