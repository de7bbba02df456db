//! Which sources of keys are taken.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::common::*;

/// What stood in the files of a recorded case.
fn content(id: &str, file: &str) -> Vec<u8> {
    let (ours, stranger) = (secret("age1"), secret("stranger"));
    let text = match (id, file) {
        (_, "c.sh") => {
            format!("#!/bin/sh\ntest -n \"$1\" && echo '{ours}'\n")
        }
        ("identity/key-file-bad-line", _) => format!("{ours}\nbad\n"),
        ("identity/key-file-leading-space", _) => format!(" {ours}\n"),
        ("identity/key-file-crlf", _) => format!("# c\r\n{ours}\r\n"),
        ("identity/key-file-two-on-line", _) => format!("{stranger} {ours}\n"),
        ("identity/encrypted-identity", _) => {
            "age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10\nAAAA\n".to_owned()
        }
        ("identity/ssh-file-garbage-but-key", _) => "garbage\n".to_owned(),
        (id, _) if id.contains("rsa") => return fixture("identities/ssh_user_rsa_key"),
        (id, _) if id.contains("/ssh") => return fixture("identities/ssh_user_ed25519_key"),
        _ => format!("# c\n{ours}\n"),
    };
    text.into_bytes()
}

fn run(case: &Value) -> Ran {
    let id = text(case, "id");
    let mut place = Place::new();
    for file in words(case, "files") {
        let path = place.write(&file, content(id, &file));
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let root = place.dir.path().display().to_string();
    for (name, value) in case["env"].as_object().unwrap() {
        let value = value.as_str().unwrap().replace("@T", &root);
        let value = value.replace("<AGE1 SECRET>", &secret("age1"));
        place.var(name, &value.replace("<STRANGER SECRET>", &secret("stranger")));
    }
    place.run(&[
        "decrypt".to_owned(),
        fixtures().join(text(case, "encrypted")).display().to_string(),
    ])
}

#[test]
fn every_recorded_source_of_keys_is_taken_or_not() {
    let mut report = Report::default();
    for case in cases("identity_loading") {
        let id = text(&case, "id");
        report.run += 1;
        let ran = run(&case);
        report.check(case["exit"].as_i64() == Some(ran.code), || format!("{id}: {ran:?}"));
    }
    report.end(28);
}
