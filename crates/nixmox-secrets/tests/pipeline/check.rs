//! The check: it finds every kind of problem, and nothing in a sound fleet.

use nixmox_secrets::{Error, Form};
use nixmox_sops::Format;

use crate::site::*;

/// Lists what a check finds: paths and kinds.
fn found(site: &Site) -> Vec<(String, &'static str)> {
    let problems = site.check().problems;
    problems.iter().map(|p| (p.path.to_string(), p.kind.code())).collect()
}

#[track_caller]
fn finds(damage: impl Fn(&mut Site), expect: &[(&str, &str)]) {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::with_secrets(form);
        damage(&mut site);
        let found = found(&site);
        let found: Vec<(&str, &str)> = found.iter().map(|(p, k)| (p.as_str(), *k)).collect();
        assert_eq!(found, expect, "{form:?}");
    }
}

#[test]
fn a_sound_fleet_has_no_problems() {
    finds(|_| (), &[]);
    let site = Site::with_secrets(Form::Nix);
    let (inside, outside) = (site.check(), site.check_from_outside());
    assert_eq!((inside.hosts, inside.opened), (2, true));
    assert_eq!((outside.problems, outside.hosts, outside.opened), (vec![], 2, false));
}

#[test]
fn an_unfinished_commit_is_found() {
    finds(|site| site.write(".nixmox/txn/journal", "{}"), &[(".nixmox", "unfinished-commit")]);
}

#[test]
fn plaintext_is_found() {
    finds(|site| site.write(W1, "token: x\n"), &[(W1, "plaintext")]);
    finds(
        |site| site.write(W1_KEY, "-----BEGIN"),
        &[(W1_KEY, "plaintext"), (W1_PUB, "unvouched-key")],
    );
    finds(
        |site| {
            site.write("build/secrets.nix", "{ }");
            site.write("keys.txt", "AGE-SECRET-KEY-1");
            // Sealed ones may be called whatever they like.
            site.write("secrets.nix", site.read(W1_KEY));
        },
        &[("build/secrets.nix", "plaintext"), ("keys.txt", "plaintext")],
    );
}

#[test]
fn a_missing_file_is_found() {
    finds(|site| site.remove(W1), &[(W1, "missing")]);
    finds(|site| site.remove(W1_PUB), &[(W1_PUB, "missing")]);
    let site = Site::with_secrets(Form::Nix);
    site.remove(MASTER);
    let problems = site.check_from_outside().problems;
    assert_eq!(problems[0].kind.code(), "missing");
}

#[test]
fn a_malformed_file_is_found() {
    let broken = |text: String| text.replace("lastmodified", "last");
    finds(|site| site.write(W1, broken(site.text(W1))), &[(W1, "malformed")]);
    finds(
        |site| site.write(W1_PUB, "ssh-ed25519 AAAA"),
        &[(W1_PUB, "malformed"), (W1_PUB, "unvouched-key")],
    );
}

#[test]
fn an_unsound_file_is_found() {
    finds(|site| site.write(W1, format!("extra: \"\"\n{}", site.text(W1))), &[(W1, "unsound")]);
}

#[test]
fn wrong_recipients_are_found() {
    let evil = person(66);
    finds(
        |site| {
            let text = site.text(W1);
            let own = text.split_once("recipient: ").unwrap().1.lines().next().unwrap();
            site.write(W1, text.replace(own, &evil.recipient()));
        },
        &[(W1, "wrong-recipients")],
    );
    // The rules name another one: nothing is sealed to him yet, and nobody has vouched for him.
    finds(
        |site| site.rules(&[&site.admin, &evil]),
        &[
            (".sops.yaml", "unvouched-admins"),
            (W1_KEY, "wrong-recipients"),
            ("nodes/web/w2/ssh_host_ed25519_key", "wrong-recipients"),
            (MASTER, "wrong-recipients"),
        ],
    );
}

#[test]
fn a_file_that_does_not_open_is_found() {
    finds(
        |site| {
            let text = site.text(W1);
            let at = text.find("token: ENC[AES256_GCM,data:").unwrap() + 28;
            let letter = if text[at..].starts_with('A') { "B" } else { "A" };
            let mut broken = text.clone();
            broken.replace_range(at..=at, letter);
            site.write(W1, broken);
        },
        &[(W1, "does-not-open")],
    );
}

#[test]
fn an_outdated_file_is_found_and_its_names_said() {
    let mut site = Site::with_secrets(Form::Nix);
    let old = site.read(W1);
    site.edit(&NIX.replace("hunter2", "hunter3").replace("token = \"own", "t = \"own"));
    site.write(W1, old);
    let problems = site.check().problems;
    assert_eq!(problems.len(), 1);
    let said = problems[0].kind.to_string();
    assert!(said.contains("db.password") && said.contains("token"), "{said}");
    assert!(!said.contains("hunter") && !said.contains("own-token"));
    assert_eq!(problems[0].kind.code(), "outdated");
}

#[test]
fn an_orphan_is_found() {
    finds(
        |site| site.write("nodes/old/gone/secrets.yaml", site.read(W1)),
        &[("nodes/old/gone/secrets.yaml", "orphan")],
    );
    // Arranged otherwise, in the host's own directory.
    finds(
        |site| site.write("nodes/web/w1/secrets/default.yaml", site.read(W1)),
        &[("nodes/web/w1/secrets/default.yaml", "orphan")],
    );
    // Of a host that has no secrets any more.
    let mut site = Site::with_secrets(Form::Nix);
    let old = site.read(W1);
    site.edit("{ nodes.w2.a = \"b\"; }");
    site.write(W1, old);
    assert_eq!(found(&site), [(W1.to_owned(), "orphan")]);
}

#[test]
fn a_misplaced_file_is_found() {
    let mut site = Site::with_secrets(Form::Nix);
    site.write("private/README", "");
    let found = found(&site);
    let codes: Vec<&str> = found.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, ["misplaced"; 7], "{found:?}");
    site.again();
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_key_that_nobody_vouched_for_is_found() {
    finds(
        |site| {
            // Sealed to the same admin and opened by him, but not made here.
            let mut other = Site::new(Form::Yaml);
            other.edit("nodes:\n    d1:\n        a: b\n");
            for file in ["secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
                site.write(
                    &format!("nodes/web/w1/{file}"),
                    other.read(&format!("nodes/db/d1/{file}")),
                );
            }
        },
        &[(W1, "outdated"), (W1_PUB, "unvouched-key")],
    );
}

#[test]
fn a_file_that_nobody_vouched_for_is_found() {
    finds(
        |site| {
            // Another seal of the same values: a line more of white space is enough.
            site.write(W1, format!("{}\n", site.text(W1)));
        },
        &[(W1, "unvouched-file")],
    );
}

#[test]
fn digests_that_are_gone_are_found() {
    finds(
        |site| site.remove(DIGESTS),
        &[
            (".sops.yaml", "unvouched-admins"),
            (W1, "unvouched-file"),
            (W1_PUB, "unvouched-key"),
            (W2, "unvouched-file"),
            ("nodes/web/w2/ssh_host_ed25519_key.pub", "unvouched-key"),
        ],
    );
}

#[test]
fn a_check_without_keys_sees_what_can_be_seen() {
    let site = Site::with_secrets(Form::Nix);
    site.write(MASTER, NIX);
    site.write(W1, "a: 1\n");
    let codes: Vec<_> = site
        .check_from_outside()
        .problems
        .iter()
        .map(|p| (p.path.to_string(), p.kind.code()))
        .collect();
    assert_eq!(codes, [(W1.to_owned(), "plaintext"), (MASTER.to_owned(), "plaintext")]);
}

#[test]
fn half_a_key_is_a_problem_and_no_end_of_the_check() {
    let mut site = Site::with_secrets(Form::Nix);
    site.remove(W1_KEY);
    site.remove(W2);
    let expect = [(W1_KEY.to_owned(), "missing"), (W2.to_owned(), "missing")];
    assert_eq!(found(&site), expect);
    assert!(matches!(site.try_again(), Err(Error::HalfHostKey { .. })));
}

#[test]
fn a_host_key_that_the_admin_cannot_open_is_found() {
    let mut site = Site::new(Form::Nix);
    let keeper = person(2);
    site.rules_by_path(&[("^nodes/", &[&keeper]), (".", &[&site.admin])]);
    site.edit(NIX);
    let codes: Vec<&str> = found(&site).iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, ["does-not-open", "does-not-open"]);
    assert!(!site.admin.opens(&site.read(W1_KEY), Format::Binary));
}
