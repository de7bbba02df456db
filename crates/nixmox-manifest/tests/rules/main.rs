//! Every rule: a case that fires it, one close by that does not, and what a person sees.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod cases;

use std::collections::BTreeSet;

use nixmox_manifest::render::{self, Look};
use nixmox_manifest::{
    Capacity, Certificate, Code, Facts, Format, Loaded, Report, Severity, check, secret,
};

use cases::{CASES, Case, Edit};

const EXAMPLE: &str = include_str!("../../../../fixtures/manifest/example.nix");

/// Changes the example, each edit at the first place that has its text.
#[track_caller]
fn edited(edits: &[Edit]) -> String {
    let mut text = EXAMPLE.to_owned();
    for (old, new) in edits {
        assert!(text.contains(old), "the example has no {old}");
        text = text.replacen(old, new, 1);
    }
    text
}

fn load(edits: &[Edit]) -> Loaded {
    Loaded::from_text(("service-manifest.nix", &edited(edits)), Format::Nix)
}

/// Checks with what the outside would know; `without` is a secret that is not sealed.
fn checked(loaded: &Loaded, without: &str, names: &[&str]) -> Report {
    let mut facts = Facts::default();
    if !without.is_empty() {
        let implied = secret::implied(loaded.manifest().unwrap());
        let sealed: BTreeSet<String> = implied.into_iter().map(|secret| secret.name).collect();
        assert!(without == "-" || sealed.contains(without), "{sealed:?}");
        facts.secrets = Some(sealed.into_iter().filter(|name| name != without).collect());
    }
    if !names.is_empty() {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        facts.certificate = Some(Certificate { names, days_left: 90 });
    }
    check(loaded, &facts)
}

fn of_code(report: Report, code: Code) -> Report {
    Report { findings: report.findings.into_iter().filter(|f| f.code == code).collect() }
}

#[test]
fn every_rule_fires_and_has_a_text() {
    for Case { code, fires, missing, certificate, .. } in CASES {
        let loaded = load(fires);
        let found = of_code(checked(&loaded, missing, certificate), *code);
        assert!(!found.findings.is_empty(), "{code} does not fire");
        for finding in &found.findings {
            let place = finding.place().unwrap();
            let text = loaded.sources().text(place);
            assert!(!text.is_empty() || *code == Code::M001, "{code} points at nothing");
        }
        let shown = render::pretty(&found, loaded.sources(), Look::default());
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(code.name(), shown);
        });
    }
}

#[test]
fn no_rule_fires_close_by() {
    for Case { code, near, missing, certificate, near_certificate, .. } in CASES {
        let loaded = load(near);
        let sealed = if missing.is_empty() { "" } else { "-" };
        let names = if certificate.is_empty() { certificate } else { near_certificate };
        let found = of_code(checked(&loaded, sealed, names), *code);
        assert_eq!(found.findings, [], "{code} fires");
    }
}

#[test]
fn every_rule_has_a_case() {
    let cased: BTreeSet<Code> = CASES.iter().map(|case| case.code).collect();
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(cased, all);
}

#[test]
fn the_example_is_clean() {
    let loaded = load(&[]);
    let report = checked(&loaded, "-", &["*.example.lan"]);
    assert_eq!(render::short(&report, loaded.sources()), "");
}

/// Severities that depend on the case.
#[test]
fn special_cases_weigh_more_or_less() {
    #[track_caller]
    fn one(code: Code, edits: &[Edit], severity: Severity) {
        let report = of_code(check(&load(edits), &Facts::default()), code);
        let found: Vec<_> = report.findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(found, [severity], "{code}");
    }
    let uri = "https://vault.example.lan/oidc/callback";
    one(Code::M604, &[(uri, "http://localhost:8250/oidc/callback")], Severity::Note);
    one(Code::M604, &[(uri, "http://vault.example.lan/oidc/callback")], Severity::Error);
    one(Code::M604, &[(uri, "https://vault.example.lan/*")], Severity::Error);
    one(Code::M604, &[(uri, "https://vault.example.lan/a#b")], Severity::Error);
    one(Code::M604, &[(uri, "/oidc/callback")], Severity::Error);
    one(Code::M606, &[("\"openid\" \"email\"", "\"openid\" \"emial\"")], Severity::Warning);
    let radius = |secret: &str| format!("outposts.radius.shared_secret = \"{secret}\";");
    let clients = "outposts.radius.client_networks = [ \"192.168.99.0/24\" ];";
    one(Code::M902, &[(clients, &radius("hunter2"))], Severity::Warning);
    one(Code::M902, &[(clients, &radius("ChangeMe-radius"))], Severity::Error);
    one(Code::M416, &[("authz = true", "authz = false")], Severity::Warning);
    one(
        Code::M505,
        &[("additionaldbs = [ \"sonarr_log\"", "additionaldbs = [ \"sonarr-log\"")],
        Severity::Note,
    );
    let key = "worthless-admin\"";
    let twice =
        format!("{key} {}", EXAMPLE.split("[ ").nth(1).unwrap().split(" ]").next().unwrap());
    one(Code::M901, &[(key, &twice)], Severity::Warning);
}

#[test]
fn sums_are_compared_with_the_host() {
    let loaded = load(&[]);
    let mut facts = Facts::default();
    // Seven containers: 4 + 6 × 2 cores, 4096 + 6 × 2048 MiB, 64 + 6 × 16 GiB.
    facts.capacity = Some(Capacity { cores: 16, memory: 16_384, disk_gb: 160 });
    assert_eq!(check(&loaded, &facts).findings, []);
    facts.capacity = Some(Capacity { cores: 16, memory: 16_383, disk_gb: 160 });
    let report = check(&loaded, &facts);
    let message = "all services together want 16384 MiB of memory, the host has 16383";
    assert_eq!(report.findings[0].message, message);
    assert_eq!(report.findings[0].severity, Severity::Warning);
}

#[test]
fn strict_makes_unknown_fields_errors() {
    let loaded = load(&[("vmid = 904;", "vmid = 904; vimd = 1;")]);
    let mut facts = Facts::default();
    assert!(check(&loaded, &facts).passes(false));
    assert!(!check(&loaded, &facts).passes(true));
    facts.strict = true;
    assert!(!check(&loaded, &facts).passes(false));
}

#[test]
fn other_judges_are_asked() {
    let loaded = load(&[]);
    let refuse = |_: &str| Err("no".to_owned());
    let mut facts = Facts::default();
    facts.shell = Some(&refuse);
    facts.caddy = Some(&refuse);
    let report = check(&loaded, &facts);
    let count = |code| report.findings.iter().filter(|finding| finding.code == code).count();
    assert_eq!((count(Code::M704), count(Code::M411)), (8, 1));
}

#[test]
fn hidden_characters_are_shown() {
    let loaded = load(&[("vmid = 904;", "vmid = 904; \"a\u{202e}\u{1b}[2Jb\" = 1; # \u{1b}[31m")]);
    let report = check(&loaded, &Facts::default());
    let pretty = render::pretty(&report, loaded.sources(), Look::default());
    let short = render::short(&report, loaded.sources());
    let github = render::github(&report, loaded.sources());
    assert_eq!(report.findings.len(), 1);
    for text in [pretty, short, github] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}

#[test]
fn other_forms_of_a_report() {
    let loaded = load(&[("ip = \"192.168.99.18\"", "ip = \"192.168.99.17\"")]);
    let report = of_code(check(&loaded, &Facts::default()), Code::M201);
    insta::assert_snapshot!(render::short(&report, loaded.sources()), @"service-manifest.nix:127:12: error[M201]: `services.media` and `services.monitoring` both claim the address 192.168.99.17");
    insta::assert_snapshot!(render::github(&report, loaded.sources()), @r"
    ::error file=service-manifest.nix,line=127,col=12,endLine=127,endColumn=27,title=M201 two services have one address::`services.media` and `services.monitoring` both claim the address 192.168.99.17%0Ahelp: the lowest free address in 192.168.99.0/24 is 192.168.99.2
    ");
    insta::assert_snapshot!(format!("{:#}", render::as_json(&report, loaded.sources())), @r#"
    {
      "errors": 1,
      "warnings": 0,
      "notes": 0,
      "findings": [
        {
          "code": "M201",
          "severity": "error",
          "title": "two services have one address",
          "message": "`services.media` and `services.monitoring` both claim the address 192.168.99.17",
          "places": [
            {
              "file": "service-manifest.nix",
              "line": 127,
              "column": 12,
              "end_line": 127,
              "end_column": 27,
              "label": "used again here by services.monitoring"
            },
            {
              "file": "service-manifest.nix",
              "line": 94,
              "column": 12,
              "end_line": 94,
              "end_column": 27,
              "label": "first used here by services.media"
            }
          ],
          "help": "the lowest free address in 192.168.99.0/24 is 192.168.99.2"
        }
      ]
    }
    "#);
}
