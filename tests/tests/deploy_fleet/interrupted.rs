//! Ctrl-C, and others who look at a deployment under way or call it off.

use std::path::Path;
use std::process::{Child, Command};

use nixmox_tests::{NIX_CONFIG, Ran, TestEnv, deploy_program, eventually};

use crate::operator::{Operator, activations, began};

/// Presses Ctrl-C at its terminal: whatever it has started gets the signal as well.
fn interrupt(run: &Child) {
    let group = format!("-{}", run.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
}

fn end(run: Child) -> Ran {
    Ran::new(&run.wait_with_output().unwrap())
}

#[test]
fn an_interruption_lets_what_was_begun_come_to_its_end() {
    let operator = Operator::new(2);
    operator.slow(6);
    let systems = operator.build();
    let old = operator.running();
    let run = operator.start("deploy --all --paths PATHS --dwell 3 --batch 1");
    began(operator.host(1));
    interrupt(&run);
    let ran = end(run).ends(130);
    assert!(ran.err.contains("interrupted: nothing new is begun"), "{ran:#?}");
    // Of a host that runs what it ran, no change is told.
    let end = "node2  not touched: the run was interrupted\n2 hosts: 1 changed, 1 not touched\n";
    assert!(ran.out.ends_with(end), "{ran:#?}");
    operator.host(1).runs_and_boots(&systems["node1"]);
    assert_eq!(operator.host(2).current_system(), old["node2"]);
    assert_eq!(activations(operator.host(2)), 0);

    // The rest is done later, as it was to be done.
    let ran = operator.run("resume").ends(0);
    assert_eq!(ran.out.lines().last(), Some("1 host: 1 changed"), "{ran:#?}");
    assert_eq!(operator.running(), systems);
}

#[test]
fn a_second_interruption_leaves_the_hosts_to_themselves() {
    let operator = Operator::new(1);
    operator.slow(8);
    let systems = operator.build();
    let (host, old) = (operator.host(1), operator.running());
    let boot = host.boot_id();
    let run = operator.start("deploy --all --paths PATHS --dwell 1 --confirm-timeout 8");
    began(host);
    interrupt(&run);
    interrupt(&run);
    let ran = end(run).ends(130);
    assert!(ran.err.contains("go back by themselves"), "{ran:#?}");
    assert!(ran.err.contains("go on later: nixmox-deploy resume "), "{ran:#?}");
    assert_ne!(host.phase(), "committed", "it did not wait");
    let place = operator.env.path("tmp").display().to_string();
    eventually("nothing of it is left here", || {
        Command::new("pgrep").args(["-f", &place]).output().unwrap().stdout.is_empty()
    });

    eventually("the host has gone back by itself", || host.phase() == "rolled-back");
    host.runs_and_boots(&old["node1"]);
    assert_eq!(host.boot_id(), boot);
    operator.run("resume --confirm-timeout 60").ends(0);
    host.runs_and_boots(&systems["node1"]);
}

#[test]
fn what_is_drawn_is_not_torn_by_the_key_that_interrupts() {
    let operator = Operator::new(1);
    operator.slow(3);
    operator.build();
    // A shell of its own, which says how the terminal is left.
    let mut shell = TestEnv::of(Path::new("/bin/sh"));
    shell.var("NIX_CONFIG", NIX_CONFIG);
    let program = deploy_program().display().to_string();
    let deploy = operator.arguments("deploy --all --paths PATHS --dwell 1").join(" ");
    let line = format!(
        "trap : INT; {program} {deploy}; echo ended with $?, $(stty -a | grep -o -e '-*echoctl')"
    );
    let mut terminal = shell.terminal(80, &["-c", &line]);
    began(operator.host(1));
    terminal.send("\x03");
    terminal.expect("interrupted: nothing new is begun");
    terminal.expect("ended with 0, echoctl");
    let (_, shown) = terminal.end();
    assert!(!shown.contains("^C"), "{shown}");
}

#[test]
fn others_see_a_deployment_and_call_it_off() {
    let operator = Operator::new(2);
    operator.slow(8);
    operator.build();
    let old = operator.running();
    let run = operator.start("deploy --all --paths PATHS --dwell 1");
    began(operator.host(1));
    began(operator.host(2));
    let attached = operator.start("attach");
    // A second deployment is told who is there.
    let ran = operator.run("deploy node1 --paths PATHS").ends(71);
    assert!(ran.out.contains("the host is being deployed by "), "{ran:#?}");
    let ran = operator.run("status node1").ends(0);
    assert!(ran.out.contains("an activation is activating"), "{ran:#?}");
    // Whoever has the hosts' names and a key may call it off.
    let ran = operator.run("abort --all").ends(0);
    assert_eq!(ran.out, "node1: back on its old system\nnode2: back on its old system\n");
    let ran = end(run).ends(70);
    assert!(ran.out.contains("node1  back on its old system: somebody asked for it"), "{ran:#?}");
    let attached = end(attached).ends(70);
    assert!(attached.out.contains("node2: activate\n"), "{attached:#?}");
    assert!(
        attached.out.contains("node2: back on its old system: somebody asked for it\n"),
        "{attached:#?}"
    );
    for host in operator.bed.hosts() {
        host.runs_and_boots(&old[&host.name()]);
    }
    let ran = operator.run("abort --all").ends(0);
    assert_eq!(ran.out, "node1: no activation goes on\nnode2: no activation goes on\n");
}
