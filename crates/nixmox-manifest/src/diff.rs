//! What a change of the manifest means: what moved in it, and what has to be deployed again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::host::Outputs;
use crate::model::Manifest;

/// A value of the manifest that is another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where it stands: `services.mail.ip`.
    pub path: String,
    /// What it was; none when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is; none when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What happens to something that is made of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is made.
    Create,
    /// It is deployed again.
    Update,
    /// It goes away; nothing should do that without being told.
    Destroy,
}

/// What a change leads to: equal manifests give an empty one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// What moved in the manifest.
    pub changes: Vec<Change>,
    /// Hosts, and which parts of what they are given are others.
    pub hosts: BTreeMap<String, (Effect, BTreeSet<String>)>,
    /// Containers.
    pub containers: BTreeMap<String, Effect>,
    /// Applications at the identity provider.
    pub applications: BTreeMap<String, Effect>,
    /// Secrets that have to be sealed first.
    pub new_secrets: BTreeSet<String>,
    /// Secrets that nothing asks for any more.
    pub old_secrets: BTreeSet<String>,
}

impl Diff {
    /// Compares two manifests, by what they mean and by what each host is given.
    pub fn new(old: &Manifest, new: &Manifest) -> Self {
        let (before, after) = (Outputs::new(old), Outputs::new(new));
        let mut changes = Vec::new();
        compare(&plain(old), &plain(new), &mut String::new(), &mut changes);
        let hosts = effects(&before.hosts, &after.hosts).into_iter().map(|(name, effect)| {
            let parts = match (before.hosts.get(&name), after.hosts.get(&name)) {
                (Some(old), Some(new)) => parts(&plain(old), &plain(new)),
                _ => BTreeSet::new(),
            };
            (name, (effect, parts))
        });
        Self {
            changes,
            hosts: hosts.collect(),
            containers: effects(&before.containers, &after.containers),
            applications: effects(&before.applications, &after.applications),
            new_secrets: after.secrets.difference(&before.secrets).cloned().collect(),
            old_secrets: before.secrets.difference(&after.secrets).cloned().collect(),
        }
    }

    /// Tells whether the manifests mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lists the hosts that have to be switched.
    pub fn redeploy(&self) -> impl Iterator<Item = &str> {
        let live = self.hosts.iter().filter(|(_, (effect, _))| *effect != Effect::Destroy);
        live.map(|(name, _)| name.as_str())
    }
}

fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn effects<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> BTreeMap<String, Effect> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let effect = |name: &String| match (old.get(name), new.get(name)) {
        (None, _) => Some(Effect::Create),
        (_, None) => Some(Effect::Destroy),
        (Some(old), Some(new)) if old != new => Some(Effect::Update),
        _ => None,
    };
    names.into_iter().filter_map(|name| Some((name.clone(), effect(name)?))).collect()
}

/// Names the fields in which two documents differ.
fn parts(old: &Value, new: &Value) -> BTreeSet<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return BTreeSet::new() };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

/// Walks two values together; lists are compared as a whole.
fn compare(old: &Value, new: &Value, path: &mut String, out: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let (Value::Object(a), Value::Object(b)) = (old, new) else {
        let (old, new) = (Some(old.clone()), Some(new.clone()));
        out.push(Change { path: path.clone(), old, new });
        return;
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        match (a.get(name), b.get(name)) {
            (Some(old), Some(new)) => compare(old, new, path, out),
            (old, new) => {
                let (old, new) = (old.cloned(), new.cloned());
                out.push(Change { path: path.clone(), old, new });
            }
        }
        path.truncate(length);
    }
}
