//! What the sops program itself wrote, accepted and refused, case by case.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nixmox_sops::{
    Documents, EncryptedFile, Format, Identities, Indent, Keep, KeyText, Recipient, Rule,
    SealOptions, seal,
};
use nixmox_tree::{SecretBytes, SecretString};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;

fn fixture(path: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/sops"));
    std::fs::read(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn manifest() -> Value {
    serde_json::from_slice(&fixture("manifest.json")).expect("manifest")
}

fn text<'v>(case: &'v Value, field: &str) -> &'v str {
    case.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("{field} in {case}"))
}

fn format(case: &Value) -> Format {
    match text(case, "format") {
        "yaml" => Format::Yaml,
        "json" => Format::Json,
        "binary" => Format::Binary,
        other => panic!("format {other}"),
    }
}

fn identities(kind: &str, path: &str) -> Identities {
    let bytes = fixture(path);
    if kind == "ssh-private-key-file" {
        let pem = SecretString::new(String::from_utf8(bytes).expect("text"));
        Identities::parse_ssh(&pem, None).expect("ssh key")
    } else {
        Identities::parse_keys(&SecretBytes::new(bytes), KeyText::Lines, None).expect("age key")
    }
}

/// Cases that this reader treats otherwise than the judge, and why.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("keys/pq", "age 0.12 has no native post-quantum identity; its plugin form is taken"),
    ("keys/shamir-threshold1", "several key groups are read, not written"),
    ("keys/shamir-threshold-too-high", "several key groups are read, not written"),
];

fn open(case: &Value) -> Result<Vec<u8>, String> {
    let format = format(case);
    let file = EncryptedFile::parse(&fixture(text(case, "encrypted")), format)
        .map_err(|e| format!("parse: {e:?}"))?;
    let identities = identities(text(case, "identity_kind"), text(case, "identity"));
    let opened = file.open(&identities).map_err(|e| format!("open: {e:?}"))?;
    let indent = Indent { yaml: None, json: indent_of(case) };
    let bytes = opened.documents().to_bytes(format, indent).map_err(|e| format!("print: {e}"))?;
    Ok(bytes.expose().to_vec())
}

fn indent_of(case: &Value) -> Option<usize> {
    match text(case, "id") {
        "json/indent2" => Some(2),
        "json/indent0" => Some(0),
        _ => None,
    }
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
    assert_eq!(seen, [("accept", 115), ("encrypt-error", 16), ("exception", 3), ("reject", 75)]);
}

fn reseal(case: &Value, docs: &Documents) -> Option<Vec<u8>> {
    let mut options = SealOptions::new([recipient()]);
    if text(case, "id").contains("comment-regex-matches") {
        options.rule = Rule::UnencryptedCommentRegex("ENC".to_owned());
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let now = "2026-01-02T03:04:05Z".parse().expect("time");
    seal(docs, (format(case), &options), Keep::Nothing, &mut rng, now).ok()
}

fn recipient() -> Recipient {
    let key = fixture("identities/age1.txt");
    let secret = String::from_utf8(key).expect("text");
    let line = secret.lines().find_map(|l| l.strip_prefix("# public key: ")).expect("public key");
    Recipient::parse(line).expect("recipient")
}
