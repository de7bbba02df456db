//! Merges of `.nixmox/generated.yaml`, the values that are declared instead of written.

use std::fs;

use nixmox_tests::{Shape, TestEnv};

use super::{commit, fleet, get, git, no_marks, seals_and_checks};

const FILE: &str = ".nixmox/generated.yaml";

/// Declares values in the master: each a node and what follows `_generate = `.
fn declare(env: &mut TestEnv, declared: &[(&str, &str, &str)]) {
    let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let lines: String = declared
        .iter()
        .map(|(node, name, what)| format!("    {node}.{name}._generate = {{ {what} }};\n"))
        .collect();
    let text = text.replacen("nodes = {\n", &format!("nodes = {{\n{lines}"), 1);
    env.types(&text);
    env.run(&["edit"]).ends(0);
}

/// A fleet with two generated values of a group and one for each of its hosts.
fn declared() -> TestEnv {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    let hex = "type = \"hex\";";
    let own = "type = \"hex\"; perHost = true;";
    declare(&mut env, &[("routers", "one", hex), ("routers", "two", hex), ("servers", "own", own)]);
    commit(&env, "declared");
    env
}

fn on(env: &TestEnv, name: &str) {
    env.tool("git", &["checkout", "--quiet", "-b", name, "main"]);
}

#[test]
fn values_made_anew_on_two_branches_are_merged_one_by_one() {
    let env = declared();
    let main = ["routers.one", "routers.two", "server1.own", "server2.own"].map(|p| get(&env, p));
    on(&env, "theirs");
    env.run(&["generate", "--regenerate", "routers.one"]).ends(0);
    env.run(&["generate", "--regenerate", "server1.own"]).ends(0);
    let theirs = [get(&env, "routers.one"), get(&env, "server1.own")];
    commit(&env, "theirs");
    on(&env, "ours");
    env.run(&["generate", "--regenerate", "routers.two"]).ends(0);
    let ours = get(&env, "routers.two");
    commit(&env, "ours");
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    no_marks(&env);
    assert!(!fs::read_to_string(env.path("fleet").join(FILE)).unwrap().contains("<<<<"));
    let merged = ["routers.one", "routers.two", "server1.own", "server2.own"].map(|p| get(&env, p));
    assert_eq!(merged, [theirs[0].clone(), ours, theirs[1].clone(), main[3].clone()]);
    assert!(main[..3].iter().zip(&merged).all(|(old, new)| old != new));
    // Nothing is made anew by that, and the file is vouched for still: no option is needed.
    seals_and_checks(&env);
    let after = ["routers.one", "routers.two", "server1.own", "server2.own"].map(|p| get(&env, p));
    assert_eq!(after, merged);
    let router = env.delivered("router1").unwrap();
    assert!(router.contains(&merged[0]) && router.contains(&merged[1]), "{router}");
}

#[test]
fn declarations_of_both_sides_come_together_with_their_values() {
    let mut env = declared();
    for (name, node) in [("theirs", "router1"), ("ours", "server1")] {
        on(&env, name);
        // Not beside each other: whoever appends at one place is asked which comes first.
        let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
        let line = format!("    {node}.fresh._generate = {{ type = \"hex\"; }};\n");
        let text = match name {
            "theirs" => text.replacen("nodes = {\n", &format!("nodes = {{\n{line}"), 1),
            _ => {
                let end = text.rfind("  };").unwrap();
                format!("{}{line}{}", &text[..end], &text[end..])
            }
        };
        env.types(&text);
        env.run(&["edit"]).ends(0);
        commit(&env, name);
    }
    let ours = get(&env, "server1.fresh");
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    assert_eq!(get(&env, "server1.fresh"), ours);
    let theirs = get(&env, "router1.fresh");
    assert_eq!(theirs.len(), 64, "{theirs}");
    seals_and_checks(&env);
    assert_eq!((get(&env, "server1.fresh"), get(&env, "router1.fresh")), (ours, theirs));
}

#[test]
fn one_value_made_anew_on_both_branches_is_a_conflict() {
    let env = declared();
    for name in ["theirs", "ours"] {
        on(&env, name);
        env.run(&["generate", "--regenerate", "routers.one"]).ends(0);
        commit(&env, name);
    }
    let ours = get(&env, "routers.one");
    let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    assert!(merge.err.contains("shared.\"routers.one\".value"), "{merge:#?}");
    assert!(!merge.err.contains(&ours) && !merge.out.contains(&ours));
    no_marks(&env);
    assert_eq!(get(&env, "routers.one"), ours);
    env.run(&["git", "resolve"]).ends(2);
    env.run(&["git", "resolve", "--theirs"]).ends(0);
    let theirs = get(&env, "routers.one");
    assert!(theirs != ours && theirs.len() == 64, "{theirs}");
    env.tool("git", &["commit", "--quiet", "--no-edit"]);
    seals_and_checks(&env);
    assert_eq!(get(&env, "routers.one"), theirs);
    assert!(env.delivered("router2").unwrap().contains(&theirs));
}
