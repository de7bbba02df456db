//! The look at one sealed file.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_hostkey::HostKey;
use nixmox_sops::{DataKey, EncryptedFile, Format, Identities, Recipient, WrappedKey};
use nixmox_topology::NodeName;

use super::{Evidence, FileReaders, HostReaders, Reader, Suspicion};
use crate::Error;
use crate::admins::Admins;
use crate::base::Base;
use crate::check::causes;
use crate::fleet::Fleet;
use crate::hosts::{Generated, HostFiles};

/// Everything that files are held against.
pub(super) struct Look<'a> {
    identities: &'a Identities,
    base: Option<&'a Base<'a>>,
    /// Who should open the master.
    pub(super) admins: Expected<'a>,
    keys: BTreeMap<&'a NodeName, BTreeSet<String>>,
}

/// Whom a file should be sealed to, and who vouches that it is.
#[derive(Clone, Default)]
pub(super) struct Expected<'a> {
    /// `None` when nothing tells.
    labels: Option<BTreeSet<String>>,
    /// Whether the digests vouch for the file.
    vouched: bool,
    /// The host whose own key opens it, with that key's recipient.
    host: Option<(&'a NodeName, String)>,
    /// That key, when it could be opened.
    key: Option<&'a Identities>,
}

/// A parsed file with what was found out about it.
struct Seen {
    file: EncryptedFile,
    readers: FileReaders,
    /// The data key, when a key at hand opened one.
    data_key: Option<DataKey>,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        identities: &'a Identities,
        base: Option<&'a Base<'a>>,
    ) -> Result<Self, Error> {
        let read;
        let admins = match base {
            Some(base) => Some(&base.admins),
            None if fleet.rules.is_none() => None,
            None => {
                read = Admins::read(fleet)?;
                Some(&read)
            }
        };
        let labels = |of: &[Recipient]| of.iter().map(ToString::to_string).collect();
        let keys = admins.map(|admins| {
            fleet.topology.hosts().map(|host| (host, labels(admins.of_key(host)))).collect()
        });
        let expected = Expected { labels: admins.map(Admins::of_master), ..Expected::default() };
        Ok(Self { identities, base, admins: expected, keys: keys.unwrap_or_default() })
    }

    /// Looks at both sealed files of a host; with its key opened, at the values with that.
    pub(super) fn host(&self, host: &NodeName, files: &HostFiles) -> HostReaders {
        let pair = files.key_pair(host).ok().flatten();
        let vouches = |base: &Base<'_>| pair.is_some_and(|pair| base.vouches_for_key(host, pair));
        let expected = Expected {
            labels: self.keys.get(host).cloned(),
            vouched: self.base.is_some_and(vouches),
            ..Expected::default()
        };
        let key = self.see(&files.key, Format::Binary, &expected);
        let opened = key.as_ref().and_then(|seen| opened_key(seen, files));
        let own =
            opened.as_ref().and_then(|key| Identities::from_age_secret(&key.age_identity()).ok());
        let recipient = match &opened {
            Some(key) => Some(key.public().age_recipient()),
            None => files.public_key().ok().map(|public| public.age_recipient()),
        };
        let next = files.next_public_key().ok().map(|public| public.age_recipient());
        let sealed = files.sealed.bytes.as_deref();
        let expected = Expected {
            labels: recipient
                .clone()
                .map(|recipient| next.iter().cloned().chain([recipient]).collect()),
            vouched: self
                .base
                .zip(sealed)
                .is_some_and(|(b, bytes)| b.vouches_for_sealed(host, bytes)),
            host: recipient.map(|recipient| (host, recipient)),
            key: own.as_ref(),
        };
        let sealed = self.file(&files.sealed, Format::Yaml, &expected);
        HostReaders { sealed, key: key.map(|seen| seen.readers) }
    }

    /// Looks at one file; `None` when it is not there.
    pub(super) fn file(
        &self,
        file: &Generated,
        format: Format,
        expected: &Expected<'_>,
    ) -> Option<FileReaders> {
        let bytes = file.bytes.as_deref()?;
        Some(match self.see(file, format, expected) {
            Some(Seen { file, mut readers, .. }) => {
                if format == Format::Yaml && expected.host.is_some() {
                    readers.names = file.names();
                }
                readers
            }
            None => {
                let cause = EncryptedFile::parse(bytes, format).err();
                let cause = cause.map(|error| causes(&error)).unwrap_or_default();
                let suspicions = vec![Suspicion::Malformed(cause)];
                let path = file.place().clone();
                FileReaders { path, readers: Vec::new(), suspicions, names: Vec::new() }
            }
        })
    }

    /// Looks at the file of generated values, which is for whoever opens the master.
    pub(super) fn generated(&self, file: &Generated) -> Option<FileReaders> {
        let mut readers = self.file(file, Format::Yaml, &self.admins)?;
        let parsed = EncryptedFile::parse(file.bytes.as_deref()?, Format::Yaml).ok();
        readers.names = parsed.iter().flat_map(generated_names).collect();
        Some(readers)
    }

    fn see(&self, file: &Generated, format: Format, expected: &Expected<'_>) -> Option<Seen> {
        let parsed = EncryptedFile::parse(file.bytes.as_deref()?, format).ok()?;
        let mut readers = FileReaders {
            path: file.place().clone(),
            readers: Vec::new(),
            suspicions: Vec::new(),
            names: Vec::new(),
        };
        let mut data_key = None;
        for wrapped in parsed.wrapped_keys() {
            let opened = self.open(wrapped, expected);
            let by = opened.as_ref().map(|(_, by)| *by);
            let reader = self.reader(wrapped.label(), by, expected);
            readers.suspicions.extend(suspicions(wrapped, &reader, expected));
            if by.is_some() && reader.evidence != Evidence::Proved {
                let label = reader.recipient.clone();
                readers.suspicions.push(Suspicion::OthersLabel { label });
            }
            readers.readers.push(reader);
            data_key = data_key.or(opened.map(|(key, _)| key));
        }
        let foreign = parsed.foreign_keys().iter().cloned();
        readers.suspicions.extend(foreign.map(|service| Suspicion::Foreign { service }));
        Some(Seen { file: parsed, readers, data_key })
    }

    /// Tries the keys at hand, the host's own among them.
    fn open(&self, wrapped: WrappedKey<'_>, expected: &Expected<'_>) -> Option<(DataKey, By)> {
        let host = expected.key.and_then(|key| wrapped.open_with(key));
        let host = host.map(|key| (key, By::Host));
        host.or_else(|| wrapped.open_with(self.identities).map(|key| (key, By::Person)))
    }

    fn reader(&self, label: &str, opened: Option<By>, expected: &Expected<'_>) -> Reader {
        let host = expected.host.as_ref().filter(|(_, recipient)| recipient == label);
        let mine = self.identities.recipients().iter().any(|own| own.as_str() == label);
        // A plugin's key does not tell whose it is.
        let unnamed = self.identities.recipients().len() < self.identities.len();
        let proved = match opened {
            Some(By::Host) => host.is_some(),
            Some(By::Person) => mine || (unnamed && host.is_none()),
            None => false,
        };
        let evidence = match proved {
            true => Evidence::Proved,
            false if mine || (host.is_some() && expected.key.is_some()) => Evidence::Refuted,
            false if expected.vouched => Evidence::Sealed,
            false => Evidence::Claimed,
        };
        let host = host.map(|(host, _)| (*host).clone());
        Reader { recipient: label.to_owned(), host, own: mine, evidence }
    }
}

/// Whose key opened something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// The host's own.
    Host,
    /// One of the person's.
    Person,
}

/// Names the values in a file of generated ones, each from the host or group on at which it stands.
pub(super) fn generated_names(file: &EncryptedFile) -> BTreeSet<Vec<String>> {
    file.names().iter().filter_map(|leaf| nixmox_generate::value_at(leaf)).collect()
}

/// Reads the host's private key out of a file that opened; a MAC that is wrong opens nothing.
fn opened_key(seen: &Seen, files: &HostFiles) -> Option<HostKey> {
    let file = seen.file.open_with(seen.data_key.as_ref()?).ok()?;
    files.read_key(&file).ok()
}

fn suspicions(wrapped: WrappedKey<'_>, reader: &Reader, expected: &Expected<'_>) -> Vec<Suspicion> {
    let label = || reader.recipient.clone();
    let mut found = Vec::new();
    let kind = Recipient::parse(wrapped.label()).ok();
    let kind = kind.as_ref().and_then(Recipient::stanza);
    match wrapped.stanzas().as_deref() {
        None => found.push(Suspicion::NoAgeFile { label: label() }),
        Some([one]) if kind.is_none_or(|kind| kind == one) => {}
        Some([one]) => found.push(Suspicion::OtherStanza { label: label(), found: one.clone() }),
        Some(several) => {
            found.push(Suspicion::MoreStanzas { label: label(), found: several.to_vec() });
        }
    }
    if reader.evidence == Evidence::Refuted {
        found.push(Suspicion::LyingLabel { label: label() });
    }
    if expected.labels.as_ref().is_some_and(|labels| !labels.contains(&reader.recipient)) {
        found.push(Suspicion::Unexpected { label: label() });
    }
    found
}
