//! When values were last changed, for fleets that want to know.
//!
//! `.nixmox/ages.json` is there when the master declares a policy, or while a value that somebody may have read is
//! still to be changed. Names and values stand in it as digests under the key of the other digests: it tells nobody
//! what there is, and nobody without the master's data key makes a value younger.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nixmox_tree::{SecretTree, Value};
use serde::{Deserialize, Serialize};

use crate::digests::{Digest, DigestKey};

/// What is known of one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Of its path and itself.
    value: Digest,
    /// The day on which it was last changed.
    since: String,
    /// The day on which it was learnt that somebody may have read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposed: Option<String>,
    /// Of all that.
    seal: Digest,
}

/// When values were last changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ages {
    version: u32,
    values: BTreeMap<String, Entry>,
}

const VERSION: u32 = 1;

/// What is known of a value that is as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Age {
    /// The day on which it was last changed.
    pub(crate) since: String,
    /// The day on which it was learnt that somebody may have read it.
    pub(crate) exposed: Option<String>,
}

impl Ages {
    /// Reads the file; anything but this version in good form counts as nothing known.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|ages: &Self| ages.version == VERSION)
    }

    /// Returns what is known of a value, if it is still the one that was recorded and an admin recorded it.
    pub(crate) fn of(&self, key: &DigestKey, path: &[String], value: &Value) -> Option<Age> {
        let id = key.name(path);
        let entry = self.values.get(id.as_str())?;
        let sealed = seal(key, &id, entry);
        let known = entry.value.matches(&key.value(path, value)) && entry.seal.matches(&sealed);
        known.then(|| Age { since: entry.since.clone(), exposed: entry.exposed.clone() })
    }

    /// Records the values of a master: what is as it was keeps its day, everything else was changed today.
    pub(crate) fn record(
        known: Option<(&DigestKey, &Self)>,
        key: &DigestKey,
        nodes: &SecretTree,
        exposed: &BTreeSet<Vec<String>>,
        now: Timestamp,
    ) -> Self {
        let today = day(now);
        let mut values = BTreeMap::new();
        for_each_value(nodes, &mut |path, value| {
            let old = known.and_then(|(key, ages)| ages.of(key, path, value));
            let mut age = old.unwrap_or_else(|| Age { since: today.clone(), exposed: None });
            if exposed.contains(path) {
                age.exposed.get_or_insert_with(|| today.clone());
            }
            let id = key.name(path);
            let Age { since, exposed } = age;
            let value = key.value(path, value);
            let mut entry = Entry { value, since, exposed, seal: Digest::default() };
            entry.seal = seal(key, &id, &entry);
            values.insert(id.as_str().to_owned(), entry);
        });
        Self { version: VERSION, values }
    }

    /// Merges three versions, value by value; every entry stays as somebody sealed it.
    ///
    /// Where both sides changed one, that somebody may have read the value outweighs that nobody has; else ours stay.
    pub(crate) fn merged(base: &Self, ours: &Self, theirs: &Self) -> Self {
        let names: BTreeSet<&String> = ours.values.keys().chain(theirs.values.keys()).collect();
        let entry = |name: &String| {
            let [b, o, t] = [base, ours, theirs].map(|ages| ages.values.get(name));
            let entry = match (o, t) {
                _ if b == t => o,
                _ if b == o => t,
                (Some(o), Some(t)) if o.exposed.is_none() && t.exposed.is_some() => Some(t),
                (o, t) => o.or(t),
            };
            entry.map(|entry| (name.clone(), entry.clone()))
        };
        Self { version: VERSION, values: names.into_iter().filter_map(entry).collect() }
    }

    /// Tells whether a value that somebody may have read is still to be changed.
    pub(crate) fn any_exposed(&self) -> bool {
        self.values.values().any(|entry| entry.exposed.is_some())
    }

    /// Leaves out every value of which only the day is known.
    pub(crate) fn exposed_alone(mut self) -> Self {
        self.values.retain(|_, entry| entry.exposed.is_some());
        self
    }

    /// Writes the file, one value a line.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let line = |(id, entry): (&String, &Entry)| {
            format!("    \"{id}\": {}", serde_json::to_string(entry).unwrap_or_default())
        };
        let lines: Vec<String> = self.values.iter().map(line).collect();
        let values = lines.join(",\n");
        format!("{{\n  \"version\": {VERSION},\n  \"values\": {{\n{values}\n  }}\n}}\n")
            .into_bytes()
    }
}

fn seal(key: &DigestKey, id: &Digest, entry: &Entry) -> Digest {
    let exposed = entry.exposed.as_deref().unwrap_or_default();
    let parts = [id.as_str(), entry.value.as_str(), &entry.since, exposed];
    key.digest("age", &parts.map(str::as_bytes))
}

/// Returns the day of a time, as people write it.
pub(crate) fn day(now: Timestamp) -> String {
    let text = now.to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Goes through every value that is written in a master, with its path from its node on.
pub(crate) fn for_each_value(nodes: &SecretTree, visit: &mut dyn FnMut(&Vec<String>, &Value)) {
    nodes.for_each_leaf(&mut |path, value| {
        visit(&path.iter().map(|name| (*name).to_owned()).collect(), value);
    });
}
