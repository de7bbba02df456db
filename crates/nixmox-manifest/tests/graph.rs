//! Circles, waves and chains, with petgraph as the judge.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use nixmox_manifest::{Aftermath, Format, Graph, Loaded, Manifest, Plan, Stage};
use petgraph::algo::{condensation, is_cyclic_directed, kosaraju_scc};
use petgraph::graph::{DiGraph, NodeIndex};
use proptest::prelude::*;

/// Makes a manifest of services that declare dependencies and nothing else.
fn manifest(services: usize, edges: &[(usize, usize)]) -> Manifest {
    let mut all = serde_json::Map::new();
    for at in 0..services {
        let needs = edges.iter().filter(|(from, _)| *from == at);
        let needs: BTreeSet<String> = needs.map(|(_, to)| format!("s{to}")).collect();
        all.insert(format!("s{at}"), serde_json::json!({ "enable": true, "depends_on": needs }));
    }
    let text = serde_json::json!({ "services": all }).to_string();
    Loaded::from_text(("m.json", &text), Format::Json).manifest().unwrap().clone()
}

fn judge(services: usize, edges: &[(usize, usize)]) -> DiGraph<usize, ()> {
    let mut graph = DiGraph::new();
    let nodes: Vec<NodeIndex> = (0..services).map(|at| graph.add_node(at)).collect();
    let edges: BTreeSet<_> = edges.iter().filter(|(a, b)| a != b).collect();
    for (from, to) in edges {
        graph.add_edge(*nodes.get(*from).unwrap(), *nodes.get(*to).unwrap(), ());
    }
    graph
}

fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}

fn case() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    (1..12_usize).prop_flat_map(|n| (Just(n), prop::collection::vec((0..n, 0..n), 0..30)))
}

proptest! {
    #[test]
    fn circles_are_those_that_petgraph_finds((services, edges) in case()) {
        let graph = Graph::new(&manifest(services, &edges));
        let judge = judge(services, &edges);
        let cycles = graph.cycles();
        prop_assert_eq!(!cycles.is_empty(), is_cyclic_directed(&judge));
        let tangles = kosaraju_scc(&judge).into_iter().filter(|scc| scc.len() > 1);
        let tangles: BTreeSet<BTreeSet<usize>> =
            tangles.map(|scc| scc.into_iter().map(|node| judge[node]).collect()).collect();
        prop_assert_eq!(cycles.len(), tangles.len());
        for cycle in cycles {
            // It is a circle, of one tangle, along edges that exist.
            for (edge, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                prop_assert_eq!(&edge.to, &next.from);
                prop_assert!(edges.contains(&(number(&edge.from), number(&edge.to))));
            }
            let names: BTreeSet<usize> = cycle.iter().map(|edge| number(&edge.from)).collect();
            prop_assert_eq!(names.len(), cycle.len());
            prop_assert!(tangles.iter().any(|tangle| names.is_subset(tangle)));
        }
    }

    #[test]
    fn waves_respect_every_edge((services, edges) in case()) {
        let graph = Graph::new(&manifest(services, &edges));
        let all: BTreeSet<String> = graph.vertices().keys().cloned().collect();
        let waves = graph.waves(&all);
        let mut when = BTreeMap::new();
        for (at, wave) in waves.waves.iter().enumerate() {
            for name in wave {
                prop_assert!(when.insert(number(name), at).is_none());
            }
        }
        prop_assert_eq!(when.len() + waves.stuck.len(), services);
        for (from, to) in edges.iter() {
            if let Some(wave) = when.get(from) {
                prop_assert!(when.get(to).is_some_and(|earlier| earlier < wave), "{} {}", from, to);
            }
        }
        // What is stuck is in a circle, or needs one, as petgraph sees it; a service that needs itself is, too.
        let judge = judge(services, &edges);
        let tangled: BTreeSet<usize> = kosaraju_scc(&judge)
            .into_iter()
            .filter(|scc| scc.len() > 1)
            .flatten()
            .map(|node| judge[node])
            .chain(edges.iter().filter(|(a, b)| a == b).map(|(a, _)| *a))
            .collect();
        let needs = |from: usize| {
            let judge = &judge;
            let mut dfs = petgraph::visit::Dfs::new(judge, NodeIndex::new(from));
            std::iter::from_fn(|| dfs.next(judge)).any(|node| tangled.contains(&judge[node]))
        };
        for at in 0..services {
            prop_assert_eq!(waves.stuck.contains(&format!("s{at}")), needs(at), "s{}", at);
        }
    }

    #[test]
    fn waves_are_as_few_as_the_longest_chain((services, edges) in case()) {
        let edges: Vec<_> = edges.into_iter().filter(|(a, b)| a < b).collect();
        let graph = Graph::new(&manifest(services, &edges));
        let all: BTreeSet<String> = graph.vertices().keys().cloned().collect();
        let judge = condensation(judge(services, &edges), true);
        let order = petgraph::algo::toposort(&judge, None).unwrap();
        let mut longest = BTreeMap::new();
        for node in order.into_iter().rev() {
            let below = judge.neighbors(node).map(|to| longest[&to]).max().unwrap_or(0);
            longest.insert(node, below + 1);
        }
        let expect: usize = longest.values().copied().max().unwrap_or(0);
        prop_assert_eq!(graph.waves(&all).waves.len(), expect);
    }

    #[test]
    fn a_chain_is_as_short_as_petgraph_says((services, edges) in case(), from in 0..12_usize, to in 0..12_usize) {
        let (from, to) = (from % services, to % services);
        prop_assume!(from != to);
        let graph = Graph::new(&manifest(services, &edges));
        let judge = judge(services, &edges);
        let lengths = petgraph::algo::dijkstra(&judge, NodeIndex::new(from), None, |_| 1_usize);
        let expect = lengths.get(&NodeIndex::new(to)).copied();
        let path = graph.why(&format!("s{from}"), &format!("s{to}"));
        prop_assert_eq!(path.as_ref().map(Vec::len), expect);
        for pair in path.unwrap_or_default().windows(2) {
            prop_assert_eq!(&pair[0].to, &pair[1].from);
        }
    }

    #[test]
    fn a_failure_skips_exactly_what_needs_it((services, edges) in case(), failed in 0..12_usize) {
        let failed = failed % services;
        let plan = Plan::new(&manifest(services, &edges));
        let Aftermath::Skip(skipped) = plan.after_failure(Stage::Applications, &format!("s{failed}"))
        else {
            panic!("an application halts nothing");
        };
        let judge = judge(services, &edges);
        for at in (0..services).filter(|at| *at != failed) {
            let needs = petgraph::algo::has_path_connecting(
                &judge, NodeIndex::new(at), NodeIndex::new(failed), None,
            );
            prop_assert_eq!(skipped.contains(&format!("s{at}")), needs);
        }
    }

    #[test]
    fn drawings_hold_every_service((services, edges) in case()) {
        let graph = Graph::new(&manifest(services, &edges));
        let svg = graph.svg().unwrap();
        for name in graph.vertices().keys() {
            let quoted = format!("\"{name}\"");
            prop_assert!(svg.contains(name), "{}", svg);
            prop_assert!(graph.dot().contains(&quoted));
            prop_assert!(graph.mermaid().contains(&quoted));
        }
    }
}

#[test]
fn core_failures_halt() {
    let plan = Plan::new(&manifest(2, &[(1, 0)]));
    for stage in [Stage::Infrastructure, Stage::Core, Stage::Identity] {
        assert_eq!(plan.after_failure(stage, "s0"), Aftermath::Halt);
    }
}

fn example() -> Manifest {
    let text = include_str!("../../../fixtures/manifest/example.nix");
    Loaded::from_text(("example.nix", text), Format::Nix).manifest().unwrap().clone()
}

#[test]
fn the_example_is_planned_in_four_phases() {
    let plan = Plan::new(&example());
    let phases = plan.phases.iter().map(|phase| {
        let waves: Vec<Vec<&str>> = phase
            .waves
            .iter()
            .map(|wave| wave.iter().map(|step| step.service.as_str()).collect())
            .collect();
        format!("{} {waves:?}\n", phase.stage.phase())
    });
    insta::assert_snapshot!(phases.collect::<String>(), @r#"
    tf_infra [["authentik", "caddy", "dns", "media", "monitoring", "postgresql", "vaultwarden"]]
    nix_core [["caddy", "dns", "postgresql"], ["authentik"]]
    tf_auth_core [["media", "monitoring", "vaultwarden"]]
    services [["media", "monitoring", "vaultwarden"]]
    "#);
    assert!(plan.stuck.is_empty());
}

#[test]
fn phases_that_are_written_are_kept() {
    let text = include_str!("../../../fixtures/manifest/example.nix");
    let phases = "deployment_phases = { tf_infra = [ \"media\" ]; nix_core = [ \"dns\" ]; services = [ \"vaultwarden\" \"media\" ]; };\n  core_services = {";
    let text = text.replacen("core_services = {", phases, 1);
    let loaded = Loaded::from_text(("m.nix", &text), Format::Nix);
    let plan = Plan::new(loaded.manifest().unwrap());
    let names: Vec<Vec<&str>> = plan
        .phases
        .iter()
        .map(|phase| phase.waves.iter().flatten().map(|step| step.service.as_str()).collect())
        .collect();
    assert_eq!(names, [vec!["media"], vec!["dns"], vec![], vec!["media", "vaultwarden"]]);
}

#[test]
fn why_one_needs_another() {
    let graph = Graph::new(&example());
    let path = graph.why("monitoring", "postgresql").unwrap();
    let steps: Vec<_> = path.iter().map(|edge| (edge.to.as_str(), edge.reason.words())).collect();
    assert_eq!(
        steps,
        [("authentik", "declared in depends_on"), ("postgresql", "implied by its database")]
    );
    assert!(graph.why("dns", "caddy").is_none());
    assert_eq!(graph.closest("postgres"), Some("postgresql"));
}
