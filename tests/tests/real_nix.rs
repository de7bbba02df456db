//! Where the embedded evaluator ends, an installed Nix goes on: by itself for groups, on request for the master.
//!
//! The judge is Debian's `nix-bin`; without `nix-instantiate` these tests fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;

use nixmox_tests::{Shape, TestEnv};

fn fleet() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    env
}

/// Puts a group file in place of that of `routers`.
fn routers(env: &TestEnv, text: &str) {
    fs::write(env.path("fleet/nodes/routers/group.nix"), text).unwrap();
}

#[test]
fn a_group_that_imports_is_left_to_nix() {
    let env = fleet();
    fs::write(env.path("fleet/nodes/routers/names.nix"), "[ \"router1\" \"router9\" ]").unwrap();
    routers(
        &env,
        "builtins.listToAttrs (map (n: { name = n; value = { }; }) (import ./names.nix))",
    );
    env.run_with(&["set", "router9.k"], "v").ends(0);
    assert!(env.path("fleet/nodes/routers/router9/secrets.yaml").exists());
}

#[test]
fn without_nix_the_construct_is_named_with_its_place() {
    let mut env = fleet();
    routers(&env, "import ./names.nix\n");
    env.var("PATH", "/nonexistent");
    let out = std::process::Command::new(env.program())
        .args(["status", "--repo"])
        .arg(env.path("fleet"))
        .env_clear()
        .env("HOME", env.path("home"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("nodes/routers/group.nix:1:1"), "{said}");
    assert!(said.contains("import ./names.nix\n"), "{said}");
}

#[test]
fn a_master_beyond_the_embedded_evaluator_needs_leave() {
    let mut env = fleet();
    let text = "{ secrets, ... }: { nodes.router1.k = builtins.elemAt (builtins.match \"(.*)x\" \"valuex\") 0; nodes.router2.k = secrets.nodes.router1.k; }";
    env.types(text);
    let refused = env.run(&["edit"]).ends(2);
    assert!(refused.err.contains("given up"), "{refused:?}");
    env.run(&["edit", "--nix"]).ends(0);
    assert_eq!(env.run(&["get", "--nix", "router2.k"]).ends(0).out, "value");
    env.run(&["check", "--nix"]).ends(0);
}

#[test]
fn what_nix_refuses_is_said_without_a_word_of_the_text() {
    let mut env = fleet();
    env.types("{ nodes.router1.k = hunter2; }");
    let refused = env.run(&["edit", "--nix"]).ends(2);
    assert!(refused.err.contains("nix-instantiate"), "{refused:?}");
    assert!(!refused.err.contains("hunter2"), "{refused:?}");
}
