//! Fleets that are large, or made to be expensive.

use nixmox_cascade::{CascadeError, explain, lint, merged, resolve};
use nixmox_topology::Topology;
use nixmox_tree::{SecretTree, Value};
use serde_json::{Map, json};

use crate::fleet::built;

/// Stacks diamonds on a host; there are 2 to the power of `count` ways up to the top.
fn diamonds(count: usize) -> Topology {
    let mut public = Map::new();
    public.insert("j0".to_owned(), json!(["h"]));
    for at in 0..count {
        let (left, right) = (format!("l{at}"), format!("r{at}"));
        public.insert(format!("j{}", at + 1), json!([left, right]));
        public.insert(left, json!([format!("j{at}")]));
        public.insert(right, json!([format!("j{at}")]));
    }
    built(&json!({ "public": public, "private": {} }))
}

#[test]
fn stacked_diamonds_are_resolved() {
    let fleet = diamonds(40);
    let mut nodes = SecretTree::new();
    for group in fleet.groups() {
        let own = &["own", group.as_str()];
        nodes.insert_at(&[group, own[0], own[1]], Value::int(1)).expect("free");
        nodes.insert_at(&[group.as_str(), "same"], Value::string(group.as_str())).expect("free");
    }
    let delivered = resolve(&fleet, &nodes).expect("sound");
    assert_eq!(delivered["h"].get("same"), Some(&Value::string("j0")));
    let own = delivered["h"].get("own").and_then(Value::as_tree).expect("a set");
    assert_eq!(own.len(), 121);
    assert_eq!(
        explain(&fleet, &nodes, "h", &["same"]).expect("sound").leaves[0].shadowed.len(),
        120
    );
    assert!(lint(&fleet, &nodes).expect("sound").is_empty());
}

#[test]
fn more_values_than_are_bearable_are_refused() {
    let hosts: Vec<_> = (0..2_001).map(|at| format!("h{at}")).collect();
    let fleet = built(&json!({ "public": { "g": hosts }, "private": {} }));
    let many = (0..2_000).map(|at| (format!("k{at}"), Value::Null)).collect::<SecretTree>();
    let nodes = SecretTree::from_iter([("g".to_owned(), many.into())]);
    assert_eq!(resolve(&fleet, &nodes), Err(CascadeError::TooLarge));
    assert_eq!(lint(&fleet, &nodes), Ok(vec![]));
}

#[test]
fn deep_values_are_refused() {
    let fleet = diamonds(0);
    let nested = |depth: usize| {
        let deep = (0..depth).fold(Value::Null, |below, at| match at % 2 {
            0 => Value::List(vec![below]),
            _ => SecretTree::from_iter([("k".to_owned(), below)]).into(),
        });
        let host = SecretTree::from_iter([("k".to_owned(), deep)]);
        SecretTree::from_iter([("h".to_owned(), host.into())])
    };
    assert!(merged(&fleet, &nested(63), "h").is_ok());
    assert!(
        matches!(merged(&fleet, &nested(64), "h"), Err(CascadeError::TooDeep { node }) if node == "h")
    );
}

#[test]
fn texts_are_shared_between_hosts() {
    let fleet = built(&json!({ "public": { "g": ["a", "b"] }, "private": {} }));
    let mut nodes = SecretTree::new();
    nodes.insert_at(&["g", "k"], Value::string("text")).expect("free");
    let delivered = resolve(&fleet, &nodes).expect("sound");
    let address = |host: &str| delivered[host].get("k").and_then(Value::as_str).map(str::as_ptr);
    assert_eq!(address("a"), address("b"));
    assert_eq!(address("a"), nodes.at(&["g", "k"]).and_then(Value::as_str).map(str::as_ptr));
}
