//! Arbitrary group files and secrets through the whole pure way: no panic, no hang, no overflow, and no host with a
//! value from a node that is not above it.
//!
//! The text is cut at lines that begin with `#!`: `#! host NAME`, `#! group NAME` and `#! private NAME` begin a
//! definition, `#! secrets` the master.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nixmox_nix::{Limits, attr_names, eval_master};
use nixmox_topology::{Area, Declaration, DeclarationKind, Topology};
use nixmox_tree::{SecretTree, Value};

const LIMITS: Limits = Limits { bytes: 1 << 16, depth: 128, steps: 20_000 };

fuzz_target!(|text: &str| {
    let (declarations, nodes) = read(text);
    let fleet = match Topology::build(declarations) {
        Ok(fleet) => fleet,
        Err(error) => {
            assert!(!error.findings().is_empty());
            assert!(!error.to_string().contains(|c: char| c.is_control()));
            return;
        }
    };
    let delivered = match nixmox_cascade::resolve(&fleet, &nodes) {
        Ok(delivered) => delivered,
        Err(error) => return assert!(!error.to_string().contains(|c: char| c.is_control())),
    };
    assert!(delivered.keys().eq(&nixmox_cascade::counted(&fleet, &nodes)));
    let findings = nixmox_cascade::lint(&fleet, &nodes).expect("what resolves can be looked over");
    assert!(findings.iter().all(|finding| !finding.hosts.is_empty() && finding.levels.len() > 1));
    for host in delivered.keys() {
        let why = nixmox_cascade::explain(&fleet, &nodes, host, &[]).expect("a host");
        let merged = nixmox_cascade::merged(&fleet, &nodes, host).expect("a host");
        let mut leaves = why.leaves.iter();
        merged.for_each_leaf(&mut |path, value| {
            let leaf = leaves.next().expect("an explanation");
            assert!(leaf.path == path);
            assert!(leaf.from == *host || fleet.is_above(&leaf.from, host));
            assert!(nodes.get(&leaf.from).and_then(|v| v.as_tree()?.at(path)) == Some(value));
        });
    }
});

/// Reads definitions and secrets; what does not evaluate is as good as absent.
fn read(text: &str) -> (Vec<Declaration>, SecretTree) {
    let mut declarations = Vec::new();
    let mut nodes = SecretTree::new();
    for part in text.split("#! ").skip(1) {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        let (word, name) = head.split_once(' ').unwrap_or((head, ""));
        let area = if word == "private" { Area::Private } else { Area::Public };
        let kind = match word {
            "secrets" => {
                let master = eval_master(body, &LIMITS).unwrap_or_default();
                nodes = master.get("nodes").and_then(Value::as_tree).cloned().unwrap_or_default();
                continue;
            }
            "host" => DeclarationKind::Host,
            _ => match attr_names(body, &LIMITS) {
                Ok(names) => DeclarationKind::Group {
                    members: names.into_iter().map(|name| name.name).collect(),
                },
                Err(_) => continue,
            },
        };
        let (name, file) = (name.to_owned(), format!("nodes/{name}"));
        declarations.push(Declaration { name, area, kind, file });
    }
    (declarations, nodes)
}
