//! The named cases: trees on disk, read through the embedded evaluator, resolved as Nixverse resolved them.

#![expect(clippy::disallowed_methods, reason = "the recorded cases are files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fleet::{declared, json, tree};
use nixmox_nix::Limits;
use nixmox_topology::{Area, Declaration, Kind, Topology};
use nixmox_tree::SecretTree;
use serde_json::{Value as Json, json};

/// What is expected of a case that is not as it was recorded.
enum Instead {
    /// The recorded values, from a master that was evaluated elsewhere: it needs `lib`.
    Evaluated(&'static str),
    /// A refusal, though Nixverse goes on.
    Refused,
    /// Other values.
    Delivered(Json),
}

/// Where nixmox does not do what was recorded, and why.
fn decisions() -> BTreeMap<&'static str, Instead> {
    [
        // The embedded evaluator has no `lib`, `lib'` or `nodes`; a real Nix has them, and then all is the same.
        ("22-args", Instead::Evaluated("expected.json")),
        // `nodes` made by `mkMerge` is a module system's value, not a set of nodes: `_type` is no node of the fleet.
        ("27-mkmerge-nodes", Instead::Refused),
        // The same below a node is plain data there and here.
        ("28-mkmerge-inside", Instead::Evaluated("secrets.raw.json")),
        // A set with `__toString` is that text. Nixverse hides the key before it makes the text, and drops the set.
        ("31-outpath-collapse", Instead::Delivered(json!({ "h1": { "a": "/x", "b": "str" } }))),
        // Member names become paths.
        ("49-child-name-unchecked", Instead::Refused),
        // `mkIf` beside `nodes` reaches nobody.
        ("75-toplevel-mkif", Instead::Evaluated("secrets.raw.json")),
    ]
    .into()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/cascade")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_json(path: &Path) -> Json {
    serde_json::from_str(&read(path)).expect("JSON")
}

/// Lists what the directories of a case declare, as a repository's reader does.
fn declarations(case: &Path) -> Result<Vec<Declaration>, nixmox_nix::Error> {
    let mut all = Vec::new();
    for (below, area) in [("nodes", Area::Public), ("private/nodes", Area::Private)] {
        let Ok(entries) = fs::read_dir(case.join(below)) else { continue };
        for entry in entries {
            let dir = entry.expect("a readable directory").path();
            let name = dir.file_name().expect("a name").to_str().expect("UTF-8");
            let mut found = serde_json::Map::new();
            if dir.join("host.nix").exists() || dir.join("node.nix").exists() {
                found.insert(name.to_owned(), Json::Null);
                all.extend(declared(&found.clone().into(), area));
            }
            if dir.join("group.nix").exists() {
                let text = read(&dir.join("group.nix"));
                let names = nixmox_nix::attr_names(&text, &Limits::default())?;
                let names: Vec<_> = names.into_iter().map(|name| name.name).collect();
                found.insert(name.to_owned(), names.into());
                all.extend(declared(&found.into(), area));
            }
        }
    }
    Ok(all)
}

/// Goes the whole way from the files to what each host is delivered.
fn delivered(case: &Path, master: Option<&str>) -> Result<(Topology, Json), String> {
    let declarations = declarations(case).map_err(|error| format!("members: {error}"))?;
    let fleet = Topology::build(declarations).map_err(|error| format!("nodes: {error}"))?;
    let master = match master {
        None => nixmox_nix::eval_master(&read(&case.join("secrets.nix")), &Limits::default())
            .map_err(|error| format!("master: {error}"))?,
        Some("expected.json") => tree(&read_json(&case.join("expected.json"))["config"]),
        Some(file) => tree(&read_json(&case.join(file))),
    };
    let nodes = match master.get("nodes") {
        None => SecretTree::new(),
        Some(value) => value.as_tree().ok_or("nodes is not a set")?.clone(),
    };
    let resolved =
        nixmox_cascade::resolve(&fleet, &nodes).map_err(|error| format!("cascade: {error}"))?;
    let hosts = resolved.iter().map(|(host, tree)| (host.to_string(), json(tree)));
    Ok((fleet, hosts.collect()))
}

/// Compares numbers by what they mean: the recording has six significant digits, and no `1.0`.
fn same(ours: &Json, recorded: &Json) -> bool {
    match (ours, recorded) {
        (Json::Number(a), Json::Number(b)) if a.is_i64() && b.is_i64() => a == b,
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            (a - b).abs() <= b.abs() * 1e-5
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Compares what is known about every node with what was recorded.
fn check_topology(case: &str, fleet: &Topology, recorded: &Json) {
    let recorded = recorded.as_object().expect("a set of nodes");
    assert_eq!(fleet.nodes().count(), recorded.len(), "{case}: nodes");
    for name in fleet.nodes() {
        let node = &recorded[name.as_str()];
        let list = |names: &[_]| -> Json { names.iter().map(|n| format!("{n}")).collect() };
        let sorted = |key: &str| -> Json {
            let mut names: Vec<_> = node[key].as_array().cloned().unwrap_or_default();
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            // A group that is above a node in two ways was recorded twice.
            names.dedup();
            names.into()
        };
        let mut above = fleet.ancestors(name).to_vec();
        above.sort();
        let kind = if fleet.kind(name) == Some(Kind::Host) { "host" } else { "group" };
        assert_eq!(node["type"], kind, "{case}: {name}");
        assert_eq!(node["path"], fleet.dir(name), "{case}: {name}");
        assert_eq!(sorted("parentNames"), list(fleet.parents(name)), "{case}: {name}");
        assert_eq!(sorted("childNames"), list(fleet.members(name)), "{case}: {name}");
        assert_eq!(sorted("groupNames"), list(&above), "{case}: {name}");
        if kind == "group" {
            assert_eq!(sorted("hostNames"), list(&fleet.hosts_of(name)), "{case}: {name}");
        }
    }
}

#[test]
fn named_cases_come_out_as_recorded_or_as_decided() {
    let manifest = read_json(&fixtures().join("manifest.json"));
    let cases = manifest["cases"].as_array().expect("cases");
    let mut decisions = decisions();
    let (mut agreed, mut refused, mut decided) = (0, 0, 0);
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let dir = fixtures().join(name);
        let decision = decisions.remove(name);
        decided += usize::from(decision.is_some());
        let (source, expected) = match decision {
            None if case["ok"] == true => (None, Some(case["delivered"].clone())),
            None | Some(Instead::Refused) => (None, None),
            Some(Instead::Evaluated(file)) => {
                assert!(delivered(&dir, None).is_err(), "{name} needs no other evaluator");
                (Some(file), Some(case["delivered"].clone()))
            }
            Some(Instead::Delivered(other)) => (None, Some(other)),
        };
        match (delivered(&dir, source), expected) {
            (Ok((fleet, ours)), Some(recorded)) => {
                assert!(same(&ours, &recorded), "{name}: {ours} is not {recorded}");
                let recorded = read_json(&dir.join("expected.json"));
                check_topology(name, &fleet, &recorded["topology"]);
                agreed += 1;
            }
            (Err(error), None) => {
                let begin = REFUSALS[refused];
                assert!(name == begin.0 && error.starts_with(begin.1), "{name}: {error}");
                refused += 1;
            }
            (Ok((_, ours)), None) => panic!("{name} is not refused: {ours}"),
            (Err(error), Some(_)) => panic!("{name} is refused: {error}"),
        }
    }
    assert!(decisions.is_empty(), "a decision about a case that is not there");
    assert_eq!((cases.len(), agreed, refused, decided), (64, 43, REFUSALS.len(), 6));
}

/// How each refusal begins: where it comes from, and what it says when that is not the evaluator's business.
const REFUSALS: [(&str, &str); 21] = [
    ("19-crossref-sees-raw", "master: "),
    ("21-infinite-selfref", "master: "),
    ("23-unknown-node", "cascade: `typo` is neither a host nor a group of this fleet"),
    ("25-nodes-null", "nodes is not a set"),
    ("26-node-value-not-attrs", "cascade: the secrets of `h1` are a string, not a set"),
    ("27-mkmerge-nodes", "master: "),
    ("32-function-value", "master: "),
    (
        "37-private-type-clash",
        "nodes: `n` is a host by nodes/n/host.nix and a group by private/nodes/n/group.nix",
    ),
    (
        "38-host-and-group-same-dir",
        "nodes: `n` is a host by nodes/n/host.nix and a group by nodes/n/group.nix",
    ),
    ("39-self-containing", "nodes: nodes/n/group.nix has its own group as a member"),
    (
        "40-cycle-2",
        "nodes: groups contain each other: a ⊇ b ⊇ a (in nodes/a/group.nix, nodes/b/group.nix)",
    ),
    ("42-empty-group", "nodes: the group in nodes/e/group.nix has no members"),
    ("43-common-only-group", "nodes: the group in nodes/e/group.nix has no members"),
    ("44-deep-empty", "nodes: the group in nodes/f/group.nix has no members"),
    (
        "45-reserved-current-dir",
        "nodes: nodes/current/host.nix names a node badly: the name `current` is reserved",
    ),
    (
        "46-reserved-current-child",
        "nodes: nodes/g/group.nix has a member \"current\": the name `current` is reserved",
    ),
    (
        "47-dir-name-dot",
        "nodes: nodes/a.b/host.nix names a node badly: a node name has only ASCII letters, digits, dashes and underscores, not '.'",
    ),
    (
        "49-child-name-unchecked",
        "nodes: nodes/g/group.nix has a member \"../../../etc/evil\": a node name starts with an ASCII letter or digit, not '.'; nodes/g/group.nix has a member \"a.b\": ",
    ),
    (
        "51-secrets-for-common",
        "cascade: `common` is no node; secrets for all hosts go to a group that has them all",
    ),
    ("52-group-not-attrs", "members: "),
    ("67-path-value-store-leak", "master: file paths are not supported"),
];

#[test]
fn a_master_evaluated_elsewhere_may_not_have_a_module_systems_nodes() {
    let dir = fixtures().join("27-mkmerge-nodes");
    let refused = delivered(&dir, Some("secrets.raw.json")).expect_err("a refusal");
    assert_eq!(refused, "cascade: `_type` is neither a host nor a group of this fleet");
}
