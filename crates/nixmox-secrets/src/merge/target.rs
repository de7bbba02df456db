//! To whom and how a merged file is sealed; only where an admin has vouched for it.

use std::collections::BTreeSet;

use nixmox_sops::{Format, Recipient, SealOptions};
use nixmox_topology::NodeName;

use super::{FileKind, MergeError, Opened};
use crate::Error;
use crate::admins::{Admins, NewAdmins};
use crate::base::{known, read_digests};
use crate::digests::{DigestKey, Digests};
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
    let known = match &file.kind {
        FileKind::Master => known(&digests, Some(file.ours.data_key())),
        _ => match Master::open(file.fleet, file.options.identities) {
            Ok(master) => known(&digests, master.file.as_ref().map(|f| f.data_key())),
            Err(Error::NoMaster { .. }) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let mut target = match &file.kind {
        FileKind::Host(host) => of_host(file, host, known.as_ref())?,
        FileKind::Other => of_other(file, known.as_ref())?,
        kind => of_admins(file, kind, known.as_ref())?,
    };
    target.options.interaction = file.options.interaction.cloned();
    Ok(target)
}

type Known<'a> = Option<&'a (DigestKey, Digests)>;

/// Returns the recipients that an admin recorded, if the digests prove it.
fn trusted<'a>(known: Known<'a>) -> Option<&'a Digests> {
    known.filter(|(key, digests)| digests.vouches_for_admins(key)).map(|(_, digests)| digests)
}

/// The master, or a host's private key.
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
    let recipient = Recipient::parse(&public.age_recipient())
        .map_err(|source| Error::Recipient { host: host.clone(), source })?;
    let mut options = SealOptions::new([recipient]);
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
