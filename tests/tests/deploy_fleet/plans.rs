//! Plans, and hosts with nothing to do.

use std::fs;

use crate::operator::{Operator, logins};

#[test]
fn a_plan_is_for_hosts_as_it_saw_them() {
    let operator = Operator::new(2);
    let plan = operator.env.path("given/plan.json").display().to_string();
    let systems = operator.build();
    let ran = operator.run(&format!("plan --all --paths PATHS --out {plan}")).ends(0);
    assert!(ran.out.ends_with("2 hosts would switch\n"), "{ran:#?}");

    // Somebody else is faster on one of them.
    operator.systems.set("node2", "revision", 5);
    let other = operator.build()["node2"].clone();
    operator.run("deploy node2 --paths PATHS --dwell 1").ends(0);
    let before = operator.running();
    let ran = operator.run(&format!("apply {plan} --dwell 1")).ends(72);
    assert!(ran.out.contains("not the"), "{ran:#?}");
    assert_eq!(operator.running(), before);
    assert_eq!(before["node2"], other);
    // To go on with it is no way around that.
    let ran = operator.run("resume --dwell 1").ends(72);
    assert!(ran.out.contains("not the"), "{ran:#?}");
    assert_eq!(operator.running(), before);

    // Seen anew, it is done; a second time there is nothing left of it to do.
    operator.systems.set("node2", "revision", 1);
    assert_eq!(operator.build(), systems);
    operator.run(&format!("plan --all --paths PATHS --out {plan}")).ends(0);
    operator.run(&format!("apply {plan} --dwell 1")).ends(0);
    assert_eq!(operator.running(), systems);
    let ran = operator.run(&format!("apply {plan}")).ends(0);
    assert_eq!(ran.out, "2 hosts: 2 as they should be\n");

    fs::write(&plan, fs::read_to_string(&plan).unwrap().replace("switch", "reboot")).unwrap();
    operator.run(&format!("apply {plan}")).ends(2);
}

#[test]
fn a_host_with_nothing_to_do_is_asked_once() {
    let operator = Operator::new(3);
    let systems = operator.build();
    operator.deploy("").ends(0);
    let before: Vec<_> = operator.bed.hosts().map(logins).collect();
    let ran = operator.deploy("--changed").ends(0);
    assert_eq!(ran.out, "there is nothing to do\n");
    let once: Vec<_> = operator.bed.hosts().map(logins).collect();
    assert_eq!(once, before.iter().map(|n| n + 1).collect::<Vec<_>>());
    let ran = operator.deploy("").ends(0);
    assert_eq!(ran.out, "3 hosts: 3 as they should be\n");
    let twice: Vec<_> = operator.bed.hosts().map(logins).collect();
    assert_eq!(twice, before.iter().map(|n| n + 2).collect::<Vec<_>>());
    assert_eq!(operator.running(), systems);
}
