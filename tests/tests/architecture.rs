//! The shape of the workspace: who may know whom, what each crate may reach for, and what no file may mention.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value as Json;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates without files, environment, processes, clock or randomness of their own.
const PURE: [&str; 9] = [
    "nixmox-tree",
    "nixmox-topology",
    "nixmox-nix",
    "nixmox-manifest",
    "nixmox-sops",
    "nixmox-hostkey",
    "nixmox-signing",
    "nixmox-cascade",
    "nixmox-generate",
];

/// Whom each library may know. A crate that is not listed has no place in the house yet.
const ARROWS: [(&str, &[&str]); 16] = [
    ("nixmox-tree", &[]),
    ("nixmox-topology", &[]),
    ("nixmox-nix", &["nixmox-tree"]),
    ("nixmox-manifest", &["nixmox-tree", "nixmox-topology", "nixmox-nix"]),
    ("nixmox-sops", &["nixmox-tree"]),
    ("nixmox-hostkey", &["nixmox-tree"]),
    ("nixmox-signing", &["nixmox-tree"]),
    ("nixmox-cascade", &["nixmox-tree", "nixmox-topology"]),
    ("nixmox-generate", &["nixmox-tree", "nixmox-hostkey"]),
    ("nixmox-secrets", &PURE),
    ("nixmox-deploy", &["nixmox-tree", "nixmox-topology", "nixmox-manifest", "nixmox-hostkey"]),
    ("nixmox-install", &["nixmox-tree", "nixmox-topology", "nixmox-hostkey", "nixmox-deploy"]),
    ("nixmox-cli", &["nixmox-tree"]),
    (
        "nixmox-keyring",
        &["nixmox-tree", "nixmox-sops", "nixmox-signing", "nixmox-secrets", "nixmox-cli"],
    ),
    (
        "nixmox-instantiate",
        &["nixmox-tree", "nixmox-nix", "nixmox-manifest", "nixmox-secrets", "nixmox-cli"],
    ),
    (
        // What joins the secrets' side with the hosts' side is for programs alone.
        "nixmox-fleet",
        &[
            "nixmox-tree",
            "nixmox-topology",
            "nixmox-nix",
            "nixmox-manifest",
            "nixmox-sops",
            "nixmox-hostkey",
            "nixmox-secrets",
            "nixmox-deploy",
            "nixmox-cli",
            "nixmox-keyring",
            "nixmox-instantiate",
        ],
    ),
];

/// What no library may know: programs and packages that only judge or measure.
const NO_LIBRARIES: [&str; 8] = [
    "nixmox-secrets-cli",
    "nixmox-sops-cli",
    "nixmox-deploy-cli",
    "nixmox-install-cli",
    "nixmox-manifest-cli",
    "nixmox-tests",
    "nixmox-benches",
    "xtask",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(json: &Json, key: &str) -> String {
    json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn items<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    json.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn metadata() -> &'static Json {
    static METADATA: OnceLock<Json> = OnceLock::new();
    METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// Every package of the workspace, by name.
fn members() -> BTreeMap<String, &'static Json> {
    let ids: BTreeSet<_> =
        items(metadata(), "workspace_members").iter().map(Json::as_str).collect();
    let packages = items(metadata(), "packages").iter();
    let members = packages.filter(|package| ids.contains(&package["id"].as_str()));
    members.map(|package| (text(package, "name"), package)).collect()
}

/// Names of the direct dependencies of one kind (`null` in the metadata means the normal ones).
fn dependencies(package: &Json, kind: Option<&str>) -> Vec<String> {
    let all = items(package, "dependencies").iter();
    all.filter(|dependency| dependency.get("kind").and_then(Json::as_str) == kind)
        .map(|dependency| text(dependency, "name"))
        .collect()
}

/// Path of a package's directory from the root.
fn directory(package: &Json) -> String {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let directory = manifest.parent().unwrap().strip_prefix(root()).unwrap();
    directory.to_str().unwrap().to_owned()
}

/// Every package that compiling `name` compiles, tests and build scripts left out.
fn compiled_by(name: &str) -> BTreeSet<String> {
    let resolve = metadata().get("resolve").unwrap();
    let nodes: BTreeMap<_, _> =
        items(resolve, "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let names: BTreeMap<_, _> = items(metadata(), "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let mut todo = vec![text(members().get(name).unwrap(), "id")];
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in items(nodes.get(&id).unwrap(), "deps") {
            let normal = items(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            if normal {
                todo.push(text(dependency, "pkg"));
            }
        }
    }
    seen.iter().filter_map(|id| names.get(id).cloned()).collect()
}

#[test]
fn arrows_point_down() {
    let arrows = BTreeMap::from(ARROWS);
    for (name, package) in members() {
        let Some(allowed) = arrows.get(name.as_str()) else {
            assert!(NO_LIBRARIES.contains(&name.as_str()), "{name} has no place in the house");
            continue;
        };
        for known in dependencies(package, None) {
            let own = known.starts_with("nixmox-");
            assert!(!own || allowed.contains(&known.as_str()), "{name} knows {known}");
        }
        for known in dependencies(package, Some("dev")) {
            let own = known.starts_with("nixmox-");
            assert!(!own || PURE.contains(&known.as_str()), "tests of {name} know {known}");
        }
    }
}

#[test]
fn secrets_never_compile_tokio() {
    for name in ["nixmox-secrets", "nixmox-cli", "nixmox-secrets-cli"] {
        let compiled = compiled_by(name);
        assert!(compiled.contains("nixmox-tree"), "{name}: the graph was not walked");
        for runtime in ["tokio", "async-std", "smol"] {
            assert!(!compiled.contains(runtime), "{name} compiles {runtime}");
        }
    }
}

#[test]
fn replaceable_crates_are_known_to_few() {
    for heavy in ["age", "aes-gcm", "ssh-key", "saphyr-parser"] {
        let products = members().into_iter().filter(|(_, package)| {
            let directory = directory(package);
            directory.starts_with("crates/") || directory.starts_with("bins/")
        });
        let users: Vec<_> = products
            .filter(|(_, package)| dependencies(package, None).iter().any(|name| name == heavy))
            .map(|(name, _)| name)
            .collect();
        assert!((1..=2).contains(&users.len()), "{heavy} is known to {users:?}");
    }
}

#[test]
fn crates_are_named_after_what_they_are() {
    for name in members().keys() {
        let parts: Vec<_> = name.split('-').collect();
        for empty in ["core", "common", "utils", "util", "helpers", "misc", "shared"] {
            assert!(!parts.contains(&empty), "{name} is named after nothing");
        }
    }
}

#[test]
fn every_package_inherits_the_lints() {
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for (name, package) in members() {
        let manifest = read(&format!("{}/Cargo.toml", directory(package)));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{name} has lints of its own");
        assert_eq!(text(package, "license"), "MIT OR Apache-2.0", "{name}");
    }
}

#[test]
fn pure_crates_have_a_list_of_what_they_may_not_call() {
    let workspace = read("clippy.toml");
    let first = read("crates/nixmox-tree/clippy.toml");
    for line in workspace.lines().filter(|line| line.contains('=')) {
        assert!(first.lines().any(|own| own == line), "clippy.toml of pure crates lacks {line}");
    }
    for method in [
        "std::env::var",
        "std::fs::File::open",
        "std::fs::read",
        "std::fs::read_to_string",
        "std::fs::write",
        "std::io::stdin",
        "std::io::stdout",
        "std::process::Command::new",
        "std::time::Instant::now",
        "std::time::SystemTime::now",
    ] {
        assert!(first.contains(&format!("path = \"{method}\"")), "{method} is allowed");
    }
    for name in PURE {
        assert_eq!(read(&format!("crates/{name}/clippy.toml")), first, "{name}");
    }
}

#[test]
fn pure_crates_depend_on_nothing_that_reaches_out() {
    let outside =
        ["clap", "getrandom", "libc", "rand", "rustix", "signal-hook", "tempfile", "ureq"];
    let members = members();
    for name in PURE {
        for known in dependencies(members.get(name).unwrap(), None) {
            assert!(!outside.contains(&known.as_str()), "{name} knows {known}");
        }
    }
}

/// The lint on methods does not see a generator that is named as a value, so the source is searched.
#[test]
fn pure_crates_draw_no_randomness_of_their_own() {
    for name in PURE {
        let sources =
            files().iter().filter(|path| path.starts_with(&format!("crates/{name}/src/")));
        let mut searched = 0;
        for path in sources {
            searched += 1;
            let source = read(path);
            for global in ["OsRng", "thread_rng", "from_entropy", "from_os_rng", "getrandom"] {
                assert!(!source.contains(global), "{path} mentions {global}");
            }
        }
        assert!(searched > 0, "{name} has no source");
    }
}

/// Every file that is, or is about to be, in the repository.
fn files() -> &'static [String] {
    static FILES: OnceLock<Vec<String>> = OnceLock::new();
    FILES.get_or_init(|| {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).unwrap();
        let names = names.split('\0').filter(|name| root().join(name).is_file());
        names.map(str::to_owned).collect()
    })
}

/// Tells where `bytes` hold `pattern` as the beginning of an absolute path.
fn holds_path(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let within = before.is_some_and(|b| b.is_ascii_alphanumeric() || b"._-~}>)*".contains(b));
        window == pattern && !within
    })
}

#[test]
fn no_file_knows_where_it_was_written() {
    // Put together here, so that this file does not hold them.
    let places = [["/wo", "rk/"], ["/tmp/tar", "get"], ["/tmp/br", "ief"], ["/tmp/bash", "_jobs"]];
    let searched = files().iter().filter(|path| {
        let bytes = fs::read(root().join(path)).unwrap();
        for place in places {
            let place = place.concat();
            assert!(!holds_path(&bytes, place.as_bytes()), "{path} mentions {place}");
        }
        true
    });
    assert!(searched.count() > 50);
}

#[test]
fn paths_are_told_from_parts_of_paths() {
    #[track_caller]
    fn check(text: &str, expect: bool) {
        assert_eq!(holds_path(text.as_bytes(), b"/here/"), expect, "{text}");
    }
    check("/here/x", true);
    check("in \"/here/x\"", true);
    check("docs/here/x", false);
    check("~/here/x", false);
    check("/hereafter", false);
}

#[test]
fn packages_come_from_public_registries() {
    for package in items(metadata(), "packages") {
        let source = text(package, "source");
        assert!(source.is_empty() || source == CRATES_IO, "{}: {source}", text(package, "name"));
    }
    for path in files() {
        match Path::new(path).file_name().unwrap().to_str().unwrap() {
            "Cargo.lock" => check_cargo_lock(path),
            "package-lock.json" => check_npm_lock(path),
            ".npmrc" | "pip.conf" => panic!("{path} names a registry"),
            "config.toml" if path.contains(".cargo/") => {
                assert!(!read(path).contains("registr"), "{path} names a registry");
                assert!(!read(path).contains("[source"), "{path} replaces a registry");
            }
            _ => {}
        }
    }
}

fn check_cargo_lock(path: &str) {
    for line in read(path).lines() {
        let named = line.contains("://");
        assert!(!named || line == format!("source = \"{CRATES_IO}\""), "{path}: {line}");
    }
}

fn check_npm_lock(path: &str) {
    for line in read(path).lines().filter(|line| line.contains("\"resolved\"")) {
        assert!(line.contains("\"https://registry.npmjs.org/"), "{path}: {line}");
    }
}
