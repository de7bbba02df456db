//! The flake is sound Nix and asks for what it should.
//!
//! A real Nix (Debian: `nix-bin`) parses it and evaluates every output against a stub of nixpkgs, which cannot be
//! reached where the tests run: that nixpkgs builds it is not shown here.

use std::path::{Path, PathBuf};

use nixmox_tests::TestEnv;
use serde_json::Value as Json;

const SYSTEMS: [&str; 4] = ["aarch64-darwin", "aarch64-linux", "x86_64-darwin", "x86_64-linux"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Evaluates what `fixtures/flake/outputs.nix` tells of the flake.
fn outputs() -> Json {
    let mut env = TestEnv::new();
    let store = env.path("nix").display().to_string();
    env.var("NIX_STATE_DIR", &store).var("NIX_STORE_DIR", &store);
    let question = root().join("fixtures/flake/outputs.nix").display().to_string();
    let root = root().display().to_string();
    let answer = env.tool(
        "nix-instantiate",
        &["--eval", "--strict", "--json", &question, "--arg", "root", &root],
    );
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_real_nix_parses_it() {
    let env = TestEnv::new();
    let flake = root().join("flake.nix").display().to_string();
    assert!(env.tool("nix-instantiate", &["--parse", &flake]).contains("buildRustPackage"));
}

#[test]
fn every_output_is_there_for_every_system() {
    let found = outputs();
    let names = ["apps", "checks", "devShells", "formatter", "packages"];
    assert_eq!(found["outputs"], serde_json::json!(names));
    for output in ["apps", "checks", "formatter", "packages", "shells"] {
        let systems: Vec<&String> = found[output].as_object().unwrap().keys().collect();
        assert_eq!(systems, SYSTEMS, "{output}");
    }
}

#[test]
fn the_package_is_that_of_this_workspace() {
    let found = outputs();
    for system in SYSTEMS {
        let package = &found["packages"][system]["default"];
        assert_eq!(package, &found["packages"][system]["nixmox-secrets"]);
        assert_eq!(package["pname"], "nixmox-secrets");
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(package["lockFile"], true);
        assert_eq!(package["manifest"], true);
        assert_eq!(package["program"], "nixmox-secrets");
        assert_eq!(package["licences"], serde_json::json!(["MIT", "Apache-2.0"]));
        let program = found["apps"][system]["program"].as_str().unwrap();
        assert!(program.ends_with("/bin/nixmox-secrets"), "{program}");
    }
}

#[test]
fn the_commands_of_the_build_are_those_of_the_program() {
    let found = outputs();
    let script = found["packages"]["x86_64-linux"]["default"]["postInstall"].as_str().unwrap();
    let mut env = TestEnv::new();
    env.tool("mkdir", &["-p", "out"]);
    let stubs =
        "installShellCompletion() { test -s \"$4\"; }; installManPage() { test -s \"$1\"; }";
    env.var("out", &env.path("fleet/out").display().to_string());
    let program = env.program().display().to_string();
    env.tool("mkdir", &["-p", "out/bin"]);
    env.tool("ln", &["-s", &program, "out/bin/nixmox-secrets"]);
    env.tool("bash", &["-euc", &format!("{stubs}\n{script}")]);
    assert!(env.path("fleet/man/nixmox-secrets.1").exists());
}

#[test]
fn checks_and_shell_ask_for_tools() {
    let found = outputs();
    let checks = &found["checks"]["x86_64-linux"];
    assert!(checks["clippy"]["buildPhase"].as_str().unwrap().starts_with("cargo clippy"));
    assert!(checks["format"]["buildPhase"].as_str().unwrap().starts_with("cargo fmt"));
    assert_eq!(checks["build"]["pname"], "nixmox-secrets");
    let has = |system: &str, tool: &str| {
        found["shells"][system]["packages"].as_array().unwrap().iter().any(|p| p == tool)
    };
    assert!(has("x86_64-linux", "strace") && !has("aarch64-darwin", "strace"));
    assert!(has("aarch64-darwin", "age"));
}
