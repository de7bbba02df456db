//! Fleets and trees for tests, from and to JSON.

use nixmox_topology::{Area, Declaration, DeclarationKind, Topology};
use nixmox_tree::{SecretTree, Value};
use serde_json::Value as Json;

/// Builds the topology of a case with `public` and `private` directories.
pub(crate) fn built(case: &Json) -> Topology {
    let mut declarations = declared(&case["public"], Area::Public);
    declarations.extend(declared(&case["private"], Area::Private));
    Topology::build(declarations).expect("a sound topology")
}

/// Reads directories: a name with `null` is a host, one with a list is a group.
pub(crate) fn declared(dirs: &Json, area: Area) -> Vec<Declaration> {
    let dirs = dirs.as_object().expect("a set of directories");
    let kind = |members: &Json| match members.as_array() {
        None => DeclarationKind::Host,
        Some(members) => DeclarationKind::Group {
            members: members.iter().map(|m| m.as_str().expect("a name").to_owned()).collect(),
        },
    };
    let above = if area == Area::Private { "private/nodes" } else { "nodes" };
    let declaration = |(name, members): (&String, &Json)| {
        let file = if members.is_null() { "host.nix" } else { "group.nix" };
        let file = format!("{above}/{name}/{file}");
        Declaration { name: name.clone(), area, kind: kind(members), file }
    };
    dirs.iter().map(declaration).collect()
}

/// Reads a JSON object as a tree.
pub(crate) fn tree(json: &Json) -> SecretTree {
    let object = json.as_object().expect("an object");
    object.iter().map(|(name, below)| (name.clone(), value(below))).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::int(integer),
            None => Value::float(number.as_f64().expect("a number")),
        },
        Json::String(text) => Value::string(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(_) => tree(json).into(),
    }
}

/// Writes a tree as a JSON object.
pub(crate) fn json(tree: &SecretTree) -> Json {
    tree.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::from(**truth),
        Value::Int(number) => Json::from(**number),
        Value::Float(number) => Json::from(**number),
        Value::String(text) => Json::from(text.expose()),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Tree(tree) => json(tree),
    }
}
