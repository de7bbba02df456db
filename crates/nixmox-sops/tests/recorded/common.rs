//! What the tests share: the recorded files and the throw-away keys.

#![expect(clippy::disallowed_methods, reason = "the recorded documents are files")]

use std::path::PathBuf;

use jiff::Timestamp;
use nixmox_sops::{Format, Identities, KeyText, Recipient};
use nixmox_tree::{SecretBytes, SecretString};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::Value;

pub(crate) fn fixture(path: &str) -> Vec<u8> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/sops"));
    std::fs::read(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn fixture_text(path: &str) -> String {
    String::from_utf8(fixture(path)).expect("text")
}

pub(crate) fn manifest() -> Value {
    serde_json::from_slice(&fixture("manifest.json")).expect("manifest")
}

pub(crate) fn cases<'v>(manifest: &'v Value, part: &str) -> &'v [Value] {
    manifest[part].as_array().expect("cases")
}

pub(crate) fn text<'v>(case: &'v Value, field: &str) -> &'v str {
    case.get(field).and_then(Value::as_str).unwrap_or_else(|| panic!("{field} in {case}"))
}

pub(crate) fn format(case: &Value) -> Format {
    Format::from_name(text(case, "format")).unwrap_or_else(|| panic!("format in {case}"))
}

pub(crate) fn identities(kind: &str, path: &str) -> Identities {
    let bytes = fixture(path);
    if kind == "ssh-private-key-file" {
        let pem = SecretString::new(String::from_utf8(bytes).expect("text"));
        Identities::parse_ssh(&pem, None).expect("ssh key")
    } else {
        Identities::parse_keys(&SecretBytes::new(bytes), KeyText::Lines, None).expect("age key")
    }
}

/// The n-th throw-away age key.
pub(crate) fn age_identity(n: usize) -> Identities {
    identities("age-key-file", &format!("identities/age{n}.txt"))
}

pub(crate) fn age_recipient(n: usize) -> Recipient {
    age_identity(n).recipients().first().expect("native").clone()
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn now() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().expect("time")
}
