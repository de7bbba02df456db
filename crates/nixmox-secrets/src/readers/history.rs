//! Who could ever read what: from the committed versions of sealed files.
//!
//! What is in the history stays readable to whoever it was sealed to. Versions come from whoever embeds this; they
//! are as hostile as anything in a repository.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_hostkey::HostPublicKey;
use nixmox_sops::{EncryptedFile, Format, Identities, WrappedKey};
use rayon::prelude::*;

use super::look::generated_names;

/// One committed version of a file.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its path from the fleet's root.
    pub path: String,
    /// The commit that brought it.
    pub commit: Commit,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A commit, ordered by its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Commit {
    /// When, in seconds since 1970, as the commit claims.
    pub seconds: i64,
    /// Its name.
    pub id: String,
}

/// What a file of a fleet is, by its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The master.
    Master,
    /// The sealed values that were generated.
    Generated,
    /// The sealed values of a host.
    Sealed(String),
    /// The sealed private key of a host, or of the key that it was to get.
    Key(String),
    /// The public half of one.
    Public(String),
}

impl Place {
    /// Tells what lies at a path, in any arrangement; the host may be one that the fleet does not have any more.
    pub fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix("private/").unwrap_or(path);
        if path == "secrets.yaml" {
            return Some(Self::Master);
        }
        if path == ".nixmox/generated.yaml" {
            return Some(Self::Generated);
        }
        let (dir, file) = path.strip_prefix("nodes/")?.rsplit_once('/')?;
        let dir = ["/secrets/fs/etc/ssh", "/fs/etc/ssh", "/secrets"]
            .iter()
            .find_map(|nested| dir.strip_suffix(nested))
            .unwrap_or(dir);
        let host = dir.rsplit('/').next()?.to_owned();
        match file {
            "secrets.yaml" | "default.yaml" => Some(Self::Sealed(host)),
            "ssh_host_ed25519_key" | "ssh_host_ed25519_key.next" => Some(Self::Key(host)),
            "ssh_host_ed25519_key.pub" | "ssh_host_ed25519_key.next.pub" => {
                Some(Self::Public(host))
            }
            _ => None,
        }
    }
}

/// Somebody who opens a version: a label, and the types of the stanzas below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The label; it may lie.
    pub recipient: String,
    /// The stanzas; more than one means that more people open it than are named.
    pub stanzas: Vec<String>,
    /// What the keys at hand tell about the label.
    pub proof: Proof,
}

/// What keys at hand tell about a label of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Its own key opens what stands under it.
    Opened,
    /// Its own key does not: it was sealed to somebody else, or to nobody.
    Refuted,
    /// Somebody else's key opens it.
    OpenedByOther,
    /// Nothing.
    Unknown,
}

/// All versions of a file that were sealed to the same people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Era {
    /// Those people.
    pub readers: BTreeSet<Named>,
    /// The names of the values that any of the versions held, where they are readable without a key; of generated
    /// values they begin with the host or group.
    pub names: BTreeSet<Vec<String>>,
    /// The first commit that brought one.
    pub first: Commit,
    /// The last commit that brought one.
    pub last: Commit,
}

/// The committed versions of a fleet's sealed files, put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Each file's eras, by path.
    pub files: BTreeMap<String, Vec<Era>>,
    /// The hosts that ever had a public key, by the key's recipient.
    pub owners: BTreeMap<String, BTreeSet<String>>,
    /// How many versions could not be read as what their path says.
    pub unread: usize,
}

/// What one version tells.
enum Told {
    Era(BTreeSet<Named>, BTreeSet<Vec<String>>),
    Owner(String, String),
    Nothing,
}

impl History {
    /// Adds versions, on all cores, and tries keys on them; those of other files are passed over.
    ///
    /// Keys are tried only when all of them tell whose they are: a plugin would want a touch for every version.
    pub fn add(&mut self, versions: Vec<Version>, identities: &Identities) {
        let told: Vec<(Version, Told)> = versions
            .into_par_iter()
            .filter_map(|version| {
                let place = Place::of(&version.path)?;
                let told = tell(&place, &version.bytes, identities);
                Some((Version { bytes: Vec::new(), ..version }, told))
            })
            .collect();
        for (version, told) in told {
            match told {
                Told::Nothing => self.unread = self.unread.saturating_add(1),
                Told::Owner(recipient, host) => {
                    self.owners.entry(recipient).or_default().insert(host);
                }
                Told::Era(readers, names) => self.extend(version, readers, names),
            }
        }
    }

    fn extend(&mut self, version: Version, readers: BTreeSet<Named>, names: BTreeSet<Vec<String>>) {
        let Version { path, commit, .. } = version;
        let eras = self.files.entry(path).or_default();
        match eras.iter_mut().find(|era| era.readers == readers) {
            Some(era) => {
                era.names.extend(names);
                era.first = era.first.clone().min(commit.clone());
                era.last = era.last.clone().max(commit);
            }
            None => eras.push(Era { readers, names, first: commit.clone(), last: commit }),
        }
    }

    /// Names every value that a host could ever read: in files of its place, or sealed to a key that was its own.
    pub fn readable_by_host(&self, host: &str) -> BTreeSet<Vec<String>> {
        let its = |label: &str| self.owners.get(label).is_some_and(|hosts| hosts.contains(host));
        let mut names = BTreeSet::new();
        for (path, eras) in &self.files {
            let own = match Place::of(path) {
                Some(Place::Sealed(name)) => name == host,
                _ => continue,
            };
            let read = |era: &&Era| own || era.readers.iter().any(|r| its(&r.recipient));
            eras.iter().filter(read).for_each(|era| names.extend(era.names.iter().cloned()));
        }
        names
    }
}

fn tell(place: &Place, bytes: &[u8], identities: &Identities) -> Told {
    let format = match place {
        Place::Public(host) => {
            let key = HostPublicKey::parse(&String::from_utf8_lossy(bytes));
            return key.map_or(Told::Nothing, |key| Told::Owner(key.age_recipient(), host.clone()));
        }
        Place::Sealed(_) | Place::Generated => Format::Yaml,
        Place::Key(_) => Format::Binary,
        Place::Master => crate::master::sealed_format(bytes),
    };
    let Ok(file) = EncryptedFile::parse(bytes, format) else { return Told::Nothing };
    let named = file.wrapped_keys().map(|wrapped| Named {
        recipient: wrapped.label().to_owned(),
        stanzas: wrapped.stanzas().unwrap_or_default(),
        proof: prove(wrapped, identities),
    });
    let readers = named.collect();
    let names = match (place, format) {
        (Place::Generated, _) => generated_names(&file),
        (_, Format::Yaml) => file.names().into_iter().collect(),
        _ => BTreeSet::new(),
    };
    Told::Era(readers, names)
}

fn prove(wrapped: WrappedKey<'_>, identities: &Identities) -> Proof {
    let known = identities.recipients();
    if known.len() < identities.len() {
        return Proof::Unknown;
    }
    let own = known.iter().any(|recipient| recipient.as_str() == wrapped.label());
    match (own, wrapped.open_with(identities).is_some()) {
        (true, true) => Proof::Opened,
        (true, false) => Proof::Refuted,
        (false, true) => Proof::OpenedByOther,
        (false, false) => Proof::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expect: Option<Place>) {
        assert_eq!(Place::of(path), expect, "{path}");
    }

    #[test]
    fn paths_tell_what_lies_there_in_any_arrangement() {
        let host = || "w1".to_owned();
        check("secrets.yaml", Some(Place::Master));
        check("private/secrets.yaml", Some(Place::Master));
        check(".nixmox/generated.yaml", Some(Place::Generated));
        check("private/.nixmox/generated.yaml", Some(Place::Generated));
        check("nodes/w1/secrets.yaml", Some(Place::Sealed(host())));
        check("private/nodes/web/w1/secrets/default.yaml", Some(Place::Sealed(host())));
        check("nodes/web/w1/secrets/fs/etc/ssh/ssh_host_ed25519_key", Some(Place::Key(host())));
        check("nodes/w1/ssh_host_ed25519_key.next", Some(Place::Key(host())));
        check("nodes/w1/fs/etc/ssh/ssh_host_ed25519_key.pub", Some(Place::Public(host())));
        for path in [
            "",
            "x/secrets.yaml",
            "nodes/secrets.yaml",
            "nodes/w1/node.nix",
            "docs/nodes/a/secrets.yaml",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn what_is_no_sealed_file_is_counted() {
        let commit = Commit::default();
        let mut history = History::default();
        for (path, text) in
            [("secrets.yaml", "a: b"), ("nodes/w/secrets.yaml", "\0"), ("nodes/w/x", "")]
        {
            let (path, bytes) = (path.to_owned(), text.as_bytes().to_vec());
            history.add(vec![Version { path, commit: commit.clone(), bytes }], &Identities::new());
        }
        assert_eq!(history, History { unread: 2, ..History::default() });
    }
}
