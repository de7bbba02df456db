//! An installer in place of what runs. Hosts cannot go over to another kernel: what becomes of them then is acted out by
//! the `kexec` of the archive. Machines that do are in the tests of machines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nixmox_tests::{Ran, eventually};

use crate::faults::fails;
use crate::installer::{Installer, Then, Told, drop_connections};

/// Packs an archive whose kernel does something when it is loaded, and when it is started; returns it and its digest.
fn archive(installer: &Installer, loads: &str, starts: &str) -> [String; 2] {
    let kexec = installer.env.path("given/image/kexec");
    fs::create_dir_all(&kexec).unwrap();
    let run = "kexec --load bzImage --command-line \"init=/init quiet\"\n";
    let script = format!("#!/bin/sh\ncase $* in *--load*) {loads} ;; -e) {starts} ;; esac\n");
    for (name, text) in
        [("bzImage", "a kernel\n"), ("initrd", ""), ("run", run), ("kexec", &script)]
    {
        fs::write(kexec.join(name), text).unwrap();
        fs::set_permissions(kexec.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = installer.env.path("given/image.tar").display().to_string();
    installer.env.tool("tar", &["-C", "../given/image", "-cf", &file, "kexec"]);
    let sum = Ran::new(&Command::new("sha256sum").arg(&file).output().unwrap()).ends(0).out;
    let digest = sum.split_whitespace().next().unwrap().to_owned();
    [file, digest]
}

/// The words that start an archive, with not much patience.
fn with<'a>(words: &[&'a str], [file, digest]: &'a [String; 2]) -> Vec<&'a str> {
    let image = ["--via", "kexec", "--image", file, "--image-sha256", digest];
    [words, &image, &["--kexec-timeout", "8", "--connect-timeout", "60"]].concat()
}

#[test]
fn an_installer_that_does_not_come_up_is_told() {
    let installer = Installer::new();
    let host = installer.host();
    let told = Told::of(&installer);
    let [file, digest] = archive(&installer, ":", ":");
    let wrong = [file, digest.chars().rev().collect()];
    let dry = [&told.agreed()[..], &["--dry-run"]].concat();
    for words in [&dry[..], &told.agreed()] {
        let ran = installer.run(&with(words, &wrong)).ends(4);
        assert!(ran.out.contains("is not the one that was given"), "{ran:#?}");
    }
    let gone = ["/nowhere.tar".to_owned(), "0".repeat(64)];
    let ran = installer.run(&with(&dry, &gone)).ends(4);
    assert!(
        ran.out.contains("no: /nowhere.tar, the image of an installer, cannot be read"),
        "{ran:#?}"
    );

    let image = archive(&installer, "echo 'the kernel is locked' >&2; exit 1", ":");
    fails(&installer, installer.run(&with(&told.agreed(), &image)), 12, "the kernel is locked");
    let image = archive(&installer, ":", ":");
    fails(
        &installer,
        installer.run(&with(&told.resume(), &image)),
        12,
        "what ran before still runs",
    );
    let image = archive(&installer, ":", "reboot -ff");
    let ran = installer.run(&with(&told.resume(), &image));
    fails(&installer, ran, 12, "it was started anew with what ran before");
    assert!(!host.has("/var/lib/new-root"));

    installer.is_a_machine();
    let image = archive(&installer, ":", "poweroff -ff");
    let ran = installer.run(&with(&told.resume(), &image)).ends(12);
    assert!(ran.out.contains("nobody has answered in 8 s"), "{ran:#?}");
    assert!(ran.out.contains("hint: look at its console"), "{ran:#?}");
}

/// What comes up in place of what ran has another key than the one that was made for it.
#[test]
fn whoever_comes_up_with_another_key_is_no_installer() {
    let installer = Installer::new();
    let told = Told::of(&installer);
    let other = "cd /run/before; rm ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; \
        systemctl restart sshd";
    let image = archive(&installer, ":", other);
    let ran = installer.run(&with(&told.agreed(), &image)).ends(11);
    assert!(ran.out.contains("a key that is none of this machine's"), "{ran:#?}");
    installer.leaks_nothing();
}

#[test]
fn an_installer_on_its_way_is_sent_again() {
    let installer = Installer::new();
    let host = installer.host();
    let told = Told::of(&installer);
    // The first that is loaded is never read to its end: what was left of it is ended before the next is loaded.
    let loads = "mkdir /run/loading && while :; do sleep 0.1; done; :";
    let image = archive(&installer, loads, "date >>/var/lib/started");
    installer.is_killed_at(&with(&told.agreed(), &image), "boot-installer");
    assert!(!host.has("/var/lib/started"));
    let mut lost = false;
    let ran = installer.watched(&with(&told.resume(), &image), |phase| {
        if phase == "boot-installer" && !std::mem::replace(&mut lost, true) {
            eventually("the kernel is being loaded", || host.has("/run/loading"));
            drop_connections(host);
        }
        Then::GoesOn
    });
    // The installer was started in the end; what ran before goes on here.
    let ran = ran.ends(12);
    assert!(ran.out.contains("\"event\":\"connection-lost\""), "{ran:#?}");
    assert!(ran.out.contains("what ran before still runs"), "{ran:#?}");
    assert_eq!(host.sh("wc -l </var/lib/started"), "1");
    installer.leaks_nothing();
}
