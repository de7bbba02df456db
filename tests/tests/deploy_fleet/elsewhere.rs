//! What one machine has begun, and another one sees, goes on with or calls off: from what the hosts say, for it has no
//! record of it.

use std::process::{Child, Command};

use nixmox_tests::{Deployment, Ran, TestEnv, deploy_program, eventually};
use serde_json::{Value, json};

use crate::operator::{Operator, activations, began};

/// Somebody else's machine.
struct Elsewhere<'a> {
    operator: &'a Operator,
    env: TestEnv,
}

impl Elsewhere<'_> {
    fn run(&self, words: &str) -> Ran {
        let arguments = self.operator.arguments(words);
        self.env.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, words: &str) -> Child {
        let mut command = self.env.command(deploy_program());
        command.args(self.operator.arguments(words)).spawn().unwrap()
    }
}

fn end(run: Child) -> Ran {
    Ran::new(&run.wait_with_output().unwrap())
}

/// The machine dies, with all that it has started.
fn dies(mut run: Child) {
    let group = format!("-{}", run.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    run.wait().unwrap();
}

fn operator(count: usize) -> Operator {
    let mut operator = Operator::new(count);
    operator.env.var("USER", "alice");
    for number in 1..=count {
        operator.file(&format!("nodes/node{number}/node.nix"), "{ os = \"nixos\"; }");
    }
    operator
}

#[test]
fn another_machine_sees_what_goes_on_and_how_it_ends() {
    let operator = operator(3);
    let elsewhere = Elsewhere { operator: &operator, env: operator.colleague() };
    operator.slow(8);
    operator.systems.set("node2", "variant", "unit-fails");
    let systems = operator.build();
    let run = operator.start("deploy node1 node2 --paths PATHS --dwell 1 --on-failure continue");
    began(operator.host(1));
    began(operator.host(2));
    let looks = elsewhere.start("attach --all");
    let ran = elsewhere.run("status --all").ends(0);
    let said = |node: &str| ran.out.lines().find(|line| line.starts_with(node)).unwrap();
    let alice = "an activation is activating, begun by alice@";
    assert!(said("node1").contains(alice) && !said("node3").contains("activation"), "{ran:#?}");
    let ran = elsewhere.run("status node1 --json").ends(0);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json.pointer("/node1/activation/system").unwrap(), &systems["node1"]);

    assert!(end(run).ends(70).out.contains("1 changed, 1 back on their old system"));
    let looked = end(looks).ends(70);
    let at = |line: &str| {
        looked.out.find(&format!("{line}\n")).unwrap_or_else(|| panic!("{line}: {looked:#?}"))
    };
    assert!(at("node1: activate") < at("node1: confirm"));
    assert!(at("node1: confirm") < at("node1: runs its new system"));
    at("node2: back on its old system: the activation ended with 4");
    at("node3: no activation goes on");
    // Looking on is all that it was.
    assert_eq!(activations(operator.host(1)), 1);
    let ran = elsewhere.run("attach node1 --json").ends(0);
    let kinds: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kinds.last().unwrap()["event"], "end");
    // It has done nothing itself, and says where else to look.
    let ran = elsewhere.run("resume").ends(100);
    assert!(ran.err.contains("known by the hosts"), "{ran:#?}");
}

#[test]
fn another_machine_goes_on_with_what_a_dead_one_has_left() {
    let operator = operator(3);
    let elsewhere = Elsewhere { operator: &operator, env: operator.colleague() };
    let boots: Vec<_> = operator.bed.hosts().map(|host| host.boot_id()).collect();
    let systems = operator.build();
    let words = "deploy --all --paths PATHS --batch 1 --dwell 10 --confirm-timeout 120";
    let run = operator.start(words);
    eventually("the first runs the new system", || operator.host(1).phase() == "awaiting");
    dies(run);
    assert_eq!(activations(operator.host(2)), 0);
    // One that was prepared and no more.
    let order = json!({ "stop_at": "phase Activate" });
    operator.host(3).copy(&systems["node3"]);
    let mut prepared = Deployment::start(operator.host(3), &systems["node3"], &order);
    prepared.until("phase Activate");
    prepared.kill();

    let ran = elsewhere.run("resume --all --paths PATHS --dwell 1 --confirm-timeout 60").ends(0);
    assert_eq!(ran.out.lines().last(), Some("3 hosts: 3 changed"), "{ran:#?}");
    for (host, boot) in operator.bed.hosts().zip(boots) {
        nixmox_tests::is_settled(host, &systems[&host.name()]);
        assert_eq!(host.boot_id(), boot);
    }
    // What was begun was gone on with; what was not was begun anew.
    assert_eq!([1, 2, 3].map(|number| activations(operator.host(number))), [1, 1, 2]);
    // Also who began it finds everything done.
    let ran = operator.run("resume").ends(0);
    assert_eq!(ran.out, "3 hosts: 3 as they should be\n");

    calls_off(&operator, &elsewhere, words);
}

/// What a dead machine has left is not what the repository says: it is not taken over, but called off.
fn calls_off(operator: &Operator, elsewhere: &Elsewhere<'_>, words: &str) {
    let old = operator.running();
    operator.systems.set_all("revision", 2);
    operator.build();
    let run = operator.start(words);
    eventually("the first runs a newer system", || operator.host(1).phase() == "awaiting");
    dies(run);
    operator.systems.set_all("revision", 3);
    let systems = operator.build();
    let ran = elsewhere.run("resume node1 --paths PATHS --dwell 1").ends(71);
    assert!(ran.out.contains("the host is being deployed by alice@"), "{ran:#?}");
    assert_eq!(operator.host(1).phase(), "awaiting");
    let ran = elsewhere.run("abort --all").ends(0);
    let none = "no activation goes on\n";
    assert_eq!(ran.out, format!("node1: back on its old system\nnode2: {none}node3: {none}"));
    assert_eq!(operator.running(), old);
    elsewhere.run("deploy --all --paths PATHS --dwell 1").ends(0);
    assert_eq!(operator.running(), systems);
}
