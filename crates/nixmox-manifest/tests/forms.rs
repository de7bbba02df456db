//! One model, whatever it is written in; the judges are the forms against each other, and a real Nix.
//!
//! Needs `nix-instantiate`, from Debian's package `nix-bin`.

#![expect(clippy::disallowed_methods, reason = "the judge is a program, and reads files")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use nixmox_manifest::{Facts, Format, Loaded, Manifest, Severity, SourceFile, check, render, wrap};
use nixmox_nix::{Data, Limits, Located, eval_located};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/manifest").canonicalize().unwrap()
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(fixtures().join(name)).ok()
}

fn load(name: &str) -> Loaded {
    let text = read(name).unwrap();
    Loaded::with_imports((name, &text), Format::of_name(name).unwrap(), &read)
}

#[track_caller]
fn manifest(name: &str) -> Manifest {
    let loaded = load(name);
    let flaws: Vec<_> = loaded.findings().iter().filter(|f| f.severity != Severity::Note).collect();
    assert!(flaws.is_empty(), "{name}: {flaws:#?}");
    loaded.manifest().unwrap().clone()
}

#[test]
fn sixty_services_are_the_same_in_all_forms() {
    let nix = manifest("sixty.nix");
    assert_eq!(nix.listed().count(), 60);
    for name in ["sixty.toml", "sixty.yaml", "sixty.json"] {
        assert!(manifest(name) == nix, "{name} differs");
    }
}

#[test]
fn sixty_services_are_clean() {
    for name in ["sixty.nix", "sixty.toml", "sixty.yaml", "sixty.json"] {
        let loaded = load(name);
        let report = check(&loaded, &Facts::default());
        let found: Vec<_> =
            report.findings.iter().filter(|f| f.severity != Severity::Note).collect();
        assert!(found.is_empty(), "{}", render::short(&report, loaded.sources()));
    }
}

/// In every form a field's value stands where its place says.
#[test]
fn places_are_those_of_the_values() {
    for name in ["sixty.nix", "sixty.toml", "sixty.yaml", "sixty.json"] {
        let loaded = load(name);
        let mut seen = 0;
        for service in loaded.manifest().unwrap().listed() {
            let ip = service.service.ip.as_ref().unwrap();
            let text = loaded.sources().text(ip.place);
            assert_eq!(text.trim_matches('"'), ip.value.to_string(), "{name} {}", service.name);
            let key = loaded.sources().text(ip.key);
            assert_eq!(key.trim_matches('"'), "ip", "{name} {}", service.name);
            for port in service.service.ports.iter().flat_map(|ports| &ports.value) {
                assert_eq!(loaded.sources().text(port.place), port.value.to_string(), "{name}");
            }
            let named = loaded.sources().text(service.key);
            assert_eq!(named.trim_matches('"'), service.name, "{name}");
            seen += 1;
        }
        assert_eq!(seen, 60);
    }
}

#[test]
fn both_samples_are_one_model_in_all_forms() {
    // Its flaws are errors of meaning: each form reads all of it.
    let seed = manifest("seed.nix");
    assert_eq!(seed.listed().count(), 3);
    for name in ["seed-flat.nix", "seed.toml", "seed.yaml", "seed.json"] {
        assert!(manifest(name) == seed, "{name} differs");
    }
}

/// The same flaws are found in every form; only the places differ.
#[test]
fn both_samples_have_the_same_findings_in_all_forms() {
    let found = |name: &str| {
        let loaded = load(name);
        let report = check(&loaded, &Facts::default());
        let line = |f: &nixmox_manifest::Finding| format!("{} {}", f.code, f.message);
        let mut lines: Vec<String> = report.findings.iter().map(line).collect();
        lines.sort();
        lines
    };
    let seed = found("seed.nix");
    assert_eq!(seed.len(), 19);
    for name in ["seed-flat.nix", "seed.toml", "seed.yaml", "seed.json"] {
        assert_eq!(found(name), seed, "{name}");
    }
}

/// Asks Nix for a manifest's value and the places of its attributes.
fn nix(name: &str) -> Value {
    let path = fixtures().join(name);
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("nix-instantiate")
        .args(["--store", "dummy://", "--eval", "--strict", "--json", "--expr"])
        .arg(wrap(path.to_str().unwrap()))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.path())
        .output()
        .unwrap_or_else(|e| panic!("nix-instantiate (package nix-bin) runs: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const NIX_FILES: [&str; 5] =
    ["example.nix", "seed.nix", "seed-flat.nix", "seed-completed.nix", "sixty.nix"];

fn plain(value: &Located) -> Value {
    match &value.data {
        Data::Null => Value::Null,
        Data::Bool(truth) => Value::from(*truth),
        Data::Int(number) => Value::from(*number),
        Data::Float(number) => Value::from(*number),
        Data::String(text) => Value::from(text.expose()),
        Data::List(items) => items.iter().map(plain).collect(),
        Data::Set(attrs) => {
            Value::Object(attrs.iter().map(|a| (a.name.clone(), plain(&a.value))).collect())
        }
    }
}

/// Finds the attribute at a path: its file and the offset of its name.
fn place(value: &Located, path: &[Value]) -> Option<(usize, usize)> {
    let (step, rest) = path.split_first()?;
    match &value.data {
        Data::Set(attrs) => {
            let attr = attrs.iter().find(|attr| Some(attr.name.as_str()) == step.as_str())?;
            if rest.is_empty() {
                return Some((attr.name_place.file, attr.name_place.span.start()));
            }
            place(&attr.value, rest)
        }
        Data::List(items) => place(items.get(usize::try_from(step.as_u64()?).ok()?)?, rest),
        _ => None,
    }
}

fn offset(text: &str, line: u64, column: u64) -> usize {
    let before = usize::try_from(line).unwrap() - 1;
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    start + usize::try_from(column).unwrap() - 1
}

/// Nix names the beginning of `a.b.c`; here each name has its own place.
fn is_path_before(text: &str) -> bool {
    let name = |part: &str| {
        let part = part.trim().trim_matches('"');
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "_-'".contains(c))
    };
    text.is_empty() || text.strip_suffix('.').is_some_and(|path| path.split('.').all(name))
}

#[test]
fn values_and_places_are_those_of_nix() {
    let mut compared = 0;
    for name in NIX_FILES {
        let answer = nix(name);
        let text = read(name).unwrap();
        let (files, value) = eval_located((name, &text), &read, &Limits::default());
        let value = value.unwrap();
        assert_eq!(plain(&value), answer["value"], "{name}");
        for item in answer["positions"].as_array().unwrap() {
            let path = item["path"].as_array().unwrap();
            let [file, line, column] = item["pos"].as_array().map_or(&[][..], Vec::as_slice) else {
                continue;
            };
            let (at, ours) = place(&value, path).unwrap();
            let theirs = Path::new(file.as_str().unwrap()).file_name().unwrap().to_str().unwrap();
            assert_eq!(files[at].name, theirs, "{name} {path:?}");
            let text = &files[at].text;
            let theirs = offset(text, line.as_u64().unwrap(), column.as_u64().unwrap());
            let between = text.get(theirs..ours);
            assert!(between.is_some_and(is_path_before), "{name} {path:?}: {between:?}");
            compared += 1;
        }
    }
    assert!(compared > 2_000, "only {compared} places were compared");
}

#[test]
fn an_answer_of_nix_is_the_same_manifest() {
    for name in NIX_FILES {
        let answer = nix(name).to_string();
        let full = |name: &str| fixtures().join(name).to_str().unwrap().to_owned();
        let mut files = vec![name];
        if name == "sixty.nix" {
            files.extend(["sixty-net.nix", "sixty-core.nix"]);
        }
        let files = files
            .into_iter()
            .map(|file| SourceFile { name: full(file), text: read(file).unwrap() });
        let loaded = Loaded::from_nix(&answer, files.collect());
        assert!(*loaded.manifest().unwrap() == manifest(name), "{name}");
        let services: Vec<_> = loaded.manifest().unwrap().listed().collect();
        let ip = services[0].service.ip.as_ref().unwrap();
        assert_eq!(loaded.sources().text(ip.place).trim_matches('"'), ip.value.to_string());
    }
}

#[test]
fn what_goes_beyond_needs_a_real_nix() {
    #[track_caller]
    fn needs(text: &str, expect: bool) {
        let loaded = Loaded::from_text(("m.nix", text), Format::Nix);
        assert_eq!(loaded.needs_nix(), expect, "{text}");
        assert_eq!(loaded.findings().len(), 1);
    }
    needs("{ a = <nixpkgs>; }", true);
    needs("{ a = builtins.readFile ./x; }", true);
    needs("{ lib, ... }: { }", true);
    needs("import ./missing.nix", true);
    needs("{ a = ; }", false);
    needs("{ a = b; }", false);
}

/// The findings of the sample as it stands in its document.
#[test]
fn the_sample_has_exactly_these_findings() {
    let loaded = load("seed.nix");
    let report = check(&loaded, &Facts::default());
    let serious = report.findings.iter().filter(|f| f.severity != Severity::Note).cloned();
    let serious = nixmox_manifest::Report { findings: serious.collect() };
    insta::assert_snapshot!(render::short(&serious, loaded.sources()), @r"
    seed.nix:77:43: error[M301]: unknown service `authentik` in depends_on
    seed.nix:91:22: error[M602]: identity provider `authentik` of `vaultwarden` is no service
    seed.nix:4:18: warning[M107]: name server 192.168.99.13 is no enabled service
    seed.nix:13:5: warning[M803]: `postgresql` has no container number
    seed.nix:22:9: warning[M502]: database `postgresql` has no owner
    seed.nix:28:20: warning[M207]: `postgresql` is proxied under its own host name
    seed.nix:30:22: warning[M413]: upstream 192.168.99.11:5432 speaks PostgreSQL and not HTTP
    seed.nix:44:5: warning[M803]: `caddy` has no container number
    seed.nix:54:20: warning[M207]: `caddy` is proxied under its own host name
    seed.nix:56:22: warning[M414]: caddy proxies to itself at 192.168.99.10:80
    seed.nix:73:5: warning[M803]: `vaultwarden` has no container number
    seed.nix:100:20: warning[M207]: `vaultwarden` is proxied under its own host name
    ");
    let notes = report.findings.iter().filter(|f| f.severity == Severity::Note);
    let notes: Vec<_> = notes.map(|finding| finding.code.name()).collect();
    assert_eq!(notes, ["M007", "M007", "M702", "M007", "M702", "M007", "M702"]);
}

#[test]
fn the_completed_sample_has_no_errors() {
    let loaded = load("seed-completed.nix");
    let report = check(&loaded, &Facts::default());
    assert_eq!(report.count(Severity::Error), 0, "{}", render::short(&report, loaded.sources()));
}
