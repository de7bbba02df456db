//! Machines become nodes: from a blank disk or from some Linux to a system that has its secrets, with the real program
//! on emulated machines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod installation;
mod secrecy;

use std::fs::File;
use std::process::{Command, Stdio};

use installation::{Installation, PLACE};
use nixmox_tests::Machine;
use secrecy::Watch;

const CANARIES: [&str; 2] = ["canary-of-web-3b91", "canary-of-db-c07f"];

/// One boots an installer, the other some Debian that knows nothing of Nix: both are installed by one command.
#[test]
fn two_machines_become_nodes_with_their_secrets() {
    let machines = std::thread::scope(|scope| {
        let db = scope.spawn(|| Machine::debian("db"));
        [Machine::up("web"), db.join().unwrap()]
    });
    let [web, db] = &machines;
    let installation = Installation::new(&[web, db]);
    installation.secret("web.token", CANARIES[0]);
    installation.secret("db.token", CANARIES[1]);
    let both = ["web", "db"];
    let keys = installation.installer_keys(&both);
    let tokens = installation.tokens(&both, &keys);

    let secrets =
        [CANARIES.map(str::to_owned), both.map(|n| installation.private_line(n))].concat();
    // Whoever installed before was killed while the installer was on its way: it is sent again.
    let one = [&keys[2..], &tokens[2..]].concat();
    let watch = Watch::start(secrets.clone());
    installation.is_killed_at(&["db"], &one, "boot-installer");
    installation.installs(&both, &[&keys[..], &tokens[..]].concat()).ends(0);
    assert_eq!(watch.end(), [""; 0], "who looks on has seen a secret");

    for (machine, canary) in machines.iter().zip(CANARIES) {
        let node = machine.name();
        let system = installation.system(node);
        let key = installation.public_key(node);
        // Whoever accepts that key alone reaches it.
        assert_eq!(installation.pinned(machine, &key, "readlink -f /run/booted-system"), system);
        assert_eq!([machine.profile(), machine.boot_default()], [&*system; 2]);
        assert_eq!(opened_there(machine), format!("{{\"token\":\"{canary}\"}}"));
        secrecy::on_machine(machine, canary, &installation.private_line(node));
    }
    secrecy::here(&installation, &secrets);

    // It is a node, and is not installed again; it is deployed to like any other.
    let said = installation.installs(&["web"], &keys[..2]).ends(4);
    assert!(said.out.contains("it is this node already"), "{said:#?}");
    installation.systems.set("web", "revision", 2);
    installation.deploys("web").ends(0);
    assert_eq!(web.sh("cat /run/testbed-app"), "revision 2");
    assert_eq!(web.boot_default(), installation.system("web"));
}

/// Opens the sealed file of a machine there, with its own host key: by another program than ours.
fn opened_there(machine: &Machine) -> String {
    let key = machine.sh("cat /etc/ssh/ssh_host_ed25519_key");
    let identity = installation::age_identity(&key);
    let reader = installation::portable(env!("CARGO_BIN_EXE_rops-reader"));
    let mut send = Command::new("ssh");
    send.arg("-F").arg(machine.careless_ssh_config()).arg(machine.name());
    send.arg("mkdir -p /run/reader && tar -x -C /run/reader");
    assert!(send.stdin(File::open(reader.path()).unwrap()).status().unwrap().success());
    let script = format!(
        "cd /run/reader && ROPS_AGE={identity} ./ld.so --library-path . ./program <{PLACE}; rm -r /run/reader"
    );
    let mut open = Command::new("ssh");
    open.arg("-F").arg(machine.careless_ssh_config()).args([machine.name(), &script]);
    let opened = nixmox_tests::Ran::new(&open.stdin(Stdio::null()).output().unwrap());
    opened.ends(0).out.trim().to_owned()
}
