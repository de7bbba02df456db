//! The secrets that a manifest implies: which of them nothing supplies, and declarations that make them.

use nixmox_manifest::secret::{Kind, Secret};
use nixmox_manifest::{ClientType, Loaded};
use nixmox_topology::Topology;
use nixmox_tree::{SecretString, SecretTree, Value};

use crate::Error;
use crate::fleet::Fleet;
use crate::master::{self, Form};
use crate::services;
use crate::store::RelPath;

/// What the master lacks of a manifest's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needed {
    /// What can be made.
    pub declared: Vec<Declared>,
    /// What nobody here can make: the host and the path of the secret that it lacks.
    pub by_hand: Vec<(String, Vec<String>)>,
}

/// A declaration that supplies one host with one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The host.
    pub host: String,
    /// The secret's path within the host's.
    pub path: Vec<String>,
    /// The parameters of `_generate`.
    pub parameters: Vec<(&'static str, Parameter)>,
}

/// A parameter of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A text; no secret.
    Text(String),
    /// A number.
    Number(i64),
}

/// Reads the whole manifest of a fleet; `None` when it has none.
///
/// # Errors
///
/// [`Error::Store`] when the file cannot be read safely. What is wrong in it is among its findings.
pub fn manifest(fleet: &Fleet) -> Result<Option<(RelPath, Loaded)>, Error> {
    services::load(&fleet.store)
}

/// Compares what a manifest implies with what a master's `nodes` supply each host with, written or declared.
///
/// A secret that several hosts need is made for one of them, and the others refer to that.
///
/// # Errors
///
/// [`Error::Cascade`] when the values do not fit the nodes.
pub fn needed(
    topology: &Topology,
    nodes: &SecretTree,
    implied: &[Secret],
) -> Result<Needed, Error> {
    let mut needed = Needed::default();
    let needs = |kind| kind != Kind::ClientSecret(ClientType::Public);
    for secret in implied.iter().filter(|secret| needs(secret.kind)) {
        let path: Vec<&str> = secret.name.split('/').collect();
        let mut source = None;
        let mut lacking = Vec::new();
        for host in secret.hosts.iter().filter(|host| topology.contains(host)) {
            match supplier(topology, nodes, (host, &path))? {
                Some(level) => source = source.or(Some(level)),
                None => lacking.push(host.clone()),
            }
        }
        let can_be_made = secret.kind != Kind::Given && path.iter().all(|name| is_plain(name));
        for host in lacking {
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            if !can_be_made {
                needed.by_hand.push((host, path));
                continue;
            }
            let parameters = match &source {
                Some(level) => copy_of(level, &path),
                None => fresh(secret.kind),
            };
            source = source.or(Some(host.clone()));
            needed.declared.push(Declared { host, path, parameters });
        }
    }
    Ok(needed)
}

/// Names the level that supplies a host with a value, or with a declaration of one.
fn supplier(
    topology: &Topology,
    nodes: &SecretTree,
    (host, path): (&str, &[&str]),
) -> Result<Option<String>, Error> {
    match nixmox_cascade::explain(topology, nodes, host, path) {
        Ok(found) => Ok(found.leaves.first().map(|leaf| leaf.from.to_string())),
        Err(nixmox_cascade::CascadeError::NothingThere { .. }) => Ok(None),
        Err(error) => Err(Error::Cascade(error)),
    }
}

/// Tells whether a name can stand in a reference.
fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits)
}

fn fresh(kind: Kind) -> Vec<(&'static str, Parameter)> {
    let password = ("type", Parameter::Text("password".to_owned()));
    match kind {
        Kind::ClientSecret(_) => vec![password, ("length", Parameter::Number(64))],
        _ => vec![password],
    }
}

fn copy_of(level: &str, path: &[String]) -> Vec<(&'static str, Parameter)> {
    let text = format!("{{{{{level}.{}}}}}", path.join("."));
    vec![("type", Parameter::Text("template".to_owned())), ("text", Parameter::Text(text))]
}

impl Needed {
    /// Writes the declarations into a master's text.
    ///
    /// # Errors
    ///
    /// [`Error::Text`] when the text does not parse or a path cannot be edited.
    pub fn write(&self, form: Form, text: &SecretString) -> Result<SecretString, Error> {
        let mut text = text.clone();
        for one in &self.declared {
            let names = ["nodes", &one.host].into_iter().chain(one.path.iter().map(String::as_str));
            let path: Vec<&str> = names.collect();
            for (name, parameter) in &one.parameters {
                let value = match parameter {
                    Parameter::Text(text) => Value::String(SecretString::new(text)),
                    Parameter::Number(number) => Value::Int((*number).into()),
                };
                let path: Vec<&str> = path.iter().copied().chain(["_generate", name]).collect();
                text = master::set(form, &text, &path, &value)?;
            }
        }
        Ok(text)
    }
}
