//! A roster: the admins of a fleet, their keys, and who of them opens what.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{FleetId, Hash, MAX_TEXT, PublicKey, RosterError};

/// The namespace of signed rosters.
pub const ROSTER: &str = "nixmox-roster@1";

const VERSION: u32 = 1;

/// The admins of a fleet at one point of its life.
///
/// An admin in no group opens everything: the master, and with it every value, and every host's private key. Who is
/// in groups opens the private keys of the hosts that his groups name and nothing else. Those who open everything
/// sign: the next roster, and what hosts are delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    version: u32,
    /// The fleet; a first roster cannot name it, because it is named after its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fleet: Option<FleetId>,
    /// Random bytes that make a first roster the only one of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<Hash>,
    pub(crate) generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Hash>,
    /// Whether what hosts are delivered is signed.
    pub delivery: bool,
    /// The admins by name.
    pub admins: BTreeMap<String, Admin>,
    /// Groups of admins by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
}

/// One admin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The age recipients that what he opens is sealed to.
    pub age: BTreeSet<String>,
    /// The SSH keys that he signs with, as `type base64`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ssh: BTreeSet<String>,
}

/// A group of admins who open less than everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its members.
    pub members: BTreeSet<String>,
    /// The hosts, and groups of hosts, whose private keys they open.
    pub opens: BTreeSet<String>,
}

impl Roster {
    /// Makes the first roster of a fleet; `seed` are random bytes.
    pub fn first(seed: [u8; 32], admins: BTreeMap<String, Admin>) -> Self {
        Self {
            version: VERSION,
            fleet: None,
            seed: Some(Hash::from_bytes(seed)),
            generation: 1,
            previous: None,
            delivery: false,
            admins,
            groups: BTreeMap::new(),
        }
    }

    /// Makes the one that follows the roster whose bytes are `previous`; then it is changed and signed.
    pub(crate) fn following(&self, fleet: FleetId, previous: &[u8]) -> Self {
        Self {
            fleet: Some(fleet),
            seed: None,
            generation: self.generation.saturating_add(1),
            previous: Some(Hash::of(previous)),
            ..self.clone()
        }
    }

    /// Reads a roster and checks that it makes sense.
    ///
    /// # Errors
    ///
    /// [`RosterError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RosterError> {
        let malformed = |cause: String| RosterError::Malformed(cause);
        if bytes.len() > MAX_TEXT {
            return Err(malformed("it is too long".to_owned()));
        }
        let version: Version =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if version.version != VERSION {
            return Err(RosterError::Version(version.version));
        }
        let roster: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if roster.to_bytes() != bytes {
            return Err(RosterError::NotCanonical);
        }
        roster.validate()?;
        Ok(roster)
    }

    /// Writes the canonical form: JSON with two blanks of indentation, names in order, a newline at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and sets of them cannot fail to be written.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Checks everything that a roster must be.
    ///
    /// # Errors
    ///
    /// [`RosterError`] with the first thing that is wrong.
    pub fn validate(&self) -> Result<(), RosterError> {
        let first = self.generation == 1;
        let whole = if first {
            self.seed.is_some() && self.previous.is_none() && self.fleet.is_none()
        } else {
            self.seed.is_none() && self.previous.is_some() && self.fleet.is_some()
        };
        if !whole || self.generation == 0 {
            return Err(RosterError::Place);
        }
        if let Some(name) = self.names().find(|name| !is_name(name)) {
            return Err(RosterError::Name(name.to_owned()));
        }
        self.validate_keys()?;
        for (group, found) in &self.groups {
            if let Some(member) = found.members.iter().find(|m| !self.admins.contains_key(*m)) {
                return Err(RosterError::Member { group: group.clone(), member: member.clone() });
            }
        }
        if self.signers().is_empty() { Err(RosterError::NoSigner) } else { Ok(()) }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let opened = self.groups.values().flat_map(|group| &group.opens);
        self.admins.keys().chain(self.groups.keys()).chain(opened).map(String::as_str)
    }

    fn validate_keys(&self) -> Result<(), RosterError> {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, admin) in &self.admins {
            if admin.age.is_empty() {
                return Err(RosterError::NoRecipient(name.clone()));
            }
            for key in &admin.ssh {
                let wrong = |source| RosterError::Key { name: name.clone(), source };
                if PublicKey::parse(key).map_err(wrong)?.as_str() != key {
                    return Err(RosterError::NotCanonical);
                }
            }
            for key in admin.age.iter().chain(&admin.ssh) {
                // One's own SSH key may both open and sign.
                if let Some(one) = owners.insert(key, name).filter(|one| one != name) {
                    return Err(RosterError::Shared { one: one.to_owned(), other: name.clone() });
                }
            }
        }
        Ok(())
    }

    /// Returns which generation of rosters this is, counted from one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells whether an admin opens everything: he is in no group.
    pub fn opens_all(&self, name: &str) -> bool {
        self.admins.contains_key(name) && !self.groups.values().any(|g| g.members.contains(name))
    }

    /// Returns the recipients of the master: of those who open everything.
    pub fn recipients(&self) -> BTreeSet<&str> {
        let all = self.admins.iter().filter(|(name, _)| self.opens_all(name));
        all.flat_map(|(_, admin)| &admin.age).map(String::as_str).collect()
    }

    /// Returns the recipients of a host's private key; `levels` are its name and those of its groups.
    pub fn recipients_of_key<'a>(&'a self, levels: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let opened = |group: &&Group| group.opens.iter().any(|name| levels.contains(name.as_str()));
        let members = self.groups.values().filter(opened).flat_map(|group| &group.members);
        let some = members.filter_map(|name| self.admins.get(name)).flat_map(|admin| &admin.age);
        self.recipients().into_iter().chain(some.map(String::as_str)).collect()
    }

    /// Returns the keys that may sign, with the names of their owners.
    pub fn signers(&self) -> BTreeMap<PublicKey, String> {
        let all = self.admins.iter().filter(|(name, _)| self.opens_all(name));
        all.flat_map(|(name, admin)| admin.ssh.iter().map(move |key| (key, name)))
            .filter_map(|(key, name)| Some((PublicKey::parse(key).ok()?, name.clone())))
            .collect()
    }
}

/// What tells whether the rest can be read.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Tells whether a text is of the grammar of names: of admins, their groups, and what these open.
pub fn is_name(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"._@-".contains(&c);
    let starts = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
    starts && text.len() <= 63 && text.bytes().all(inner)
}
