//! What configurations declare against what is delivered, with real Nix where Nix is asked.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;

use nixmox_tests::{Shape, TestEnv};
use serde_json::{Value, json};

/// A fleet where router1 and router2 get two secrets each.
fn fleet(shape: Shape) -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(shape);
    env.secrets(&[("routers.psk", "correct-horse"), ("routers.db.password", "battery")]);
    env
}

/// Returns host, code and key of everything that is found.
fn found(out: &str) -> Vec<(String, String, String)> {
    let json: Value = serde_json::from_str(out).unwrap();
    let hosts = json["hosts"].as_object().unwrap();
    let misfits = hosts.iter().flat_map(|(host, found)| {
        let misfits = found["misfits"].as_array().unwrap();
        misfits.iter().map(move |m| {
            let text = |key: &str| m[key].as_str().unwrap().to_owned();
            (host.clone(), text("code"), text("key"))
        })
    });
    misfits.collect()
}

#[track_caller]
fn check(env: &TestEnv, args: &[&str], declared: &Value, expect: &[(&str, &str, &str)]) {
    let args = [&["consumers", "--json"], args].concat();
    let ran = env.run_with(&args, declared.to_string());
    let ran = ran.ends(i32::from(!expect.is_empty()));
    let found = found(&ran.out);
    let found: Vec<_> = found.iter().map(|(h, c, k)| (&**h, &**c, &**k)).collect();
    assert_eq!(found, expect, "{declared}");
    assert!(!ran.out.contains("correct-horse"));
}

#[test]
fn declarations_are_compared_with_the_master_and_without_a_key_with_the_files() {
    let env = fleet(Shape::default());
    let file =
        "/nix/store/00000000000000000000000000000000-source/nodes/routers/router1/secrets.yaml";
    let declare = |key: &str| json!({ "key": key, "sopsFile": file, "format": "yaml" });
    let all = json!({ "psk": declare("psk"), "db/password": declare("db/password") });
    for keyless in [&[][..], &["--keyless"]] {
        let router1 = |more: &[&'static str]| [&["router1"], keyless, more].concat();
        check(&env, &router1(&[]), &all, &[]);
        check(
            &env,
            &router1(&[]),
            &json!({ "psk": declare("pks"), "db": declare("db") }),
            &[
                ("router1", "unused", "db/password"),
                ("router1", "unused", "psk"),
                ("router1", "not-a-string", "db"),
                ("router1", "missing", "pks"),
            ],
        );
    }
    let other = file.replace("router1", "router2");
    let mixed = json!({ "psk": { "key": "psk", "sopsFile": other }, "db/password": {} });
    let expect = [("router1", "unused", "psk"), ("router1", "other-file", "psk")];
    check(&env, &["router1"], &mixed, &expect);
    let said = env.run_with(&["consumers", "router1"], mixed.to_string()).ends(1).out;
    assert!(said.contains("which is the file of router2"), "{said}");
    let said = env.run_with(&["consumers", "router1"], r#"{"db.password":{}}"#).ends(1).out;
    assert!(said.contains("did you mean db/password?"), "{said}");
}

#[test]
fn a_plain_change_of_a_file_is_told_by_its_hash() {
    let env = fleet(Shape { private: true, ..Shape::default() });
    let path = env.path("fleet/private/nodes/routers/router1/secrets.yaml");
    let hash = env.tool("sha256sum", &[path.to_str().unwrap()]);
    let hash = hash.split(' ').next().unwrap();
    let file = "/nix/store/00000000000000000000000000000000-anything.yaml";
    let declare = |key: &str| json!({ "key": key, "sopsFile": file, "sopsFileHash": hash });
    let all = json!({ "psk": declare("psk"), "db/password": declare("db/password") });
    check(&env, &["router1"], &all, &[]);
    let expect = [
        ("router2", "unused", "db/password"),
        ("router2", "unused", "psk"),
        ("router2", "other-file", "db/password"),
        ("router2", "other-file", "psk"),
    ];
    check(&env, &["router2"], &all, &expect);
}

#[test]
fn every_host_is_compared_at_once() {
    let env = fleet(Shape { yaml: true, ..Shape::default() });
    let declared = json!({
        "router1": { "psk": {}, "db/password": {} },
        "router2": { "whole": { "key": "" } },
        "server1": {},
        "server2": { "token": {} },
    });
    check(&env, &["--all"], &declared, &[("server2", "missing", "token")]);
    let few = json!({ "router1": {} });
    let ran = env.run_with(&["consumers", "--all"], few.to_string()).ends(2);
    assert!(ran.err.contains("does not say what router2 declares"), "{}", ran.err);
    let mut more = declared;
    more["evil\u{1b}[2J"] = json!({});
    let ran = env.run_with(&["consumers", "--all"], more.to_string()).ends(2);
    assert!(
        ran.err.contains("no host of this fleet") && !ran.err.contains('\u{1b}'),
        "{}",
        ran.err
    );
}

#[test]
fn names_that_would_move_the_terminal_are_escaped() {
    let env = fleet(Shape::default());
    let text = json!({ "a\u{1b}[2J": { "key": "\u{202e}x" }, "psk": {}, "db/password": {} });
    let ran = env.run_with(&["consumers", "router1"], text.to_string()).ends(1);
    assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{:?}", ran.out);
    let ran = env.run_with(&["consumers", "router1", "--json"], text.to_string()).ends(1);
    assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{:?}", ran.out);
}

#[test]
fn mistakes_are_told() {
    let env = fleet(Shape::default());
    let says = |args: &[&str], input: &str, code: i32, words: &str| {
        let ran = env.run_with(&[&["consumers"], args].concat(), input).ends(code);
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    };
    says(&["router3"], "{}", 7, "did you mean router1 or router2?");
    says(&["router1"], "{", 2, "it is not JSON");
    says(&["router1"], "[]", 2, "neither `sops.secrets` nor a manifest");
    says(&["router1", "--declared", "/no/such"], "", 100, "cannot be read");
    says(&[], "", 2, "HOST");
}

/// A flake without inputs stands for one with nixpkgs and sops-nix: the attribute path is the same.
#[test]
fn nix_is_asked() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    env.var("NIX_CONFIG", "experimental-features = nix-command flakes");
    let flake = r#"{
      outputs = { self }: {
        nixosConfigurations.router1.config.sops.secrets = {
          psk = { key = "psk"; sopsFile = ./nodes/routers/router1/secrets.yaml; };
          gone = { key = "gone"; sopsFile = "${self}/nodes/routers/router1/secrets.yaml"; };
        };
      };
    }"#;
    fs::write(env.path("fleet/flake.nix"), flake).unwrap();
    env.tool("git", &["add", "--all"]);
    let ran = env.run(&["consumers", "router1", "--nix", "--json"]).ends(1);
    let found = found(&ran.out);
    let codes: Vec<_> = found.iter().map(|(_, code, key)| (&**code, &**key)).collect();
    assert_eq!(codes, [("unused", "db/password"), ("missing", "gone")], "{}", ran.err);
    let ran = env.run(&["consumers", "router2", "--nix"]).ends(1);
    assert!(ran.err.contains("Nix does not say what router2 declares"), "{}", ran.err);
}
