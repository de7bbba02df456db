use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Proxy;
use crate::decode::{Decode, Decoder, Spanned, find};
use crate::finding::{Code, Finding};
use crate::source::{Data, Entry, Node};

/// One vhost, or several by name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Proxies {
    /// One.
    Single(Box<Proxy>),
    /// Several.
    Multi(BTreeMap<String, Spanned<Proxy>>),
}

impl Proxies {
    /// Lists the vhosts, with their names where there are several.
    pub fn entries(&self) -> impl Iterator<Item = (Option<&str>, &Proxy)> {
        let (single, multi) = match self {
            Self::Single(proxy) => (Some((None, proxy.as_ref())), None),
            Self::Multi(entries) => (None, Some(entries)),
        };
        let multi = multi.into_iter().flatten();
        single.into_iter().chain(multi.map(|(name, proxy)| (Some(name.as_str()), &proxy.value)))
    }
}

/// A field of one entry that is itself a set, so that its shape does not tell the two forms apart.
const SETS: [&str; 2] = ["auth", "headers"];

/// Tells whether an entry is a vhost of its own rather than a field of the only one.
fn is_named(entry: &Entry) -> bool {
    let field = SETS.contains(&entry.name.as_str());
    let looks_whole =
        |inner: &[Entry]| find(inner, "domain").is_some() || find(inner, "upstream").is_some();
    match &entry.node.data {
        Data::Map(inner) => !field || looks_whole(inner),
        _ => false,
    }
}

impl Decode for Proxies {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = decoder.entries(node)?;
        if entries.is_empty() {
            let message = format!("{} is empty", decoder.here());
            let finding = Finding::new(Code::M410, message).at(node.place, "no entry is here");
            decoder
                .findings
                .push(finding.help("leave `proxy` out, or give `domain` and `upstream`"));
            return None;
        }
        let named: Vec<&Entry> = entries.iter().filter(|entry| is_named(entry)).collect();
        let field = entries.iter().find(|entry| !is_named(entry));
        let (Some(first), Some(field)) = (named.first(), field) else {
            return Some(match field {
                Some(_) => Self::Single(Box::new(whole(node, entries, decoder))),
                None => Self::Multi(several(&named, decoder)),
            });
        };
        let message = format!("{} is one entry and several at once", decoder.here());
        let finding = Finding::new(Code::M409, message)
            .at(field.key, "a field of one entry")
            .at(first.key, "an entry of its own")
            .help(format!("move `{}` into a named entry", field.name));
        decoder.findings.push(finding);
        Some(Self::Multi(several(&named, decoder)))
    }
}

fn several(named: &[&Entry], decoder: &mut Decoder) -> BTreeMap<String, Spanned<Proxy>> {
    let mut found = BTreeMap::new();
    for entry in named {
        let proxy = decoder.within(&entry.name, |decoder| {
            let inner = decoder.entries(&entry.node)?;
            Some(whole(&entry.node, inner, decoder))
        });
        if let Some(value) = proxy {
            let spanned = Spanned { value, place: entry.node.place, key: entry.key };
            found.insert(entry.name.clone(), spanned);
        }
    }
    found
}

/// Reads an entry, which needs a name and a target.
fn whole(node: &Node, entries: &[Entry], decoder: &mut Decoder) -> Proxy {
    for field in ["domain", "upstream"] {
        if find(entries, field).is_none() {
            let message = format!("{} has no `{field}`", decoder.here());
            let label = format!("`{field}` is missing");
            decoder.findings.push(Finding::new(Code::M410, message).at(node.place, label));
        }
    }
    Proxy::of_entries(entries, decoder)
}
