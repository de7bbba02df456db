//! What was made: the values, when, and from what.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nixmox_tree::{SecretTree, Value};

use crate::error::RecordsError;
use crate::place::{Item, split};

/// One value that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value: a text, or a set of texts when it has several parts.
    pub(crate) value: Value,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// When it ends, for certificates.
    pub(crate) expires: Option<Timestamp>,
    /// Digest of the declaration that it was made by.
    pub(crate) declaration: String,
    /// Digest of the values that it was made from.
    pub(crate) inputs: String,
}

impl Record {
    /// Returns when it was made.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// Returns when it ends, if it does by itself.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Returns one part of the value.
    pub(crate) fn part(&self, part: &str) -> Option<&Value> {
        match (&self.value, part) {
            (Value::Tree(parts), part) => parts.get(part),
            (value, "") => Some(value),
            _ => None,
        }
    }
}

/// How an item is kept: the host that it is for, and its place as text.
type Key = (Option<String>, String);

/// Everything that was made for a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records(pub(crate) BTreeMap<Key, Record>);

impl Records {
    /// Tells whether nothing was made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts the values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns what was made of an item.
    pub fn get(&self, item: &Item) -> Option<&Record> {
        self.0.get(&key(item))
    }

    pub(crate) fn insert(&mut self, item: &Item, record: Record) {
        self.0.insert(key(item), record);
    }

    /// Names everything that was made, as [`Item`] prints it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.keys().map(|(host, place)| match host {
            None => place.clone(),
            Some(host) => format!("{place} for {host}"),
        })
    }

    /// Makes the tree that is sealed: every leaf of it is a text that is not empty.
    pub fn to_tree(&self) -> SecretTree {
        let mut shared = SecretTree::new();
        let mut hosts: BTreeMap<&str, SecretTree> = BTreeMap::new();
        for ((host, place), record) in &self.0 {
            let at = match host {
                None => &mut shared,
                Some(host) => hosts.entry(host).or_default(),
            };
            at.insert(place.clone(), tree_of(record).into());
        }
        let mut tree = SecretTree::new();
        if !hosts.is_empty() {
            let hosts = hosts.into_iter().map(|(host, tree)| (host.to_owned(), tree.into()));
            tree.insert("hosts", Value::Tree(hosts.collect()));
        }
        if !shared.is_empty() {
            tree.insert("shared", shared.into());
        }
        tree
    }

    /// Reads what [`Records::to_tree`] makes.
    ///
    /// # Errors
    ///
    /// [`RecordsError`] when the tree has another form.
    pub fn from_tree(tree: &SecretTree) -> Result<Self, RecordsError> {
        let mut records = Self::default();
        for (name, value) in tree {
            let Value::Tree(below) = value else { return Err(RecordsError) };
            match name.as_str() {
                "shared" => records.read(None, below)?,
                "hosts" => {
                    for (host, below) in below {
                        let below = below.as_tree().ok_or(RecordsError)?;
                        records.read(Some(host), below)?;
                    }
                }
                _ => return Err(RecordsError),
            }
        }
        Ok(records)
    }

    fn read(&mut self, host: Option<&String>, tree: &SecretTree) -> Result<(), RecordsError> {
        for (place, record) in tree {
            let record = record.as_tree().and_then(record_of).ok_or(RecordsError)?;
            self.0.insert((host.cloned(), place.clone()), record);
        }
        Ok(())
    }
}

/// Tells where the value stands that a leaf of [`Records::to_tree`] is: the host or group, and the names below it.
///
/// `None` for what else is kept there, and for what is no leaf of such a tree.
pub fn value_at(leaf: &[String]) -> Option<Vec<String>> {
    let (host, place, parts) = match leaf {
        [shared, place, value, parts @ ..] if shared == "shared" && value == "value" => {
            (None, place, parts)
        }
        [hosts, host, place, value, parts @ ..] if hosts == "hosts" && value == "value" => {
            (Some(host), place, parts)
        }
        _ => return None,
    };
    let mut names = split(place)?;
    if let (Some(level), Some(host)) = (names.first_mut(), host) {
        level.clone_from(host);
    }
    names.extend(parts.iter().cloned());
    Some(names)
}

fn key(item: &Item) -> Key {
    (item.host.clone(), item.place.to_string())
}

fn tree_of(record: &Record) -> SecretTree {
    let mut tree = SecretTree::new();
    tree.insert("value", record.value.clone());
    tree.insert("made", Value::string(record.made.to_string()));
    if let Some(expires) = record.expires {
        tree.insert("expires", Value::string(expires.to_string()));
    }
    tree.insert("declaration", Value::string(record.declaration.clone()));
    tree.insert("inputs", Value::string(record.inputs.clone()));
    tree
}

fn record_of(tree: &SecretTree) -> Option<Record> {
    let text = |name: &str| tree.get(name).and_then(Value::as_str);
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let value = tree.get("value").filter(|value| match value {
        Value::String(_) => true,
        Value::Tree(parts) => parts.iter().all(|(_, part)| part.as_str().is_some()),
        _ => false,
    });
    let expires = match text("expires") {
        None => None,
        Some(text) => Some(time(text)?),
    };
    Some(Record {
        value: value?.clone(),
        made: time(text("made")?)?,
        expires,
        declaration: text("declaration")?.to_owned(),
        inputs: text("inputs")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::value_at;

    #[track_caller]
    fn check(leaf: &[&str], expect: Option<&[&str]>) {
        let owned = |path: &[&str]| path.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(value_at(&owned(leaf)), expect.map(owned), "{leaf:?}");
    }

    #[test]
    fn leaves_tell_where_their_values_stand() {
        check(&["shared", "web.session", "value"], Some(&["web", "session"]));
        check(&["shared", "web.\"a.b\"", "value", "key"], Some(&["web", "a.b", "key"]));
        check(&["hosts", "w1", "web.wg", "value", "public"], Some(&["w1", "wg", "public"]));
        check(&["hosts", "w1", "web.wg", "made"], None);
        check(&["shared", "web.session", "made"], None);
        check(&["shared", "web..session", "value"], None);
        check(&["other", "web.session", "value"], None);
        check(&[], None);
    }
}
