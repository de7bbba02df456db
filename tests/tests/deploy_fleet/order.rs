//! Waves, canaries, failures, and runs that are cut short.

use crate::operator::{Operator, activations};

/// A manifest of three waves on four hosts: two core services after each other, and two services.
fn manifest(operator: &Operator, health: &str) -> String {
    let address = operator.host(1).address();
    let net = address.rsplit_once('.').unwrap().0;
    let service = |n: usize, needs: &str, health: &str| {
        format!(
            "node{n} = {{ enable = true; ip = \"{net}.{n}\"; hostname = \"node{n}.bed.lan\"; vmid = 90{n}; \
             depends_on = [ {needs} ]; interface.health = {{ startup = \"{health}\"; interval = 1; timeout = 5; retries = 1; }}; }};\n"
        )
    };
    format!(
        "{{ network = {{ domain = \"bed.lan\"; dns_server = \"{net}.1\"; gateway = \"{net}.254\"; \
         network_cidr = \"{net}.0/24\"; vlan_tag = 1; }};\n core_services = {{ {}{} }};\n services = {{ {}{} }};\n}}\n",
        service(1, "", "true"),
        service(2, "\"node1\"", health),
        service(3, "\"node2\"", "true"),
        service(4, "\"node1\"", "true"),
    )
}

#[test]
fn nothing_after_a_failing_core_service_is_touched() {
    let operator = Operator::new(4);
    operator.file("service-manifest.nix", &manifest(&operator, "test -e /run/well"));
    let before = operator.running();
    let systems = operator.build();
    let ran = operator.deploy("--on-failure continue").ends(70);
    assert!(
        ran.out.contains("node2  back on its old system: the check health of the manifest failed"),
        "{ran:#?}"
    );
    assert!(ran.out.contains("node3  not touched: it needs node2, which failed"), "{ran:#?}");
    assert!(
        ran.out.contains("node4  not touched: node2 failed, and nothing after it is touched"),
        "{ran:#?}"
    );
    operator.host(1).runs_and_boots(&systems["node1"]);
    for number in 2..=4 {
        let host = operator.host(number);
        assert_eq!(host.current_system(), before[&host.name()]);
    }
    assert_eq!([3, 4].map(|number| activations(operator.host(number))), [0, 0]);

    // Well again: the rest follows, wave by wave.
    operator.host(2).sh("touch /run/well");
    let ran = operator.deploy("--failed").ends(0);
    let at = |text: &str| ran.err.find(text).unwrap_or_else(|| panic!("{text}: {ran:#?}"));
    assert!(at("node2: runs its new system") < at("node3: activate"), "{ran:#?}");
    assert!(at("node2: runs its new system") < at("node4: activate"), "{ran:#?}");
    assert!(!ran.err.contains("node1"), "{ran:#?}");
    assert_eq!(operator.running(), systems);
}

#[test]
fn what_a_failure_does_is_chosen() {
    let operator = Operator::new(3);
    let old = operator.running();
    operator.systems.set("node1", "variant", "unit-fails");
    operator.build();
    // The first is tried alone, and nothing else is touched.
    let ran = operator.deploy("--canary 1 --on-failure continue").ends(70);
    assert!(ran.out.contains("node2  not touched: node1 went first and failed"), "{ran:#?}");
    assert_eq!(operator.running(), old);
    // Batches: what is not begun is not begun any more.
    let ran = operator.deploy("--batch 1 --on-failure stop").ends(70);
    assert!(ran.out.contains("node3  not touched: node1 failed"), "{ran:#?}");
    assert_eq!(operator.running(), old);
    // The others go on.
    let ran = operator.deploy("--batch 1 --on-failure continue").ends(70);
    assert!(ran.out.ends_with("3 hosts: 2 changed, 1 back on their old system\n"), "{ran:#?}");
    let done = operator.running();
    assert_eq!(done["node1"], old["node1"]);

    // The last one fails, and all go back.
    operator.systems.set("node1", "variant", "ok").set("node3", "variant", "activate-fails");
    operator.systems.set_all("revision", 7);
    operator.build();
    let ran = operator.deploy("--batch 2 --on-failure rollback").ends(70);
    assert!(ran.out.ends_with("3 hosts: 1 back on their old system, 2 taken back\n"), "{ran:#?}");
    assert_eq!(operator.running(), done);
    for host in operator.bed.hosts() {
        host.runs_and_boots(&done[&host.name()]);
    }
}
