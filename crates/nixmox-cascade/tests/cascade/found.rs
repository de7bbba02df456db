//! Explanations and findings, as a person would read them.

use nixmox_cascade::{CascadeError, Delivery, LintKind, explain, lint};
use nixmox_topology::Topology;
use nixmox_tree::SecretTree;
use serde_json::{Value as Json, json};

use crate::fleet::{built, tree};

fn fleet(groups: Json) -> Topology {
    built(&json!({ "public": groups, "private": {} }))
}

fn readable(fleet: &Topology, nodes: &SecretTree) -> Vec<String> {
    let lints = lint(fleet, nodes).expect("sound");
    let line = |lint: nixmox_cascade::Lint| {
        let kind = if lint.kind == LintKind::NamesDecide { "names" } else { "not cut" };
        let (levels, hosts) = (lint.levels.join(" > "), lint.hosts.join(" "));
        format!("{kind} {}: {levels} for {hosts}", lint.path.join("."))
    };
    lints.into_iter().map(line).collect()
}

#[track_caller]
fn found(groups: Json, nodes: Json, expected: &[&str]) {
    assert_eq!(readable(&fleet(groups), &tree(&nodes)), expected);
}

#[test]
fn siblings_that_disagree_are_found_once_for_all_hosts() {
    let groups = json!({ "alpha": ["h", "i"], "zeta": ["h", "i"], "own": ["h"] });
    let nodes =
        json!({ "alpha": { "k": 1, "same": 1, "_h": 1 }, "zeta": { "k": 2, "same": 1, "_h": 2 } });
    found(groups.clone(), nodes.clone(), &["names k: zeta > alpha for h i"]);
    let mut settled = nodes;
    settled["h"] = json!({ "k": 3 });
    found(groups, settled, &["names k: zeta > alpha for i"]);
}

#[test]
fn a_group_that_is_both_beside_and_above_another_is_found() {
    let groups = json!({ "left": ["h"], "top": ["left", "h"] });
    found(groups, json!({ "left": { "c": 1 }, "top": { "c": 2 } }), &["names c: top > left for h"]);
    let groups = json!({ "base": ["left", "h"], "left": ["h"] });
    found(
        groups,
        json!({ "left": { "c": 1 }, "base": { "c": 2 } }),
        &["names c: left > base for h"],
    );
}

#[test]
fn cousins_that_disagree_are_found_but_ancestors_are_not() {
    let groups = json!({ "ga": ["pa"], "gb": ["pb"], "pa": ["h"], "pb": ["h"] });
    let nodes = json!({ "ga": { "k": 1, "p": 1 }, "gb": { "k": 2, "p": 2 }, "pb": { "p": 3 } });
    found(groups.clone(), nodes, &["names k: ga > gb for h"]);
    found(groups, json!({ "ga": { "k": 1 }, "pa": { "k": 2 }, "h": { "k": 3 } }), &[]);
}

#[test]
fn a_value_that_does_not_cut_off_what_is_above_it_is_found() {
    let groups = json!({ "top": ["mid"], "mid": ["h"] });
    let cut =
        |top: Json| json!({ "top": { "s": top }, "mid": { "s": "cut" }, "h": { "s": { "b": 2 } } });
    found(groups.clone(), cut(json!({ "a": 1 })), &["not cut s: h > mid > top for h"]);
    found(groups.clone(), cut(json!({ "b": 1 })), &[]);
    found(groups, cut(json!({ "_a": 1 })), &[]);
}

#[test]
fn explanations_name_the_winner_the_shadowed_and_the_cut() {
    let fleet = fleet(json!({ "a": ["h"], "b": ["h"], "c": ["h"], "top": ["a"] }));
    let nodes = tree(&json!({
        "a": { "s": { "x": 1 } },
        "b": { "s": "cut" },
        "c": { "s": { "z": 3, "_hidden": 4 } },
        "top": { "s": { "z": 5, "e": {} } },
    }));
    let why = explain(&fleet, &nodes, "h", &["s"]).expect("sound");
    let said: Vec<_> = why
        .leaves
        .iter()
        .map(|leaf| {
            let shadowed: Vec<_> = leaf
                .shadowed
                .iter()
                .map(|s| format!("{} {} {}", s.node, s.path.join("."), s.type_name))
                .collect();
            format!(
                "{} from {} ({:?}): {}",
                leaf.path.join("."),
                leaf.from,
                leaf.delivery,
                shadowed.join(", ")
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            "s._hidden from c (Hidden): b s string",
            "s.e from top (Empty): b s string",
            "s.z from c (Delivered): b s string, top s.z int",
        ]
    );
    let cut: Vec<_> = why.cut.iter().map(|cut| (cut.node.as_str(), cut.path.join("."))).collect();
    assert_eq!(cut, [("a", "s.x".to_owned())]);
    assert_eq!(why.leaves[2].delivery, Delivery::Delivered);
}

#[test]
fn what_cannot_be_explained_says_why() {
    let fleet = fleet(json!({ "web": ["w1", "w2"] }));
    let nodes = tree(&json!({ "web": { "k": 1 } }));
    let refused = |host: &str, path: &[&str]| {
        explain(&fleet, &nodes, host, path).expect_err("a refusal").to_string()
    };
    assert_eq!(refused("w1", &["k", "deeper"]), "`w1` has nothing at that path");
    assert_eq!(refused("web", &["k"]), "`web` is a group; only hosts have resolved secrets");
    assert_eq!(
        refused("w11", &[]),
        "`w11` is neither a host nor a group of this fleet; did you mean `w1`?"
    );
}

#[test]
fn a_secret_named_sops_is_refused() {
    let fleet = fleet(json!({ "web": ["w1"] }));
    let refused = nixmox_cascade::resolve(&fleet, &tree(&json!({ "web": { "sops": 1 } })));
    assert!(matches!(refused, Err(CascadeError::ReservedKey { node }) if node == "web"));
}
