//! What is refused, how much is bearable, and laws for every fleet.

#![expect(clippy::expect_used, reason = "a fleet that does not build fails the test")]

use nixmox_topology::{
    Area, Declaration, DeclarationKind, Finding, Kind, MAX_GROUPS_ABOVE, MAX_NODES, NodeName,
    Topology,
};
use proptest::prelude::*;

fn host(name: &str) -> Declaration {
    declared(name, Area::Public, DeclarationKind::Host)
}

fn group(name: &str, members: &[&str]) -> Declaration {
    group_in(Area::Public, name, members)
}

fn group_in(area: Area, name: &str, members: &[&str]) -> Declaration {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    declared(name, area, DeclarationKind::Group { members })
}

fn declared(name: &str, area: Area, kind: DeclarationKind) -> Declaration {
    let above = if area == Area::Public { "nodes" } else { "private/nodes" };
    let file = if kind == DeclarationKind::Host { "host.nix" } else { "group.nix" };
    Declaration { name: name.to_owned(), area, kind, file: format!("{above}/{name}/{file}") }
}

#[track_caller]
fn refused(declarations: Vec<Declaration>, expected: &[&str]) {
    let error = Topology::build(declarations).expect_err("a refusal");
    let findings: Vec<String> = error.findings().iter().map(ToString::to_string).collect();
    assert_eq!(findings, expected);
    assert_eq!(error.to_string(), expected.join("; "));
}

#[test]
fn everything_wrong_is_told_at_once() {
    refused(
        vec![
            host("a.b"),
            group("both", &["x"]),
            host("both"),
            group("empty", &[]),
            group("g", &["g", "h"]),
            group("one", &["two"]),
            group("two", &["one", "three"]),
            group("three", &["h"]),
        ],
        &[
            "nodes/a.b/host.nix names a node badly: a node name has only ASCII letters, digits, dashes and underscores, not '.'",
            "nodes/g/group.nix has its own group as a member",
            "`both` is a host by nodes/both/host.nix and a group by nodes/both/group.nix",
            "the group in nodes/empty/group.nix has no members",
            "groups contain each other: one ⊇ two ⊇ one (in nodes/one/group.nix, nodes/two/group.nix)",
        ],
    );
}

#[test]
fn each_circle_is_told_from_its_first_name_and_nothing_beside_it() {
    refused(
        vec![
            group("top", &["c"]),
            group("c", &["b", "h"]),
            group("b", &["a"]),
            group("a", &["c", "below"]),
            group("below", &["h"]),
            group("x", &["y"]),
            group("y", &["x"]),
        ],
        &[
            "groups contain each other: a ⊇ c ⊇ b ⊇ a (in nodes/a/group.nix, nodes/c/group.nix, nodes/b/group.nix)",
            "groups contain each other: x ⊇ y ⊇ x (in nodes/x/group.nix, nodes/y/group.nix)",
        ],
    );
}

#[test]
fn names_from_files_are_shown_without_control_or_direction_characters() {
    let evil = "a\u{1b}[2J\u{202e}";
    let error = Topology::build(vec![group("g", &[evil, &"x".repeat(5000)])]).expect_err("bad");
    let shown = error.to_string();
    assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'));
    assert!(shown.len() < 1000);
}

#[test]
fn public_and_private_files_are_united() {
    let fleet = Topology::build(vec![
        group("g", &["h1"]),
        group_in(Area::Private, "g", &["h2", "common"]),
        declared("own", Area::Private, DeclarationKind::Host),
        host("own2"),
        declared("own2", Area::Private, DeclarationKind::Host),
        group("empty-in-public", &[]),
        group_in(Area::Private, "empty-in-public", &["h1"]),
        host("common"),
    ])
    .expect("sound");
    assert_eq!(fleet.members("g"), ["h1", "h2"]);
    assert_eq!(fleet.area("h1"), Some(Area::Public));
    assert_eq!(fleet.area("h2"), Some(Area::Private));
    assert_eq!(fleet.area("own"), Some(Area::Private));
    assert_eq!(fleet.area("own2"), Some(Area::Public));
    assert!(!fleet.contains("common"));
}

#[test]
fn mistyped_names_find_their_neighbours() {
    let fleet = Topology::build(vec![host("router1"), host("router2"), host("web"), host("x")])
        .expect("sound");
    assert_eq!(fleet.closest("ruoter1"), ["router1", "router2"]);
    assert_eq!(fleet.closest("WEB"), ["web"]);
    assert!(fleet.closest("nothing").is_empty());
    assert!(fleet.closest(&"x".repeat(100_000)).is_empty());
}

#[test]
fn stacked_diamonds_have_each_group_once() {
    let mut all = vec![group("j0", &["h"])];
    for at in 0..40 {
        let (below, next) = (format!("j{at}"), at + 1);
        let sides = [format!("l{next}"), format!("r{next}")];
        all.extend(sides.iter().map(|side| group(side, &[&below])));
        all.push(group(&format!("j{next}"), &sides.each_ref().map(String::as_str)));
    }
    let fleet = Topology::build(all).expect("sound");
    assert_eq!(fleet.ancestors("h").len(), 121);
    assert_eq!(fleet.hosts_of("j40"), ["h"]);
    assert_eq!(fleet.ancestors("h").first().map(NodeName::as_str), Some("j0"));
}

#[test]
fn more_than_is_bearable_is_refused() {
    let names: Vec<String> = (0..=MAX_NODES).map(|at| format!("h{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = Topology::build(vec![group("g", &names)]).expect_err("too many");
    assert_eq!(error.findings(), [Finding::TooManyNodes]);

    let chain: Vec<_> = (0..=MAX_GROUPS_ABOVE)
        .map(|at| group(&format!("g{at}"), &[&*format!("g{}", at + 1)]))
        .collect();
    let error = Topology::build(chain).expect_err("too deep");
    let name = NodeName::parse(&format!("g{}", MAX_GROUPS_ABOVE + 1)).expect("a name");
    assert_eq!(error.findings(), [Finding::TooManyGroupsAbove { name }]);

    let cliques = |name: &str| group(name, &names[..19_000]);
    let many: Vec<_> = (0..11).map(|at| cliques(&format!("g{at}"))).collect();
    let error = Topology::build(many).expect_err("too many");
    assert_eq!(error.findings(), [Finding::TooManyMemberships]);

    let bad: Vec<_> = (0..500).map(|at| host(&format!("bad.{at}"))).collect();
    assert_eq!(Topology::build(bad).expect_err("bad").findings().len(), 100);
}

/// Any declarations over so few names that they often clash.
fn declarations() -> impl Strategy<Value = Vec<Declaration>> {
    let name = || prop::sample::select(vec!["a", "B", "c", "d", "e", "f", "common", "x_y"]);
    let kind = prop_oneof![
        Just(DeclarationKind::Host),
        prop::collection::vec(name().prop_map(str::to_owned), 0..4)
            .prop_map(|members| DeclarationKind::Group { members }),
    ];
    let area = prop_oneof![Just(Area::Public), Just(Area::Private)];
    prop::collection::vec((name(), area, kind).prop_map(|(n, a, k)| declared(n, a, k)), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_order_of_declarations_does_not_matter(
        (some, shuffled) in declarations().prop_flat_map(|d| (Just(d.clone()), Just(d).prop_shuffle()))
    ) {
        match (Topology::build(some), Topology::build(shuffled)) {
            (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
            (Err(one), Err(other)) => {
                prop_assert!(!one.findings().is_empty());
                prop_assert_eq!(one.findings().len(), other.findings().len());
            }
            _ => prop_assert!(false, "the order decides"),
        }
    }

    #[test]
    fn what_is_built_is_consistent(declarations in declarations()) {
        let Ok(fleet) = Topology::build(declarations) else { return Ok(()) };
        for node in fleet.nodes() {
            for group in fleet.parents(node) {
                prop_assert!(fleet.members(group).contains(node));
                prop_assert!(fleet.is_above(group, node));
                for above in fleet.ancestors(group) {
                    prop_assert!(fleet.is_above(above, node));
                }
            }
            prop_assert!(!fleet.is_above(node, node));
            let is_group = fleet.kind(node) == Some(Kind::Group);
            prop_assert_eq!(is_group, !fleet.members(node).is_empty());
            for host in fleet.hosts_of(node) {
                prop_assert!(host == *node || fleet.is_above(node, &host));
            }
            prop_assert!(!fleet.hosts_of(node).is_empty());
        }
    }
}
