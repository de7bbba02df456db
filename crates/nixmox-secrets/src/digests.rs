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

    /// Digests the recipients of the master.
    pub(crate) fn admins(&self, admins: &BTreeSet<String>) -> Digest {
        self.digest("admins", &admins.iter().map(String::as_bytes).collect::<Vec<_>>())
    }

    fn mac(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as KeyInit>::new(self.0.as_slice().into())
    }
}

fn feed(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    mac.update(part);
}

fn feed_tree(mac: &mut Hmac<Sha256>, tree: &SecretTree) {
    feed(mac, &[b'{']);
    for (name, value) in tree {
        feed(mac, name.as_bytes());
        feed_value(mac, value);
    }
    feed(mac, &[b'}']);
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
            feed(mac, &[b'[']);
            items.iter().for_each(|item| feed_value(mac, item));
            feed(mac, &[b']']);
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
    /// Of its sealed file; `None` when it has no secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<Digest>,
    /// Of the values in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<Digest>,
}

/// All digests of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Digests {
    version: u32,
    /// The recipients of the master, and their digest.
    pub(crate) admins: BTreeSet<String>,
    pub(crate) admins_digest: Digest,
    /// Of everything that decides which host gets what: equal inputs need no evaluation.
    pub(crate) inputs: Digest,
    pub(crate) hosts: BTreeMap<String, HostDigests>,
}

const VERSION: u32 = 1;

impl Digests {
    /// Reads the file; anything but this version in good form counts as no digests at all, which costs only time.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|d: &Self| d.version == VERSION)
    }

    /// Starts the digests of a plan.
    pub(crate) fn new(key: &DigestKey, admins: BTreeSet<String>, inputs: Digest) -> Self {
        let admins_digest = key.admins(&admins);
        Self { version: VERSION, admins, admins_digest, inputs, hosts: BTreeMap::new() }
    }

    /// Tells whether the list of admins is the one that an admin recorded.
    pub(crate) fn vouches_for_admins(&self, key: &DigestKey) -> bool {
        self.admins_digest.matches(&key.admins(&self.admins))
    }

    /// Writes the file, one host a line.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, host) in &self.hosts {
            lines.push(format!("    {}: {}", json(name), json(host)));
        }
        format!(
            "{{\n  \"version\": {},\n  \"admins\": {},\n  \"admins_digest\": {},\n  \"inputs\": {},\n  \"hosts\": {{\n{}\n  }}\n}}\n",
            self.version,
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
