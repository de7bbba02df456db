//! Files that sops wrote, or somebody changed: opened, refused, and sealed anew.

use serde_json::Value;

use crate::common::*;

/// Cases that are left out, and why.
const EXCEPTIONS: [(&str, &str); 1] =
    [("keys/pq", "age 0.12 has no native post-quantum identity; its plugin form is taken")];

/// Cases that are refused with another code than sops', and why.
const OTHER_CODES: [(&str, i64, &str); 2] = [
    ("crafted/type-bytes", 25, "sops panics, which is no exit code: here the value does not open"),
    (
        "reject/value-type-str-to-comment",
        25,
        "sops finds out by the MAC alone; here a comment is no value of a map",
    ),
];

fn excepted(id: &str) -> bool {
    EXCEPTIONS.iter().any(|(exception, _)| *exception == id)
}

fn other_code(id: &str) -> Option<i64> {
    OTHER_CODES.iter().find(|(other, ..)| *other == id).map(|(_, code, _)| *code)
}

/// Names the format where the file's name does not.
fn typed(case: &Value, path: &str) -> Vec<String> {
    let format = text(case, "format");
    let ends = match format {
        "dotenv" => ".env",
        "yaml" => ".yaml",
        "json" => ".json",
        "ini" => ".ini",
        _ => ".bin",
    };
    if path.ends_with(ends) {
        return Vec::new();
    }
    ["--input-type", format, "--output-type", format].map(str::to_owned).to_vec()
}

fn decrypt(case: &Value, place: &Place, flags: &[&str]) -> Ran {
    let path = text(case, "encrypted");
    let mut args = vec!["decrypt".to_owned()];
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    args.extend(typed(case, path));
    args.push(fixtures().join(path).display().to_string());
    place.run(&args)
}

#[test]
fn every_recorded_file_opens_or_is_refused_with_sops_own_code() {
    let mut report = Report::default();
    for case in cases("vectors") {
        let (id, expect) = (text(&case, "id"), text(&case, "expect"));
        if excepted(id) || expect == "encrypt-error" {
            continue;
        }
        report.run += 1;
        let place = Place::with(text(&case, "identity_kind"), text(&case, "identity"));
        let ran = decrypt(&case, &place, &[]);
        let judge = &case["oracle"]["3.13.2+pr2245"]["exit"];
        let code = judge.as_i64().or(case["oracle_exit"].as_i64());
        let code = if expect == "accept" { Some(0) } else { other_code(id).or(code) };
        report.check(Some(ran.code) == code, || format!("{id}: {code:?} {ran:?}"));
        let plain =
            if expect == "accept" { fixture(text(&case, "expected_plain")) } else { vec![] };
        report.check(ran.out == plain, || format!("{id}: {}", String::from_utf8_lossy(&ran.out)));
        if let Some(code) = case["ignore_mac"]["exit"].as_i64().filter(|_| expect == "reject") {
            // Where the corrected sops refuses, the recording of the older one does not count.
            let ran = decrypt(&case, &place, &["--ignore-mac"]);
            let code = other_code(id).unwrap_or(code);
            let same = ran.code == code || judge.as_i64() != case["oracle_exit"].as_i64();
            report.check(same, || format!("{id} --ignore-mac: {code} {ran:?}"));
        }
        for other in case["alternative_identities"].as_array().into_iter().flatten() {
            let identity = text(other, "identity");
            if identity.contains("/pq") {
                continue;
            }
            let place = Place::with(text(other, "identity_kind"), identity);
            let ran = decrypt(&case, &place, &[]);
            let same = (ran.out == plain) == (other["same_plain"] == true);
            let right = other["exit"].as_i64() == Some(ran.code) && same;
            report.check(right, || format!("{id} with {identity}: {ran:?}"));
        }
    }
    report.end(219);
}

/// The command line that encrypted a recorded source: options that sops takes before a command stand there.
fn encryption(case: &Value, source: &str) -> Vec<String> {
    let flags = words(case, "encrypt_flags");
    let (mut before, mut behind) = (Vec::new(), vec!["encrypt".to_owned()]);
    let mut flags = flags.into_iter().peekable();
    while let Some(flag) = flags.next() {
        let global = ["--indent", "--mac-only-encrypted", "--encrypted-comment-regex"];
        let part = if global.contains(&flag.as_str()) { &mut before } else { &mut behind };
        part.push(flag);
        part.extend(flags.next_if(|word| !word.starts_with("--")));
    }
    match case.get("sops_yaml").and_then(Value::as_str) {
        Some(config) => {
            before.extend(["--config".to_owned(), fixtures().join(config).display().to_string()]);
        }
        None => {
            let given = words(case, "recipients");
            let age = if given.is_empty() { recipient("age1") } else { given.join(",") };
            behind.extend(["--age".to_owned(), age]);
        }
    }
    behind.extend(typed(case, source));
    before.into_iter().chain(behind).collect()
}

#[test]
fn every_recorded_source_is_encrypted_or_refused_with_sops_own_code() {
    let mut report = Report::default();
    for case in cases("vectors") {
        let (id, expect) = (text(&case, "id"), text(&case, "expect"));
        let source = case.get("source").and_then(Value::as_str);
        let Some(source) = source.filter(|_| !id.starts_with("legacy/")) else { continue };
        if excepted(id) || words(&case, "recipients").iter().any(|r| r.starts_with("age1pq1")) {
            continue;
        }
        report.run += 1;
        let place = Place::with(text(&case, "identity_kind"), text(&case, "identity"));
        let mut args = encryption(&case, source);
        args.push(fixtures().join(source).display().to_string());
        let ran = place.run(&args);
        let code = match (expect, id) {
            ("encrypt-error", _) => case["oracle_encrypt"]["exit"].as_i64(),
            // What nobody could read back is not written here.
            ("reject", _) => Some(23),
            _ => Some(0),
        };
        report.check(Some(ran.code) == code, || format!("{id}: {code:?} {args:?} {ran:?}"));
        if ran.code != 0 {
            report.check(ran.out.is_empty(), || format!("{id} prints all the same"));
            continue;
        }
        let sealed =
            place.write(&format!("sealed.{}", source.rsplit('.').next().unwrap()), &ran.out);
        let mut args = vec!["decrypt".to_owned()];
        args.extend(typed(&case, source));
        args.push(sealed);
        let ran = place.run(&args);
        let plain = fixture(text(&case, "expected_plain"));
        report.check(ran.out == plain, || format!("{id}: reads back as {ran:?}"));
    }
    report.end(96);
}

/// What somebody did to a file that opens all the same, and that can be seen without knowing what it was before.
const WARNED: [&str; 12] = [
    "add-null-key",
    "add-empty-string-key",
    "add-empty-map",
    "add-comment",
    "trailing-garbage-in-enc",
    "iv-16-bytes",
    "unknown-metadata",
    "recipient-garbage",
    "both-age-and-key-groups",
    "wrong-shamir-on-single",
    "colon-path-ambiguity",
    "recipient-added-garbage",
];

#[test]
fn what_sops_accepts_silently_is_warned_of() {
    let mut report = Report::default();
    for case in cases("vectors") {
        let id = text(&case, "id");
        let name = id.strip_prefix("surprising/").unwrap_or_default();
        if !WARNED.contains(&name) {
            continue;
        }
        report.run += 1;
        let place = Place::with(text(&case, "identity_kind"), text(&case, "identity"));
        let ran = decrypt(&case, &place, &[]);
        let warned = ran.code == 0 && ran.err.contains("warning: ");
        report.check(warned, || format!("{id}: {ran:?}"));
    }
    report.end(WARNED.len());
    // A file that nobody touched says nothing.
    let place = Place::with("age-key-file", "identities/age1.txt");
    for path in ["yaml/nested/enc.yaml", "dotenv/two-recipients/enc.env", "ini/suffix/enc.ini"] {
        let ran = place.run(&["decrypt", &fixtures().join(path).display().to_string()]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{path}");
    }
}
