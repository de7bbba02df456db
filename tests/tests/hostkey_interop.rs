//! Host keys between nixmox, OpenSSH and age: each reads what the others write.
//!
//! Needs `ssh-keygen` (Debian's openssh-client) and `age` (Debian's age). All keys are made for the test and thrown
//! away with its directory.

#![expect(clippy::expect_used, reason = "a missing tool or a foreign answer fails the test")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nixmox_hostkey::{HostKey, HostKeyError, HostPublicKey};
use nixmox_tree::SecretString;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;

/// Runs a tool that must be there and must succeed, and returns what it says.
#[track_caller]
fn run(dir: &TempDir, tool: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(tool)
        .args(arguments)
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool is installed");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the tool reads");
    let output = child.wait_with_output().expect("the tool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn write(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).expect("a new file");
    file.write_all(text.as_bytes()).expect("space");
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn generated(seed: u64) -> HostKey {
    HostKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn read(path: &Path) -> SecretString {
    SecretString::new(fs::read_to_string(path).expect("a file"))
}

#[test]
fn openssh_reads_our_keys() {
    for seed in 0..8 {
        let (dir, key) = (dir(), generated(seed));
        write(&dir.path().join("key"), key.to_openssh("root@web").expose());
        write(&dir.path().join("key.pub"), &(key.public().to_openssh("root@web") + "\n"));

        let public = run(&dir, "ssh-keygen", &["-y", "-f", "key"], "");
        assert_eq!(public.trim_end(), key.public().to_openssh("root@web"));
        let shown = run(&dir, "ssh-keygen", &["-l", "-f", "key.pub"], "");
        let expected = format!("256 {} root@web (ED25519)\n", key.public().fingerprint());
        assert_eq!(shown, expected);
    }
}

#[test]
fn openssh_signs_with_our_private_key_and_verifies_with_our_public_one() {
    let (dir, key) = (dir(), generated(1));
    write(&dir.path().join("key"), key.to_openssh("").expose());
    write(&dir.path().join("allowed"), &format!("host {}\n", key.public().to_openssh("")));
    run(&dir, "ssh-keygen", &["-Y", "sign", "-f", "key", "-n", "test", "allowed"], "");
    let text = fs::read_to_string(dir.path().join("allowed")).expect("a file");
    let verify = ["-Y", "verify", "-f", "allowed", "-I", "host", "-n", "test", "-s", "allowed.sig"];
    run(&dir, "ssh-keygen", &verify, &text);
}

#[test]
fn we_read_opensshs_keys_to_the_byte() {
    for comment in ["", "root@host", "ä comment of more words"] {
        let dir = dir();
        let make = ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", "key"];
        run(&dir, "ssh-keygen", &make, "");
        let key = HostKey::from_openssh(&read(&dir.path().join("key"))).expect("OpenSSH's key");
        let line = read(&dir.path().join("key.pub"));
        let public = HostPublicKey::parse(line.expose()).expect("OpenSSH's key");
        assert!(public.matches(&key));
        assert_eq!(public.to_openssh(comment), line.expose().trim_end());

        let shown = run(&dir, "ssh-keygen", &["-l", "-f", "key.pub"], "");
        assert!(shown.contains(&public.fingerprint()));
        // The same key written by us has another check number and nothing else, so its text is as long.
        assert_eq!(key.to_openssh(comment).len(), read(&dir.path().join("key")).len());
    }
}

#[test]
fn openssh_keys_that_are_no_host_key_of_ours_are_refused() {
    for (kind, bits) in [("rsa", "2048"), ("ecdsa", "256")] {
        let dir = dir();
        run(&dir, "ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-f", "key"], "");
        let refused = HostKey::from_openssh(&read(&dir.path().join("key")));
        assert_eq!(refused, Err(HostKeyError::NotEd25519), "{kind}");
        let public = read(&dir.path().join("key.pub"));
        assert_eq!(HostPublicKey::parse(public.expose()), Err(HostKeyError::NotEd25519), "{kind}");
    }
    let dir = dir();
    let make = ["-q", "-t", "ed25519", "-N", "passphrase", "-f", "key"];
    run(&dir, "ssh-keygen", &make, "");
    let refused = HostKey::from_openssh(&read(&dir.path().join("key")));
    assert_eq!(refused, Err(HostKeyError::Encrypted));
}

#[test]
fn age_opens_with_our_identity_what_it_sealed_to_our_recipient() {
    for seed in 0..8 {
        let (dir, key) = (dir(), generated(seed));
        write(&dir.path().join("identity"), key.age_identity().expose());
        let recipient = key.public().age_recipient();
        run(&dir, "age", &["-r", &recipient, "-o", "sealed"], "a secret of the host");
        let opened = run(&dir, "age", &["-d", "-i", "identity", "sealed"], "");
        assert_eq!(opened, "a secret of the host");

        let derived = run(&dir, "age-keygen", &["-y", "identity"], "");
        assert_eq!(derived.trim_end(), recipient);
    }
}
