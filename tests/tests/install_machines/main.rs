//! Machines become nodes: from a blank disk or from some Linux to a system that has its secrets, with the real program
//! on emulated machines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod installation;
mod secrecy;

use std::fs::{self, File};
use std::process::Command;

use installation::{Installation, PLACE};
use nixmox_install::Disk;
use nixmox_tests::{Machine, TestEnv, install_program};
use nixmox_topology::NodeName;
use secrecy::Watch;
use serde_json::Value;
use tempfile::NamedTempFile;

const CANARIES: [&str; 2] = ["canary-of-web-3b91", "canary-of-db-c07f"];

/// One boots an installer, the other some Debian that knows nothing of Nix: both are installed by one command.
#[test]
#[ignore = "takes emulated machines ten minutes: cargo xtask machines"]
fn two_machines_become_nodes_with_their_secrets() {
    let machines = std::thread::scope(|scope| {
        let db = scope.spawn(|| Machine::debian("db"));
        [Machine::up("web"), db.join().unwrap()]
    });
    let [web, db] = &machines;
    let mut installation = Installation::new(&[web, db]);
    let watch = Watch::start(CANARIES.map(str::to_owned).to_vec());
    installation.edits(&[("web.token", CANARIES[0]), ("db.token", CANARIES[1])]);
    assert_eq!(watch.end(), [""; 0], "who looks on has seen a secret");
    let both = ["web", "db"];
    let keys = installation.installer_keys(&both);
    let tokens = installation.tokens(&both, &keys);

    let secrets =
        [CANARIES.map(str::to_owned), both.map(|n| installation.private_line(n))].concat();
    // Whoever installed before was killed while the installer was on its way: it is sent again.
    let one = [&keys[2..], &tokens[2..]].concat();
    let watch = Watch::start(secrets.clone());
    installation.is_killed_at(&["db"], &one, "boot-installer");
    // The connection is lost while it is; both machines are installed at the same time.
    let mut begun = Vec::new();
    let ran = installation.watched(&both, &[&keys[..], &tokens[..]].concat(), |node, phase, _| {
        let again = begun.contains(&format!("{node} {phase}"));
        begun.push(format!("{node} {phase}"));
        if (node, phase, again) == ("db", "boot-installer", false) {
            installation::drop_connections(db);
        }
    });
    let ran = ran.ends(0);
    assert_eq!(watch.end(), [""; 0], "who looks on has seen a secret");
    assert!(ran.out.contains("\"event\":\"connection-lost\""), "{ran:#?}");
    let first = |node: &str| begun.iter().position(|begun| begun.starts_with(node)).unwrap();
    let last = |node: &str| begun.iter().rposition(|begun| begun.starts_with(node)).unwrap();
    assert!(first("db") < last("web") && first("web") < last("db"), "{begun:?}");

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

/// A rescue system without Nix does the work itself, from memory. Its key was made before it was booted. It has another
/// disk than the one that is to be erased, until that is said; whoever installs is killed, and goes on.
#[test]
#[ignore = "takes an emulated machine a quarter of an hour: cargo xtask machines"]
fn a_rescue_system_with_a_key_made_before_becomes_a_node() {
    let made = TestEnv::of(install_program());
    let client = format!("{}.pub", Machine::any_client_key().display());
    let shown = made.run(&["iso", "web", "--json", "--client-key", &client]).ends(0).out;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let initrd = made.path("fleet").join(shown["initrd"].as_str().unwrap()).display().to_string();
    let fingerprint = shown["fingerprint"].as_str().unwrap();
    let options = ["--as", "debian", "--keys", &initrd, "--disk", "3G:other"];
    let machine = Machine::with("web", &options);
    assert_eq!(machine.installer_key(), fingerprint);
    let mut installation = Installation::new(&[&machine]);
    installation.edits(&[("web.token", CANARIES[0])]);
    let words = |words: &[&str]| {
        let key = format!("web={fingerprint}");
        let all = [&["--installer-key", &key, "--via", "rescue"][..], words].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    // Its clock is wrong until it is the node, which is said, and ends nothing.
    machine.sh("date -s '260050 seconds ago'");
    let said = installation.installs(&["web"], &words(&["--dry-run"])).ends(4);
    assert!(said.out.contains("note: its clock is wrong by 2600"), "{said:#?}");

    let said = installation.installs(&["web"], &words(&["--yes"])).ends(4);
    assert!(said.out.contains("no disk that is /dev/disk/by-id/virtio-disk0"), "{said:#?}");
    installation.systems.set("web", "disk", "/dev/disk/by-id/virtio-other");
    let said = installation.installs(&["web"], &words(&["--wipe", &other_disk()])).ends(5);
    assert!(said.out.contains("serial other"), "{said:#?}");
    assert_eq!(machine.sh("lsblk -n -o NAME /dev/vda"), "vda");

    // Nothing is on the disk, which is consent enough for who says so.
    installation.is_killed_at(&["web"], &words(&["--yes"]), "copy");
    let formatted = machine.sh("blkid -s UUID -o value /dev/disk/by-partlabel/root");
    installation.is_killed_at(&["resume", "web"], &words(&[]), "activate");
    secrecy::on_rescue(&machine, CANARIES[0], &installation.private_line("web"));
    installation.installs(&["resume", "web"], &words(&[])).ends(0);
    assert_eq!(machine.sh("blkid -s UUID -o value -t LABEL=nixos"), formatted);
    let system = installation.system("web");
    assert_eq!([machine.booted_system(), machine.profile(), machine.boot_default()], [&*system; 3]);
    assert_eq!(machine.host_key(), installation.public_key("web"));
    assert_eq!(opened_there(&machine), format!("{{\"token\":\"{}\"}}", CANARIES[0]));
    // Its own Nix knows what it has.
    machine
        .sh(&format!("nix-store --query --requisites {system} >/dev/null && nix-store --verify"));
}

/// Consent to the use of a disk with the serial number `disk0`.
fn other_disk() -> String {
    let disk = Disk {
        path: "/dev/vda".to_owned(),
        serial: Some("disk0".to_owned()),
        wwn: None,
        model: None,
        size: 3 << 30,
        read_only: false,
        holds: Vec::new(),
        mounted: Vec::new(),
        blank: true,
    };
    format!("web={}", nixmox_install::token(&NodeName::parse("web").unwrap(), &[&disk]))
}

/// Opens the sealed file of a machine there, with its own host key: by another program than ours.
fn opened_there(machine: &Machine) -> String {
    let key = machine.sh("cat /etc/ssh/ssh_host_ed25519_key");
    let reader = installation::portable(env!("CARGO_BIN_EXE_rops-reader"));
    let mut send = Command::new("ssh");
    send.arg("-F").arg(machine.careless_ssh_config()).arg(machine.name());
    send.arg("mkdir -p /run/reader && tar -x -C /run/reader");
    assert!(send.stdin(File::open(reader.path()).unwrap()).status().unwrap().success());
    let script = format!(
        "cd /run/reader && read -r ROPS_AGE && export ROPS_AGE && ./ld.so --library-path . ./program <{PLACE}; \
         rm -r /run/reader"
    );
    let key = installation::age_identity(&key);
    let given = NamedTempFile::new_in("/dev/shm").unwrap();
    fs::write(given.path(), format!("{key}\n")).unwrap();
    let mut open = Command::new("ssh");
    open.arg("-F").arg(machine.careless_ssh_config()).args([machine.name(), &script]);
    let opened = open.stdin(File::open(given.path()).unwrap()).output().unwrap();
    nixmox_tests::Ran::new(&opened).ends(0).out.trim().to_owned()
}
