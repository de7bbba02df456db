//! Values that are past their age, or that somebody may have read.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use nixmox_generate::Place;
use nixmox_topology::NodeName;

use crate::Error;
use crate::ages::{Ages, day, for_each_value};
use crate::base::Base;
use crate::digests::DigestKey;
use crate::edit::{Options, open};
use crate::fleet::Fleet;
use crate::generated::{View, view};
use crate::master;
use crate::policy::Policy;
use crate::readers::{History, written};
use crate::renewal::known_host;

/// Why a value is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Somebody may have read it.
    Exposed,
    /// It is older than the policy allows.
    TooOld,
    /// It has a limit, and nothing tells how old it is.
    AgeUnknown,
    /// It is generated, and its declaration wants it made anew.
    Declared,
}

/// One value that is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueValue {
    /// Where it is written, from its node on.
    pub path: Vec<String>,
    /// Why it is due.
    pub why: Why,
    /// The day on which it was last changed, if that is known.
    pub since: Option<String>,
    /// The most days that it may be old, if there is a limit.
    pub limit: Option<i64>,
    /// Its age in days, if that is known.
    pub days: Option<i64>,
}

/// What is due in a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The values that are to be changed, by path.
    pub values: Vec<DueValue>,
    /// How many values have a limit or were read.
    pub watched: usize,
    /// Patterns of the policy that fit no value.
    pub idle: Vec<String>,
    /// Whether the master declares a policy.
    pub policy: bool,
    /// Whether the record is not the one that was made here last: a merge, or somebody who changed it.
    pub unvouched: bool,
}

/// Finds the values of the fleet at `root` that are to be changed; nothing is written.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet, its master and its policy.
pub fn due(root: &Path, options: &Options<'_>, now: Timestamp) -> Result<Due, Error> {
    let (fleet, file) = open(root, options)?;
    let tree = master::evaluate(file.form, &file.text, options.real_nix)?;
    let view = view(&fleet, &file, master::nodes(&tree)?, options)?;
    let policy = Policy::read(&tree, &fleet.topology)?;
    let base = Base::read(&fleet, &file)?;
    let key = file.file.as_ref().map(|file| DigestKey::derive(file.data_key()));
    let ages = base.ages.bytes.as_deref().and_then(Ages::parse);
    let mut found =
        Due { policy: policy.is_some(), unvouched: !base.vouches_for_ages(), ..Due::default() };
    let mut paths = Vec::new();
    for_each_value(view.nodes(), &mut |path, value| {
        let limit = policy.as_ref().and_then(|policy| policy.days(path));
        let age = key.as_ref().zip(ages.as_ref()).and_then(|(key, ages)| ages.of(key, path, value));
        let exposed = age.as_ref().is_some_and(|age| age.exposed.is_some());
        paths.push(path.clone());
        if limit.is_none() && !exposed {
            return;
        }
        found.watched = found.watched.saturating_add(1);
        let since = age.map(|age| age.since);
        let days = since.as_deref().and_then(|since| days_since(since, now));
        let why = match (days, limit) {
            _ if exposed => Why::Exposed,
            (None, _) => Why::AgeUnknown,
            (Some(days), Some(limit)) if days > limit => Why::TooOld,
            _ => return,
        };
        // Without a policy the record began with the break-in: its day says nothing about the value.
        let known = limit.is_some();
        let (since, days) = (since.filter(|_| known), days.filter(|_| known));
        found.values.push(DueValue { path: path.clone(), why, since, limit, days });
    });
    found.generated(&view, now);
    let paths: Vec<&[String]> = paths.iter().map(Vec::as_slice).collect();
    found.idle = policy.map(|policy| policy.idle(&paths)).unwrap_or_default();
    Ok(found)
}

impl Due {
    /// Adds generated values that are older than their own declaration allows, and certificates that end soon.
    fn generated(&mut self, view: &View, now: Timestamp) {
        for one in view.list() {
            let Some(due) = one.due else { continue };
            self.watched = self.watched.saturating_add(1);
            if due > now {
                continue;
            }
            let place = one.item.stands_at();
            let path: Vec<String> = std::iter::once(place.level).chain(place.path).collect();
            let since = one.made.map(day);
            let days = since.as_deref().and_then(|since| days_since(since, now));
            self.values.push(DueValue { path, why: Why::Declared, since, limit: None, days });
        }
        self.values.sort_by(|a, b| (&a.path, a.why).cmp(&(&b.path, b.why)));
    }
}

/// Counts the days since a day; one that lies ahead is none.
fn days_since(day: &str, now: Timestamp) -> Option<i64> {
    let then: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    let seconds = now.as_second().checked_sub(then.as_second())?;
    (seconds >= 0).then_some(seconds / 86_400)
}

/// Everything that a host could ever read, by where it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Values that it gets now, from their node on: they are to be changed.
    pub current: BTreeSet<Vec<String>>,
    /// Values of the names that it once got, where such are still written, from their node on.
    pub earlier: BTreeSet<Vec<String>>,
    /// Generated values among those that it gets now: they are made anew.
    pub generated: BTreeSet<Vec<String>>,
    /// Names that it once got, and that are written nowhere any more.
    pub gone: BTreeSet<Vec<String>>,
}

/// Finds everything that a host could ever read: now by the cascade, earlier by the names in the history.
///
/// # Errors
///
/// [`Error::NoSuchHost`], [`Error::Cascade`] when the secrets do not fit the nodes, [`Error::Text`].
pub fn exposure(
    fleet: &Fleet,
    view: &View,
    host: &str,
    history: &History,
) -> Result<Exposure, Error> {
    let topology = &fleet.topology;
    let host: &NodeName = known_host(topology, host)?;
    let nodes = view.nodes();
    let from_node = |path: Vec<String>| path.into_iter().skip(1).collect::<Vec<_>>();
    let current: BTreeSet<_> = written(topology, nodes, host)?.into_iter().map(from_node).collect();
    let has = |name: &[String]| current.iter().any(|path| path.get(1..) == Some(name));
    let is_made = |path: &Vec<String>| {
        let (node, below) = path.split_first().unzip();
        node.zip(below).is_some_and(|(node, below)| view.source(node, below).is_some())
    };
    let (generated, written) = current.iter().cloned().partition(is_made);
    let mut found = Exposure { current: written, generated, ..Exposure::default() };
    let learnt = view.exposed(host.as_ref())?;
    let from_node = |place: Place| std::iter::once(place.level).chain(place.path).collect();
    found.current.extend(learnt.written.into_iter().map(from_node));
    for made in learnt.items.iter().map(|item| from_node(item.stands_at())) {
        let parts: Vec<String> = made;
        if !found.generated.iter().any(|path| path.starts_with(&parts)) {
            found.generated.insert(parts);
        }
    }
    for name in history.readable_by_host(host.as_ref()).into_iter().filter(|name| !has(name)) {
        let mut any = false;
        for (node, value) in nodes {
            let at = value.as_tree().and_then(|tree| tree.at(&name));
            if at.is_some() {
                any = true;
                let path = std::iter::once(node.clone()).chain(name.iter().cloned());
                found.earlier.insert(path.collect());
            }
        }
        if !any {
            found.gone.insert(name);
        }
    }
    Ok(found)
}
