//! What the sops program itself wrote, accepted and refused, case by case.

use std::collections::BTreeMap;

use crate::common::*;
use nixmox_sops::{
    ConfigError, CreationRule, CreationRules, DecryptError, Documents, EncryptedFile, FindingKind,
    Indent, Keep, KeyGroups, ParseError, Recipient, Rule, SealOptions, seal,
};
use serde_json::Value;

/// Cases that this reader treats otherwise than the judge, and why.
const EXCEPTIONS: [(&str, &str); 1] =
    [("keys/pq", "age 0.12 has no native post-quantum identity; its plugin form is taken")];

fn open(case: &Value) -> Result<Vec<u8>, String> {
    let format = format(case);
    let file = EncryptedFile::parse(&fixture(text(case, "encrypted")), format)
        .map_err(|e| format!("parse: {e:?}"))?;
    let identities = identities(text(case, "identity_kind"), text(case, "identity"));
    let opened = file.open(&identities).map_err(|e| format!("open: {e:?}"))?;
    let bytes = opened
        .documents()
        .to_bytes(format, Indent::default())
        .map_err(|e| format!("print: {e}"))?;
    Ok(bytes.expose().to_vec())
}

#[test]
fn every_recorded_file_is_accepted_or_refused_as_recorded() {
    let manifest = manifest();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in manifest["vectors"].as_array().expect("vectors") {
        let id = text(case, "id");
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == id) {
            *counts.entry("exception").or_default() += 1;
            continue;
        }
        let expect = text(case, "expect");
        *counts.entry(expect).or_default() += 1;
        let verdict = match expect {
            "accept" => match open(case) {
                Ok(bytes) if bytes == fixture(text(case, "expected_plain")) => Ok(()),
                Ok(bytes) => Err(String::from_utf8_lossy(&bytes).into_owned()),
                Err(e) => Err(e),
            },
            "reject" => match open(case) {
                Ok(_) => Err("accepted".to_owned()),
                Err(_) => Ok(()),
            },
            "encrypt-error" => match Documents::parse(&fixture(text(case, "source")), format(case))
            {
                Ok(docs) => reseal(case, &docs).map_or(Ok(()), |_| Err("sealed".to_owned())),
                Err(_) => Ok(()),
            },
            other => Err(format!("unknown expectation {other}")),
        };
        if let Err(e) = verdict {
            wrong.push(format!("{id}: {expect}: {e}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen: Vec<_> = counts.into_iter().collect();
    assert_eq!(seen, [("accept", 140), ("encrypt-error", 22), ("exception", 1), ("reject", 79)]);
}

fn reseal(case: &Value, docs: &Documents) -> Option<Vec<u8>> {
    let mut options = SealOptions::new([age_recipient(1)]);
    if let Some(config) = case.get("sops_yaml").and_then(Value::as_str) {
        let rule = CreationRules::parse(&fixture(config)).and_then(|rules| rules.rule_for("x"));
        let rule = rule.ok()?;
        options.rule = rule.rule;
    }
    if text(case, "id").contains("comment-regex-matches") {
        options.rule = Rule::UnencryptedCommentRegex("ENC".to_owned());
    }
    seal(docs, (format(case), &options), Keep::Nothing, &mut rng(1), now()).ok()
}

/// Cases about things that are not in `.sops.yaml`: the program's tests have them.
const CONFIG_EXCEPTIONS: [(&str, &str); 7] = [
    ("config/flag-over-rule", "a flag is the caller's"),
    ("config/flag-conflict-rule", "a flag is the caller's"),
    ("config/flag-no-match", "a flag is the caller's"),
    ("config/cwd-elsewhere", "finding the file is the caller's"),
    ("config/nearest-config", "finding the file is the caller's"),
    ("config/sops-yml", "finding the file is the caller's"),
    ("config/filename-override", "a flag is the caller's"),
];

fn config_rule(case: &Value) -> Result<CreationRule, ConfigError> {
    let config = text(case, "config_file");
    let home = config.trim_end_matches(".sops.yaml");
    let path = text(case, "target").strip_prefix(home).expect("below the config");
    CreationRules::parse(&fixture(config))?.rule_for(path)
}

#[test]
fn creation_rules_choose_as_sops_chose() {
    let manifest = manifest();
    let (mut wrong, mut run) = (Vec::new(), 0);
    for case in manifest["config"].as_array().expect("config") {
        let id = text(case, "id");
        if CONFIG_EXCEPTIONS.iter().any(|(exception, _)| *exception == id) {
            continue;
        }
        run += 1;
        match (case["exit"].as_i64(), config_rule(case)) {
            (Some(0), Ok(rule)) => {
                let groups = rule.key_groups.as_ref().map_or(&[][..], KeyGroups::groups);
                let all = rule.recipients.iter().chain(groups.iter().flatten());
                let names: Vec<_> = all.map(name_of).collect();
                let threshold = rule.key_groups.as_ref().map(KeyGroups::threshold);
                assert_eq!(
                    case["groups"].as_u64(),
                    u64::try_from(groups.len().max(1)).ok(),
                    "{id}"
                );
                assert_eq!(
                    case["shamir_threshold"].as_u64(),
                    threshold.and_then(|number| u64::try_from(number).ok()),
                    "{id}"
                );
                let expect: Vec<_> = case["recipients"]
                    .as_array()
                    .expect("recipients")
                    .iter()
                    .map(|r| r.as_str().expect("text").to_owned())
                    .collect();
                let field = case.get(rule.rule.name()).and_then(Value::as_str);
                let text = rule.rule.text();
                let same = names == expect && field.is_none_or(|field| field == text);
                let mac_only = case.get("mac_only_encrypted").is_some();
                if !same || mac_only != rule.mac_only_encrypted {
                    wrong.push(format!("{id}: {names:?} {:?}", rule.rule));
                }
            }
            (Some(0), Err(e)) => wrong.push(format!("{id}: {e:?}")),
            (_, Ok(_)) => wrong.push(format!("{id}: accepted")),
            (_, Err(_)) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(run + CONFIG_EXCEPTIONS.len(), 49);
}

/// Returns the name that the manifest has for a recipient, or its text.
fn name_of(recipient: &Recipient) -> String {
    let named = (1..=12).map(|n| format!("age{n}")).chain(["pq1".to_owned()]).find(|name| {
        let key = String::from_utf8(fixture(&format!("identities/{name}.txt"))).expect("text");
        key.lines().any(|line| line.strip_prefix("# public key: ") == Some(recipient.as_str()))
    });
    named.unwrap_or_else(|| recipient.to_string())
}

/// What the strict subset finds in the files that sops accepts although somebody changed them.
///
/// Those with nothing beside them show no harm without the key: an old or new version, a time spelled otherwise,
/// a comment taken away, exchanged or broken, a value's type label, a value moved among clear ones.
const SURPRISING: &[(&str, &[&str])] = &[
    (
        "rename-clear-key",
        &["unencrypted-key-name renamed_unencrypted", "unsealed-value renamed_unencrypted"],
    ),
    ("add-null-key", &["unsealed-value added"]),
    ("add-empty-string-key", &["unsealed-value added"]),
    ("add-empty-map", &["unsealed-value added"]),
    ("clear-split", &["unsealed-value c_unencrypted.0", "unsealed-value c_unencrypted.1"]),
    (
        "clear-type-change",
        &[
            "unencrypted-key-name n_unencrypted",
            "unsealed-value n_unencrypted",
            "unencrypted-key-name b_unencrypted",
            "unsealed-value b_unencrypted",
        ],
    ),
    ("add-comment", &["clear-comment at the top"]),
    ("trailing-garbage-in-enc", &["trailing-text a"]),
    ("iv-16-bytes", &["nonce-length a"]),
    ("unknown-metadata", &["unknown-metadata sops.future_field"]),
    ("recipient-garbage", &["recipient-label sops.age.0"]),
    ("both-age-and-key-groups", &["key-groups sops.key_groups"]),
    ("wrong-shamir-on-single", &["key-groups sops.key_groups"]),
    ("colon-path-ambiguity", &["colon-in-key m:k1", "colon-in-key m:k2"]),
    ("rule-equivalent", &["selection-rule sops.unencrypted_regex"]),
    ("recipient-added-garbage", &["envelope sops.age.0"]),
];

/// Returns what the strict subset finds in a file.
fn audit(path: &str, format: nixmox_sops::Format) -> Vec<(FindingKind, String)> {
    let file = EncryptedFile::parse(&fixture(path), format).expect("a sops file");
    file.audit().into_iter().map(|f| (f.kind, f.path.to_string())).collect()
}

#[test]
fn what_sops_accepts_silently_is_found() {
    let manifest = manifest();
    let mut wrong = Vec::new();
    let surprising =
        cases(&manifest, "vectors").iter().filter(|c| text(c, "id").starts_with("surprising/"));
    for case in surprising.clone() {
        let id = text(case, "id").trim_start_matches("surprising/");
        let mut found = audit(text(case, "encrypted"), format(case));
        // The files have clear values from the start; what counts is what the change added.
        for known in audit(text(case, "untampered"), format(case)) {
            if let Some(at) = found.iter().position(|found| *found == known) {
                found.remove(at);
            }
        }
        let found: Vec<_> =
            found.iter().map(|(kind, path)| format!("{} {path}", kind.name())).collect();
        let expect = SURPRISING.iter().find(|(name, _)| *name == id).map(|(_, kinds)| *kinds);
        if expect.unwrap_or_default() != found {
            wrong.push(format!("(\"{id}\", &{found:?}),"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(surprising.count(), 33);
}

/// Says in a word why a file was refused.
fn refusal(case: &Value) -> String {
    let file = match EncryptedFile::parse(&fixture(text(case, "encrypted")), format(case)) {
        Ok(file) => file,
        Err(ParseError::Metadata(e)) => return format!("{e:?}"),
        Err(ParseError::Document(e)) => return format!("{:?}", e.kind),
        Err(e) => return format!("{e:?}"),
    };
    match file.open(&identities(text(case, "identity_kind"), text(case, "identity"))) {
        Ok(_) => "opened".to_owned(),
        Err(DecryptError::Value { path, source }) => format!("{source:?} at {path}"),
        Err(DecryptError::NoUsableKey { source: None, .. }) => "NoUsableKey".to_owned(),
        Err(DecryptError::NoUsableKey { source: Some(_), .. }) => "NoUsableKey: age".to_owned(),
        Err(e) => format!("{e:?}"),
    }
}

/// A wrong key, a changed value, a changed file and malformed metadata are told apart.
#[test]
fn refusals_name_the_party_at_fault() {
    let manifest = manifest();
    let mut found = Vec::new();
    for case in cases(&manifest, "vectors") {
        let id = text(case, "id");
        if text(case, "expect") == "reject" {
            found.push(format!("{id}: {}", refusal(case)));
        }
    }
    let expect = include_str!("refusals.txt");
    assert_eq!(found.join("\n"), expect.trim_end());
}
