//! A run that is killed in the middle, and gone on with.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nixmox_tests::{deploy_program, is_settled};

use crate::operator::{Operator, activations};

#[test]
fn a_run_that_is_killed_is_gone_on_with() {
    let count = 20;
    let operator = Operator::new(count);
    let systems = operator.build();
    let boots: Vec<_> = operator.bed.hosts().map(|host| host.boot_id()).collect();
    let words =
        "deploy --all --paths PATHS --dwell 1 --activate-jobs 6 --confirm-timeout 120 --json";
    let mut command = operator.env.command(deploy_program());
    let mut run = command
        .args(operator.arguments(words))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let done = lines.map(Result::unwrap).filter(|line| line.contains("\"event\":\"done\"")).take(5);
    let done: Vec<String> = done.collect();
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(done.iter().all(|line| line.contains("\"verdict\":\"changed\"")), "{done:#?}");
    assert_eq!(done.len(), 5);
    let changed = operator.running().iter().filter(|(node, now)| systems[*node] == **now).count();
    assert!((5..count).contains(&changed), "{changed}");

    operator.run("resume --dwell 1 --confirm-timeout 120 --activate-jobs 6").ends(0);
    for (host, boot) in operator.bed.hosts().zip(boots) {
        // As if nothing had happened: nothing is left over, and one generation is new.
        is_settled(host, &systems[&host.name()]);
        let generations = host.sh("ls -d /nix/var/nix/profiles/system-*-link | wc -l");
        assert_eq!(generations, "2", "{}", host.name());
        assert_eq!(host.boot_id(), boot);
        // Who was done is not touched again.
        if done.iter().any(|line| line.contains(&format!("\"{}\"", host.name()))) {
            assert_eq!(activations(host), 1, "{}", host.name());
        }
    }
    let ran = operator.deploy("").ends(0);
    assert_eq!(ran.out, "20 hosts: 20 as they should be\n");
    let ran = operator.run("history").ends(0);
    assert!(!ran.out.contains("cut short") && !ran.out.contains("failed"), "{ran:#?}");
}
