//! What is in use is not collected as garbage, neither here nor on hosts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::id;

use nixmox_tests::{Ran, eventually, nix};
use serde_json::{Value, json};

use crate::operator::{Operator, began};

/// Has Nix collect one path of this machine, and nothing else.
fn collects(path: &str) -> Ran {
    Ran::new(&nix("nix-store").args(["--delete", path]).output().unwrap())
}

#[track_caller]
fn is_kept(path: &str) {
    let ran = collects(path).ends(1);
    assert!(ran.err.contains("it is still alive"), "{ran:#?}");
}

/// The record of the only run.
fn record(operator: &Operator) -> std::path::PathBuf {
    let runs = operator.env.path("runs");
    fs::read_dir(runs).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn systems_and_sources_are_kept_from_the_build_on() {
    let operator = Operator::new(2);
    // Systems that nobody else has, and a copy that takes its time.
    operator.systems.set_all("etc", json!({ "kept": format!("here {}\n", id()) }));
    operator.host(1).slow("700ms", 0, 0);
    let flake = operator.systems.path().display().to_string();
    let runs = operator.env.path("runs").display().to_string();
    let words =
        format!("deploy --all --dwell 1 --json --copy-jobs 1 --runs {runs} --flake {flake}");
    let mut run = operator.start(&words);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"phase\":\"copy\"")), "nothing is copied");
    let plan = fs::read_to_string(record(&operator).join("plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let named = ["/nodes/node1/toplevel", "/nodes/node2/toplevel", "/source_path"];
    let used = named.map(|place| plan.pointer(place).and_then(Value::as_str).unwrap());
    used.into_iter().for_each(is_kept);
    operator.host(1).heal();
    let last = lines.last().unwrap();
    assert!(last.contains("\"event\":\"end\"") && last.contains("\"status\":0"), "{last}");
    run.wait().unwrap();
    // What keeps them goes with the record, and nothing else does.
    used.into_iter().for_each(is_kept);
    fs::remove_dir_all(record(&operator)).unwrap();
    for path in used {
        collects(path).ends(0);
    }
}

#[test]
fn a_host_keeps_what_it_is_about_to_run() {
    let operator = Operator::new(2);
    operator.slow(8);
    operator.systems.set_all("etc", json!({ "kept": format!("there {}\n", id()) }));
    let systems = operator.build();
    let run = operator.start("deploy --all --paths PATHS --dwell 1 --batch 1");
    began(operator.host(1));
    let (host, system) = (operator.host(2), &systems["node2"]);
    eventually("the next host has its system, too", || host.has(system));
    // It is not its turn yet, and somebody tidies up there.
    host.sh("nix-collect-garbage");
    Ran::new(&run.wait_with_output().unwrap()).ends(0);
    host.runs_and_boots(system);
}
