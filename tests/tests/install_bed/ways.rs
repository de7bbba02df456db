//! Other ways in: systems that machines build themselves, phases that are begun with again, containers of Proxmox.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nixmox_hostkey::HostPublicKey;
use nixmox_tests::{Ran, TestEnv, install_program, nix};
use serde_json::{Value, json};

use crate::installer::{CANARY, Installer, Then, Told};

/// The keys of an installer are secret, and what is in a fleet may be copied where everybody reads it.
#[test]
fn the_keys_of_an_installer_stay_out_of_the_fleet() {
    let env = TestEnv::of(install_program());
    fs::create_dir_all(env.path("fleet/nodes/web")).unwrap();
    fs::write(env.path("fleet/nodes/web/node.nix"), "{ }").unwrap();
    let client = env.give("client.pub", "ssh-ed25519 AAAA somebody\n");
    let iso = |words: &[&str]| env.run(&[&["iso", "--client-key", &client], words].concat());
    let said = iso(&["web", "--dir", "keys"]).ends(2);
    assert!(said.err.contains("keys lies in the fleet"), "{said:#?}");
    let said = iso(&["wev"]).ends(2);
    assert!(said.err.contains("did you mean web?"), "{said:#?}");
    let said = env.run(&["iso", "web", "--client-key", &env.give("client", "-----BEGIN")]).ends(2);
    assert!(said.err.contains("it is the file that ends in .pub"), "{said:#?}");
    let said = env.run(&["statsu", "web"]).ends(2);
    assert!(said.err.contains("did you mean the command `status`?"), "{said:#?}");
    iso(&["web", "--dir", "../elsewhere"]).ends(0);
    iso(&["web"]).ends(0);
    let keys = env.path("home/.local/state/nixmox/installers/web/initrd-keys");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&keys).unwrap();
    // An installer may have them already.
    iso(&["web"]).ends(3);
    assert_eq!(fs::read(&keys).unwrap(), before);
    let fleet: Vec<_> = fs::read_dir(env.path("fleet")).unwrap().collect();
    assert_eq!(fleet.len(), 1, "{fleet:?}");
}

#[test]
fn a_machine_may_build_its_system_itself() {
    let installer = Installer::whole();
    let told = Told::of(&installer);
    let node = installer.env.path("fleet/nodes/web/node.nix");
    let definition =
        "{ deploy.sealedFile = \"/var/lib/secrets.yaml\"; install.buildOnRemote = true; }";
    fs::write(node, definition).unwrap();
    // The host has what its system is made of, but not the system; neither has whoever installs, nor has it a kernel.
    let label = format!("{}\n", installer.node_key());
    installer.systems.set("web", "bootable", false);
    installer.systems.set("web", "etc", json!({ "fstab": "\n", "testbed/label": label }));
    let ask = |program: &str, words: &[&str]| {
        let output = nix(program).args(words).output().unwrap();
        Ran::new(&output).ends(0).out.trim().to_owned()
    };
    let directory = installer.systems.path().display().to_string();
    let drv = ask("nix-instantiate", &[&directory, "-A", "toplevels.web"]);
    let out = ask("nix-store", &["--query", "--outputs", &drv]);
    let file = installer.env.path("given/paths.json");
    let mut paths: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    paths["web"]["toplevel"] = json!({ "drv": drv, "out": out });
    fs::write(file, paths.to_string()).unwrap();

    // Builds mount /proc, which the kernel allows where one is whole; hosts see a part of theirs.
    installer.host().sh("mkdir -p /run/proc && mount -t proc proc /run/proc");
    assert!(!Path::new(&out).exists());
    installer.run(&told.agreed()).ends(0);
    assert!(!Path::new(&out).exists(), "it was built here");
    installer.is_installed(&out);
    assert_eq!(installer.host().sh("cat /etc/testbed/label"), label.trim());
}

#[test]
fn a_phase_that_is_done_can_be_begun_with_again() {
    let installer = Installer::whole();
    let system = installer.builds();
    let told = Told::of(&installer);
    let agreed = told.agreed();
    let phases = |more: &[&str]| {
        let mut seen = Vec::new();
        let ran = installer.watched(&[&agreed[..], more].concat(), |phase| {
            seen.push(phase.to_owned());
            Then::GoesOn
        });
        (ran, seen.join(" "))
    };
    let (ran, seen) = phases(&["--until", "activate"]);
    ran.ends(0);
    assert_eq!(seen, "connect disks copy place activate");
    let (ran, seen) = phases(&["--until", "activate"]);
    ran.ends(0);
    assert_eq!(seen, "connect");
    let (ran, seen) = phases(&["--from", "place", "--until", "place"]);
    ran.ends(0);
    assert_eq!(seen, "connect place");
    let (ran, _) = phases(&["--from", "finish"]);
    let said = ran.ends(4).out;
    assert!(said.contains("cannot begin with finish"), "{said}");
    installer.run(&[&agreed[..], &["--from", "disks"]].concat()).ends(2);
    let (ran, seen) = phases(&[]);
    ran.ends(0);
    assert!(seen.starts_with("connect activate finish reboot"), "{seen}");
    installer.is_installed(&system);
    assert_eq!(installer.formatted(), 1);
}

/// What `pct` of Proxmox does, as far as it is used; a container that runs is an sshd with the key of its root.
const PCT: &str = r#"#!/bin/sh
echo "$*" >>/var/lib/pct.log
verb=$1 number=$2 d=/var/lib/lxc/$2
shift 2
case $verb in
status) [ -d "$d" ] || exit 2; cat "$d/status" ;;
config) cat "$d/config" ;;
create)
    mkdir -p "$d/kept"
    tar -x -C "$d/kept" -f "/var/lib/vz/template/cache/${1#local:vztmpl/}"
    shift
    while [ $# -gt 1 ]; do echo "${1#--}: $2" >>"$d/config"; shift 2; done
    echo "status: stopped" >"$d/status" ;;
mount) mkdir -p "$d/rootfs" && mount --bind "$d/kept" "$d/rootfs" ;;
unmount) umount "$d/rootfs" ;;
start)
    systemd-run --quiet --unit "ct$number" /usr/sbin/sshd -D -f /dev/null -p 2222 -o UsePAM=no \
        -o "HostKey=$d/kept/etc/ssh/ssh_host_ed25519_key" -o AuthorizedKeysFile=/etc/ssh/authorized_keys.d/%u
    echo "status: running" >"$d/status" ;;
esac
"#;

/// No Proxmox is to be had here: this holds the program to the commands that Proxmox documents.
#[test]
fn a_container_of_proxmox_has_its_key_before_its_first_start() {
    let installer = Installer::new();
    let host = installer.host();
    fs::write(host.root().join("run/wrappers/bin/pct"), PCT).unwrap();
    host.sh("chmod 755 /run/wrappers/bin/pct");
    let template = installer.env.path("given/web.tar");
    let mut tar = Command::new("tar");
    fs::create_dir_all(installer.env.path("given/root/etc")).unwrap();
    tar.arg("-C").arg(installer.env.path("given/root")).arg("-cf").arg(&template).arg(".");
    assert!(tar.status().unwrap().success());

    installer.words(&[]);
    let (at, key) = (format!("root@{}", host.address()), host.host_key());
    let node = format!("web={at}:2222");
    let config = installer.env.path("given/ssh_config").display().to_string();
    let template = template.display().to_string();
    let words =
        ["proxmox-lxc", "web", "--proxmox", &at, "--proxmox-key", &key, "--template", &template];
    let words = [&words[..], &["--node-host", &node, "--ssh-config", &config]].concat();
    let run = |more: &[&str]| installer.env.run(&[&words[..], more].concat());

    let plan = run(&["--vmid", "104", "--dry-run", "--set", "rootfs=local:8"]).ends(0).out;
    assert!(plan.contains("pct create 104 ") && plan.contains("pct mount 104"), "{plan}");
    assert!(!host.has("/var/lib/pct.log"));
    let ran = run(&["--vmid", "104", "--set", "rootfs=local:8"]).ends(0);
    let log = host.sh("cut -d' ' -f1,2 /var/lib/pct.log | uniq");
    assert!(log.ends_with("create 104\nmount 104\nunmount 104\nstart 104"), "{log}");
    let stat = "cd /var/lib/lxc/104/kept && stat -c '%a %u:%g' etc/ssh etc/ssh/ssh_host_ed25519_key var/lib/secrets.yaml";
    assert_eq!(host.sh(stat), "755 100000:100000\n600 100000:100000\n400 100000:100000");
    let public = host.sh("cat /var/lib/lxc/104/kept/etc/ssh/ssh_host_ed25519_key.pub");
    let expect = HostPublicKey::parse(&installer.node_key()).unwrap();
    assert_eq!(HostPublicKey::parse(&public).unwrap(), expect);
    assert!(!format!("{ran:?}").contains(CANARY));
    // Done again, there is nothing to do; a container that somebody else has made is left alone.
    run(&["--vmid", "104"]).ends(0);
    assert_eq!(host.sh("grep -c -e create -e start /var/lib/pct.log"), "2");
    host.sh("mkdir -p /var/lib/lxc/105; cd /var/lib/lxc/105; echo 'status: stopped' >status; echo 'hostname: db' >config");
    run(&["--vmid", "105"]).ends(4);
}
