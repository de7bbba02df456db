//! Scenarios for the part that runs on hosts, each in a sandbox of its own.

use std::fs;
use std::process::Command;

use nixmox_deploy::{Os, guard_script};

/// Runs a scenario under each shell, after a prelude; it has to end with 0 and complain about nothing.
#[track_caller]
pub(crate) fn holds(os: Os, shells: [&str; 2], prelude: &str, scenario: &str) {
    for shell in shells {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("guard"), guard_script(os)).expect("writable");
        let verbs = include_str!("verbs.sh");
        fs::write(at("scenario"), format!("{prelude}\n{verbs}\n{scenario}")).expect("writable");
        let mut sandbox = Command::new("bwrap");
        sandbox.args("--unshare-pid --unshare-ipc --die-with-parent --new-session".split(' '));
        // Debian names awk by way of the second.
        sandbox.args(
            "--ro-bind /usr /usr --ro-bind-try /etc/alternatives /etc/alternatives".split(' '),
        );
        sandbox.args("--proc /proc --dev /dev".split(' '));
        for link in ["bin", "sbin", "lib", "lib64"] {
            sandbox.args(["--symlink", &format!("usr/{link}"), &format!("/{link}")]);
        }
        for own in ["/run", "/nix", "/var", "/tmp", "/boot"] {
            sandbox.args(["--tmpfs", own]);
        }
        sandbox.arg("--ro-bind").arg(directory.path()).arg("/given");
        sandbox.args(["timeout", "120", "dash", "/given/scenario", shell, "/given/guard"]);
        let output = sandbox.output().expect("bwrap cannot be run");
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shell}: {said}{complained}");
        assert_eq!(complained, "", "{shell}");
    }
}

/// Has shellcheck read the script.
#[track_caller]
pub(crate) fn is_clean(os: Os, except: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("guard.sh");
    fs::write(&path, guard_script(os)).expect("writable");
    let output = Command::new("shellcheck").args(["-s", "sh", "-e", except]).arg(&path).output();
    let output = output.expect("shellcheck cannot be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
