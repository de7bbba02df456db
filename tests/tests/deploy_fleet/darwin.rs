//! Hosts that say that they are Macs with nix-darwin, beside others. No Mac was there to try it on: these are hosts of the
//! bed whose system has the layout of nix-darwin's, and where what only Linux has is found when it is called.

use nixmox_tests::{BedHost, TestEnv, copy_tree, eventually};

use crate::operator::{Operator, activations};

/// The fleet's flake is the repository itself.
fn take_flake(operator: &Operator, env: &TestEnv) {
    copy_tree(operator.systems.path(), &env.path("fleet"));
}

/// Makes the second host a Mac, and returns what it runs then.
fn mac(operator: &Operator) -> String {
    operator.systems.set("node2", "os", "darwin").set("node2", "revision", 0);
    let system = operator.systems.build().remove("node2").unwrap();
    let host = operator.host(2);
    host.copy(&system);
    host.sh(&format!(
        "nix-env -p /nix/var/nix/profiles/system --set {system} && {system}/activate"
    ));
    operator.systems.set("node2", "revision", 1);
    operator.file("nodes/node1/node.nix", "{ os = \"nixos\"; }");
    let deploy = "targetHost = \"deploy@node2\"; useRemoteSudo = true;";
    operator
        .file("nodes/node2/node.nix", &format!("{{ os = \"darwin\"; deploy = {{ {deploy} }}; }}"));
    system
}

fn is_on(host: BedHost<'_>, system: &str) {
    assert_eq!(host.current_system(), system);
    assert_eq!(host.profile(), system);
    assert_eq!(host.sh("cat /var/log/only-linux 2>/dev/null || true"), "");
}

#[test]
fn macs_and_others_are_one_fleet() {
    let operator = Operator::new(2);
    let host = operator.host(2);
    let old = mac(&operator);
    let boot = host.boot_id();
    let goal = |words: &str| operator.run(&format!("deploy --all {words}")).ends(5);
    take_flake(&operator, &operator.env);
    assert!(goal("--goal boot").err.contains("node2 runs darwin, and cannot be told what to boot"));
    assert!(goal("--goal dry-activate").err.contains("does not say what would change"));
    assert!(goal("--reboot").err.contains("is not rebooted"));
    assert!(goal("--check unit:x").err.contains("has no units"));
    assert_eq!(activations(operator.host(1)), 0);
    assert!(!host.has("/var/db/nixmox"));

    let ran = operator.run("deploy --all --dwell 1 --check cmd:true").ends(0);
    assert_eq!(ran.out.lines().last(), Some("2 hosts: 2 changed"), "{ran:#?}");
    let systems = operator.systems.build();
    is_on(host, &systems["node2"]);
    operator.host(1).runs_and_boots(&systems["node1"]);
    let ran = operator.run("deploy --all").ends(0);
    assert_eq!(ran.out, "2 hosts: 2 as they should be\n");
    let ran = operator.run("history node2").ends(0);
    assert!(ran.out.contains("node2  3  darwin-system-node2-ok.1 (current)"), "{ran:#?}");

    // Back by one, and what is not well is gone back from.
    operator.run("rollback node2 --dwell 1").ends(0);
    is_on(host, &old);
    for (variant, more, said) in [
        ("fails", "", "the activation ended with 1"),
        ("hangs", "--activation-timeout 5", "the activation took too long or was killed"),
        ("no-keys", "--confirm-timeout 8", "it could not be reached over new connections"),
        ("ok", "--check cmd:false", "the check cmd:false failed"),
    ] {
        operator.systems.set("node2", "variant", variant);
        take_flake(&operator, &operator.env);
        let ran = operator.run(format!("deploy node2 --dwell 1 {more}").trim_end()).ends(70);
        assert!(ran.out.contains(&format!("node2  back on its old system: {said}")), "{ran:#?}");
        is_on(host, &old);
    }
    assert_eq!(host.sh("pgrep -f '[s]leep 100000$' || true"), "");
    assert_eq!(host.boot_id(), boot);
    whoever_deploys_is_gone(&operator, &old);
}

/// The Mac goes back by itself; and another machine can go on.
fn whoever_deploys_is_gone(operator: &Operator, old: &str) {
    let host = operator.host(2);
    let dies = |words: &str| {
        let mut run = operator.start(words);
        eventually("it waits", || mac_phase(host) == "awaiting");
        let group = format!("-{}", run.id());
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-KILL", "--", &group]).status().unwrap().success());
        run.wait().unwrap();
    };
    dies("deploy node2 --dwell 60 --confirm-timeout 10");
    eventually("it has gone back", || mac_phase(host) == "rolled-back");
    is_on(host, old);

    let other = operator.colleague();
    take_flake(operator, &other);
    dies("deploy node2 --dwell 6 --confirm-timeout 120");
    let words = operator.arguments("resume node2 --confirm-timeout 60");
    other.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).ends(0);
    is_on(host, &operator.systems.build().remove("node2").unwrap());
}

fn mac_phase(host: BedHost<'_>) -> String {
    host.sh("sed -n 's/^phase=//p' /var/db/nixmox/last/state 2>/dev/null || true")
}
