//! Activations that succeed, that fail, and that never end.

#![expect(clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use nixmox_deploy::{
    ActivationError, Goal, GuardError, HealthCheck, HealthProbe, Outcome, Refusal, RollbackReason,
    StorePath, Vantage,
};
use nixmox_tests::{Bed, Deployer, Fleet, is_settled, switch};
use serde_json::{Value, json};
use tempfile::TempDir;

#[track_caller]
fn why(outcome: Result<Outcome, ActivationError>) -> RollbackReason {
    match outcome {
        Ok(Outcome::RolledBack { why, .. }) => why,
        other => panic!("it was not gone back: {other:?}"),
    }
}

#[test]
fn a_good_system_runs_and_boots_and_is_left_alone_the_next_time() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let system = Fleet::new(directory.path(), 1).build().remove("node1").unwrap();
    let host = bed.host(1);
    let before = host.current_system();
    let deployer = Deployer::new(&bed);
    let outcome = deployer.activate(1, &switch(&system)).unwrap();
    let Outcome::Activated { from, failed_units, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((from.as_str(), failed_units.len()), (before.as_str(), 0));
    is_settled(host, &system);
    assert_eq!(deployer.activate_there(1, &switch(&system)).unwrap(), Outcome::Unchanged);
    host.reset();
    host.wait();
    is_settled(host, &system);
    assert_eq!(deployer.activate_there(1, &switch(&system)).unwrap(), Outcome::Unchanged);
}

const FAILING: [(&str, RollbackReason); 6] = [
    ("activate-fails", RollbackReason::ActivationFailed { status: 2 }),
    ("unit-fails", RollbackReason::ActivationFailed { status: 4 }),
    ("bootloader-fails", RollbackReason::CommitFailed),
    ("hang", RollbackReason::ActivationKilled),
    ("hang-unit", RollbackReason::ActivationKilled),
    ("reboot", RollbackReason::Rebooted),
];

#[test]
fn a_failing_activation_is_gone_back_from_and_the_next_one_succeeds() {
    let bed = Bed::up(FAILING.len());
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), FAILING.len());
    for (host, (variant, _)) in bed.hosts().zip(FAILING) {
        fleet.set(&host.name(), "variant", variant);
    }
    let before = bed.host(1).current_system();
    let deployer = Deployer::new(&bed);
    let outcomes = deployer.activate_all(&fleet.build(), |_, request| {
        request.patience.activation = Duration::from_secs(8);
    });
    for ((host, (variant, expect)), outcome) in bed.hosts().zip(FAILING).zip(outcomes) {
        assert_eq!(why(outcome), expect, "{variant}");
        is_settled(host, &before);
        let generations = host.sh("ls -d /nix/var/nix/profiles/system-*-link");
        assert_eq!(
            generations, "/nix/var/nix/profiles/system-1-link",
            "{variant} leaves no generation"
        );
    }
    for host in bed.hosts() {
        fleet.set(&host.name(), "variant", "ok");
    }
    let systems = fleet.build();
    for (host, outcome) in bed.hosts().zip(deployer.activate_all(&systems, |_, _| ())) {
        assert!(matches!(outcome, Ok(Outcome::Activated { .. })), "{outcome:?}");
        is_settled(host, &systems[&host.name()]);
    }
}

#[test]
fn failed_units_can_be_accepted_and_killed_sessions_are_no_failure() {
    let bed = Bed::up(2);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 2);
    fleet.set("node1", "variant", "unit-fails").set("node2", "variant", "kills-sessions");
    let systems = fleet.build();
    let deployer = Deployer::new(&bed);
    let outcomes =
        deployer.activate_all(&systems, |_, request| request.patience.failed_units = true);
    for (host, outcome) in bed.hosts().zip(outcomes) {
        let outcome = outcome.unwrap();
        let Outcome::Activated { failed_units, .. } = outcome else { panic!("{outcome:?}") };
        let failed: &[&str] = if host.name() == "node1" { &["broken.service"] } else { &[] };
        assert_eq!(failed_units, failed);
        is_settled(host, &systems[&host.name()]);
    }
}

fn check(probe: HealthProbe, from: Vantage) -> HealthCheck {
    let mut check = HealthCheck::new("it", probe, from);
    check.retries = 2;
    check.interval = Duration::from_secs(1);
    check
}

/// A web server that has one page.
fn web_server() -> Value {
    let socket = "[Unit]\nDescription=Web\n[Socket]\nListenStream=8080\nAccept=yes\n";
    // systemd reads % and $ in a way of its own, and makes characters of what is behind a backslash.
    let answer = r#"case $$(dd bs=4096 count=1 2>/dev/null) in "GET / "*) s="200 OK" ;; *) s="404 No" ;; esac; \
        printf "HTTP/1.1 %%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" "$$s""#;
    let service = format!("[Service]\nStandardInput=socket\nExecStart=/bin/sh -c '{answer}'\n");
    json!({
        "web.socket": { "enable": true, "wantedBy": "sockets.target", "text": socket },
        "web@.service": { "enable": false, "present": true, "text": service },
    })
}

#[test]
fn an_unhealthy_system_is_gone_back_from() {
    let port = |number: u16| number.try_into().unwrap();
    let http =
        |path: &str| HealthProbe::Http { port: port(8080), path: path.into(), statuses: vec![200] };
    let bad = [
        check(HealthProbe::UnitActive("no-such.service".into()), Vantage::Host),
        check(HealthProbe::Tcp { port: port(81) }, Vantage::Deployer),
        check(HealthProbe::Tcp { port: port(81) }, Vantage::Host),
        check(http("/missing"), Vantage::Deployer),
        check(http("/missing"), Vantage::Host),
        check(HealthProbe::Command("test -e '/no such file'".into()), Vantage::Host),
    ];
    let good = [
        check(HealthProbe::UnitActive("testbed-app.service".into()), Vantage::Host),
        check(HealthProbe::Tcp { port: port(22) }, Vantage::Deployer),
        check(HealthProbe::Tcp { port: port(22) }, Vantage::Host),
        check(http("/"), Vantage::Deployer),
        check(http("/"), Vantage::Host),
        check(HealthProbe::Command("grep -q 'revision 1' /run/testbed-app".into()), Vantage::Host),
    ];
    let bed = Bed::up(bad.len());
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), bad.len());
    fleet.set_all("units", web_server());
    let systems = fleet.build();
    let before = bed.host(1).current_system();
    let deployer = Deployer::new(&bed);
    let outcomes = deployer.activate_all(&systems, |number, request| {
        request.checks = vec![bad[number - 1].clone()];
    });
    for (host, outcome) in bed.hosts().zip(outcomes) {
        assert_eq!(
            why(outcome),
            RollbackReason::Unhealthy { check: "it".into() },
            "{}",
            host.name()
        );
        is_settled(host, &before);
    }
    let outcomes = deployer.activate_all(&systems, |_, request| request.checks = good.to_vec());
    for (host, outcome) in bed.hosts().zip(outcomes) {
        assert!(matches!(outcome, Ok(Outcome::Activated { .. })), "{}: {outcome:?}", host.name());
    }
}

#[test]
fn the_same_system_again_and_one_of_another_tool_are_what_is_gone_back_to() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let host = bed.host(1);
    let deployer = Deployer::new(&bed);
    // Another tool's way: the profile first, then a switch.
    let other = fleet.build().remove("node1").unwrap();
    host.copy(&other);
    host.ssh(&format!("nix-env -p /nix/var/nix/profiles/system --set {other}")).ends(0);
    host.ssh(&format!("{other}/bin/switch-to-configuration switch")).ends(0);
    fleet.set("node1", "variant", "no-keys");
    let bad = fleet.build().remove("node1").unwrap();
    assert_eq!(why(deployer.activate(1, &switch(&bad))), RollbackReason::NotConfirmed);
    is_settled(host, &other);

    // It runs already, but something asks for it again: a failure must not take it away.
    host.ssh("rm /nix/var/nix/profiles/system; ln -s system-1-link /nix/var/nix/profiles/system")
        .ends(0);
    let mut again = switch(&other);
    again.checks = vec![check(HealthProbe::Command("false".into()), Vantage::Host)];
    let reason = why(deployer.activate_there(1, &again));
    assert_eq!(reason, RollbackReason::Unhealthy { check: "it".into() });
    assert_eq!(host.current_system(), other);
    assert_eq!(host.sh("readlink /nix/var/nix/profiles/system"), "system-1-link");
    assert_eq!(host.sh("ls -d /nix/var/nix/profiles/system-*-link | wc -l"), "2");
    host.is_reached();
}

#[test]
fn goals_do_what_they_say_and_no_more() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let host = bed.host(1);
    let before = host.current_system();
    let deployer = Deployer::new(&bed);
    let system = fleet.build().remove("node1").unwrap();
    let with = |goal| nixmox_deploy::Request { goal, ..switch(&system) };

    let outcome = deployer.activate(1, &with(Goal::DryActivate)).unwrap();
    let Outcome::WouldChange { lines } = outcome else { panic!("{outcome:?}") };
    assert!(lines.iter().any(|line| line.contains("testbed-app.service")), "{lines:?}");
    assert_eq!(deployer.activate_there(1, &with(Goal::Push)).unwrap(), Outcome::Pushed);
    assert_eq!(host.sh("readlink /nix/var/nix/gcroots/nixmox/pushed"), system);
    host.exec(&["rm", "/nix/var/nix/gcroots/nixmox/pushed"]);
    is_settled(host, &before);

    let outcome = deployer.activate_there(1, &with(Goal::Test)).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    assert_eq!((host.current_system(), host.boot_default()), (system.clone(), before.clone()));
    assert_eq!(host.profile(), before);
    host.reset();
    host.wait();
    is_settled(host, &before);

    assert_eq!(deployer.activate_there(1, &with(Goal::Boot)).unwrap(), Outcome::WillBoot);
    assert_eq!((host.current_system(), host.boot_default()), (before.clone(), system.clone()));
    host.reboot();
    host.wait();
    is_settled(host, &system);

    // What was not expected to run is left as it is.
    let mut request = switch(&before);
    request.expected = Some(StorePath::parse(&before).unwrap());
    let error = deployer.activate_there(1, &request).unwrap_err();
    let unexpected = Refusal::Unexpected { current: system.clone() };
    assert!(
        matches!(&error, ActivationError::Guard(GuardError::Refused(r)) if *r == unexpected),
        "{error:?}"
    );
    is_settled(host, &system);
}

#[test]
fn an_activation_that_moves_what_boots_is_corrected() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let snippet = "ln -sfn /nix/store/elsewhere /nix/var/nix/profiles/system";
    fleet.set("node1", "activationScripts", json!({ "moves": snippet }));
    fleet.set("node1", "variant", "no-keys");
    let before = bed.host(1).current_system();
    let system = fleet.build().remove("node1").unwrap();
    let outcome = Deployer::new(&bed).activate(1, &switch(&system));
    assert_eq!(why(outcome), RollbackReason::NotConfirmed);
    is_settled(bed.host(1), &before);
}
