//! Laws that hold for every fleet and every master.

use std::collections::BTreeSet;

use nixmox_cascade::{Delivery, counted, explain, lint, merged, resolve};
use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use crate::fleet::{built, json, tree};

/// Names of groups; positions in it are drawn, so their order tells nothing about who is above whom.
const GROUPS: [&str; 6] = ["a", "B", "c1", "d", "e-e", "f"];
const HOSTS: [&str; 3] = ["h", "0", "zz"];

/// Any value, of so few that nodes often have the same, and often a set where another has none.
fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        3 => (0..3).prop_map(Json::from),
        1 => Just(Json::Null),
        1 => Just(Json::Array(vec![])),
        1 => Just(Json::Object(Map::new())),
    ];
    leaf.prop_recursive(3, 8, 3, |below| {
        prop::collection::btree_map(key(), below, 0..3)
            .prop_map(|entries| Json::Object(entries.into_iter().collect()))
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("x"), 4 => Just("y"), 1 => Just("_h")].prop_map(str::to_owned)
}

fn secrets() -> impl Strategy<Value = Json> {
    prop::collection::btree_map(key(), value(), 0..4)
        .prop_map(|entries| Json::Object(entries.into_iter().collect()))
}

/// A fleet as `public` directories, and the `nodes` of its master.
fn fleets() -> impl Strategy<Value = (Json, Json)> {
    let order = Just(GROUPS.to_vec()).prop_shuffle();
    let membership = prop::collection::vec(any::<bool>(), GROUPS.len() * (GROUPS.len() + 3));
    let all = GROUPS.iter().chain(&HOSTS).copied().collect::<Vec<_>>();
    let keyed = prop::collection::vec(prop::option::weighted(0.7, secrets()), all.len());
    (order, membership, keyed).prop_map(move |(order, membership, keyed)| {
        let mut is_member = membership.into_iter();
        let mut public: Map<String, Json> =
            HOSTS.iter().map(|host| ((*host).to_owned(), Json::Null)).collect();
        for (at, group) in order.iter().enumerate() {
            let below = order.iter().skip(at + 1).chain(&HOSTS);
            let members = below.filter(|_| is_member.next().unwrap_or(false));
            let mut members: Vec<&str> = members.copied().collect();
            if members.is_empty() {
                members.push("h");
            }
            public.insert((*group).to_owned(), members.into());
        }
        let nodes: Map<String, Json> = std::iter::zip(&all, keyed)
            .filter_map(|(name, secrets)| Some(((*name).to_owned(), secrets?)))
            .collect();
        (serde_json::json!({ "public": public, "private": {} }), nodes.into())
    })
}

/// Merges as the rule is written, way after way, with siblings in the order of `rank`.
fn by_the_rule(
    fleet: &Topology,
    nodes: &SecretTree,
    host: &str,
    rank: &dyn Fn(&str) -> usize,
) -> SecretTree {
    let written =
        |name: &str| nodes.get(name).and_then(Value::as_tree).cloned().unwrap_or_default();
    let sorted = |name: &str| {
        let mut parents = fleet.parents(name).to_vec();
        parents.sort_by_key(|parent| rank(parent));
        parents
    };
    fn fold(
        mut acc: SecretTree,
        names: &[NodeName],
        sorted: &dyn Fn(&str) -> Vec<NodeName>,
        written: &dyn Fn(&str) -> SecretTree,
    ) -> SecretTree {
        for name in names {
            let parents = sorted(name);
            let under =
                parents.iter().fold(SecretTree::new(), |under, p| update(under, written(p)));
            acc = fold(update(under, acc), &parents, sorted, written);
        }
        acc
    }
    let host = fleet.name(host).expect("a host").clone();
    fold(written(&host), &[host], &sorted, &written)
}

/// Puts `over` over `under`, key by key where both are sets.
fn update(mut under: SecretTree, over: SecretTree) -> SecretTree {
    for (name, value) in over {
        let value = match (under.remove(&name), value) {
            (Some(Value::Tree(under)), Value::Tree(over)) => update(under, over).into(),
            (_, value) => value,
        };
        under.insert(name, value);
    }
    under
}

/// Lays the levels of a host out from the top down, so that a plain value cuts off everything above it.
fn top_down(
    fleet: &Topology,
    nodes: &SecretTree,
    host: &str,
    rank: &dyn Fn(&str) -> usize,
) -> SecretTree {
    let mut order = vec![host.to_owned()];
    let mut ways = vec![host.to_owned()];
    while let Some(name) = ways.pop() {
        let mut parents: Vec<String> = fleet.parents(&name).iter().map(|p| p.to_string()).collect();
        parents.sort_by_key(|parent| rank(parent));
        order.extend(parents.iter().rev().cloned());
        ways.extend(parents.into_iter().rev());
    }
    let mut seen = BTreeSet::new();
    order.retain(|name| seen.insert(name.clone()));
    let trees = order.iter().rev().filter_map(|name| nodes.get(name)?.as_tree().cloned());
    trees.fold(SecretTree::new(), update)
}

/// Leaves out what is delivered to nobody, but keeps empty sets apart from nothing.
fn shown(tree: &SecretTree) -> SecretTree {
    let entries = tree.iter().filter(|(name, _)| !name.starts_with('_'));
    let value = |value: &Value| match value {
        Value::Tree(tree) => shown(tree).into(),
        value => value.clone(),
    };
    entries.map(|(name, v)| (name.clone(), value(v))).collect()
}

/// Lists the paths at which two trees differ.
fn differences(a: &SecretTree, b: &SecretTree) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    for (one, other) in [(a, b), (b, a)] {
        one.for_each_leaf(&mut |path, value| {
            if other.at(path) != Some(value) {
                paths.insert(path.iter().map(|name| (*name).to_owned()).collect());
            }
        });
    }
    paths
}

/// Lists all orders of so many things.
fn orders(things: usize) -> Vec<Vec<usize>> {
    (0..things).fold(vec![vec![]], |orders, next| {
        let with = |order: &Vec<usize>, at: usize| {
            let mut order = order.clone();
            order.insert(at, next);
            order
        };
        orders.iter().flat_map(|order| (0..=next).map(move |at| with(order, at))).collect()
    })
}

/// Leaves out everything that is delivered to nobody.
fn delivered(tree: &SecretTree) -> SecretTree {
    let shown = shown(tree).into_iter().filter_map(|(name, value)| match value {
        Value::Tree(tree) => {
            Some(delivered(&tree)).filter(|t| !t.is_empty()).map(|t| (name, t.into()))
        }
        value => Some((name, value)),
    });
    shown.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_merge_is_the_rule((fleet, nodes) in fleets()) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        let by_name = |name: &str| fleet.nodes().position(|n| n == name).unwrap_or_default();
        for host in HOSTS {
            let ours = merged(&fleet, &nodes, host).expect("sound");
            prop_assert_eq!(json(&ours), json(&by_the_rule(&fleet, &nodes, host, &by_name)));
        }
    }

    #[test]
    fn an_own_value_wins((fleet, nodes) in fleets()) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        for host in HOSTS {
            let merged = merged(&fleet, &nodes, host).expect("sound");
            let Some(own) = nodes.get(host).and_then(Value::as_tree) else { continue };
            own.for_each_leaf(&mut |path, value| match value {
                Value::Tree(_) => assert!(merged.at(path).and_then(Value::as_tree).is_some()),
                value => assert_eq!(merged.at(path), Some(value)),
            });
        }
    }

    #[test]
    fn nothing_comes_from_a_node_that_is_not_above((fleet, nodes) in fleets()) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        for host in HOSTS {
            let above = |name: &str| name == host || fleet.is_above(name, host);
            let fewer: SecretTree =
                nodes.clone().into_iter().filter(|(name, _)| above(name)).collect();
            prop_assert_eq!(
                merged(&fleet, &nodes, host).expect("sound"),
                merged(&fleet, &fewer, host).expect("sound")
            );
            prop_assert_eq!(counted(&fleet, &nodes).contains(host), !fewer.is_empty());
        }
    }

    #[test]
    fn explanations_agree_with_the_merge((fleet, nodes) in fleets()) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        let resolved = resolve(&fleet, &nodes).expect("sound");
        for host in HOSTS {
            let merged = merged(&fleet, &nodes, host).expect("sound");
            let why = explain(&fleet, &nodes, host, &[]).expect("a host");
            let mut leaves = why.leaves.iter();
            merged.for_each_leaf(&mut |path, value| {
                let leaf = leaves.next().expect("an explanation");
                assert_eq!(leaf.path, path);
                assert_eq!(leaf.type_name, value.type_name());
                let written = nodes.get(&leaf.from).and_then(|v| v.as_tree()?.at(path));
                assert_eq!(written, Some(value));
                assert!(leaf.from == host || fleet.is_above(&leaf.from, host));
                let there = resolved.get(host).and_then(|tree| tree.at(path)).is_some();
                assert_eq!(there, leaf.delivery == Delivery::Delivered);
            });
            prop_assert!(leaves.next().is_none());
            for cut in &why.cut {
                prop_assert!(merged.at(&cut.path).is_none());
            }
        }
    }

    #[test]
    fn a_key_without_a_finding_depends_neither_on_names_nor_on_cuts(
        (fleet, nodes) in fleets(),
        names in Just((0..GROUPS.len() + HOSTS.len()).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        let findings = lint(&fleet, &nodes).expect("sound");
        let renamed = |name: &str| fleet.nodes().position(|n| n == name).map_or(0, |at| names[at]);
        for host in HOSTS {
            let ours = delivered(&merged(&fleet, &nodes, host).expect("sound"));
            let of_host = findings.iter().filter(|f| f.hosts.iter().any(|h| h == host));
            let paths: Vec<_> = of_host.map(|finding| finding.path.clone()).collect();
            let others = [
                delivered(&by_the_rule(&fleet, &nodes, host, &renamed)),
                delivered(&top_down(&fleet, &nodes, host, &renamed)),
            ];
            for path in others.iter().flat_map(|other| differences(&ours, other)) {
                prop_assert!(paths.iter().any(|p| path.starts_with(p)), "{host}: {path:?} {findings:?}");
            }
        }
    }

    #[test]
    fn every_finding_is_real((fleet, nodes) in fleets()) {
        let (fleet, nodes) = (built(&fleet), tree(&nodes));
        for finding in lint(&fleet, &nodes).expect("sound") {
            let host = finding.hosts[0].as_str();
            let ours = shown(&merged(&fleet, &nodes, host).expect("sound"));
            let differs = |other: SecretTree| {
                let paths = differences(&ours, &shown(&other));
                paths.iter().any(|path| path.starts_with(&finding.path))
            };
            let real = orders(GROUPS.len()).iter().any(|order| {
                let rank = |name: &str| {
                    GROUPS.iter().position(|group| *group == name).map_or(0, |at| order[at])
                };
                differs(by_the_rule(&fleet, &nodes, host, &rank))
                    || differs(top_down(&fleet, &nodes, host, &rank))
            });
            prop_assert!(real, "{finding:?}");
        }
    }
}
