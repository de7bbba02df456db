//! Which hosts are meant; no host is needed for that.

use nixmox_tests::{TestEnv, deploy_program};

fn repository() -> TestEnv {
    let env = TestEnv::of(deploy_program());
    let file = |name: &str, text: &str| {
        let path = env.path("fleet/nodes").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let common =
        "common = { lib, ... }: { os = lib.mkDefault \"nixos\"; deploy.tags = [ \"edge\" ]; };";
    file("web/group.nix", &format!("{{ {common} w1 = {{ }}; w2 = {{ deploy.tags = [ ]; }}; }}"));
    file(
        "db1/node.nix",
        "{ lib, ... }: { os = \"nixos\"; modules = [ ./x.nix ]; deploy.targetHost = \"10.0.0.9\"; }",
    );
    env
}

#[track_caller]
fn check(env: &TestEnv, words: &[&str], expect: &str) {
    let arguments: Vec<&str> = ["graph"].iter().chain(words).copied().collect();
    let ran = env.run(&arguments).ends(0);
    let nodes = ran.out.lines().map(|line| line.split("  ").nth(1).unwrap());
    assert_eq!(nodes.collect::<Vec<_>>().join(" "), expect);
}

#[test]
fn hosts_are_named_by_groups_patterns_and_tags() {
    let env = repository();
    check(&env, &["--all"], "db1 w1 w2");
    check(&env, &["web"], "w1 w2");
    check(&env, &["w1", "db1"], "db1 w1");
    check(&env, &["@edge"], "w1");
    check(&env, &["* & !web"], "db1");
    check(&env, &["(w* | db1) & !@edge"], "db1 w2");
}

#[test]
fn nothing_is_deployed_by_a_mistyped_line() {
    let env = repository();
    for (words, code, said) in [
        (vec!["graph", "wbe"], 2, "no node, group or tag fits `wbe`"),
        (vec!["graph", "other"], 2, "hint: hosts are db1, w1, w2"),
        (vec!["resume", "20260101-000000-1"], 100, "hint: list them: nixmox-deploy history"),
        (vec!["graph", "w1 &"], 2, "a name belongs at character 5 of the selector"),
        (vec!["graph"], 2, "it is not said which hosts are meant"),
        (vec!["--all", "w1"], 2, "cannot be used with"),
        (vec![], 2, "Usage"),
        (vec!["w1", "--canary", "0"], 2, "neither a number of nodes nor a percentage"),
        (vec!["w1", "--check", "ping:1", "--paths", "/dev/null"], 5, "there is no system for w1"),
    ] {
        let ran = env.run(&words).ends(code);
        assert!(ran.err.contains(said), "{words:?}: {ran:#?}");
    }
}

#[test]
fn a_mistyped_command_is_named() {
    let env = repository();
    for (words, said) in [
        (vec!["statsu", "--all"], "tip: a similar subcommand exists: 'status'"),
        (vec!["--json", "statsu", "--all"], "tip: a similar subcommand exists: 'status'"),
        (vec!["statsu"], "hint: did you mean the command `status`?"),
        (vec!["rolback", "w1"], "hint: did you mean the command `rollback`?"),
    ] {
        let ran = env.run(&words).ends(2);
        assert!(ran.err.contains(said), "{words:?}: {ran:#?}");
    }
    // A host that is called much as a command is meant itself, and so is another mistake.
    let ran = env.run(&["w1", "webb"]).ends(2);
    assert!(ran.err.contains("did you mean web?") && !ran.err.contains("command"), "{ran:#?}");
}
