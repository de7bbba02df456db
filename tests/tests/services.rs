//! Repositories with a service manifest, beside or instead of `nodes/`: services are hosts, sections are groups.
//!
//! The judge of what is delivered is each host's own key; `nix-instantiate` (Debian: nix-bin) reads what is beyond the
//! embedded evaluator.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;

use nixmox_tests::{Ran, TestEnv};
use serde_json::{Value, json};

const EXAMPLE: &str = include_str!("../../fixtures/manifest/example.nix");

/// A fleet of these files, prepared by `init`.
#[track_caller]
fn fleet(files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    files.iter().for_each(|(name, text)| write(&env, name, text));
    env.run(&["init", "--repo", "."]).ends(0);
    env
}

fn write(env: &TestEnv, name: &str, text: &str) {
    let path = env.path("fleet").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Opens a sealed file with its host's own key.
#[track_caller]
fn opened(env: &TestEnv, file: &str, host: &str) -> String {
    env.run(&["decrypt", file, "--node", host]).ends(0).out
}

#[test]
fn a_repository_that_has_only_a_manifest_is_a_fleet() {
    let mut env = fleet(&[("nixos/service-manifest.nix", EXAMPLE)]);
    assert!(!env.path("fleet/nodes").exists(), "the manifest makes hosts already");
    env.run_with(&["set", "core_services.backup.token"], "for the core").ends(0);
    env.run_with(&["set", "services.backup.token"], "for the rest").ends(0);
    env.run_with(&["set", "all.relay"], "everywhere").ends(0);
    env.run_with(&["set", "caddy.relay"], "not here").ends(0);
    for (host, text) in [
        ("caddy", "backup:\n    token: for the core\nrelay: not here\n"),
        ("dns", "backup:\n    token: for the core\nrelay: everywhere\n"),
        ("media", "backup:\n    token: for the rest\nrelay: everywhere\n"),
    ] {
        assert_eq!(opened(&env, &format!("nodes/{host}/secrets.yaml"), host), text);
    }
    let shown = env.run(&["explain", "caddy", "relay"]).ends(0).out;
    assert!(shown.contains("caddy") && shown.contains("all"), "{shown}");
    env.editor("sed -i 's/for the rest/for the others/' \"$1\"").run(&["edit"]).ends(0);
    assert!(opened(&env, "nodes/media/secrets.yaml", "media").contains("for the others"));
    env.run(&["check"]).ends(0);
    env.run(&["status"]).ends(0);
    env.run(&["updatekeys", "--yes"]);
    env.run(&["check"]).ends(0);
    let unknown = env.run_with(&["set", "cady.x"], "v");
    assert!(unknown.err.contains("caddy"), "{unknown:?}");
}

#[test]
fn every_form_makes_the_same_hosts() {
    let value = json!({
        "network": { "domain": "a.lan" },
        "core_services": { "dns": { "ip": "10.0.0.1" } },
        "services": { "web": {}, "mail": { "enable": false } },
    });
    let forms = [
        ("service-manifest.json", value.to_string()),
        (
            "service-manifest.yaml",
            "core_services: {dns: {}}\nservices: {web: {}, mail: {}}\n".into(),
        ),
        (
            "nixos/service-manifest.yml",
            "core_services: {dns: {}}\nservices: {web: {}, mail: {}}\n".into(),
        ),
        (
            "nixos/service-manifest.toml",
            "[core_services.dns]\n[services]\nweb = {}\nmail = {}\n".into(),
        ),
        (
            "service-manifest.nix",
            "{ core_services.dns = { }; services = { web = { }; mail = { }; }; }".into(),
        ),
    ];
    for (name, text) in forms {
        let env = fleet(&[(name, &text)]);
        env.run_with(&["set", "all.k"], "v").ends(0);
        let eval = env.run(&["eval", "--json"]).ends(0).out;
        let eval: Value = serde_json::from_str(&eval).unwrap();
        let hosts: Vec<&String> = eval.as_object().unwrap().keys().collect();
        assert_eq!(hosts, ["dns", "mail", "web"], "{name}");
    }
}

#[test]
fn services_and_nodes_are_joined_by_name() {
    let env = fleet(&[
        ("service-manifest.nix", EXAMPLE),
        ("nodes/edge/group.nix", "{ caddy = { }; router = { }; }"),
        ("nodes/dns/host.nix", "{ }"),
        ("nodes/services/group.nix", "{ common = { os = \"nixos\"; }; media = { }; }"),
        ("nodes/all/group.nix", "{ edge = { }; }"),
    ]);
    env.run_with(&["set", "edge.tunnel"], "of the edge").ends(0);
    env.run_with(&["set", "core_services.token"], "of the core").ends(0);
    env.run_with(&["set", "all.relay"], "of all").ends(0);
    // A group with a directory keeps its hosts' files; what only the manifest names has a directory of its own.
    for (file, host, text) in [
        ("nodes/edge/caddy", "caddy", "relay: of all\ntoken: of the core\ntunnel: of the edge\n"),
        ("nodes/edge/router", "router", "relay: of all\ntunnel: of the edge\n"),
        ("nodes/dns", "dns", "relay: of all\ntoken: of the core\n"),
        ("nodes/services/media", "media", "relay: of all\n"),
        ("nodes/vaultwarden", "vaultwarden", "relay: of all\n"),
    ] {
        let said = opened(&env, &format!("{file}/secrets.yaml"), host);
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, text.lines().collect::<Vec<_>>(), "{host}");
    }
    env.run(&["check"]).ends(0);
}

/// Adds a file to a fleet with a manifest, and demands that it is refused with both places.
#[track_caller]
fn contradicts(name: &str, text: &str, says: &str) {
    let env = fleet(&[("service-manifest.nix", EXAMPLE)]);
    write(&env, name, text);
    for args in [&["seal"][..], &["status"], &["check"], &["list"]] {
        let ran = env.run(args).ends(2);
        assert!(ran.err.contains(says), "{ran:#?}");
    }
}

#[test]
fn contradictions_are_errors_with_both_places() {
    contradicts(
        "nodes/caddy/group.nix",
        "{ a = { }; }",
        "`caddy` is a host by service-manifest.nix:15:5 and a group by nodes/caddy/group.nix",
    );
    contradicts(
        "nodes/core_services/node.nix",
        "{ }",
        "`core_services` is a host by nodes/core_services/node.nix and a group by service-manifest.nix:14:3",
    );
    contradicts(
        "nodes/core_services/group.nix",
        "{ caddy = { }; media = { }; }",
        "`media` is in core_services by nodes/core_services/group.nix, and not by service-manifest.nix:14:3",
    );
    contradicts(
        "nodes/services/group.nix",
        "{ laptop = { }; }",
        "`laptop` is in services by nodes/services/group.nix, and not by service-manifest.nix:",
    );
    contradicts("nodes/media/group.nix", "{ services = { }; }", "groups contain each other");
}

#[test]
fn a_manifest_that_hides_services_stops_everything() {
    let env = fleet(&[("service-manifest.toml", "[services.web]\n")]);
    env.run_with(&["set", "web.k"], "v").ends(0);
    for (text, says) in [
        ("[services\n", "service-manifest.toml:1:10: error[M001]"),
        ("services = 3\n", "service-manifest.toml:1:12: error[M004]: services must be a set"),
        ("[core_services.web]\n[services.web]\n", "service-manifest.toml:2:11: error[M005]"),
        ("[services.\"a.b\"]\n", "service-manifest.toml:1:11 names a node badly"),
        ("[services._a]\n", "service-manifest.toml:1:11 names a node badly"),
        ("[services.x_unencrypted]\n", "in the clear"),
        ("\u{fffd}", "error[M001]"),
    ] {
        write(&env, "service-manifest.toml", text);
        let ran = env.run(&["seal"]).ends(2);
        assert!(ran.err.contains(says), "{text}: {ran:#?}");
    }
    fs::write(env.path("fleet/service-manifest.toml"), b"\xff").unwrap();
    assert!(env.run(&["seal"]).ends(2).err.contains("not UTF-8"));
    fs::remove_file(env.path("fleet/service-manifest.toml")).unwrap();
    std::os::unix::fs::symlink("/etc/hosts", env.path("fleet/service-manifest.toml")).unwrap();
    assert!(env.run(&["seal"]).err.contains("symbolic link"));
}

#[test]
fn comments_and_the_section_change_no_file_of_a_host() {
    let text = "{ core_services.dns = { }; services = { web.ip = \"10.0.0.1\"; }; }";
    let env = fleet(&[("service-manifest.nix", text)]);
    env.run_with(&["set", "all.k"], "v").ends(0);
    let files =
        ["nodes/web/secrets.yaml", "nodes/web/ssh_host_ed25519_key", ".nixmox/digests.json"];
    let bytes = || files.map(|file| fs::read(env.path("fleet").join(file)).unwrap());
    let before = bytes();
    write(
        &env,
        "service-manifest.nix",
        &format!("# moved\n\n{}", text.replace("10.0.0.1", "10.0.0.2")),
    );
    let sealed = env.run(&["seal"]).ends(0);
    assert!(sealed.out.contains("unchanged"), "{sealed:?}");
    assert_eq!(bytes(), before);
    write(
        &env,
        "service-manifest.nix",
        "{ core_services = { dns = { }; web = { }; }; services.x = { }; }",
    );
    env.run(&["seal"]).ends(0);
    assert_eq!(bytes()[..2], before[..2], "the host stays where it was");
    write(&env, "service-manifest.nix", "{ core_services.dns = { }; }");
    let status = env.run(&["status"]);
    assert!(status.out.contains("web"), "a service that went away leaves its file: {status:?}");
}

#[test]
fn what_is_beyond_the_embedded_evaluator_is_left_to_nix() {
    let text = "let x = builtins.fromTOML \"a = 1\"; in builtins.seq x (import ./rest.nix)";
    let rest = "{ core_services.dns = { }; services.web = { }; }";
    let env = fleet(&[("nixos/service-manifest.nix", text), ("nixos/rest.nix", rest)]);
    env.run_with(&["set", "services.k"], "v").ends(0);
    assert_eq!(opened(&env, "nodes/web/secrets.yaml", "web"), "k: v\n");
    write(
        &env,
        "nixos/service-manifest.nix",
        "builtins.seq (builtins.readFile /etc/passwd) { services.web = { }; }",
    );
    let refused = env.run(&["seal"]).ends(2);
    assert!(refused.err.contains("error[M001]"), "{refused:#?}");
    write(&env, "nixos/service-manifest.nix", text);
    let mut command = std::process::Command::new(env.program());
    let without = command.args(["seal", "--repo"]).arg(env.path("fleet")).env_clear();
    let without = without.env("HOME", env.path("home")).env("PATH", env.path("given"));
    let without = Ran::new(&without.output().unwrap()).ends(2);
    assert!(without.err.contains("nix-instantiate"), "{without:#?}");
    assert!(without.err.contains("nixos/service-manifest.nix:1:18"), "{without:#?}");
}

#[test]
fn what_a_manifest_implies_is_declared_and_made() {
    let env = fleet(&[("service-manifest.nix", EXAMPLE)]);
    env.run_with(&["set", "services.vaultwarden.oidc_client_secret"], "given by hand").ends(0);
    let before = fs::read(env.path("fleet/secrets.yaml")).unwrap();
    let would = env.run(&["generate", "--from-manifest", "--dry-run"]).ends(0);
    assert!(would.out.contains("vaultwarden.database_password"), "{would:#?}");
    assert_eq!(fs::read(env.path("fleet/secrets.yaml")).unwrap(), before);
    let missing = env.run(&["consumers", "--all", "--manifest", "--keyless"]).ends(1);
    assert!(
        missing.out.contains("missing  vaultwarden  vaultwarden/database_password"),
        "{missing:#?}"
    );

    let made = env.run(&["generate", "--from-manifest"]).ends(0);
    assert!(
        made.err.contains("nixmox-secrets set caddy.internal_ca.wildcard_private_key"),
        "{made:#?}"
    );
    // The server and its user have one password; what was there already stays.
    let get = |path: &str| env.run(&["get", path]).ends(0).out;
    let password = get("vaultwarden.vaultwarden.database_password");
    assert_eq!(password.trim().len(), 32, "{password}");
    for host in ["vaultwarden", "postgresql"] {
        let file = opened(&env, &format!("nodes/{host}/secrets.yaml"), host);
        assert!(file.contains(&format!("database_password: {}", password.trim())), "{host}");
    }
    let vault = opened(&env, "nodes/vaultwarden/secrets.yaml", "vaultwarden");
    assert!(vault.contains("oidc_client_secret: given by hand"), "{vault}");
    assert!(!opened(&env, "nodes/postgresql/secrets.yaml", "postgresql").contains("oidc"));
    assert_eq!(get("media.media.jellyfin.oidc_client_secret").trim().len(), 64);

    // Asked again, nothing is left to declare; what comes from elsewhere is still missing, by its name alone.
    let again = env.run(&["generate", "--from-manifest"]).ends(0);
    assert!(again.out.contains("unchanged"), "{again:#?}");
    let left = env.run(&["consumers", "--all", "--manifest", "--keyless"]).ends(1);
    assert!(left.out.starts_with("missing  authentik  authentik-ldap/env"), "{left:#?}");
    for path in [
        "authentik.authentik-ldap.env",
        "authentik.authentik-radius.env",
        "caddy.internal_ca.wildcard_private_key",
    ] {
        env.run_with(&["set", path], "from elsewhere").ends(0);
    }
    env.run(&["consumers", "--all", "--manifest", "--keyless"]).ends(0);
    env.run(&["consumers", "--all", "--manifest"]).ends(0);
    env.run(&["check"]).ends(0);

    // nixmox-manifest compares the names in the sealed files, of which it opens none.
    let mut check = env.command(nixmox_tests::manifest_program());
    check.args(["check", "--format", "short", "--secrets"]).current_dir(env.path("fleet"));
    for host in ["authentik", "caddy", "media", "monitoring", "postgresql", "vaultwarden"] {
        check.arg(format!("nodes/{host}/secrets.yaml"));
    }
    let said = Ran::new(&check.output().unwrap()).ends(0);
    assert_eq!(said.out, "all is well: 7 services\n");
}

#[test]
fn a_manifest_with_errors_implies_nothing() {
    let wrong = EXAMPLE.replacen("ip = \"192.168.99.18\"", "ip = \"192.168.99.17\"", 1);
    let env = fleet(&[("service-manifest.nix", &wrong)]);
    let refused = env.run(&["generate", "--from-manifest"]).ends(2);
    assert!(refused.err.contains("error[M201]"), "{refused:#?}");
    let none = TestEnv::new();
    write(&none, "nodes/web/node.nix", "{ }");
    none.run(&["init", "--repo", "."]).ends(0);
    let refused = none.run(&["generate", "--from-manifest"]);
    assert!(refused.err.contains("no service manifest"), "{refused:#?}");
}

#[test]
fn real_nix_tells_what_a_manifest_beyond_the_evaluator_implies() {
    let text = "let x = builtins.fromTOML \"a = 1\"; in builtins.seq x (import ./rest.nix)";
    let env = fleet(&[("service-manifest.nix", text), ("rest.nix", EXAMPLE)]);
    env.run(&["generate", "--from-manifest"]).ends(0);
    assert_eq!(
        env.run(&["get", "monitoring.monitoring.oidc_client_secret"]).ends(0).out.trim().len(),
        64
    );
}

#[test]
fn a_revision_has_the_hosts_of_its_own_manifest() {
    let env = fleet(&[
        ("nixos/service-manifest.nix", "import ./rest.nix"),
        ("nixos/rest.nix", "{ core_services.dns = { }; services.web = { }; }"),
    ]);
    env.run_with(&["set", "core_services.k"], "v").ends(0);
    env.tool("git", &["init", "--quiet"]);
    env.tool("git", &["add", "."]);
    let commit =
        ["-c", "user.name=t", "-c", "user.email=t@example.lan", "commit", "--quiet", "-m", "one"];
    env.tool("git", &commit);
    write(&env, "nixos/rest.nix", "{ core_services = { dns = { }; web = { }; }; }");
    env.run(&["seal"]).ends(0);
    let said = env.run(&["git", "diff"]).out;
    assert!(said.contains("web") && !said.contains("dns"), "{said}");
}
