//! Looking for secrets: in processes while somebody installs, and in whatever is left afterwards.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nixmox_tests::{Machine, files};

use crate::installation::Installation;

/// Somebody who looks at the arguments and the environment of every process here.
pub(crate) struct Watch {
    end: Arc<AtomicBool>,
    looks: JoinHandle<Vec<String>>,
}

impl Watch {
    pub(crate) fn start(secrets: Vec<String>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&end);
        let looks = thread::spawn(move || {
            let mut seen = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                look(&secrets, &mut seen);
                thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        Self { end, looks }
    }

    /// Ends it; returns the files of `/proc` that held a secret.
    pub(crate) fn end(self) -> Vec<String> {
        self.end.store(true, Ordering::Relaxed);
        self.looks.join().unwrap()
    }
}

fn look(secrets: &[String], seen: &mut Vec<String>) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let Ok(bytes) = fs::read(process.path().join(name)) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            if secrets.iter().any(|secret| text.contains(secret)) {
                seen.push(format!("{}: {text}", process.path().join(name).display()));
            }
        }
    }
}

/// Neither a secret nor a private key is where it does not belong, on a machine: what ran there while it was installed
/// has looked at all processes, and says what it has seen on the console.
#[track_caller]
pub(crate) fn on_machine(machine: &Machine, canary: &str, private_line: &str) {
    assert!(!machine.console().contains("LEAKED"), "{}", machine.console());
    let found = machine.sh(&format!(
        "grep -rlaF -e '{canary}' -e '{private_line}' /etc /var /run /root /home /tmp /boot /nix/var 2>/dev/null || true"
    ));
    assert_eq!(found, "/etc/ssh/ssh_host_ed25519_key");
    assert_eq!(machine.sh("stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key"), "600 root");
    assert_eq!(machine.sh("stat -c '%a %U' /var/lib/secrets.yaml"), "400 root");
    // Nor anywhere on its disk, also where no file is any more.
    machine.sh("sync");
    assert!(!holds(&machine.disk(), canary), "the secret is on the disk");
}

/// While a machine is installed they are in no file of what runs there, its log included, and in the new root in one that
/// is root's alone.
#[track_caller]
pub(crate) fn on_rescue(machine: &Machine, canary: &str, private_line: &str) {
    assert!(!machine.console().contains("LEAKED"), "{}", machine.console());
    let found = machine.sh(&format!(
        "grep -rlaF -e '{canary}' -e '{private_line}' /etc /var /run /root /tmp /mnt/etc /mnt/var /mnt/root /mnt/boot \
         2>/dev/null || true"
    ));
    assert_eq!(found, "/mnt/etc/ssh/ssh_host_ed25519_key");
    assert_eq!(machine.sh("stat -c '%a %U' /mnt/etc/ssh/ssh_host_ed25519_key"), "600 root");
}

/// Nor are they here, besides where they were before: not in the record of the run, not in the store.
#[track_caller]
pub(crate) fn here(installation: &Installation<'_>, secrets: &[String]) {
    let store = installation.machines.iter().map(|machine| installation.system(machine.name()));
    let directories = ["home", "run", "tmp"].map(|name| installation.env.path(name));
    let all = directories.into_iter().chain(store.map(Into::into));
    for file in all.flat_map(|directory| files(&directory)) {
        let bytes = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "a secret is in {}", file.display());
        }
    }
}

/// Looks through a disk, piece by piece; most of it is a hole.
fn holds(disk: &std::path::Path, needle: &str) -> bool {
    let mut grep = std::process::Command::new("grep");
    let status = grep.args(["-qaF", "-e", needle]).arg(disk).status().unwrap();
    assert!(status.code() != Some(2), "the disk cannot be read");
    status.success()
}
