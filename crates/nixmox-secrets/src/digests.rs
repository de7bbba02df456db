//! The keyed digests that tell, without opening a file, whether it is what this tool sealed from these values.
//!
//! `.nixmox/digests.json` is committed with the fleet. Its key is derived from the master's data key, so only an
//! admin can make or check a digest: to anybody else the file reveals nothing about values and decides nothing.
//! One host a line, so that merges of changes to different hosts are clean.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hkdf::Hkdf;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use nixmox_sops::DataKey;
use nixmox_topology::NodeName;
use nixmox_tree::{SecretTree, Value};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// One keyed digest, as base64 text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(String);

impl Digest {
    /// Returns its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in constant time: a digest read from the repository may be a forger's guess.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// The key of all digests of a fleet.
pub(crate) struct DigestKey(Zeroizing<[u8; 64]>);

impl DigestKey {
    /// Derives the key from the master's data key with HKDF-SHA256.
    pub(crate) fn derive(data_key: &DataKey) -> Self {
        let mut key = Zeroizing::new([0; 64]);
        let hkdf = Hkdf::<Sha256>::new(None, data_key.expose());
        // 64 bytes are far below the limit of HKDF, the only thing that can fail here.
        let _ = hkdf.expand(b"nixmox keyed digests v1", key.as_mut_slice());
        Self(key)
    }

    /// Digests `parts` for the purpose `label`; every part is preceded by its length, so none can flow into another.
    pub(crate) fn digest(&self, label: &str, parts: &[&[u8]]) -> Digest {
        let mut mac = self.mac();
        for part in [label.as_bytes()].iter().chain(parts) {
            feed(&mut mac, part);
        }
        finish(mac)
    }

    /// Derives a key for the structure of one file from that file's own data key.
    pub(crate) fn of_structure(data_key: &DataKey) -> Self {
        let mut key = Zeroizing::new([0; 64]);
        let hkdf = Hkdf::<Sha256>::new(None, data_key.expose());
        // As above: the length is far below the limit.
        let _ = hkdf.expand(b"nixmox structure of a delivery v1", key.as_mut_slice());
        Self(key)
    }

    /// Digests the values of a host for the statement that is signed about its file.
    pub(crate) fn structure(&self, host: &NodeName, tree: &SecretTree) -> [u8; 32] {
        let mut mac = self.mac();
        feed(&mut mac, b"structure");
        feed(&mut mac, host.as_ref().as_bytes());
        feed_tree(&mut mac, tree);
        mac.finalize().into_bytes().into()
    }

    /// Digests how often a host was delivered something signed.
    pub(crate) fn generation(&self, host: &NodeName, generation: u64) -> Digest {
        self.digest("generation", &[host.as_ref().as_bytes(), &generation.to_le_bytes()])
    }

    /// Digests the values that a host should hold.
    pub(crate) fn values(&self, host: &NodeName, tree: &SecretTree) -> Digest {
        let mut mac = self.mac();
        feed(&mut mac, b"values");
        feed(&mut mac, host.as_ref().as_bytes());
        feed_tree(&mut mac, tree);
        finish(mac)
    }

    /// Digests a host's sealed file.
    pub(crate) fn sealed(&self, host: &NodeName, bytes: &[u8]) -> Digest {
        self.digest("sealed", &[host.as_ref().as_bytes(), bytes])
    }

    /// Digests a host's key files.
    pub(crate) fn key(&self, host: &NodeName, key: &[u8], public: &[u8]) -> Digest {
        self.digest("key", &[host.as_ref().as_bytes(), key, public])
    }

    /// Digests the path of a value.
    pub(crate) fn name(&self, path: &[String]) -> Digest {
        let parts: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
        self.digest("name", &parts)
    }

    /// Digests a value and its path.
    pub(crate) fn value(&self, path: &[String], value: &Value) -> Digest {
        let mut mac = self.mac();
        feed(&mut mac, b"value");
        feed_count(&mut mac, path.len());
        path.iter().for_each(|name| feed(&mut mac, name.as_bytes()));
        feed_value(&mut mac, value);
        finish(mac)
    }

    /// Digests the record of the values' ages.
    pub(crate) fn ages(&self, bytes: &[u8]) -> Digest {
        self.digest("ages", &[bytes])
    }

    /// Digests the files of the key that a host is to get.
    pub(crate) fn next(&self, host: &NodeName, key: &[u8], public: &[u8]) -> Digest {
        self.digest("next", &[host.as_ref().as_bytes(), key, public])
    }

    /// Digests the fleet, who may open the master and, where they are others, who may open each host's key.
    fn admins(&self, digests: &Digests) -> Digest {
        let mut mac = self.mac();
        feed(&mut mac, b"admins");
        if let Some(fleet) = &digests.fleet {
            feed(&mut mac, fleet.as_bytes());
        }
        feed_names(&mut mac, &digests.admins);
        for (host, record) in &digests.hosts {
            if let Some(admins) = &record.admins {
                feed(&mut mac, host.as_bytes());
                feed_names(&mut mac, admins);
            }
        }
        finish(mac)
    }

    fn mac(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as KeyInit>::new(self.0.as_slice().into())
    }
}

fn feed(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    mac.update(part);
}

/// Feeds how many parts follow: an end mark could be mistaken for a part that reads the same.
fn feed_count(mac: &mut Hmac<Sha256>, count: usize) {
    mac.update(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
}

fn feed_names(mac: &mut Hmac<Sha256>, names: &BTreeSet<String>) {
    feed_count(mac, names.len());
    names.iter().for_each(|name| feed(mac, name.as_bytes()));
}

fn feed_tree(mac: &mut Hmac<Sha256>, tree: &SecretTree) {
    feed_count(mac, tree.len());
    for (name, value) in tree {
        feed(mac, name.as_bytes());
        feed_value(mac, value);
    }
}

fn feed_value(mac: &mut Hmac<Sha256>, value: &Value) {
    feed(mac, value.type_name().as_bytes());
    match value {
        Value::Null => {}
        Value::Bool(truth) => feed(mac, &[u8::from(**truth)]),
        Value::Int(number) => feed(mac, &number.to_le_bytes()),
        Value::Float(number) => feed(mac, &number.to_le_bytes()),
        Value::String(text) => feed(mac, text.expose().as_bytes()),
        Value::List(items) => {
            feed_count(mac, items.len());
            items.iter().for_each(|item| feed_value(mac, item));
        }
        Value::Tree(tree) => feed_tree(mac, tree),
    }
}

fn finish(mac: Hmac<Sha256>) -> Digest {
    Digest(STANDARD_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The digests of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct HostDigests {
    /// Of its key files.
    pub(crate) key: Digest,
    /// Who can open its key, when they are others than those of the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admins: Option<BTreeSet<String>>,
    /// Of the files of the key that it is to get, while its key is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Digest>,
    /// Of its sealed file; `None` when it has no secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<Digest>,
    /// Of the values in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<Digest>,
    /// How often it was delivered something signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<Sent>,
}

/// A number that only grows, and its digest: without it, whoever writes the file could make it too large to grow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) digest: Digest,
}

/// All digests of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Digests {
    version: u32,
    /// The fleet, once it has a roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fleet: Option<String>,
    /// The recipients of the master.
    pub(crate) admins: BTreeSet<String>,
    /// Of those, and of the recipients of each host's key.
    pub(crate) admins_digest: Digest,
    /// Of everything that decides which host gets what: equal inputs need no evaluation.
    pub(crate) inputs: Digest,
    /// Of the record of the values' ages, if there is one.
    #[serde(default)]
    pub(crate) ages: Option<Digest>,
    pub(crate) hosts: BTreeMap<String, HostDigests>,
}

const VERSION: u32 = 1;

impl Digests {
    /// Reads the file; anything but this version in good form counts as no digests at all, which costs only time.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|d: &Self| d.version == VERSION)
    }

    /// Gathers the digests of a plan.
    pub(crate) fn new(
        key: &DigestKey,
        (fleet, admins): (Option<String>, BTreeSet<String>),
        inputs: Digest,
        hosts: BTreeMap<String, HostDigests>,
    ) -> Self {
        let mut digests = Self {
            version: VERSION,
            fleet,
            admins,
            admins_digest: Digest::default(),
            inputs,
            ages: None,
            hosts,
        };
        digests.admins_digest = key.admins(&digests);
        digests
    }

    /// Tells whether the recipients in it are those that an admin recorded.
    pub(crate) fn vouches_for_admins(&self, key: &DigestKey) -> bool {
        self.admins_digest.matches(&key.admins(self))
    }

    /// Writes the file, one host a line.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, host) in &self.hosts {
            lines.push(format!("    {}: {}", json(name), json(host)));
        }
        let ages = self.ages.iter().map(|ages| format!("  \"ages\": {},\n", json(ages)));
        let ages: String = ages.collect();
        let fleet = self.fleet.as_ref().map(|fleet| format!("  \"fleet\": {},\n", json(fleet)));
        format!(
            "{{\n  \"version\": {},\n{}  \"admins\": {},\n  \"admins_digest\": {},\n  \"inputs\": {},\n{ages}  \"hosts\": {{\n{}\n  }}\n}}\n",
            self.version,
            fleet.unwrap_or_default(),
            json(&self.admins),
            json(&self.admins_digest),
            json(&self.inputs),
            lines.join(",\n"),
        )
        .into_bytes()
    }
}

/// Writes one of the plain types above as JSON; none of them can fail to be written.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DigestKey {
        DigestKey(Zeroizing::new([byte; 64]))
    }

    fn tree(leaves: &[(&[&str], &str)]) -> SecretTree {
        let mut tree = SecretTree::new();
        for (path, value) in leaves {
            tree.insert_at(path, Value::string(*value)).expect("free");
        }
        tree
    }

    #[track_caller]
    fn differ(one: &SecretTree, other: &SecretTree) {
        let host = NodeName::parse("h").expect("a good name");
        assert_ne!(key(1).values(&host, one), key(1).values(&host, other));
    }

    #[test]
    fn no_two_trees_have_one_digest() {
        differ(&tree(&[(&["a"], "bc")]), &tree(&[(&["ab"], "c")]));
        differ(&tree(&[(&["a", "b"], "c")]), &tree(&[(&["a"], "c"), (&["b"], "c")]));
        // Names and values that read like the parts around them.
        differ(
            &tree(&[(&["k", "a"], "1"), (&["string"], "}")]),
            &tree(&[(&["k", "a"], "1"), (&["k", "}"], "string")]),
        );
        let list = |items: &[&str]| {
            let items = items.iter().map(|i| Value::string(*i)).collect();
            [("l".to_owned(), Value::List(items))].into_iter().collect::<SecretTree>()
        };
        differ(&list(&["a", "b"]), &list(&["ab"]));
        differ(&list(&["a"]), &tree(&[(&["l"], "a")]));
    }

    #[test]
    fn a_digest_is_of_one_key_host_and_purpose() {
        let [a, b] = ["a", "b"].map(|name| NodeName::parse(name).expect("a good name"));
        let sealed = key(1).sealed(&a, b"x");
        assert!(sealed.matches(&key(1).sealed(&a, b"x")));
        assert!(!sealed.matches(&key(2).sealed(&a, b"x")));
        assert!(!sealed.matches(&key(1).sealed(&b, b"x")));
        assert!(!sealed.matches(&key(1).key(&a, b"x", b"")));
        assert!(!sealed.matches(&Digest::default()));
    }

    #[test]
    fn the_file_is_read_back_and_its_admins_cannot_be_moved() {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let apart = HostDigests { admins: Some(set(&["age1c"])), ..HostDigests::default() };
        let hosts = [("w".to_owned(), apart), ("x".to_owned(), HostDigests::default())];
        let inputs = key(1).digest("inputs", &[]);
        let digests = Digests::new(&key(1), (None, set(&["age1a"])), inputs, hosts.into());
        let read = Digests::parse(&digests.to_bytes()).expect("its own form");
        assert_eq!(read, digests);
        assert!(read.vouches_for_admins(&key(1)));
        assert!(!read.vouches_for_admins(&key(2)));
        let mut named = read.clone();
        named.fleet = Some("f".to_owned());
        assert!(!named.vouches_for_admins(&key(1)));
        let mut moved = read.clone();
        let record = moved.hosts.remove("w").expect("it is there");
        moved.hosts.insert("x".to_owned(), record);
        assert!(!moved.vouches_for_admins(&key(1)));
        let mut more = read;
        more.admins.insert("age1b".to_owned());
        assert!(!more.vouches_for_admins(&key(1)));
    }

    #[test]
    fn what_is_no_digests_file_counts_as_none() {
        for text in ["", "null", "{}", "[1]", "{\"version\": 2}", "<<<<<<< ours"] {
            assert_eq!(Digests::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
