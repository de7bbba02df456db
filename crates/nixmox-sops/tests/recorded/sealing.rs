//! What is sealed here looks as sops sealed it, and changes no more than it must.

use crate::common::*;
use nixmox_sops::{
    Documents, EncryptedFile, Format, Indent, Keep, KeyGroups, Recipient, SOPS_VERSION,
    SealOptions, seal,
};
use serde_json::Value;

/// Replaces what differs from one sealing to the next: ciphertext, wrapped keys, the time.
fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.replace("\\n", "\n").lines() {
        inside &= !line.contains("-----END");
        if line.contains("lastmodified") {
            out.push_str("lastmodified\n");
        } else if !inside {
            out.push_str(&masked(line));
            out.push('\n');
        }
        inside |= line.contains("-----BEGIN");
    }
    out
}

fn masked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, sealed)) = rest.split_once("ENC[AES256_GCM,data:") {
        let (_, kind) = sealed.split_once(",type:").expect("type");
        out.push_str(before);
        out.push_str("ENC:");
        rest = kind;
    }
    out + rest
}

fn options(file: &EncryptedFile, indent: Indent) -> Option<SealOptions> {
    let groups = file
        .metadata()
        .groups()
        .into_iter()
        .map(|labels| labels.into_iter().map(Recipient::parse).collect::<Result<Vec<_>, _>>());
    let groups = groups.collect::<Result<Vec<_>, _>>().ok()?;
    let mut options = match <[_; 1]>::try_from(groups) {
        Ok([one]) => SealOptions::new(one),
        Err(groups) => {
            let threshold = file.metadata().threshold();
            SealOptions::with_groups(KeyGroups::new(groups, threshold).ok()?)
        }
    };
    options.rule = file.metadata().rule().clone();
    options.mac_only_encrypted = file.metadata().mac_only_encrypted();
    options.indent = indent;
    Some(options)
}

fn indent(case: &Value) -> Indent {
    match text(case, "id") {
        "json/indent2" => Indent { json: Some(2), ..Indent::default() },
        "json/indent0" => Indent { json: Some(0), ..Indent::default() },
        "yaml/indent-config" => Indent { yaml: Some(2), ..Indent::default() },
        _ => Indent::default(),
    }
}

/// Files that cannot be sealed here as sops sealed them, and why.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("keys/pq", "needs a plugin"),
    ("keys/mixed", "one of its recipients needs a plugin"),
    ("keys/one-key-group-threshold1", "a threshold of one group says nothing: not written"),
    ("yaml/encrypted-comment-regex-list-encrypted-comment", "sops cannot read it back: refused"),
];

#[test]
fn plain_sources_are_sealed_to_the_recorded_shape() {
    let manifest = manifest();
    let (mut wrong, mut run, mut skipped) = (Vec::new(), 0, 0);
    for case in cases(&manifest, "vectors") {
        let id = text(case, "id");
        let has = |field| case.get(field).is_some_and(|f| f.is_string());
        if !has("source") || !has("encrypted") || text(case, "produced_by") != SOPS_VERSION {
            continue;
        }
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == id) {
            skipped += 1;
            continue;
        }
        run += 1;
        let format = format(case);
        let theirs = fixture_text(text(case, "encrypted"));
        let docs = Documents::parse(&fixture(text(case, "source")), format).expect(id);
        let file = EncryptedFile::parse(theirs.as_bytes(), format).expect(id);
        let options = options(&file, indent(case)).expect("recipients");
        let ours = seal(&docs, (format, &options), Keep::Nothing, &mut rng(7), now());
        let ours = String::from_utf8(ours.expect(id)).expect("text");
        if shape(&ours) != shape(&theirs) {
            wrong.push(format!("{id}:\n{}\n--- theirs\n{}", shape(&ours), shape(&theirs)));
        }
        let opened = EncryptedFile::parse(ours.as_bytes(), format).expect(id);
        let identities = identities(text(case, "identity_kind"), text(case, "identity"));
        let opened = opened.open(&identities).expect(id);
        let bytes = opened.documents().to_bytes(format, Indent::default()).expect(id);
        if bytes.expose() != fixture(text(case, "expected_plain")) {
            wrong.push(format!("{id}: opens to\n{}", String::from_utf8_lossy(bytes.expose())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((run, skipped), (72, 4));
}

/// Lines with ciphertext that both files have, the wrapped keys aside.
fn kept(before: &str, after: &str) -> usize {
    let sealed = |line: &&str| {
        line.contains("ENC[")
            && !line.trim_start().starts_with("mac")
            && !line.trim_start().starts_with("\"mac\"")
    };
    let mut left: Vec<_> = before.lines().filter(sealed).collect();
    let mut count = 0;
    for line in after.lines().filter(sealed) {
        if let Some(at) =
            left.iter().position(|l| l.trim_end_matches(',') == line.trim_end_matches(','))
        {
            left.swap_remove(at);
            count += 1;
        }
    }
    count
}

#[test]
fn an_edit_keeps_at_least_what_sops_keeps() {
    let manifest = manifest();
    let (mut wrong, mut run) = (Vec::new(), 0);
    for case in cases(&manifest, "edit") {
        let id = text(case, "id");
        let command = case["command"][0].as_str().expect("command");
        if !matches!(command, "set" | "unset" | "edit") || case["file_changed"] != true {
            continue;
        }
        run += 1;
        let format = format(case);
        let before = fixture_text(text(case, "before"));
        let theirs = fixture_text(text(case, "after"));
        let file = EncryptedFile::parse(before.as_bytes(), format).expect(id);
        let opened = match id {
            "edit/edit-ignore-mac" => file.danger_open_ignoring_mac(&age_identity(1)),
            _ => file.open(&age_identity(1)),
        };
        let opened = opened.expect(id);
        let docs = Documents::parse(&fixture(text(case, "after_plain")), format).expect(id);
        let options = SealOptions::new([age_recipient(1)]);
        let keep = Keep::Everything(&opened);
        let ours = seal(&docs, (format, &options), keep, &mut rng(3), now()).expect(id);
        let ours = String::from_utf8(ours).expect("text");
        let (we, they) = (kept(&before, &ours), kept(&before, &theirs));
        if we < they {
            wrong.push(format!("{id}: we keep {we}, sops keeps {they}\n{before}\n{ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(run, 17);
}

#[test]
fn an_unchanged_file_keeps_every_line_but_time_and_mac() {
    let manifest = manifest();
    let mut run = 0;
    for case in cases(&manifest, "vectors") {
        let id = text(case, "id");
        let kinds = ["yaml/", "json/", "binary/", "dotenv/", "ini/"];
        let recorded = kinds.iter().any(|kind| id.starts_with(kind));
        if !recorded || text(case, "expect") != "accept" {
            continue;
        }
        let format = format(case);
        let before = fixture_text(text(case, "encrypted"));
        let file = EncryptedFile::parse(before.as_bytes(), format).expect(id);
        let opened = file.open(&age_identity(1)).expect(id);
        let options = options(&file, indent(case)).expect("recipients");
        let keep = Keep::Everything(&opened);
        let docs = opened.documents();
        let after = seal(docs, (format, &options), keep, &mut rng(5), now()).expect(id);
        let after = String::from_utf8(after).expect("text");
        // A comment behind a value comes back above it; nothing else may move.
        if before.contains("] #ENC[") {
            continue;
        }
        run += 1;
        let stable = |line: &&str| {
            let names = ["mac", "\"mac\"", "lastmodified", "\"lastmodified\""];
            let flat = ["sops_mac=", "sops_lastmodified="];
            !names.iter().chain(&flat).any(|name| line.trim_start().starts_with(name))
        };
        let lines = |text: &str| text.lines().filter(stable).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&before), lines(&after), "{id}");
    }
    assert_eq!(run, 57);
}

#[test]
fn set_and_unset_change_the_tree_as_sops_does() {
    let manifest = manifest();
    let mut run = 0;
    for case in cases(&manifest, "edit") {
        let id = text(case, "id");
        let command: Vec<_> =
            case["command"].as_array().expect("command").iter().filter_map(Value::as_str).collect();
        if !matches!(command.first(), Some(&("set" | "unset"))) || case["file_changed"] != true {
            continue;
        }
        run += 1;
        let format = format(case);
        let file = EncryptedFile::parse(&fixture(text(case, "before")), format).expect(id);
        let mut docs = file.open(&age_identity(1)).expect(id).documents().clone();
        let path = command[2].trim_matches(['[', ']']).replace("][", ",");
        let path: Vec<String> =
            path.split(',').map(|step| step.trim_matches('"').to_owned()).collect();
        if command[0] == "unset" {
            assert!(docs.unset(&path), "{id}");
            assert!(!docs.unset(&path), "{id}");
        } else {
            let wrapped = format!("{{\"v\":{}}}", command[3]);
            let value = Documents::parse(wrapped.as_bytes(), Format::Json).expect("value");
            let value = value.get(&["v"]).expect("text").expect("a value");
            docs.set(&path, &value).expect(id);
            assert!(docs.get(&path[..1]).expect("text").is_some(), "{id}");
        }
        let ours = docs.to_bytes(format, Indent::default()).expect(id);
        assert_eq!(ours.as_str(), Some(fixture_text(text(case, "after_plain")).as_str()), "{id}");
    }
    assert_eq!(run, 9);
}
