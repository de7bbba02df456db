//! Topologies that Nixverse's own Nix code answered for.

#![expect(clippy::expect_used, reason = "a fixture that does not parse fails the test")]

use std::collections::BTreeMap;

use nixmox_topology::{Area, Declaration, DeclarationKind, Kind, Topology};
use serde_json::Value;

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/cascade/fuzz-cases.json"));

fn declarations(case: &Value) -> Vec<Declaration> {
    let area = |key: &str, area: Area| {
        let dirs = case[key].as_object().expect("a set of directories");
        dirs.iter().map(move |(name, members)| declaration(name, area, members)).collect::<Vec<_>>()
    };
    [area("public", Area::Public), area("private", Area::Private)].concat()
}

fn declaration(name: &str, area: Area, members: &Value) -> Declaration {
    let kind = match members.as_array() {
        None => DeclarationKind::Host,
        Some(members) => DeclarationKind::Group {
            members: members.iter().map(|m| m.as_str().expect("a name").to_owned()).collect(),
        },
    };
    Declaration { name: name.to_owned(), area, kind, file: format!("nodes/{name}") }
}

#[test]
fn types_directories_and_parents_are_nixverses() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("JSON");
    assert_eq!(cases.len(), 400);
    for (at, case) in cases.iter().enumerate() {
        let fleet = Topology::build(declarations(case)).expect("a sound topology");
        let kinds: BTreeMap<_, _> = fleet
            .nodes()
            .map(|n| (n.as_str(), if fleet.kind(n) == Some(Kind::Host) { "host" } else { "group" }))
            .collect();
        let dirs: BTreeMap<_, _> = fleet.nodes().map(|n| (n.as_str(), fleet.dir(n))).collect();
        let parents: BTreeMap<_, Vec<_>> = fleet
            .nodes()
            .map(|n| (n.as_str(), fleet.parents(n).iter().map(|p| p.as_str()).collect()))
            .collect();
        assert_eq!(serde_json::to_value(kinds).expect("JSON"), case["types"], "case {at}");
        assert_eq!(serde_json::to_value(dirs).expect("JSON"), case["dirs"], "case {at}");
        assert_eq!(serde_json::to_value(parents).expect("JSON"), case["parents"], "case {at}");
    }
}
