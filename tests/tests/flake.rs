//! The flake, read by a real Nix (Debian package nix-bin) against a stand-in for nixpkgs: see `fixtures/flake`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value as Json;

const SYSTEMS: [&str; 4] = ["aarch64-darwin", "aarch64-linux", "x86_64-darwin", "x86_64-linux"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

/// Runs Nix without a store, a configuration or a home of its own.
fn nix(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new("nix-instantiate")
        .args(["--store", "dummy://", "--readonly-mode"])
        .args(arguments)
        .current_dir(root())
        .env("HOME", home.path())
        .env_remove("NIX_PATH")
        .output()
        .unwrap_or_else(|error| panic!("nix-instantiate (Debian package nix-bin): {error}"))
}

fn flake() -> &'static Json {
    static FLAKE: OnceLock<Json> = OnceLock::new();
    FLAKE.get_or_init(|| {
        let summary = ["--eval", "--strict", "--json", "fixtures/flake/summary.nix"];
        let output = nix(&[&summary[..], &["--arg", "flake", "./flake.nix"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

#[track_caller]
fn at(path: &str) -> &'static Json {
    flake().pointer(path).unwrap_or_else(|| panic!("the flake has no {path}"))
}

fn names(set: &Json) -> Vec<&str> {
    set.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Lists the programs: each has a directory.
fn programs() -> &'static [String] {
    static PROGRAMS: OnceLock<Vec<String>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let bins = fs::read_dir(root().join("bins")).unwrap();
        let mut found: Vec<_> =
            bins.map(|bin| bin.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        found
    })
}

fn strings(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn every_nix_file_parses() {
    for file in
        ["flake.nix", "nix/package.nix", "nix/programs.nix", "nix/checks.nix", "nix/shell.nix"]
    {
        let output = nix(&["--parse", file]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_output_is_there_for_every_system() {
    #[track_caller]
    fn check(output: &str, expect: &[&str]) {
        assert_eq!(names(at(&format!("/{output}"))), SYSTEMS);
        for system in SYSTEMS {
            assert_eq!(names(at(&format!("/{output}/{system}"))), expect, "{output} of {system}");
        }
    }
    check("packages", &["default", "nixmox"]);
    let programs = programs().iter().map(String::as_str);
    check("apps", &["default"].into_iter().chain(programs).collect::<Vec<_>>());
    check("checks", &["build", "clippy", "fmt"]);
    check("devShells", &["default"]);
    assert_eq!(names(at("/formatter")), SYSTEMS);
    let all = ["apps", "checks", "devShells", "formatter", "packages"];
    assert_eq!(strings(at("/outputs")), all, "an output that no test looks at");
    assert_eq!(names(at("/inputs")), ["nixpkgs"]);
}

#[test]
fn the_package_is_what_cargo_knows() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for system in SYSTEMS {
        let package = at(&format!("/packages/{system}/default"));
        let text = |key: &str| package[key].as_str().unwrap();
        assert_eq!(text("pname"), "nixmox");
        assert_eq!(text("mainProgram"), "nixmox-secrets");
        assert!(manifest.contains(&format!("version = \"{}\"", text("version"))));
        assert_eq!(Path::new(text("lockFile")), root().join("Cargo.lock"));
        let packages = programs().iter().map(|name| format!("--package={name}-cli"));
        assert!(packages.eq(strings(&package["cargoBuildFlags"])));
        assert_eq!(strings(&package["licenses"]), ["MIT", "Apache-2.0"]);
        assert!(strings(&package["nativeBuildInputs"]).contains(&"installShellFiles"));
    }
    assert!(root().join("LICENSE-MIT").exists() && root().join("LICENSE-APACHE").exists());
    let program = at("/apps/x86_64-linux/default/program").as_str().unwrap();
    assert!(program.ends_with("-nixmox/bin/nixmox-secrets"), "{program}");
}

/// Lays out the sources as the package gets them, and lets cargo read every manifest of them.
#[test]
fn the_sources_are_enough_for_cargo() {
    let package = at("/packages/x86_64-linux/default");
    assert_eq!(Path::new(package["root"].as_str().unwrap()), root());
    let copy = tempfile::tempdir().unwrap();
    for file in strings(&package["files"]) {
        let name = Path::new(file).strip_prefix(root()).unwrap();
        symlink(file, copy.path().join(name)).unwrap();
    }
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked"])
        .current_dir(copy.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "nixmox-secrets-cli"));
    assert!(packages.len() > 10, "{} packages", packages.len());
}

/// Runs the installation script, with nixpkgs' two helpers replaced by ones that write down what they get.
#[test]
fn completions_and_manual_pages_are_installed() {
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path().join("out/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in programs() {
        symlink(nixmox_tests::program_named(name), bin.join(name)).unwrap();
    }
    let helpers = "set -euo pipefail\n\
        installShellCompletion() {\n\
        [ \"$1\" = '--cmd' ]; name=$2; shift 2\n\
        while [ $# -gt 0 ]; do cat \"$2\" >\"$name$1\"; shift 2; done; }\n\
        installManPage() { printf '%s\\n' \"$@\" >pages; }\n";
    let script = directory.path().join("script");
    let install = at("/packages/x86_64-linux/default/postInstall").as_str().unwrap();
    fs::write(&script, format!("{helpers}{install}")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let output = Command::new("bash")
        .arg(&script)
        .current_dir(directory.path())
        .env("out", directory.path().join("out"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    for program in programs() {
        for shell in ["bash", "fish", "zsh"] {
            let script = read(&format!("{program}--{shell}"));
            assert!(script.contains(program), "{shell}: {script}");
        }
    }
    let pages = read("pages");
    for program in programs() {
        let page = format!("man/{program}.1");
        assert!(pages.lines().any(|line| line == page), "{pages}");
    }
    assert!(pages.lines().count() > 5, "{pages}");
    assert!(pages.lines().all(|page| read(page).contains(".TH")), "{pages}");
}

#[test]
fn checks_do_what_ci_does() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    #[track_caller]
    fn check(ci: &str, name: &str, tool: &str, command: &str) {
        let check = at(&format!("/checks/x86_64-linux/{name}"));
        let phase = check["buildPhase"].as_str().unwrap();
        assert_eq!(phase.replace(" --offline", ""), command);
        assert!(ci.lines().any(|line| line == command), ".ci/run lacks {command}");
        assert!(strings(&check["nativeBuildInputs"]).contains(&tool));
        assert_eq!(check["installPhase"], "touch $out");
        assert_eq!(check["postInstall"], "");
    }
    let lints = "cargo clippy --workspace --all-targets -- -D warnings";
    check(&ci, "clippy", "clippy", lints);
    check(&ci, "fmt", "rustfmt", "cargo fmt --all --check");
    assert_eq!(at("/checks/x86_64-linux/build/name"), at("/packages/x86_64-linux/default/name"));
}

#[test]
fn the_shell_has_the_tools_of_the_tests() {
    let shell = |system: &str| strings(at(&format!("/devShells/{system}/default/packages")));
    for tool in ["age", "git", "jq", "nano", "nodejs", "openssh", "python3", "tmux", "vim"] {
        assert!(shell("x86_64-darwin").contains(&tool), "{tool}");
    }
    assert!(shell("x86_64-linux").contains(&"strace"));
    assert!(!shell("x86_64-darwin").contains(&"strace"), "strace is for Linux alone");
}

/// Shows that the stand-in is a judge at all.
#[test]
fn the_stand_in_refuses_what_is_wrong() {
    #[track_caller]
    fn check(change: &str, good: bool) {
        let expression = format!(
            "let pkgs = (import ./fixtures/flake/nixpkgs.nix).legacyPackages.x86_64-linux; in \
             (pkgs.rustPlatform.buildRustPackage ({{ pname = \"p\"; version = \"1\"; src = {{ }}; \
             cargoLock.lockFile = ./Cargo.lock; }} // {{ {change} }})).name"
        );
        let output = nix(&["--eval", "--strict", "--expr", &expression]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), good, "{change}: {said}");
        assert!(good || said.contains("buildRustPackage"), "{said}");
    }
    check("", true);
    check("doCheck = false;", true);
    check("cargoSha256 = \"x\";", false);
    check("version = 1;", false);
    check("cargoLock.lockFile = ./no-such-file;", false);
    check("nativeBuildInputs = \"clippy\";", false);
    check("postInstall = [ ];", false);
}
