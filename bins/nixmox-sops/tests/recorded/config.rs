//! Which rule of which `.sops.yaml` counts, and what the command line says over it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::*;

/// Cases that cannot be sealed here, and why.
const EXCEPTIONS: [(&str, &str); 1] = [("config/pq-recipient", "needs the plugin age-plugin-pq")];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The labels of a sealed file, in whatever format.
fn labels(sealed: &str) -> Vec<String> {
    let lines = sealed.lines().filter_map(|line| {
        let (_, label) = line.split_once("recipient").filter(|_| !line.contains("-----"))?;
        Some(label.trim_start_matches(['"', ':', ' ', '=']).trim_end_matches(['"', ',']).to_owned())
    });
    lines.collect()
}

fn name_of(label: &str) -> String {
    let names = (1..=12).map(|n| format!("age{n}"));
    names.into_iter().find(|name| recipient(name) == label).unwrap_or_else(|| label.to_owned())
}

fn check(case: &Value, sealed: &str, report: &mut Report) {
    let id = text(case, "id");
    let names: Vec<String> = labels(sealed).iter().map(|label| name_of(label)).collect();
    report.check(names == words(case, "recipients"), || format!("{id}: {names:?}\n{sealed}"));
    let threshold = case["shamir_threshold"].as_u64();
    let says = |name: &str| sealed.lines().any(|line| line.trim_start().starts_with(name));
    let right = threshold.is_none_or(|n| says(&format!("shamir_threshold: {n}")));
    report.check(right && threshold.is_some() == says("shamir_threshold"), || {
        format!("{id}: threshold")
    });
    for rule in ["unencrypted_suffix", "encrypted_regex", "encrypted_comment_regex"] {
        if let Some(value) = case.get(rule).and_then(Value::as_str) {
            report.check(says(&format!("{rule}: {value}")), || format!("{id}: {rule}\n{sealed}"));
        }
    }
    let only = case.get("mac_only_encrypted").is_some();
    report.check(only == says("mac_only_encrypted: true"), || format!("{id}: mac_only_encrypted"));
}

#[test]
fn every_recorded_configuration_chooses_as_sops_chose() {
    let mut report = Report::default();
    for case in cases("config") {
        let id = text(&case, "id");
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == id) {
            continue;
        }
        report.run += 1;
        let mut place = Place::new();
        copy(&fixtures().join(id), &place.path(id));
        let cwd = text(&case, "cwd");
        if !cwd.starts_with("..") {
            place.cwd = place.path(cwd);
        }
        let whole = |path: &str| place.path(path).display().to_string();
        let mut args: Vec<String> = words(&case, "flags")
            .into_iter()
            .map(|word| if word.ends_with(".sops.yaml") { whole(&word) } else { word })
            .collect();
        args.push("encrypt".to_owned());
        args.extend(words(&case, "subcommand_flags"));
        args.push(whole(text(&case, "target")));
        let ran = place.run(&args);
        report.check(case["exit"].as_i64() == Some(ran.code), || format!("{id}: {args:?} {ran:?}"));
        let sealed = String::from_utf8(ran.out).unwrap();
        if ran.code == 0 && !text(&case, "target").ends_with(".env") {
            check(&case, &sealed, &mut report);
        }
    }
    report.end(48);
}

#[test]
fn the_configuration_may_be_named_by_a_variable() {
    let mut place = Place::new();
    let config = format!("creation_rules:\n  - age: {}\n", recipient("age3"));
    let config = place.write("elsewhere/rules.yaml", config);
    let file = place.write("cwd/x.ini", "[s]\na = 1\n");
    assert_eq!(place.run(&["encrypt", &file]).code, 1);
    place.var("SOPS_CONFIG", &config);
    let sealed = String::from_utf8(place.run(&["encrypt", &file]).out).unwrap();
    assert_eq!(labels(&sealed), [recipient("age3")]);
}
