//! What somebody who can write the repository does to a real fleet, and what comes of it.
//!
//! Attacks that other tests show are listed, with these, in `docs/security.md`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nixmox_tests::{Ran, Shape, TestEnv, files};

const SEALED: &str = "fleet/nodes/routers/router1/secrets.yaml";
const PUBLIC: &str = "fleet/nodes/routers/router1/ssh_host_ed25519_key.pub";
const RULES: &str = "fleet/.sops.yaml";
/// A recipient of a plugin of the attacker's.
const PLUGIN: &str = "age1evil1qqqsyqcyq5rqwzqfpg9scrgwpuyssvww";
const VALUE: &str = "correct-horse";

fn fleet() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape::default()).secrets(&[("routers.psk", VALUE), ("servers.user", "app")]);
    env
}

fn bytes(env: &TestEnv) -> BTreeMap<PathBuf, Vec<u8>> {
    let seen = files(&env.path("fleet")).into_iter().filter(|file| !file.ends_with("lock"));
    seen.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Demands that a run fails in words.
#[track_caller]
fn refused(ran: &Ran) {
    assert!(ran.code.is_some_and(|code| code != 0 && code != 101), "{ran:#?}");
    assert!(ran.out.len() + ran.err.len() > 0 && !ran.err.contains("panicked"), "{ran:#?}");
}

/// Demands that nothing can be changed, that the answer says why, and that no file became another.
#[track_caller]
fn stops_everything(env: &TestEnv, says: &str) {
    let before = bytes(env);
    for args in [&["set", "routers.psk"][..], &["seal"], &["updatekeys"]] {
        let ran = env.run_with(args, "new");
        refused(&ran);
        assert!(ran.err.contains(says), "{args:?} does not say {says:?}: {ran:#?}");
        assert_eq!(bytes(env), before, "{args:?}");
    }
    refused(&env.run(&["check"]));
}

/// Adds a recipient to every rule, as a contributor's commit does.
fn add_recipient(env: &TestEnv, recipient: &str) {
    let rules = fs::read_to_string(env.path(RULES)).unwrap();
    let first = rules.find("age1").unwrap();
    let own: String = rules[first..].chars().take_while(char::is_ascii_alphanumeric).collect();
    fs::write(env.path(RULES), rules.replace(&own, &format!("{own},{recipient}"))).unwrap();
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn who_adds_a_recipient_and_waits_is_named() {
    let env = fleet();
    let stranger = "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z";
    add_recipient(&env, stranger);
    stops_everything(&env, stranger);
}

#[test]
fn a_plugin_that_the_repository_names_is_not_started() {
    let mut env = fleet();
    let started = env.path("given/started");
    let plugin = env.path("given/age-plugin-evil");
    fs::write(&plugin, format!("#!/bin/sh\ntouch {}\n", started.display())).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    env.var("PATH", &format!("{}:{path}", env.path("given").display()));
    add_recipient(&env, PLUGIN);
    stops_everything(&env, PLUGIN);
    for args in [&["status"][..], &["list"], &["show", "router1"], &["access"], &["doctor"]] {
        let ran = env.run(args);
        assert_ne!(ran.code, Some(101), "{ran:#?}");
    }
    env.run(&["get", "routers.psk"]).ends(0);
    assert!(!started.exists(), "a name in the repository started a program");
    // The same program is started once the admin says that he wants this recipient: then it is his own doing.
    refused(&env.run(&["updatekeys", "--yes"]));
    assert!(started.exists(), "the trap would not have shown anything");
}

#[test]
fn a_host_that_dropped_out_keeps_no_file_and_gets_none_back() {
    let env = fleet();
    let stale = fs::read(env.path(SEALED)).unwrap();
    env.run(&["unset", "routers"]).ends(0);
    assert!(!env.path(SEALED).exists());
    env.run(&["check"]).ends(0);
    fs::write(env.path(SEALED), stale).unwrap();
    let check = env.run(&["check"]);
    refused(&check);
    assert!(format!("{}{}", check.out, check.err).contains("router1"), "{check:#?}");
}

#[test]
fn a_rule_that_leaves_values_in_the_clear_is_found_and_not_followed() {
    let env = fleet();
    change(&env.path(SEALED), "unencrypted_suffix: _unencrypted", "unencrypted_regex: .*");
    let check = env.run(&["check"]);
    refused(&check);
    assert!(format!("{}{}", check.out, check.err).contains("router1"), "{check:#?}");
    env.run(&["seal"]).ends(0);
    let text = fs::read_to_string(env.path(SEALED)).unwrap();
    assert!(text.contains("unencrypted_suffix: _unencrypted") && !text.contains(VALUE), "{text}");
    env.run(&["check"]).ends(0);
}

#[test]
fn an_empty_value_that_was_put_in_is_found_and_removed() {
    let env = fleet();
    for planted in ["planted: \"\"\n", "planted: null\n", "planted: {}\n", "planted: []\n"] {
        let text = fs::read_to_string(env.path(SEALED)).unwrap();
        fs::write(env.path(SEALED), format!("{planted}{text}")).unwrap();
        refused(&env.run(&["check"]));
        env.run(&["seal"]).ends(0);
        assert!(!fs::read_to_string(env.path(SEALED)).unwrap().contains("planted"), "{planted}");
        env.run(&["check"]).ends(0);
    }
}

#[test]
fn nothing_in_the_repository_is_run_or_read_as_code() {
    let mut env = fleet();
    let lure = env.give("lure", "lure-content");
    let before = bytes(&env);
    for code in [
        format!("builtins.readFile {lure}"),
        format!("import {lure}"),
        format!("builtins.exec [ \"touch\" \"{lure}-ran\" ]"),
        "builtins.fetchurl \"http://127.0.0.1:9/\"".to_owned(),
        "(derivation { name = \"x\"; system = \"x\"; builder = \"/bin/sh\"; }).outPath".to_owned(),
        format!("\"${{{lure}}}\""),
        "builtins.getEnv \"HOME\"".to_owned(),
    ] {
        env.types(&format!("{{ nodes.routers.psk = {code}; }}"));
        let ran = env.run(&["edit"]);
        refused(&ran);
        assert!(!ran.err.contains("lure-content"), "{ran:#?}");
        assert_eq!(bytes(&env), before, "{code}");
    }
    assert!(!env.path("given/lure-ran").exists());
}

#[test]
fn a_host_key_that_opens_with_anybodys_key_is_refused() {
    let env = fleet();
    let weak = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    fs::write(env.path(PUBLIC), weak).unwrap();
    let before = bytes(&env);
    for args in [&["set", "routers.psk"][..], &["set", "routers.psk", "--accept-host-keys"]] {
        let ran = env.run_with(args, "new");
        refused(&ran);
        assert!(ran.err.contains("ssh_host_ed25519_key.pub"), "{ran:#?}");
    }
    assert_eq!(bytes(&env), before);
    refused(&env.run(&["check"]));
}

#[test]
fn what_a_bystander_reads_on_the_screen_is_masked() {
    let env = fleet();
    for args in [
        &["list"][..],
        &["show", "router1"],
        &["eval"],
        &["status"],
        &["check"],
        &["explain", "router1"],
        &["access"],
    ] {
        let ran = env.run(args);
        assert!(!format!("{}{}", ran.out, ran.err).contains(VALUE), "{args:?}: {ran:#?}");
    }
    refused(&env.run(&["show", "router1", "--reveal"]));
    let revealed = env.terminal(80, &["show", "router1", "--reveal"]).end();
    assert!(revealed.1.contains(VALUE), "{revealed:?}");
}

#[test]
fn no_core_of_the_program_or_its_editor_is_written() {
    let mut env = fleet();
    env.editor("ulimit -c >\"$given/core\"\nulimit -H -c >>\"$given/core\"");
    env.run(&["edit"]).ends(200);
    assert_eq!(fs::read_to_string(env.path("given/core")).unwrap(), "0\n0\n");
}

/// Lists the sources that hold tests.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let found = crates.flat_map(|name| [files(&name.join("src")), files(&name.join("tests"))]);
    found.flatten().chain(files(&root.join("tests/tests"))).collect()
}

#[test]
fn every_row_of_the_list_names_tests_that_are_there() {
    let page = include_str!("../../docs/security.md");
    let (_, list) = page.split_once("## Attacks").unwrap();
    let (list, _) = list.split_once("\n## ").unwrap();
    let sources = sources();
    let rows: Vec<_> = list.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 20, "{list}");
    for row in rows {
        let named: Vec<_> = row.split('`').filter_map(|word| word.split_once("::")).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for (module, test) in named {
            let of_module = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == module);
            let call = format!("#[test]\nfn {test}()");
            let is_there = sources.iter().filter(of_module).any(|path| {
                let text = fs::read_to_string(path).unwrap();
                text.replace("    ", "").contains(&call)
            });
            assert!(is_there, "{module}::{test}");
        }
    }
}
