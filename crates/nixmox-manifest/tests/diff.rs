//! What a change has deployed again, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;

use nixmox_manifest::{Diff, Effect, Format, Loaded, Manifest, Outputs};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../../fixtures/manifest/example.nix");
const ALL: &str = "authentik caddy dns media monitoring postgresql vaultwarden";

fn load(text: &str) -> Manifest {
    let loaded = Loaded::from_text(("m.nix", text), Format::Nix);
    assert!(loaded.findings().is_empty(), "{:?}", loaded.findings());
    loaded.manifest().unwrap().clone()
}

#[track_caller]
fn edited(edits: &[(&str, &str)]) -> Manifest {
    let mut text = EXAMPLE.to_owned();
    for (old, new) in edits {
        assert!(text.contains(old), "the example has no {old}");
        text = text.replacen(old, new, 1);
    }
    load(&text)
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Compares what a change leads to: hosts, containers, applications.
#[track_caller]
fn check(edits: &[(&str, &str)], hosts: &str, containers: &str, applications: &str) -> Diff {
    let diff = Diff::new(&load(EXAMPLE), &edited(edits));
    let found: BTreeSet<String> = diff.hosts.keys().cloned().collect();
    assert_eq!(found, words(hosts), "hosts: {diff:#?}");
    let found: BTreeSet<String> = diff.containers.keys().cloned().collect();
    assert_eq!(found, words(containers), "containers: {diff:#?}");
    let found: BTreeSet<String> = diff.applications.keys().cloned().collect();
    assert_eq!(found, words(applications), "applications: {diff:#?}");
    diff
}

#[test]
fn an_upstream_port_concerns_the_proxy_and_a_firewall() {
    let upstream = "upstream = \"192.168.99.18:3000\"";
    check(&[(upstream, "upstream = \"192.168.99.18:9090\"")], "caddy", "", "");
    check(&[(upstream, "upstream = \"192.168.99.18:3001\"")], "caddy monitoring", "", "");
}

#[test]
fn a_new_domain_concerns_proxy_and_names() {
    let entry = "sonarr = {\n            domain";
    let new = "films = { domain = \"films.example.lan\"; upstream = \"192.168.99.17:8096\"; };\n          sonarr = {\n            domain";
    check(&[(entry, new)], "caddy dns", "", "");
    let new = "films = { domain = \"films.example.lan\"; upstream = \"192.168.99.17:8096\"; auth.type = \"forward_auth\"; };\n          sonarr = {\n            domain";
    check(&[(entry, new)], "caddy dns", "", "media/films");
}

#[test]
fn an_address_concerns_all_who_use_it() {
    let edits = [
        (" ip = \"192.168.99.14\"", " ip = \"192.168.99.44\""),
        ("\"192.168.99.14:8080\"", "\"192.168.99.44:8080\""),
    ];
    check(&edits, "caddy dns postgresql vaultwarden", "vaultwarden", "");
}

#[test]
fn a_database_concerns_server_and_user() {
    let proxy = "      interface = {\n        proxy = {\n          domain = \"grafana";
    let new = "      interface = {\n        db = { name = \"grafana\"; owner = \"grafana\"; };\n        proxy = {\n          domain = \"grafana";
    let diff = check(&[(proxy, new)], "monitoring postgresql", "", "");
    assert_eq!(diff.new_secrets, words("monitoring/database_password"));
}

#[test]
fn a_redirect_uri_concerns_the_provider_alone() {
    check(&[("vault.example.lan/oidc/callback", "vault.example.lan/cb")], "", "", "vaultwarden");
}

#[test]
fn a_key_concerns_all_hosts() {
    check(&[("worthless-admin", "renamed")], ALL, "", "");
}

#[test]
fn a_service_that_is_switched_off_goes_from_all_who_knew_it() {
    let off = ("vaultwarden = {\n      enable = true;", "vaultwarden = {\n      enable = false;");
    let hosts = "caddy dns monitoring postgresql vaultwarden";
    let diff = check(&[off], hosts, "vaultwarden", "vaultwarden");
    assert_eq!(diff.hosts["vaultwarden"].0, Effect::Destroy);
    assert_eq!(diff.containers["vaultwarden"], Effect::Destroy);
    assert!(!diff.redeploy().any(|host| host == "vaultwarden"));
    assert_eq!(
        diff.old_secrets,
        words("vaultwarden/database_password vaultwarden/oidc_client_secret")
    );
}

#[test]
fn the_monitor_concerns_all_who_send_logs() {
    let edits = [
        (" ip = \"192.168.99.18\"", " ip = \"192.168.99.48\""),
        ("\"192.168.99.18:3000\"", "\"192.168.99.48:3000\""),
    ];
    check(&edits, ALL, "monitoring", "");
}

#[test]
fn comments_and_blanks_concern_nobody() {
    let diff = check(
        &[
            ("# A small fleet", "#  Another\n  # fleet"),
            ("\n  services = {", "\n\n\n  services=\n{"),
        ],
        "",
        "",
        "",
    );
    assert!(diff.is_empty());
}

#[test]
fn what_only_people_read_changes_and_deploys_nothing() {
    let diff = check(&[("vmid = 905;", "vmid = 905; version = \"2\";")], "", "", "");
    assert_eq!(diff.changes.len(), 1);
    assert_eq!(diff.changes[0].path, "services.vaultwarden.version");
}

#[test]
fn resources_concern_the_container_alone() {
    check(&[("cores = 4", "cores = 6")], "", "postgresql", "");
}

#[test]
fn written_defaults_deploy_nothing() {
    let edits = [("vmid = 905;", "vmid = 905; onboot = true; resources.cores = 2;")];
    check(&edits, "", "", "");
}

#[test]
fn an_extension_concerns_the_server_alone() {
    let db = (
        "db = { name = \"vaultwarden\";",
        "db = { extensions = [ \"citext\" ]; name = \"vaultwarden\";",
    );
    check(&[db], "postgresql", "", "");
}

#[test]
fn a_derived_container_number_does_not_depend_on_others() {
    let without = [("      vmid = 905;\n", "")];
    let number = |manifest: &Manifest| Outputs::new(manifest).containers["vaultwarden"].vmid;
    let alone = number(&edited(&without));
    assert_eq!(alone, Some(100_014));
    let fewer = [
        without[0],
        ("    media = {\n      enable = true;", "    media = {\n      enable = false;"),
    ];
    assert_eq!(number(&edited(&fewer)), alone);
}

#[test]
fn what_a_host_is_given() {
    let outputs = Outputs::new(&load(EXAMPLE));
    #[track_caller]
    fn shown(value: &impl serde::Serialize) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }
    insta::assert_snapshot!("vaultwarden", shown(&outputs.hosts["vaultwarden"]));
    insta::assert_snapshot!("caddy", shown(&outputs.hosts["caddy"]));
    insta::assert_snapshot!("media-jellyfin", shown(&outputs.applications["media/jellyfin"]));
}

#[test]
fn names_that_are_both_lead_to_the_proxy() {
    let own = ("domain = \"grafana.example.lan\"", "domain = \"monitoring.example.lan\"");
    let outputs = Outputs::new(&edited(&[own]));
    let records = outputs.hosts["dns"].records.as_ref().unwrap();
    assert_eq!(records["monitoring.example.lan"].to_string(), "192.168.99.10");
}

proptest! {
    /// Edits at random: equal manifests give an empty diff, and a diff back is as large as the one there.
    #[test]
    fn equal_models_give_an_empty_diff(digits in prop::collection::vec((0..200_usize, 0..10_u8), 0..4)) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        let places: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
        for (at, digit) in digits {
            text[places[at % places.len()]] = b'0' + digit;
        }
        let text = String::from_utf8(text).unwrap();
        let old = Loaded::from_text(("m.nix", EXAMPLE), Format::Nix);
        let new = Loaded::from_text(("m.nix", &text), Format::Nix);
        let again = Loaded::from_text(("m.nix", &text.replace('\n', "\n  ")), Format::Nix);
        if let (Some(old), Some(new), Some(again)) = (old.manifest(), new.manifest(), again.manifest()) {
            prop_assert!(Diff::new(new, again).is_empty());
            let (there, back) = (Diff::new(old, new), Diff::new(new, old));
            prop_assert_eq!(there.is_empty(), *old == *new);
            let hosts = |diff: &Diff| diff.hosts.keys().cloned().collect::<Vec<_>>();
            prop_assert_eq!(hosts(&there), hosts(&back));
        }
    }
}
