//! What ssh itself makes of the configuration that is written for it.

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nixmox_deploy::{
    Address, SshFiles, SshFilesError, SshOption, SshSettings, Target, Trust, UserName,
};
use nixmox_hostkey::HostPublicKey;
use nixmox_topology::NodeName;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICRpaYxC7B5wmxBzajOOqQTnT7KcLkA5/yxVSVv+VuDV";

fn target(name: &str) -> Target {
    let node = NodeName::parse(name).expect("a name");
    let mut target = Target::new(node, Address::parse("192.0.2.1").expect("an address"));
    target.host_keys = vec![HostPublicKey::parse(KEY).expect("a key")];
    target
}

/// The settings that `ssh -G` prints for a node, by name.
fn seen(config: &Path, node: &str) -> BTreeMap<String, String> {
    let output = Command::new("ssh").arg("-G").arg("-F").arg(config).arg(node).output();
    let output = output.expect("ssh cannot be run");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[track_caller]
fn is(settings: &BTreeMap<String, String>, name: &str, expect: &str) {
    assert_eq!(settings.get(name).map(String::as_str), Some(expect), "{name}");
}

#[test]
fn a_user_cannot_weaken_how_a_known_host_is_recognised() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let include = directory.path().join("config");
    let weak = "Host *\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nHostKeyAlias other\nForwardAgent yes\n\
                PermitLocalCommand yes\nLocalForward 1234 localhost:1\nUpdateHostKeys yes\nProxyJump gate\nUser me\n\
                HostKeyAlgorithms ssh-rsa\nVerifyHostKeyDNS yes\nConnectTimeout 77\n";
    fs::write(&include, weak).expect("writable");
    let settings = SshSettings { include: vec![include], ..SshSettings::default() };
    let files = SshFiles::write(&[target("web")], &settings).expect("files");
    let seen_now = seen(&files.config(), "web");
    is(&seen_now, "hostname", "192.0.2.1");
    is(&seen_now, "hostkeyalias", "web");
    is(&seen_now, "stricthostkeychecking", "true");
    is(&seen_now, "hostkeyalgorithms", "ssh-ed25519");
    is(&seen_now, "verifyhostkeydns", "false");
    is(&seen_now, "updatehostkeys", "false");
    is(&seen_now, "forwardagent", "no");
    is(&seen_now, "permitlocalcommand", "no");
    is(&seen_now, "clearallforwardings", "yes");
    is(&seen_now, "batchmode", "yes");
    let known = seen_now.get("userknownhostsfile").expect("a file");
    assert_eq!(fs::read_to_string(known).expect("readable"), format!("web {KEY}\n"));
    // What is the user's own business is left to them.
    is(&seen_now, "proxyjump", "gate");
    is(&seen_now, "user", "me");
    is(&seen_now, "connecttimeout", "77");
}

#[test]
fn a_secret_travels_with_the_key_exchange_of_ssh_itself() {
    let files = SshFiles::write(&[target("web")], &SshSettings::default()).expect("files");
    let quick = seen(&files.config(), "web");
    let careful = seen(&files.careful_config(), "web");
    let first = |settings: &BTreeMap<String, String>| {
        settings["kexalgorithms"].split(',').next().map(str::to_owned)
    };
    assert_eq!(first(&quick).as_deref(), Some("curve25519-sha256"));
    let plain = tempfile::NamedTempFile::new().expect("a temporary file");
    assert_eq!(careful["kexalgorithms"], seen(plain.path(), "web")["kexalgorithms"]);
    is(&careful, "hostkeyalias", "web");
}

#[test]
fn what_a_node_asks_for_is_what_ssh_does() {
    let mut web = target("web");
    web.user = UserName::parse("deploy").ok();
    web.port = 2222.try_into().ok();
    web.ssh_options =
        SshOption::parse_arguments(["-J jump", "-oCompression=yes"]).expect("options");
    let mut unknown = target("unknown");
    unknown.host_keys.clear();
    let settings = SshSettings { trust: Trust::AcceptNew, ..SshSettings::default() };
    let files = SshFiles::write(&[web, unknown], &settings).expect("files");
    let seen_now = seen(&files.config(), "web");
    is(&seen_now, "user", "deploy");
    is(&seen_now, "port", "2222");
    is(&seen_now, "proxyjump", "jump");
    is(&seen_now, "compression", "yes");
    // Accepting new keys is for hosts without a known one.
    is(&seen_now, "stricthostkeychecking", "true");
    let seen_now = seen(&files.config(), "unknown");
    is(&seen_now, "stricthostkeychecking", "accept-new");
    is(&seen_now, "user", "root");
}

#[test]
fn what_ssh_would_confuse_is_refused() {
    let twice = SshFiles::write(&[target("web"), target("Web")], &SshSettings::default());
    assert!(matches!(twice, Err(SshFilesError::SameName { .. })), "{twice:?}");
    for path in ["/a\"b", "/a\nProxyCommand x", "/%h"] {
        let settings = SshSettings { include: vec![path.into()], ..SshSettings::default() };
        let files = SshFiles::write(&[target("web")], &settings);
        assert!(matches!(files, Err(SshFilesError::Include { .. })), "{path}: {files:?}");
    }
}
