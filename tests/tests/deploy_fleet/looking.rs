//! What a person asks: what runs, what was, what a host says.

use crate::operator::Operator;

#[test]
fn hosts_tell_what_they_run_and_ran() {
    let operator = Operator::new(2);
    // Nothing is known of any host yet, and nothing was done.
    let ran = operator.run("history").ends(0);
    assert_eq!(ran.out, "nothing was deployed from here yet\n");
    let ran = operator.run("history --all").ends(100);
    assert!(ran.err.contains("no fleet here or above"), "{ran:#?}");

    let first = operator.build();
    operator.deploy("").ends(0);
    operator.systems.set_all("revision", 2);
    let second = operator.build();
    operator.deploy("").ends(0);
    let ran = operator.run("history").ends(0);
    assert_eq!(ran.out.lines().count(), 2, "{ran:#?}");
    assert!(ran.out.lines().all(|line| line.contains("  switch  2 changed  ")), "{ran:#?}");

    // From here on, hosts are those of the last run.
    let ran = operator.run("history --all").ends(0);
    for line in [
        "node1  1  nixos-system-host-23.05.testbed.ok.0",
        "node1  2  nixos-system-node1-23.05.testbed.ok.1",
        "node2  3  nixos-system-node2-23.05.testbed.ok.2 (current)",
    ] {
        assert!(ran.out.contains(&format!("{line}\n")), "{ran:#?}");
    }
    let ran = operator.run("exec --all -- cat /etc/testbed/revision").ends(0);
    assert_eq!(ran.out, "node1: 2\nnode2: 2\n");
    let ran = operator.run("exec node2 -- false").ends(71);
    assert_eq!(ran.out, "node2: ended with 1\n");
    let ran = operator.run("logs node1").ends(0);
    assert!(ran.out.contains("nixmox: committed"), "{ran:#?}");
    let ran = operator.run("logs node9").ends(100);
    assert!(ran.err.contains("has no log of node9"), "{ran:#?}");
    let ran = operator.run("logs ../../given/paths").ends(100);
    assert!(!ran.out.contains("/nix/store"), "{ran:#?}");

    // Back by one, and to the first.
    operator.run("rollback node1 --dwell 1").ends(0);
    operator.host(1).runs_and_boots(&first["node1"]);
    operator.run("rollback node2 --to 1 --dwell 1").ends(0);
    operator
        .host(2)
        .runs_and_boots(&operator.host(2).sh("readlink -f /nix/var/nix/profiles/system-1-link"));
    let ran = operator.run("rollback node2 --to 77").ends(7);
    assert!(ran.err.contains("node2 has no such generation"), "{ran:#?}");

    drift_is_said(&operator, [&first["node1"], &second["node1"], &second["node2"]]);
}

/// What is not as it was deployed, or not as it should be, is said.
fn drift_is_said(operator: &Operator, [first, second, other]: [&String; 3]) {
    operator.host(1).sh(&format!("{second}/bin/switch-to-configuration test"));
    let ran = operator.run("status --all").ends(0);
    let line =
        |out: &str, node: &str| out.lines().find(|line| line.starts_with(node)).unwrap().to_owned();
    let shown = line(&ran.out, "node1");
    assert!(shown.contains("boots another system than it runs"), "{ran:#?}");
    assert!(
        shown.contains("drifted: nixos-system-node1-23.05.testbed.ok.1 was deployed"),
        "{ran:#?}"
    );
    // A narrow terminal has room for it as well.
    let words = operator.arguments("status --all");
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (_, shown) = operator.env.terminal(80, &words).end();
    let remark = "\nnode1: boots another system than it runs; drifted: nixos-system-node1-23.05.testbed.ok.1";
    assert!(shown.contains(remark), "{shown}");
    let ran = operator.run("status --all --paths PATHS --json").ends(0);
    let all: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(all.pointer("/node1/current").unwrap(), second);
    assert_eq!(all.pointer("/node1/deployed").unwrap(), first);
    assert_eq!(all.pointer("/node2/wanted").unwrap(), other);
    let ran = operator.run("status --all --paths PATHS").ends(0);
    assert!(
        line(&ran.out, "node2").contains("should run nixos-system-node2-23.05.testbed.ok.2"),
        "{ran:#?}"
    );
    assert!(!line(&ran.out, "node1").contains("should run"), "{ran:#?}");

    // One that is not there is said, and the others are shown.
    operator.host(2).kill_sshd();
    let ran = operator.run("status --all").ends(71);
    assert!(line(&ran.out, "node2").contains("cannot be asked"), "{ran:#?}");
    assert!(ran.out.contains("drifted"), "{ran:#?}");
}
