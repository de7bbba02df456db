//! `.sops.yaml`: who gets which file.

use std::sync::OnceLock;

use regex::bytes::Regex;

use crate::documents::Indent;
use crate::error::{PlainError, PlainErrorKind};
use crate::groups::{KeyGroups, KeyGroupsError};
use crate::node::{Item, Node};
use crate::recipient::{Recipient, RecipientError};
use crate::rule::{Rule, go_regex};
use crate::yaml;

/// The creation rules of a repository; like sops, it checks a rule only when it is chosen.
#[derive(Clone)]
pub struct CreationRules {
    rules: Option<Vec<Written>>,
    indent: Result<Indent, ConfigError>,
}

/// A rule as it is written, and what reading it gave: a fleet asks for thousands of files.
#[derive(Clone)]
struct Written {
    node: Node,
    pattern: OnceLock<Result<Option<Regex>, ConfigError>>,
    read: OnceLock<Result<CreationRule, ConfigError>>,
}

impl std::fmt::Debug for CreationRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreationRules({})", self.rules.as_ref().map_or(0, Vec::len))
    }
}

/// What the first matching rule says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreationRule {
    /// Who can open it, in the order of the rule; the flat form may name one twice. Empty with key groups.
    pub recipients: Vec<Recipient>,
    /// Several groups of which some number must come together.
    pub key_groups: Option<KeyGroups>,
    /// How many groups are needed, when the rule says so.
    pub shamir_threshold: Option<usize>,
    /// Which values are sealed; the default when the rule does not say.
    pub rule: Rule,
    /// Whether the rule says which values are sealed.
    pub rule_given: bool,
    /// Whether the MAC covers sealed values alone.
    pub mac_only_encrypted: bool,
    /// How the file is indented.
    pub indent: Indent,
}

/// Why `.sops.yaml` gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not YAML with a map at the top, or a key stands twice.
    #[error("not a readable .sops.yaml")]
    Document(#[from] PlainError),
    /// A field does not have the type it must have.
    #[error("field `{0}` has the wrong type")]
    Type(&'static str),
    /// There are no creation rules.
    #[error("no creation rules")]
    NoRules,
    /// No rule matches the file.
    #[error("no creation rule matches")]
    NoMatch,
    /// The pattern of a rule is not one.
    #[error("a pattern of a creation rule is not valid")]
    Pattern,
    /// More than one selection rule is given.
    #[error("more than one selection rule")]
    SeveralRules,
    /// A recipient is not one.
    #[error("recipient {position} of the creation rule")]
    Recipient {
        /// Its position, from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: RecipientError,
    },
    /// The rule or one of its key groups has no recipient.
    #[error("no recipients in the creation rule")]
    NoRecipients,
    /// The key groups of the rule and its threshold do not fit together.
    #[error("the key groups of the creation rule")]
    KeyGroups(#[from] KeyGroupsError),
    /// The rule asks for several key groups where one is needed.
    #[error("several key groups (Shamir) are not for files of a fleet")]
    SeveralGroups,
    /// The rule names keys of a service other than age.
    #[error("keys of `{0}` cannot be written, only age's")]
    Foreign(&'static str),
    /// An indentation is negative or not a number.
    #[error("an indentation is out of range")]
    Indent,
}

const FOREIGN: [&str; 12] = [
    "kms",
    "gcp_kms",
    "hckms",
    "azure_keyvault",
    "azure_kv",
    "hc_vault",
    "hc_vault_transit_uri",
    "hc_vault_uris",
    "vault",
    "pgp",
    "gcp_kms_resource_id",
    "hc_kms",
];

impl CreationRules {
    /// Reads `.sops.yaml`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Document`] or [`ConfigError::Type`]; everything else shows when a rule is chosen.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let docs = match yaml::compose(text) {
            Ok(found) => found.docs,
            Err(PlainError { kind: PlainErrorKind::Empty, .. }) => Vec::new(),
            Err(e) => return Err(e.into()),
        };
        let top = Node::Map(docs.into_iter().next().unwrap_or_default());
        let rules = match top.get("creation_rules") {
            None | Some(Node::Null) => None,
            Some(Node::List(items)) => Some(nodes(items).cloned().collect::<Vec<_>>()),
            Some(_) => return Err(ConfigError::Type("creation_rules")),
        };
        for rule in rules.iter().flatten() {
            check_types(rule)?;
        }
        let rules = rules.map(|rules| rules.into_iter().map(Written::new).collect());
        Ok(Self { rules, indent: indent(&top) })
    }

    /// Returns what the first rule for a file says.
    ///
    /// `path` is relative to the directory of `.sops.yaml`, or absolute for a file outside of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: no rule, no match, or what is wrong with the chosen rule.
    pub fn rule_for(&self, path: &str) -> Result<CreationRule, ConfigError> {
        let rule = self.settings_for(path)?;
        if rule.recipients.is_empty() && rule.key_groups.is_none() {
            return Err(ConfigError::NoRecipients);
        }
        Ok(rule)
    }

    /// Returns how files are indented, whatever rule is for them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Indent`].
    pub fn indent(&self) -> Result<Indent, ConfigError> {
        self.indent.clone()
    }

    /// Returns what the first rule for a file says, which may be no recipient at all.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], as [`rule_for`](Self::rule_for).
    pub fn settings_for(&self, path: &str) -> Result<CreationRule, ConfigError> {
        let rules = self.rules.as_ref().ok_or(ConfigError::NoRules)?;
        for rule in rules {
            if rule.matches(path)? {
                return rule.read.get_or_init(|| self.read_rule(&rule.node)).clone();
            }
        }
        Err(ConfigError::NoMatch)
    }

    fn read_rule(&self, rule: &Node) -> Result<CreationRule, ConfigError> {
        let (recipients, key_groups) = match rule.get("key_groups") {
            Some(Node::List(items)) if !items.is_empty() => {
                let groups = nodes(items).map(group_of).collect::<Result<Vec<_>, _>>()?;
                match <[_; 1]>::try_from(groups) {
                    Ok([one]) if one.is_empty() => return Err(ConfigError::NoRecipients),
                    Ok([one]) => (one, None),
                    Err(several) => (Vec::new(), Some(KeyGroups::new(several, threshold(rule))?)),
                }
            }
            _ => {
                refuse_foreign(rule)?;
                (flat_recipients(rule)?, None)
            }
        };
        let mut selection = None;
        for name in Rule::NAMES {
            let Some(text) = text(rule, name)?.filter(|text| !text.is_empty()) else { continue };
            if selection.is_some() {
                return Err(ConfigError::SeveralRules);
            }
            selection = Rule::from_parts(name, text);
        }
        let rule_given = selection.is_some();
        let selection = selection.unwrap_or_default();
        selection.compile().ok_or(ConfigError::Pattern)?;
        let mac_only_encrypted =
            matches!(rule.get("mac_only_encrypted"), Some(Node::Bool(b)) if **b);
        let indent = self.indent.clone()?;
        Ok(CreationRule {
            recipients,
            key_groups,
            shamir_threshold: threshold(rule),
            rule: selection,
            rule_given,
            mac_only_encrypted,
            indent,
        })
    }
}

impl Written {
    fn new(node: Node) -> Self {
        Self { node, pattern: OnceLock::new(), read: OnceLock::new() }
    }

    fn matches(&self, path: &str) -> Result<bool, ConfigError> {
        let compiled = || match text(&self.node, "path_regex")? {
            Some(pattern) if !pattern.is_empty() => compile(&pattern).map(Some),
            _ => Ok(None),
        };
        let pattern = self.pattern.get_or_init(compiled).as_ref().map_err(Clone::clone)?;
        Ok(pattern.as_ref().is_none_or(|pattern| pattern.is_match(path.as_bytes())))
    }
}

fn nodes(items: &[Item]) -> impl Iterator<Item = &Node> {
    items.iter().filter_map(|item| match item {
        Item::Node(node) => Some(node),
        Item::Comment(_) => None,
    })
}

fn compile(pattern: &str) -> Result<Regex, ConfigError> {
    go_regex(pattern).ok_or(ConfigError::Pattern)
}

fn text(node: &Node, name: &'static str) -> Result<Option<String>, ConfigError> {
    match node.get(name) {
        None | Some(Node::Null) => Ok(None),
        Some(found) => {
            found.as_str().map(|text| Some(text.to_owned())).ok_or(ConfigError::Type(name))
        }
    }
}

/// Checks what sops' decoder checks of every rule before one is chosen.
fn check_types(rule: &Node) -> Result<(), ConfigError> {
    if !matches!(rule, Node::Map(_)) {
        return Err(ConfigError::Type("creation_rules"));
    }
    for name in ["path_regex"].into_iter().chain(Rule::NAMES) {
        text(rule, name)?;
    }
    match rule.get("shamir_threshold") {
        None | Some(Node::Null | Node::Int(_)) => {}
        Some(_) => return Err(ConfigError::Type("shamir_threshold")),
    }
    match rule.get("mac_only_encrypted") {
        None | Some(Node::Null | Node::Bool(_)) => {}
        Some(_) => return Err(ConfigError::Type("mac_only_encrypted")),
    }
    match rule.get("key_groups") {
        None | Some(Node::Null) => Ok(()),
        Some(Node::List(groups)) => nodes(groups).try_for_each(check_group),
        Some(_) => Err(ConfigError::Type("key_groups")),
    }
}

fn check_group(group: &Node) -> Result<(), ConfigError> {
    if !matches!(group, Node::Map(_)) {
        return Err(ConfigError::Type("key_groups"));
    }
    match group.get("age") {
        None | Some(Node::Null | Node::List(_)) => {}
        Some(_) => return Err(ConfigError::Type("age")),
    }
    match group.get("merge") {
        None | Some(Node::Null) => Ok(()),
        Some(Node::List(groups)) => nodes(groups).try_for_each(check_group),
        Some(_) => Err(ConfigError::Type("merge")),
    }
}

fn refuse_foreign(node: &Node) -> Result<(), ConfigError> {
    let used = |name: &&&str| match node.get(name) {
        None | Some(Node::Null) => false,
        Some(Node::List(items)) => !items.is_empty(),
        Some(Node::Str(text)) => !text.is_empty(),
        Some(_) => true,
    };
    FOREIGN.iter().find(used).map_or(Ok(()), |name| Err(ConfigError::Foreign(name)))
}

/// Reads a group, everybody once.
fn group_of(group: &Node) -> Result<Vec<Recipient>, ConfigError> {
    let mut found = Vec::new();
    group_recipients(group, &mut found)?;
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|recipient| seen.insert(recipient.clone()));
    Ok(found)
}

/// Reads how many groups are needed; a negative number is too low for anything.
fn threshold(rule: &Node) -> Option<usize> {
    match rule.get("shamir_threshold") {
        Some(Node::Int(number)) => Some(usize::try_from(**number).unwrap_or(1)),
        _ => None,
    }
}

/// Reads a group: first those it merges, then its own.
fn group_recipients(group: &Node, out: &mut Vec<Recipient>) -> Result<(), ConfigError> {
    refuse_foreign(group)?;
    if let Some(Node::List(merged)) = group.get("merge") {
        for group in nodes(merged) {
            group_recipients(group, out)?;
        }
    }
    if let Some(list @ Node::List(_)) = group.get("age") {
        listed(list, out)?;
    }
    Ok(())
}

fn flat_recipients(rule: &Node) -> Result<Vec<Recipient>, ConfigError> {
    let mut out = Vec::new();
    match rule.get("age") {
        None | Some(Node::Null) => {}
        Some(list @ Node::List(_)) => listed(list, &mut out)?,
        Some(one) => {
            let text = one.as_str().ok_or(ConfigError::Type("age"))?;
            split(text, &mut out)?;
        }
    }
    Ok(out)
}

fn listed(list: &Node, out: &mut Vec<Recipient>) -> Result<(), ConfigError> {
    let Node::List(items) = list else { return Ok(()) };
    for item in nodes(items) {
        let text = item.as_str().ok_or(ConfigError::Type("age"))?;
        if text.trim().is_empty() {
            let (position, source) = (out.len() + 1, RecipientError::Unknown);
            return Err(ConfigError::Recipient { position, source });
        }
        split(text, out)?;
    }
    Ok(())
}

fn split(text: &str, out: &mut Vec<Recipient>) -> Result<(), ConfigError> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let position = out.len() + 1;
        let recipient = Recipient::parse(part);
        out.push(recipient.map_err(|source| ConfigError::Recipient { position, source })?);
    }
    Ok(())
}

fn indent(top: &Node) -> Result<Indent, ConfigError> {
    let store = |name| match top.get("stores").and_then(|s| s.get(name)?.get("indent")) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Int(number)) => Ok(Some(**number)),
        Some(_) => Err(ConfigError::Indent),
    };
    let spaces = |n: i64| usize::try_from(n).map_err(|_| ConfigError::Indent);
    let yaml = match store("yaml")? {
        None | Some(0) => None,
        Some(n) => Some(spaces(n)?),
    };
    let tab_or = |found: Option<i64>| match found {
        None | Some(-1) => Ok(None),
        Some(n) => spaces(n).map(Some),
    };
    let (json, binary) = (tab_or(store("json")?)?, tab_or(store("json_binary")?)?);
    Ok(Indent { yaml, json, binary })
}
