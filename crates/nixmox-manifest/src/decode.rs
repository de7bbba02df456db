//! From untyped values to the model: every flaw is noted, and what is flawed is left out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use crate::finding::{Code, Finding, Severity};
use crate::similar::did_you_mean;
use crate::source::{Data, Entry, Node, Place};
use crate::values::{AuthType, Cidr, ClientType, DomainName, Textual, Upstream, UrlPath};

/// A value, where it is written, and where the name of its field is written.
///
/// Two are equal when their values are: where something is written does not change what it means.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where the value is written.
    pub place: Place,
    /// Where its name is written; for an item of a list, the item's own place.
    pub key: Place,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Any data; nothing here looks into it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Free(pub serde_json::Value);

/// What a field's value is made of.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;
}

/// Collects flaws, and knows where it is.
#[derive(Default)]
pub(crate) struct Decoder {
    pub(crate) findings: Vec<Finding>,
    path: Vec<String>,
}

impl Decoder {
    /// Names the place in the manifest: `services.mail.interface`.
    pub(crate) fn here(&self) -> String {
        if self.path.is_empty() { "the manifest".to_owned() } else { self.path.join(".") }
    }

    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let message = format!("{} must be {expected}, not {}", self.here(), node.type_name());
        let finding = Finding::new(Code::M004, message).at(node.place, node.type_name());
        let help = match &node.data {
            Data::Text(text) if expected.contains("number") && text.parse::<i64>().is_ok() => {
                Some(format!("write {text} without quotes"))
            }
            Data::Text(text) if expected.contains("truth") => match text.as_str() {
                "true" | "yes" | "on" => Some("write true, without quotes".to_owned()),
                "false" | "no" | "off" => Some("write false, without quotes".to_owned()),
                _ => None,
            },
            Data::Text(_) if expected.contains("list") => Some("put it in brackets".to_owned()),
            Data::Int(number) if expected.contains("text") => {
                Some(format!("write it in quotes: \"{number}\""))
            }
            _ => None,
        };
        self.findings.push(finding.maybe_help(help));
    }

    /// Works on what a name stands for.
    pub(crate) fn within<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.to_owned());
        let result = work(self);
        self.path.pop();
        result
    }

    /// Looks at a value as a set.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> Option<&'n [Entry]> {
        match &node.data {
            Data::Map(entries) => Some(entries),
            _ => {
                self.wrong_type(node, "a set");
                None
            }
        }
    }

    /// Notes the fields that nobody knows.
    pub(crate) fn unknown(&mut self, entries: &[Entry], known: &[&str]) {
        let strange =
            entries.iter().filter(|entry| !known.iter().any(|name| bare(name) == entry.name));
        for entry in strange {
            let name = &entry.name;
            let message = format!("unknown field `{name}` in {}", self.here());
            let help = did_you_mean(name, known.iter().map(|name| bare(name)));
            let list = known.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ");
            let finding = Finding::new(Code::M003, message).at(entry.key, "nothing reads this");
            self.findings.push(finding.help(help.unwrap_or(format!("known here: {list}"))));
        }
    }

    /// Reads a field of a set, if it is there; `null` is the same as nothing.
    pub(crate) fn field<T: Decode>(&mut self, entries: &[Entry], name: &str) -> Option<Spanned<T>> {
        let name = bare(name);
        let entry = find(entries, name)?;
        self.entry(entry)
    }

    pub(crate) fn entry<T: Decode>(&mut self, entry: &Entry) -> Option<Spanned<T>> {
        if matches!(entry.node.data, Data::Null) {
            return None;
        }
        let value = self.within(&entry.name, |decoder| T::decode(&entry.node, decoder))?;
        Some(Spanned { value, place: entry.node.place, key: entry.key })
    }
}

/// A Rust keyword used as a name has `r#` in front.
pub(crate) fn bare(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

pub(crate) fn find<'n>(entries: &'n [Entry], name: &str) -> Option<&'n Entry> {
    let at = entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
    entries.get(at)
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.data {
            Data::Bool(truth) => Some(truth),
            _ => {
                decoder.wrong_type(node, "a truth value");
                None
            }
        }
    }
}

impl Decode for i64 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.data {
            Data::Int(number) => Some(number),
            _ => {
                decoder.wrong_type(node, "a whole number");
                None
            }
        }
    }
}

impl Decode for Free {
    fn decode(node: &Node, _: &mut Decoder) -> Option<Self> {
        Some(Self(node.to_json()))
    }
}

fn decode_text<T: Textual>(node: &Node, decoder: &mut Decoder) -> Option<T> {
    let Data::Text(text) = &node.data else {
        decoder.wrong_type(node, "a text");
        return None;
    };
    match T::parse(text) {
        Ok(value) => Some(value),
        Err(flaw) => {
            let message = format!("{}: {}", decoder.here(), flaw.message);
            let finding = Finding::new(flaw.code, message).at(node.place, flaw.label);
            decoder.findings.push(finding.maybe_help(flaw.help));
            None
        }
    }
}

macro_rules! decode_texts {
    ($($name:ty),*) => {
        $(impl Decode for $name {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                decode_text(node, decoder)
            }
        })*
    };
}

decode_texts!(String, Ipv4Addr, Cidr, DomainName, Upstream, UrlPath, AuthType, ClientType);

impl<T: Decode> Decode for Vec<Spanned<T>> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Data::List(items) = &node.data else {
            decoder.wrong_type(node, "a list");
            return None;
        };
        let items = items.iter().enumerate().filter_map(|(at, item)| {
            let value = decoder.within(&at.to_string(), |decoder| T::decode(item, decoder))?;
            Some(Spanned { value, place: item.place, key: item.place })
        });
        Some(items.collect())
    }
}

impl<T: Decode> Decode for BTreeMap<String, Spanned<T>> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = decoder.entries(node)?;
        let found = entries.iter().filter_map(|entry| {
            let value = decoder.entry(entry)?;
            Some((entry.name.clone(), value))
        });
        Some(found.collect())
    }
}

/// Notes a field that has to be there.
pub(crate) fn require(decoder: &mut Decoder, (entries, owner): (&[Entry], Place), name: &str) {
    let there = find(entries, name).is_some_and(|entry| !matches!(entry.node.data, Data::Null));
    if !there {
        let message = format!("{} has no `{name}`", decoder.here());
        let finding = Finding::new(Code::M002, message).at(owner, format!("`{name}` is missing"));
        decoder.findings.push(finding);
    }
}

/// Notes a field that is there for old times' sake.
pub(crate) fn relic(decoder: &mut Decoder, entry: &Entry, why: &str) {
    let message = format!("`{}` in {} is a relic", entry.name, decoder.here());
    let finding = Finding::new(Code::M007, message).at(entry.key, why);
    decoder.findings.push(finding.severity(Severity::Note));
}
