//! Whose key is whose: hosts of this fleet, hosts that somebody names, admins, and strangers.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{Documents, Format, Keep, SealOptions, seal};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretString};
use rand_core::{CryptoRng, RngCore};

use super::{Into, Pair, Taken, TakeoverError, Why};
use crate::hosts::HostFiles;
use crate::layout::key_comment;
use crate::store::RelPath;

/// A host that somebody names, with its key.
#[derive(Debug, Clone)]
pub enum HostGiven {
    /// By its public key: an SSH line or an age recipient.
    Public(String, String),
    /// By its private SSH key, which is taken over.
    Private(String, SecretString),
}

/// All that is known of whose key is whose.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Hosts by the age form of their key.
    by_age: BTreeMap<String, NodeName>,
    /// Hosts that have a key here, or will have the one that was given.
    keyed: BTreeSet<NodeName>,
    admins: BTreeSet<String>,
    /// Keys that were given and are to be sealed.
    private: BTreeMap<NodeName, HostKey>,
    /// Recipients that nobody knows, with the number of files that they open.
    strangers: BTreeMap<String, usize>,
    /// What the tree calls keys.
    labels: BTreeMap<String, String>,
}

/// Who opens one file.
pub(super) struct Openers {
    pub(super) hosts: BTreeSet<NodeName>,
}

impl Hosts {
    /// Gathers the hosts of a fleet, its admins, and who was given.
    ///
    /// # Errors
    ///
    /// [`TakeoverError::Given`], [`TakeoverError::GivenKey`], and what reading the fleet gives.
    pub fn gather(into: Into<'_>, given: &[HostGiven]) -> Result<Self, TakeoverError> {
        let mut hosts = Self::default();
        for (host, files) in HostFiles::read_all(into.fleet)? {
            if files.public.bytes.is_some()
                && let Ok(key) = files.public_key()
            {
                hosts.by_age.insert(key.age_recipient(), host.clone());
                hosts.keyed.insert(host);
            }
        }
        let own = into.identities.recipients().iter().map(|r| canonical(r.as_str()));
        hosts.admins.extend(own);
        if let Ok(admins) = crate::doctor::admins(into.fleet) {
            hosts.admins.extend(admins.iter().map(|admin| canonical(admin)));
        }
        for given in given {
            hosts.give(given)?;
        }
        Ok(hosts)
    }

    fn give(&mut self, given: &HostGiven) -> Result<(), TakeoverError> {
        let (HostGiven::Public(name, _) | HostGiven::Private(name, _)) = given;
        let host = NodeName::parse(name).map_err(|_| TakeoverError::Given(name.clone()))?;
        let age = match given {
            HostGiven::Public(_, key) => {
                let age = canonical(key);
                if !age.starts_with("age1") {
                    return Err(TakeoverError::Given(format!("{name}={key}")));
                }
                age
            }
            HostGiven::Private(_, text) => {
                let unusable = |source| TakeoverError::GivenKey { host: name.clone(), source };
                let key = HostKey::from_openssh(text).map_err(unusable)?;
                let age = key.public().age_recipient();
                self.private.insert(host.clone(), key);
                age
            }
        };
        let known = self.by_age.get(&age);
        // A public key may be a former one; a private one would have to replace that of the fleet.
        let replaces = known.is_none() && self.keyed.contains(&host);
        let private = matches!(given, HostGiven::Private(..));
        if known.is_some_and(|known| *known != host) || (replaces && private) {
            return Err(TakeoverError::OtherKey(host));
        }
        // A key that the host has here already is not taken a second time.
        if known.is_some() && self.keyed.contains(&host) {
            self.private.remove(&host);
        }
        self.by_age.insert(age, host);
        Ok(())
    }

    /// Notes what the tree calls a key, to be told when nobody knows it.
    pub(super) fn label(&mut self, key: &str, label: &str) {
        self.labels.insert(canonical(key), label.to_owned());
    }

    /// Sorts the recipients of a file.
    pub(super) fn sort<'a>(&mut self, recipients: impl Iterator<Item = &'a str>) -> Openers {
        let mut hosts = BTreeSet::new();
        for recipient in recipients.map(canonical) {
            match self.by_age.get(&recipient) {
                Some(host) => drop(hosts.insert(host.clone())),
                None if self.admins.contains(&recipient) => {}
                None => *self.strangers.entry(recipient).or_default() += 1,
            }
        }
        Openers { hosts }
    }

    /// Finds the node for a set of hosts: the host itself, a group with these hosts, or one that is made.
    pub(super) fn node(
        &self,
        into: Into<'_>,
        hosts: &BTreeSet<NodeName>,
        hint: &str,
        taken: &mut Taken,
    ) -> Option<String> {
        let topology = &into.fleet.topology;
        for host in hosts.iter().filter(|host| !topology.contains(host)) {
            if let Ok(path) = RelPath::parse(&format!("nodes/{host}/node.nix")) {
                taken.definitions.insert(path, b"{ }\n".to_vec());
            }
        }
        if hosts.len() < 2 {
            return hosts.first().map(ToString::to_string);
        }
        let wanted: Vec<NodeName> = hosts.iter().cloned().collect();
        if let Some(group) = topology.groups().find(|group| topology.hosts_of(group) == wanted) {
            return Some(group.to_string());
        }
        if let Some((group, _)) = taken.groups.iter().find(|(_, members)| **members == wanted) {
            return Some(group.clone());
        }
        let group = free_name(hint, &|name| {
            topology.contains(name)
                || taken.groups.contains_key(name)
                || hosts.iter().any(|h| h == name)
        });
        let members: String = wanted.iter().map(|host| format!("  {host} = {{ }};\n")).collect();
        let path = RelPath::parse(&format!("nodes/{group}/group.nix")).ok()?;
        taken.definitions.insert(path, format!("{{\n{members}}}\n").into_bytes());
        taken.groups.insert(group.clone(), wanted);
        Some(group)
    }

    /// Tells about keys that nobody knows and keys that stay behind, and seals those that were given.
    pub(super) fn finish(
        self,
        into: Into<'_>,
        taken: &mut Taken,
        (rng, now): (&mut (impl RngCore + CryptoRng), jiff::Timestamp),
    ) -> Result<(), TakeoverError> {
        for (stranger, files) in &self.strangers {
            taken.left(stranger, Why::Stranger(*files, self.labels.get(stranger).cloned()));
        }
        let used: BTreeSet<&NodeName> = self.by_age.values().collect();
        let keyless = used
            .into_iter()
            .filter(|host| !self.keyed.contains(*host) && !self.private.contains_key(*host));
        let keyless: Vec<String> = keyless.map(ToString::to_string).collect();
        keyless.into_iter().for_each(|host| taken.left(host, Why::KeyStaysBehind));
        if self.private.is_empty() {
            return Ok(());
        }
        let rules = into.fleet.rules()?;
        for (host, key) in self.private {
            let text = key.to_openssh(&key_comment(&host));
            let directory = into.fleet.topology.dir(&host);
            let path = into.fleet.layout.host(&directory).map_err(crate::Error::from)?.key;
            let options = SealOptions::new(rules.recipients(&path)?);
            let documents = Documents::binary(SecretBytes::from(&text));
            let format = (Format::Binary, &options);
            let private = seal(&documents, format, Keep::Nothing, rng, now)
                .map_err(|source| TakeoverError::Seal { host: host.clone(), source })?;
            let public = key.public();
            let line = format!("{}\n", public.to_openssh(&key_comment(&host)));
            let pair = Pair { private, public: line.into(), fingerprint: public.fingerprint() };
            taken.keys.insert(host, pair);
        }
        Ok(())
    }
}

/// Brings a recipient into one form: the age form of an ed25519 key, an SSH key without its comment, else as it is.
fn canonical(recipient: &str) -> String {
    let recipient = recipient.trim();
    if let Ok(key) = HostPublicKey::parse(recipient) {
        return key.age_recipient();
    }
    if recipient.starts_with("ssh-") {
        return recipient.split(' ').take(2).collect::<Vec<_>>().join(" ");
    }
    recipient.to_owned()
}

/// Makes a free name for a group of what a file is called.
fn free_name(hint: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = hint.chars().map(plain).take(40).collect();
    let name = name.trim_matches('-');
    let reserved = ["", "common", "current", "secrets", "default"];
    let name = if reserved.contains(&name) { "shared" } else { name };
    let is_free = |name: &String| NodeName::parse(name).is_ok() && !taken(name);
    let numbered = (2..10_000).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(is_free).unwrap_or_else(|| "shared".to_owned())
}
