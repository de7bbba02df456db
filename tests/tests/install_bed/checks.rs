//! What is looked at before anything is changed.

use std::fs;

use nixmox_tests::Ran;
use serde_json::{Value, json};

use crate::installer::Installer;

/// Configurations that a real Nix evaluates; the systems in them are empty.
const FLAKE: &str = r#"{
  outputs = { self }:
    let
      made = name: derivation {
        inherit name;
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ "-c" "/bin/mkdir $out; echo >$out/kernel" ];
      };
      says = builtins.fromJSON (builtins.readFile ./web.json);
      build = { toplevel = made "system"; diskoScript = made "disko"; };
    in
    { nixosConfigurations.web.config = says // { system.build = build; }; };
}"#;

/// A configuration to which nobody would object.
fn good() -> Value {
    json!({
        "services": { "openssh": { "enable": true, "hostKeys": [
            { "type": "rsa", "path": "/etc/ssh/ssh_host_rsa_key" },
            { "type": "ed25519", "path": "/persist/etc/ssh/ssh_host_ed25519_key" },
        ] } },
        "users": { "users": {
            "root": { "openssh": { "authorizedKeys": { "keys": ["ssh-ed25519 AAAA"], "keyFiles": [] } } },
            "nobody": {},
        } },
        "boot": { "loader": { "grub": { "enable": true, "device": "/dev/vda", "efiSupport": true } } },
        "networking": { "useDHCP": true, "interfaces": {} },
        "fileSystems": { "/": {}, "/persist": { "neededForBoot": true }, "/home": {} },
    })
}

/// Looks at the host as one that is to have a configuration.
fn looks(installer: &Installer, says: &Value, more: &[&str]) -> Ran {
    let flake = installer.env.path("configured");
    fs::create_dir_all(&flake).unwrap();
    fs::write(flake.join("flake.nix"), FLAKE).unwrap();
    fs::write(flake.join("web.json"), says.to_string()).unwrap();
    let flake = format!("path:{}", flake.display());
    let target = format!("web=root@{}", installer.host().address());
    let config = installer.env.path("given/ssh_config").display().to_string();
    let key = installer.key();
    let own = ["web", "--flake", &flake, "--target", &target, "--ssh-config", &config];
    let rest = ["--installer-key", &key, "--via", "rescue", "--dry-run"];
    installer.env.run(&[&own[..], &rest, more].concat())
}

#[test]
fn what_would_make_the_new_system_useless_is_found_before() {
    let installer = Installer::new();
    let without = |change: fn(&mut Value)| {
        let mut says = good();
        change(&mut says);
        says
    };
    installer.words(&[]);
    let refused = |says: &Value, more: &[&str], because: &str| {
        let ran = looks(&installer, says, more).ends(4);
        assert!(ran.out.contains(&format!("no: {because}")), "{ran:#?}");
    };
    let fine = looks(&installer, &good(), &[]).ends(0);
    assert!(!fine.out.contains("no: ") && !fine.out.contains("the new system"), "{fine:#?}");

    let says = without(|says| says["services"]["openssh"]["enable"] = false.into());
    refused(&says, &[], "the new system has no sshd");
    let says = without(|says| says["users"]["users"]["root"] = json!({}));
    refused(&says, &[], "the new system has no key that lets root in");
    let elsewhere = ["--host-key-path", "/etc/ssh/ssh_host_ed25519_key"];
    let because = "the new system does not look for its host key at /etc/ssh/ssh_host_ed25519_key";
    refused(&good(), &elsewhere, because);
    let efi = fs::exists("/sys/firmware/efi").unwrap();
    let (loader, firmware) = if efi {
        (json!({ "grub": { "enable": true, "device": "/dev/vda" } }), "EFI")
    } else {
        (json!({ "systemd-boot": { "enable": true } }), "a BIOS")
    };
    let mut says = good();
    says["boot"]["loader"] = loader;
    refused(&says, &[], &format!("it was started by {firmware}, and the new system's boot loader"));

    let other = "web=/dev/disk/by-id/virtio-other";
    let because = "it has no disk that is /dev/disk/by-id/virtio-other";
    refused(&good(), &["--disk", other], because);

    // What somebody may mean so is said, and no more.
    let mut says = good();
    says["fileSystems"]["/persist"] = json!({});
    says["boot"]["initrd"] =
        json!({ "luks": { "devices": { "root": {}, "data": { "keyFile": "/k" } } } });
    says["networking"] = json!({ "useDHCP": false, "interfaces": { "eth0": {
        "ipv4": { "addresses": [{ "address": "192.0.2.7" }] } } } });
    let ran = looks(&installer, &says, &[]).ends(0);
    for note in [
        "the host key lies below /persist, which the new system does not mount first",
        "the new system asks for the passphrase of root when it boots",
        "the new system gives itself 192.0.2.7, and is looked for elsewhere",
    ] {
        assert!(ran.out.contains(&format!("note: {note}")), "{ran:#?}");
    }
    assert!(!ran.out.contains("passphrase of data"), "{ran:#?}");
    let says = without(|says| says["networking"] = json!({ "useDHCP": false }));
    let ran = looks(&installer, &says, &[]).ends(0);
    assert!(ran.out.contains("note: the new system has no address, and asks for none"), "{ran:#?}");
}
