//! What is done with systems besides switching to them.

use std::path::Path;

use crate::operator::{Operator, activations};

#[test]
fn hosts_are_asked_filled_and_rebooted() {
    let operator = Operator::new(2);
    let systems = operator.build();
    let old = operator.running();
    let ran = operator.deploy("--goal dry-activate").ends(0);
    let would = "  | would restart the following units: testbed-app.service";
    assert_eq!(ran.out.lines().filter(|line| *line == would).count(), 2, "{ran:#?}");
    let ran = operator.deploy("--goal push").ends(0);
    assert!(ran.out.contains("node1  has its new system in its store"), "{ran:#?}");
    for host in operator.bed.hosts() {
        assert!(host.has(&systems[&host.name()]));
        assert_eq!(host.sh("readlink /nix/var/nix/gcroots/nixmox/pushed"), systems[&host.name()]);
        host.exec(&["rm", "/nix/var/nix/gcroots/nixmox/pushed"]);
        assert_eq!(activations(host), 0);
    }
    assert_eq!(operator.running(), old);

    // The next boot is another one, and the run has waited for it. One does not come up again.
    operator.systems.set("node2", "variant", "boot-fails");
    let systems = operator.build();
    let boots = [1, 2].map(|number| operator.host(number).boot_id());
    let words = "--goal boot --reboot --reboot-timeout 25 --on-failure continue";
    let ran = operator.deploy(words).ends(71);
    assert!(ran.err.contains("node1: reboot"), "{ran:#?}");
    let late = format!("node2  failed: it did not boot {} in time", systems["node2"]);
    assert!(ran.out.contains(&late), "{ran:#?}");
    let host = operator.host(1);
    assert_ne!(host.boot_id(), boots[0]);
    assert_eq!(host.exec(&["readlink", "-f", "/run/booted-system"]), systems["node1"]);
    nixmox_tests::is_settled(host, &systems["node1"]);
    let host = operator.host(2);
    assert!(host.boot_id() != boots[1] && !host.is_on());
    host.boot(1);
    assert_eq!(host.current_system(), old["node2"]);

    // What is to be run is still what a run was cut short at.
    operator.systems.set("node2", "variant", "ok");
    let systems = operator.build();
    let before = [1, 2].map(|number| operator.host(number).boot_id());
    operator.deploy("--failed --reboot").ends(0);
    assert_eq!(operator.host(1).boot_id(), before[0]);
    assert_ne!(operator.host(2).boot_id(), before[1]);
    operator.host(2).runs_and_boots(&systems["node2"]);
}

#[test]
fn nothing_is_touched_when_a_system_cannot_be_built() {
    let operator = Operator::new(2);
    let old = operator.running();
    operator.systems.set("node2", "etc", serde_json::json!({ "x": { "text": "", "mode": "bad" } }));
    for number in [1, 2] {
        operator.file(&format!("nodes/node{number}/node.nix"), "{ os = \"nixos\"; }");
    }
    let flake = operator.systems.path().display().to_string();
    let ran = operator.run(&format!("deploy node1 node2 --flake {flake} --dwell 1"));
    let ran = ran.ends(71);
    assert!(ran.out.contains("node2  failed: its system cannot be built"), "{ran:#?}");
    assert!(ran.out.contains("node1  not touched: node2 failed"), "{ran:#?}");
    // What Nix said is shown, and kept.
    assert!(ran.out.contains("invalid mode 'bad'"), "{ran:#?}");
    let ran = operator.run("logs build").ends(0);
    assert!(ran.out.contains("invalid mode 'bad'"), "{ran:#?}");
    assert_eq!(operator.running(), old);
    assert_eq!([1, 2].map(|number| activations(operator.host(number))), [0, 0]);
    // Where the others go on, it is done.
    operator
        .run(&format!("deploy node1 node2 --flake {flake} --dwell 1 --on-failure continue"))
        .ends(71);
    let now = operator.running();
    assert_ne!(now["node1"], old["node1"]);
    assert!(Path::new(&now["node1"]).exists());
    assert_eq!(now["node2"], old["node2"]);
}
