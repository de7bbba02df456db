//! Where systems come from, how much is done at once, and what a run says to programs.

use std::collections::BTreeSet;
use std::path::Path;

use nixmox_tests::{NIX_CONFIG, copy_tree};
use serde_json::Value;

use crate::operator::{Operator, activations};

#[test]
fn a_command_may_build_and_may_fail() {
    let operator = Operator::new(2);
    let systems = operator.build();
    for name in ["node1", "node2"] {
        operator.file(&format!("nodes/{name}/node.nix"), "{ os = \"nixos\"; }");
    }
    let script =
        operator.env.give("build", format!("cat {}\n", operator.env.path("given/paths").display()));
    let arguments = operator.arguments("deploy --all --dwell 1");
    let command = format!("sh {script}");
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).chain(["--build-command", &command]).collect();
    operator.env.run(&words).ends(0);
    assert_eq!(operator.running(), systems);

    // It is told which nodes are meant.
    let words = ["--json", "deploy", "node2", "--build-command", "echo >&2 names:; echo >&2"];
    let ran = operator.env.run(&words);
    assert!(ran.err.contains("names:\nnode2\n") || ran.err.contains("node2"), "{ran:#?}");
    let words = ["deploy", "node2", "--build-command", "false"];
    let ran = operator.env.run(&words).ends(1);
    assert!(ran.err.contains("the build command ended with exit status: 1"), "{ran:#?}");
}

#[test]
fn a_flake_needs_no_fleet_around_it() {
    let mut operator = Operator::new(2);
    // Nor does Nix have to be told anything: as it comes, it has no flakes.
    let usual = NIX_CONFIG.replace("experimental-features = nix-command flakes\n", "");
    assert_ne!(usual, NIX_CONFIG);
    operator.env.var("NIX_CONFIG", &usual);
    let ran = operator.run("deploy node1").ends(100);
    assert!(ran.err.contains("--flake REF or --paths FILE"), "{ran:#?}");
    let directory = operator.systems.path().display().to_string();
    let ran = operator.run(&format!("deploy node1 --dwell 1 --flake {directory}")).ends(0);
    assert_eq!(ran.out.lines().last(), Some("1 host: 1 changed"), "{ran:#?}");

    // What is no directory is asked for its configurations.
    let above = operator.env.path("given/above");
    copy_tree(operator.systems.path(), &above.join("systems"));
    for words in [&["init", "--quiet"][..], &["add", "."]] {
        let mut git = operator.env.command(Path::new("git"));
        assert!(git.arg("-C").arg(&above).args(words).status().unwrap().success());
    }
    let named = format!("git+file://{}?dir=systems", above.display());
    let ran = operator.run(&format!("plan --all --flake {named}")).ends(0);
    assert_eq!(ran.out.lines().last(), Some("1 host would switch"), "{ran:#?}");
    operator.run(&format!("deploy --all --dwell 1 --flake {named}")).ends(0);
    assert_eq!(operator.running(), operator.build());
    let ran = operator.run(&format!("status --all --flake {named}")).ends(0);
    assert!(!ran.out.contains("should run"), "{ran:#?}");
    let ran = operator.run(&format!("deploy node3 --flake {named}")).ends(2);
    assert!(ran.err.contains("no node, group or tag fits `node3`"), "{ran:#?}");

    // They were done from here, and hosts of both are known by now.
    let ran = operator.run("history").ends(0);
    assert_eq!(ran.out.lines().count(), 2, "{ran:#?}");
    operator.run("exec --all -- true").ends(0);
}

#[test]
fn a_run_tells_programs_what_happens() {
    let operator = Operator::new(3);
    let systems = operator.build();
    operator.systems.set("node3", "variant", "activate-fails");
    operator.build();
    let old = operator.running();
    let ran =
        operator.deploy("--json --on-failure continue --activate-jobs 1 --copy-jobs 1").ends(70);
    let lines: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["event"] == kind).collect::<Vec<_>>();
    assert!(lines.iter().all(|line| line["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000)));
    let kinds: BTreeSet<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    let known =
        ["check", "confirmed", "connection-lost", "done", "end", "log", "phase", "progress"];
    assert!(kinds.is_subset(&known.into()), "{kinds:?}");
    let phases: Vec<&str> = of("phase")
        .into_iter()
        .filter(|line| line["node"] == "node1")
        .filter_map(|line| line["phase"].as_str())
        .collect();
    assert_eq!(
        phases,
        ["probe", "build", "copy", "probe", "prepare", "activate", "confirm", "commit"]
    );
    let done = |node: &str| {
        of("done").into_iter().find(|line| line["node"] == node).unwrap_or_else(|| panic!("{node}"))
    };
    assert_eq!(done("node1")["verdict"], "changed");
    assert_eq!(done("node1")["before"], old["node1"]);
    assert_eq!(done("node1")["after"], systems["node1"]);
    assert_eq!(done("node3")["verdict"], "rolled-back");
    assert_eq!(done("node3")["after"], Value::Null);
    assert_eq!(of("end").last().map(|line| &line["status"]), Some(&Value::from(70)));
    // One host after the other: none begins before the one before it is done.
    let at = |kind: &str, node: &str, phase: &str| {
        lines.iter().position(|line| {
            line["event"] == kind
                && line["node"] == node
                && (phase.is_empty() || line["phase"] == phase)
        })
    };
    assert!(at("done", "node1", "") < at("phase", "node2", "activate"), "{lines:#?}");

    // The same lines are the run's record, which others can read.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&operator.run("attach --json").ends(70).out), sorted(&ran.out));
}

#[test]
fn what_is_tried_is_gone_with_the_next_boot() {
    let operator = Operator::new(2);
    let old = operator.running();
    let systems = operator.build();
    operator.deploy("--ephemeral --canary 50%").ends(0);
    assert_eq!(operator.running(), systems);
    let ran = operator.run("status --all").ends(0);
    assert_eq!(ran.out.matches("boots another system than it runs").count(), 2, "{ran:#?}");
    let ran = operator.deploy("--ephemeral").ends(0);
    assert_eq!(ran.out, "2 hosts: 2 as they should be\n");
    for host in operator.bed.hosts() {
        assert_eq!(activations(host), 1);
        host.reset();
        host.wait();
        host.runs_and_boots(&old[&host.name()]);
    }
}
