//! The `sops` block: read in every layout that sops ever wrote, written in that of 3.13.

use crate::error::{MAX_RECIPIENTS, MetadataError};
use crate::node::{Entry, Item, Node};
use crate::rule::Rule;
use crate::time;

/// What a file says about itself; nothing of it is authenticated but the time, and that through the MAC.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub(crate) age: Vec<Wrapped>,
    pub(crate) groups: Vec<Vec<Wrapped>>,
    pub(crate) threshold: Option<usize>,
    /// Whether key groups or a threshold stand in the file, even where sops ignores them.
    pub(crate) groups_given: bool,
    pub(crate) last_modified: String,
    pub(crate) mac: Option<String>,
    pub(crate) rule: Rule,
    /// Whether the rule stands in the file.
    pub(crate) rule_given: bool,
    pub(crate) mac_only_encrypted: bool,
    pub(crate) version: String,
    /// Key services other than age that have keys here.
    pub(crate) foreign: Vec<String>,
    pub(crate) unknown: Vec<String>,
}

/// The data key for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) recipient: String,
    pub(crate) enc: String,
}

const FOREIGN: [&str; 6] = ["kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp"];
const OTHER: [&str; 7] = [
    "age",
    "key_groups",
    "shamir_threshold",
    "lastmodified",
    "mac",
    "mac_only_encrypted",
    "version",
];

impl Metadata {
    /// Returns the time of the last change as it was hashed.
    pub fn last_modified(&self) -> &str {
        &self.last_modified
    }

    /// Returns the version of sops that the file names.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the selection rule, the default one when none is given.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Tells whether the MAC covers sealed values alone.
    pub fn mac_only_encrypted(&self) -> bool {
        self.mac_only_encrypted
    }

    /// Counts the key groups, when there are several.
    pub fn key_groups(&self) -> usize {
        self.groups.len()
    }

    /// Returns the labels of the recipients by group; one group when there are none in the file.
    pub fn groups(&self) -> Vec<Vec<&str>> {
        match self.groups.as_slice() {
            [] => vec![labels(&self.age)],
            groups => groups.iter().map(|keys| labels(keys)).collect(),
        }
    }

    /// Returns how many key groups must come together, as the file says.
    pub fn threshold(&self) -> Option<usize> {
        self.threshold
    }

    /// Tells whether the file has a MAC.
    pub fn has_mac(&self) -> bool {
        self.mac.is_some()
    }

    /// Returns the labels of all recipients; a label is not authenticated and may lie.
    pub fn recipients(&self) -> Vec<&str> {
        self.wrapped().map(|wrapped| wrapped.recipient.as_str()).collect()
    }

    /// Goes through the wrapped keys that count: those at the top, or else those of the groups.
    pub(crate) fn wrapped(&self) -> impl Iterator<Item = &Wrapped> {
        self.age.iter().chain(self.groups.iter().flatten())
    }

    pub(crate) fn read(node: &Node) -> Result<Self, MetadataError> {
        let Node::Map(entries) = node else { return Err(MetadataError::NotAMap) };
        let (rule, rule_given) = read_rule(node)?;
        let age = read_keys(node.get("age"))?;
        let groups = match node.get("key_groups") {
            Some(Node::List(items)) if age.is_empty() => nodes(items)
                .map(|group| read_keys(group.get("age")))
                .collect::<Result<Vec<_>, _>>()?,
            Some(Node::List(_) | Node::Null) | None => Vec::new(),
            Some(_) => return Err(MetadataError::Type("key_groups")),
        };
        let last_modified = match node.get("lastmodified") {
            Some(Node::Str(_)) => node.get("lastmodified").and_then(Node::as_str),
            _ => None,
        };
        let last_modified =
            last_modified.and_then(time::rfc3339).ok_or(MetadataError::LastModified)?;
        let version = text(node, "version")?.filter(|text| is_version(text));
        let known = |name: &str| {
            FOREIGN.contains(&name) || OTHER.contains(&name) || Rule::NAMES.contains(&name)
        };
        let names = || {
            entries.iter().filter_map(|entry| match entry {
                Entry::Pair(name, node) => Some((name, node)),
                Entry::Comment(_) => None,
            })
        };
        let found = Self {
            age,
            groups,
            groups_given: ["key_groups", "shamir_threshold"]
                .iter()
                .any(|name| node.get(name).is_some_and(|node| !is_empty(node))),
            threshold: text(node, "shamir_threshold")?.and_then(|text| text.parse().ok()),
            last_modified: time::without_fraction(&last_modified),
            mac: text(node, "mac")?.filter(|mac| !mac.is_empty()),
            rule,
            rule_given,
            mac_only_encrypted: match text(node, "mac_only_encrypted")?.as_deref() {
                None | Some("" | "false" | "0") => false,
                Some("true" | "1") => true,
                Some(_) => return Err(MetadataError::Type("mac_only_encrypted")),
            },
            version: version.ok_or(MetadataError::Version)?,
            foreign: names()
                .filter(|(name, node)| FOREIGN.contains(&name.as_str()) && !is_empty(node))
                .map(|(name, _)| name.clone())
                .collect(),
            unknown: names()
                .filter(|(name, _)| !known(name))
                .map(|(name, _)| name.clone())
                .collect(),
        };
        match found.wrapped().count() {
            0 if found.foreign.is_empty() => Err(MetadataError::NoRecipients),
            count if count > MAX_RECIPIENTS => Err(MetadataError::TooManyRecipients),
            _ => Ok(found),
        }
    }

    /// Makes the block as sops 3.13 writes it: alphabetical at every level.
    pub(crate) fn write(&self) -> Node {
        let pair = |name: &str, node| Entry::Pair(name.to_owned(), node);
        let mut entries = vec![
            pair("lastmodified", Node::text(self.last_modified.as_str())),
            pair("mac", Node::text(self.mac.as_deref().unwrap_or_default())),
            pair("version", Node::text(self.version.as_str())),
        ];
        if self.groups.is_empty() {
            entries.push(pair("age", written_keys(&self.age)));
        } else {
            let groups = self.groups.iter().map(|keys| {
                // sops writes this empty list too.
                let services = pair("hc_vault", Node::List(Vec::new()));
                Item::Node(Node::Map(vec![pair("age", written_keys(keys)), services]))
            });
            entries.push(pair("key_groups", Node::List(groups.collect())));
        }
        if let Some(threshold) = self.threshold.and_then(|number| i64::try_from(number).ok()) {
            entries.push(pair("shamir_threshold", Node::int(threshold)));
        }
        if self.mac_only_encrypted {
            entries.push(pair("mac_only_encrypted", Node::bool(true)));
        }
        if self.rule_given {
            entries.push(pair(self.rule.name(), Node::str(self.rule.text())));
        }
        entries.sort_by(|a, b| match (a, b) {
            (Entry::Pair(a, _), Entry::Pair(b, _)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        Node::Map(entries)
    }
}

fn labels(keys: &[Wrapped]) -> Vec<&str> {
    keys.iter().map(|wrapped| wrapped.recipient.as_str()).collect()
}

fn written_keys(keys: &[Wrapped]) -> Node {
    let pair = |name: &str, text: &str| Entry::Pair(name.to_owned(), Node::text(text));
    let key = |wrapped: &Wrapped| {
        let fields = vec![pair("enc", &wrapped.enc), pair("recipient", &wrapped.recipient)];
        Item::Node(Node::Map(fields))
    };
    Node::List(keys.iter().map(key).collect())
}

fn nodes(items: &[Item]) -> impl Iterator<Item = &Node> {
    items.iter().filter_map(|item| match item {
        Item::Node(node) => Some(node),
        Item::Comment(_) => None,
    })
}

fn is_empty(node: &Node) -> bool {
    match node {
        Node::Null => true,
        Node::List(items) => items.is_empty(),
        _ => false,
    }
}

/// Reads a scalar as text, whatever its type, as sops' decoder does.
fn text(node: &Node, name: &'static str) -> Result<Option<String>, MetadataError> {
    match node.get(name) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Bool(truth)) => Ok(Some(truth.to_string())),
        Some(Node::Time(_) | Node::List(_) | Node::Map(_)) => Err(MetadataError::Type(name)),
        Some(scalar) => {
            let plain = scalar.plain().map(|(_, plain)| plain.bytes().to_vec());
            let text = plain.and_then(|bytes| String::from_utf8(bytes).ok());
            text.map(Some).ok_or(MetadataError::Type(name))
        }
    }
}

fn read_keys(list: Option<&Node>) -> Result<Vec<Wrapped>, MetadataError> {
    let items = match list {
        None | Some(Node::Null) => return Ok(Vec::new()),
        Some(Node::List(items)) => items,
        Some(_) => return Err(MetadataError::Type("age")),
    };
    nodes(items)
        .map(|key| match key {
            Node::Map(_) => Ok(Wrapped {
                recipient: text(key, "recipient")?.unwrap_or_default(),
                enc: text(key, "enc")?.unwrap_or_default(),
            }),
            _ => Err(MetadataError::Type("age")),
        })
        .collect()
}

fn read_rule(node: &Node) -> Result<(Rule, bool), MetadataError> {
    let mut found = None;
    for name in Rule::NAMES {
        let Some(text) = text(node, name)?.filter(|text| !text.is_empty()) else { continue };
        if found.is_some() {
            return Err(MetadataError::SeveralRules);
        }
        found = Rule::from_parts(name, text);
    }
    let given = found.is_some();
    Ok((found.unwrap_or_default(), given))
}

/// Semantic version after an optional `v`; what starts with `1.` is taken without a look.
fn is_version(text: &str) -> bool {
    if text.starts_with("1.") {
        return true;
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = core.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let tail = text.get(core.len()..).unwrap_or_default();
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
    parts.len() == 3 && parts.iter().all(number) && tail.chars().all(clean) && tail.len() != 1
}
