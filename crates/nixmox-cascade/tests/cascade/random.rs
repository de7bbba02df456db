//! Resolutions that Nixverse's own Nix code answered for.

use std::collections::BTreeMap;

use crate::fleet::{built, json, tree};
use serde_json::Value as Json;

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/cascade/fuzz-cases.json"));

#[test]
fn random_fleets_resolve_as_in_nixverse() {
    let cases: Vec<Json> = serde_json::from_str(CASES).expect("JSON");
    assert_eq!(cases.len(), 400);
    let mut hosts = 0;
    for (at, case) in cases.iter().enumerate() {
        let fleet = built(case);
        let nodes = tree(&case["secrets"]);
        let counted: Vec<_> = nixmox_cascade::counted(&fleet, &nodes).into_iter().collect();
        let names: Vec<_> = counted.iter().map(|host| host.as_str()).collect();
        assert_eq!(serde_json::to_value(names).expect("JSON"), case["counted"], "case {at}");

        let merged = |host: &str| nixmox_cascade::merged(&fleet, &nodes, host).expect("sound");
        let merged: BTreeMap<_, _> =
            counted.iter().map(|host| (host.as_str(), json(&merged(host)))).collect();
        assert_eq!(serde_json::to_value(merged).expect("JSON"), case["merged"], "case {at}");

        let delivered = nixmox_cascade::resolve(&fleet, &nodes).expect("sound");
        let delivered: BTreeMap<_, _> =
            delivered.iter().map(|(host, tree)| (host.as_str(), json(tree))).collect();
        hosts += delivered.len();
        assert_eq!(serde_json::to_value(delivered).expect("JSON"), case["delivered"], "case {at}");
    }
    assert_eq!(hosts, 1015);
}
