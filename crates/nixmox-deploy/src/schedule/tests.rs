use proptest::prelude::*;

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// Reads `name wave needs…`, a `!` after the name for a gate.
fn places(lines: &[&str]) -> BTreeMap<NodeName, Place> {
    let place = |line: &&str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let wave = words.next().unwrap().parse().unwrap();
        let gate = name.ends_with('!');
        (node(name.trim_end_matches('!')), Place { needs: words.map(node).collect(), wave, gate })
    };
    lines.iter().map(place).collect()
}

/// Runs everything that can run at once, again and again; `failing` nodes fail.
fn steps(
    places: &BTreeMap<NodeName, Place>,
    rollout: &Rollout,
    failing: &[&str],
) -> (Vec<String>, BTreeMap<String, Skip>) {
    let todo = places.keys().cloned().collect();
    let mut schedule = Schedule::new(places, &todo, rollout).unwrap();
    let mut steps = Vec::new();
    loop {
        let mut step: Vec<NodeName> = Vec::new();
        while let Some(node) = schedule.start(|_| true) {
            step.push(node);
        }
        if step.is_empty() {
            break;
        }
        steps.push(step.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" "));
        for node in &step {
            schedule.finish(node, !failing.contains(&node.as_str()));
        }
    }
    assert!(schedule.is_over());
    let skipped = schedule.skipped();
    (steps, skipped.into_iter().map(|(node, skip)| (node.to_string(), skip)).collect())
}

#[track_caller]
fn check(
    lines: &[&str],
    rollout: &Rollout,
    failing: &[&str],
    expect: &[&str],
) -> BTreeMap<String, Skip> {
    let (steps, skipped) = steps(&places(lines), rollout, failing);
    assert_eq!(steps, expect);
    skipped
}

const THREE: [&str; 6] =
    ["dns! 0", "db! 1 dns", "auth! 1 dns", "web 2 db", "wiki 2 auth", "mail 2"];

fn with(on_failure: OnFailure) -> Rollout {
    Rollout { on_failure, ..Rollout::default() }
}

#[test]
fn a_node_waits_for_what_it_needs_and_for_gates() {
    check(&THREE, &Rollout::default(), &[], &["dns", "auth db", "mail web wiki"]);
}

#[test]
fn nothing_after_a_failed_gate_is_touched() {
    let skipped = check(&THREE, &with(OnFailure::Continue), &["dns"], &["dns"]);
    assert_eq!(skipped.len(), 5);
    assert_eq!(skipped["mail"], Skip::Gate(node("dns")));
    assert_eq!(skipped["web"], Skip::Needs(node("dns")));
}

#[test]
fn dependents_of_a_failed_node_are_skipped() {
    let lines = ["a 0", "b 0", "c 1 a", "d 2 c", "e 1 b"];
    let skipped = check(&lines, &with(OnFailure::Continue), &["a"], &["a b", "e"]);
    assert_eq!(
        skipped,
        BTreeMap::from([
            ("c".into(), Skip::Needs(node("a"))),
            ("d".into(), Skip::Needs(node("a")))
        ])
    );
}

#[test]
fn a_failure_stops_what_was_not_begun() {
    let lines = ["a 0", "b 0", "c 1 b"];
    let skipped = check(&lines, &with(OnFailure::Stop), &["a"], &["a b"]);
    assert_eq!(skipped, BTreeMap::from([("c".into(), Skip::Stopped(node("a")))]));
}

#[test]
fn a_canary_that_fails_is_the_last() {
    let lines = ["a 0", "b 0", "c 0", "d 0"];
    let canary = Rollout { canary: Some(Share::parse("1").unwrap()), ..with(OnFailure::Continue) };
    check(&lines, &canary, &[], &["a", "b c d"]);
    let skipped = check(&lines, &canary, &["a"], &["a"]);
    assert_eq!(skipped["d"], Skip::Canary(node("a")));
    let skipped = check(&lines, &canary, &["b"], &["a", "b c d"]);
    assert!(skipped.is_empty());
}

#[test]
fn batches_follow_each_other() {
    let lines = ["a 0", "b 0", "c 0", "d 0", "e 0", "f 0", "g 0"];
    let share = |text| Share::parse(text).unwrap();
    let rollout = Rollout { batches: vec![share("1"), share("25%")], ..Rollout::default() };
    check(&lines, &rollout, &[], &["a", "b c", "d e", "f g"]);
    let rollout =
        Rollout { canary: Some(share("1")), batches: vec![share("4")], ..Rollout::default() };
    check(&lines, &rollout, &[], &["a", "b c d e", "f g"]);
}

#[test]
fn needs_reach_through_nodes_that_are_as_they_should_be() {
    let places = places(&["a 0", "b 1 a", "c 2 b"]);
    let todo = BTreeSet::from([node("a"), node("c")]);
    let mut schedule = Schedule::new(&places, &todo, &Rollout::default()).unwrap();
    assert_eq!(schedule.start(|_| true), Some(node("a")));
    assert_eq!(schedule.start(|_| true), None);
    schedule.finish(&node("a"), true);
    assert_eq!(schedule.start(|_| true), Some(node("c")));
}

#[test]
fn circles_are_refused() {
    let places = places(&["a 0 b", "b 0 a", "c 0"]);
    let result = Schedule::new(&places, &BTreeSet::new(), &Rollout::default()).map(|_| ());
    assert_eq!(result, Err(ScheduleError::Circle { nodes: vec![node("a"), node("b")] }));
}

#[test]
fn shares() {
    #[track_caller]
    fn check(text: &str, all: usize, expect: Option<usize>) {
        assert_eq!(Share::parse(text).ok().map(|share| share.of(all)), expect, "{text}");
    }
    check("3", 10, Some(3));
    check("25%", 10, Some(3));
    check("1%", 3, Some(1));
    check("100%", 3, Some(3));
    for bad in ["0", "0%", "101%", "", "%", "-1", "1.5"] {
        check(bad, 3, None);
    }
}

proptest! {
    /// Whatever fails: every node ends, none begins before what it needs is good, and none after a failed gate.
    #[test]
    fn no_order_is_broken(
        edges in prop::collection::btree_set((0usize..12, 0usize..12), 0..30),
        waves in prop::collection::vec(0usize..5, 12),
        gates in prop::collection::btree_set(0usize..12, 0..3),
        failing in prop::collection::btree_set(0usize..12, 0..4),
        policy in 0usize..3,
        canary in prop::option::of(1usize..5),
        batch in prop::option::of(1usize..5),
    ) {
        let name = |n: usize| node(&format!("n{n:02}"));
        let places: BTreeMap<_, _> = (0..12).map(|n| {
            let needs = edges.iter().filter(|(from, to)| *from == n && to < from);
            let place = Place { needs: needs.map(|(_, to)| name(*to)).collect(), wave: waves[n], gate: gates.contains(&n) };
            (name(n), place)
        }).collect();
        let share = |n| Share::Count(NonZeroUsize::new(n).unwrap());
        let rollout = Rollout {
            on_failure: [OnFailure::Stop, OnFailure::Continue, OnFailure::RollBack][policy],
            canary: canary.map(share),
            batches: batch.map(share).into_iter().collect(),
        };
        let todo: BTreeSet<_> = places.keys().cloned().collect();
        let mut schedule = Schedule::new(&places, &todo, &rollout).unwrap();
        let mut good = BTreeSet::new();
        let mut seen = 0;
        while let Some(node) = schedule.start(|_| true) {
            seen += 1;
            prop_assert!(needed(&places, &node).is_subset(&good));
            let number: usize = node.as_str()[1..].parse().unwrap();
            let earlier = |gate: &&usize| waves[**gate] < waves[number] && !needed(&places, &name(**gate)).contains(&node);
            let drawn = places.keys().any(|other| needed(&places, other).contains(&node));
            prop_assert!(drawn || gates.iter().filter(earlier).all(|gate| good.contains(&name(*gate))));
            let well = !failing.contains(&number);
            schedule.finish(&node, well);
            if well {
                good.insert(node);
            }
        }
        prop_assert!(schedule.is_over());
        prop_assert_eq!(seen + schedule.skipped().len(), 12);
    }
}
