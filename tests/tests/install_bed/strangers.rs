//! Whoever is not authenticated gets nothing; whoever looks on sees nothing.

use std::fs;
use std::process::{Command, Stdio};

use nixmox_tests::{BedHost, Ran};

use crate::installer::{CANARY, Installer};

/// How often somebody has logged in to a host.
fn logins(host: BedHost<'_>) -> String {
    host.exec(&["sh", "-c", "journalctl --boot | grep -c 'Accepted publickey' || true"])
}

#[test]
fn a_host_that_is_not_authenticated_gets_nothing() {
    let installer = Installer::new();
    let before = logins(installer.host());
    let wrong = format!("web=SHA256:{}", "A".repeat(43));
    let ran = installer.run(&["--installer-key", &wrong]).ends(11);
    assert!(ran.err.contains("another key"), "{ran:#?}");
    installer.run(&[]).ends(11);
    let first = installer.run(&["--trust-first-key"]).ends(11);
    assert!(first.err.contains(&installer.key()), "{first:#?}");
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGuZCRNz59HzfTPgH7DkqaPStLc+1dOvN2C/nypJYIl";
    let other = format!("web={}", installer.env.give("other.pub", line));
    installer.run(&["--installer-key", &other]).ends(11);
    assert_eq!(logins(installer.host()), before);
}

#[test]
fn an_open_connection_of_the_user_proves_nothing() {
    let installer = Installer::new();
    let key = installer.bed.client_key().canonicalize().unwrap();
    let socket = installer.env.path("home/master-%h-%p-%r");
    let config = format!(
        "Host *\nControlPath {}\nControlMaster auto\nControlPersist 60\nIdentityFile {}\nIdentitiesOnly yes\n\
         StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nUser root\n",
        socket.display(),
        key.display()
    );
    let config = installer.env.give("ssh_config", config);
    let address = installer.host().address();
    installer.env.tool("ssh", &["-F", &config, &address, "true"]);
    installer.env.tool("ssh", &["-F", &config, "-O", "check", &address]);
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPGuZCRNz59HzfTPgH7DkqaPStLc+1dOvN2C/nypJYIl";
    let other = format!("web={}", installer.env.give("other.pub", line));
    installer.run(&["--installer-key", &other]).ends(11);
    installer.env.tool("ssh", &["-F", &config, "-O", "exit", &address]);
}

#[test]
fn what_would_be_erased_has_to_be_agreed_to() {
    let installer = Installer::new();
    let key = installer.key();
    let ran = installer.run(&["--installer-key", &key]).ends(5);
    assert!(ran.out.contains("--wipe web="), "{ran:#?}");
    let other = installer.run(&["--installer-key", &key, "--wipe", "web=0123456789"]).ends(5);
    assert!(other.out.contains("the token that was given is for other disks"), "{other:#?}");
    installer.run(&["--installer-key", &key, "--wipe", "db=0123456789"]).ends(2);
    let bare = installer.run(&["--installer-key", &key, "--wipe", "0123456789"]).ends(2);
    assert!(bare.err.contains("hint: it is NODE=VALUE: web=0123456789"), "{bare:#?}");
    let left =
        installer.host().exec(&["sh", "-c", "findmnt /mnt || ls -d /var/lib/new-root || true"]);
    assert_eq!(left, "");
}

#[test]
fn whoever_looks_on_sees_no_secret() {
    let installer = Installer::new();
    let (key, token) = (installer.key(), installer.token());
    let more = ["--installer-key", &key, "--wipe", &token, "--until", "place"];
    let words = installer.words(&more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = ["-f", "-s", "100000", "-v", "-e", "trace=execve"];
    let traced = installer.env.traced(&options, &words, "");
    traced.ran.clone().ends(0);
    assert!(
        traced.log.contains("nix-store") || traced.log.contains("\"nix\""),
        "nothing was traced"
    );
    let host = installer.host();
    let placed = host.exec(&["cat", "/var/lib/new-root/etc/ssh/ssh_host_ed25519_key"]);
    let secret = placed.lines().nth(3).unwrap();
    for needle in [CANARY, secret] {
        assert!(!traced.log.contains(needle), "an argument or a variable holds a secret");
        assert_eq!(installer.env.holders(needle), [""; 0]);
        assert!(!format!("{:?}", traced.ran).contains(needle));
        let logs =
            "grep -rlF -e \"$1\" /var/log /run /tmp /root /nix/store/*disks* 2>/dev/null || true";
        assert_eq!(host.exec(&["sh", "-c", logs, "sh", needle]), "");
    }
    let modes =
        "cd /var/lib/new-root && stat -c '%a %u' etc/ssh/ssh_host_ed25519_key var/lib/secrets.yaml";
    assert_eq!(host.exec(&["sh", "-c", modes]), "600 0\n400 0");
    let sealed = host.exec(&["cat", "/var/lib/new-root/var/lib/secrets.yaml"]);
    let own = fs::read_to_string(installer.env.path("fleet/nodes/web/secrets.yaml")).unwrap();
    assert_eq!(sealed.trim(), own.trim());

    // Gone on with, it finds out by itself that all of that is done; called off, it lets go of the root.
    installer.run(&["--installer-key", &key, "--until", "place"]).ends(0);
    let config = installer.env.path("given/ssh_config").display().to_string();
    let target = format!("web=root@{}", host.address());
    installer.env.run(&["abort", "web", "--target", &target, "--ssh-config", &config]).ends(0);
    assert_eq!(
        host.exec(&[
            "sh",
            "-c",
            "findmnt /mnt || true; ls /run/nixmox-install/*/ 2>/dev/null || true"
        ]),
        ""
    );
}

#[test]
fn the_part_on_machines_is_for_every_shell() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("install.sh");
    fs::write(&script, nixmox_install::install_script()).unwrap();
    let check = Command::new("shellcheck").args(["-s", "sh"]).arg(&script).output().unwrap();
    Ran::new(&check).ends(0);
    for shell in [&["dash"][..], &["busybox", "sh"]] {
        let (program, rest) = shell.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(rest).arg(&script).args(["facts", "none"]).stdin(Stdio::null());
        let facts = Ran::new(&command.output().unwrap()).ends(0);
        assert!(facts.out.contains("boot_id="), "{facts:#?}");
        let unknown =
            Command::new(program).args(rest).arg(&script).args(["x", "y"]).output().unwrap();
        assert!(Ran::new(&unknown).ends(3).out.contains("error=verb"));
    }
}
