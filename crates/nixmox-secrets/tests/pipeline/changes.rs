//! What a change writes, and what it leaves alone.

use std::collections::BTreeSet;

use nixmox_secrets::store::{Recovery, StoreError, sha256};
use nixmox_secrets::{Change, Error, Form, Reason, Renewal, preview};
use nixmox_sops::{EncryptedFile, Format, Keep, SealOptions, seal};
use nixmox_tree::SecretString;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::site::*;

#[track_caller]
fn from_nothing(form: Form, text: &str) {
    let mut site = Site::new(form);
    let report = site.edit(text);
    assert_eq!(report.master, Change::Created);
    assert_eq!(host(&report, "w1"), (Change::Created, &[Reason::KeyMade, Reason::New][..]));
    assert_eq!(report.count(Change::Created), 2, "d1 and x have no secrets");
    let w1 = [
        ("db.password", "hunter2"),
        ("port", "443"),
        ("token", "own-token"),
        ("url", "https://example.org"),
    ];
    assert_eq!(site.values("w1", W1), tree(&w1));
    let w2 = [("port", "443"), ("token", "group-token"), ("url", "https://example.org")];
    assert_eq!(site.values("w2", W2), tree(&w2));
    assert!(!site.has("nodes/x/secrets.yaml") && !site.has("nodes/x/ssh_host_ed25519_key"));
    for (name, (bytes, ..)) in site.snapshot() {
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["own-token", "group-token", "hunter2", "never", "OPENSSH PRIVATE", "May"] {
            assert!(!text.contains(secret), "{name} holds {secret}");
        }
    }
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_fleet_is_made_from_nothing() {
    from_nothing(Form::Nix, NIX);
    from_nothing(Form::Yaml, YAML);
}

#[test]
fn an_unchanged_fleet_is_not_touched() {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::with_secrets(form);
        let before = site.snapshot();
        let report = site.again();
        assert!(report.is_unchanged());
        assert_eq!(report.count(Change::Unchanged), 2);
        assert_eq!(before, site.snapshot());
    }
}

#[test]
fn an_unchanged_fleet_needs_no_key_but_the_masters() {
    let mut site = Site::new(Form::Nix);
    let keeper = person(2);
    // Nobody who makes this change could open the host keys again.
    site.rules_by_path(&[("^nodes/", &[&keeper]), ("^secrets", &[&site.admin])]);
    site.edit(NIX);
    assert!(site.again().is_unchanged());
    assert!(!site.admin.opens(&site.read(W1_KEY), Format::Binary));
}

/// Returns the lines of one text that the other does not have.
fn lines(before: &str, after: &str) -> Vec<String> {
    let before: BTreeSet<&str> = before.lines().collect();
    let new = after.lines().filter(|line| !before.contains(line));
    new.map(|line| line.trim().to_owned()).collect()
}

/// Tells whether a line belongs to what sops writes anew whenever it seals.
fn is_seal(line: &str) -> bool {
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | ' ');
    ["mac:", "lastmodified:", "enc:"].iter().any(|key| line.starts_with(key))
        || (line.len() <= 64 && line.chars().all(base64))
}

#[test]
fn one_changed_secret_changes_the_lines_that_it_must() {
    let mut site = Site::with_secrets(Form::Yaml);
    let before = site.snapshot();
    let report = site.edit(&YAML.replace("port: 443", "port: 8443"));
    let after = site.snapshot();
    assert_eq!(changed(&before, &after), BTreeSet::from([DIGESTS, MASTER, W1, W2]));
    assert_eq!(host(&report, "w2"), (Change::Updated, &[Reason::Values][..]));
    for file in [MASTER, W1, W2] {
        let text = |seen: &Seen| String::from_utf8(seen.0.clone()).unwrap();
        let new = lines(&text(&before[file]), &text(&after[file]));
        let (seal, values): (Vec<_>, Vec<_>) = new.iter().partition(|line| is_seal(line));
        assert_eq!(values.len(), 1, "{file}: {values:?}");
        assert!(values[0].starts_with("port: ENC["), "{file}: {values:?}");
        assert!(seal.iter().any(|line| line.starts_with("lastmodified:")));
    }
    let digests = |seen: &Seen| String::from_utf8(seen.0.clone()).unwrap();
    let new = lines(&digests(&before[DIGESTS]), &digests(&after[DIGESTS]));
    assert_eq!(new.len(), 3, "the inputs and one line for each host: {new:?}");
}

#[test]
fn a_hosts_own_secret_changes_no_other_host() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    site.edit(&NIX.replace("hunter2", "hunter3"));
    let after = site.snapshot();
    assert_eq!(changed(&before, &after), BTreeSet::from([DIGESTS, MASTER, W1]));
    assert_eq!(site.values("w1", W1).at(&["db", "password"]).unwrap().as_str(), Some("hunter3"));
}

#[test]
fn a_text_that_changes_no_value_leaves_the_hosts_alone() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    let report = site.edit(&format!("# A remark.\n{NIX}"));
    assert_eq!(changed(&before, &site.snapshot()), BTreeSet::from([DIGESTS, MASTER]));
    assert_eq!(report.count(Change::Unchanged), 2);
}

#[test]
fn a_host_that_drops_out_loses_its_file_and_keeps_its_key() {
    let mut site = Site::with_secrets(Form::Nix);
    let key = site.read(W1_PUB);
    let report = site.edit("{ nodes.w2.token = \"x\"; }");
    assert_eq!(host(&report, "w1"), (Change::Removed, &[Reason::Dropped][..]));
    assert!(!site.has(W1) && site.has(W1_KEY));
    let report = site.edit(NIX);
    assert_eq!(host(&report, "w1"), (Change::Created, &[Reason::New][..]));
    assert_eq!(site.read(W1_PUB), key, "the machine need not be installed again");
}

#[test]
fn a_dropped_host_loses_its_file_even_when_it_was_mangled() {
    let mut site = Site::with_secrets(Form::Nix);
    site.write(W1, "<<<<<<< ours\n");
    site.edit("{ nodes.w2.token = \"x\"; }");
    assert!(!site.has(W1));
}

#[test]
fn files_of_directories_without_a_host_are_named_and_left_alone() {
    let mut site = Site::with_secrets(Form::Nix);
    site.write("nodes/old/gone/secrets.yaml", site.read(W1));
    site.write("nodes/web/plain/secrets.yaml", "a: 1\n");
    let report = site.edit(&NIX.replace("hunter2", "hunter3"));
    let orphans: Vec<String> = report.orphans.iter().map(ToString::to_string).collect();
    assert_eq!(orphans, ["nodes/old/gone/secrets.yaml"]);
    assert!(site.has("nodes/old/gone/secrets.yaml"));
    assert_eq!(site.again().orphans.len(), 1, "also when nothing changes");
}

#[test]
fn hosts_with_nothing_to_deliver_have_an_empty_file() {
    let mut site = Site::new(Form::Nix);
    site.edit("{ nodes = { w1 = { }; w2._salt = \"x\"; d1.a.b = null; }; }");
    for (host, path) in [("w1", W1), ("w2", W2), ("d1", "nodes/db/d1/secrets.yaml")] {
        assert!(site.values(host, path).is_empty(), "{host}");
    }
    assert!(site.again().is_unchanged());
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_fleet_without_nodes_has_a_master_alone() {
    let mut site = Site::bare(Form::Nix);
    let report = site.edit("{ nodes = { }; }");
    assert_eq!((report.master, report.hosts.len()), (Change::Created, 0));
    assert!(site.again().is_unchanged());
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_plan_that_fails_for_one_host_writes_nothing() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    let text = NIX.replace("hunter2", "");
    assert!(matches!(site.try_edit(&text), Err(Error::Unsealable { .. })));
    let text = NIX.replace("nodes.w1", "nodes.w3");
    assert!(matches!(site.try_edit(&text), Err(Error::Cascade(_))));
    site.remove(W1_PUB);
    assert!(matches!(site.try_edit(&NIX.replace("443", "1")), Err(Error::HalfHostKey { .. })));
    let mut after = site.snapshot();
    after.insert(W1_PUB.to_owned(), before[W1_PUB].clone());
    assert_eq!(before, after);
}

#[test]
fn what_changed_while_somebody_wrote_stops_the_commit() {
    for file in [MASTER, W1, W1_KEY, DIGESTS, ".sops.yaml"] {
        let mut site = Site::with_secrets(Form::Nix);
        let master = site.root().join(file);
        let result = site.try_change(&mut |_| {
            let (path, bytes) = (master.clone(), std::fs::read(&master).unwrap());
            std::fs::write(path, [&bytes[..], b"\n"].concat()).unwrap();
            SecretString::new(NIX.replace("443", "8443"))
        });
        assert!(
            matches!(result, Err(Error::Store(StoreError::ChangedMeanwhile { .. }))),
            "{file}: {result:?}"
        );
    }
}

#[test]
fn what_changed_while_somebody_wrote_is_seen_by_the_next_try() {
    let mut site = Site::with_secrets(Form::Nix);
    let w1 = site.root().join(W1);
    let result = site.try_change(&mut |_| {
        std::fs::write(&w1, [&std::fs::read(&w1).unwrap()[..], b"\n"].concat()).unwrap();
        SecretString::new(NIX.replace("443", "8443"))
    });
    assert!(result.is_err(), "{result:?}");
    let done = site.try_change(&mut |_| SecretString::new(NIX.replace("443", "8443")));
    let seen = (Change::Updated, &[Reason::NotOurs][..]);
    assert_eq!(host(&done.unwrap().report.unwrap(), "w1"), seen);
}

#[test]
fn a_crashed_run_is_undone_or_finished_first() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    site.write(".nixmox/txn/0", "half a file");
    let outcome = site.try_change(&mut Clone::clone).unwrap();
    assert_eq!(outcome.recovered, Recovery::Undone);
    assert_eq!(before, site.snapshot());
    // A commit that was decided: only the renaming of the removed file was left.
    let (lost, hex) = (site.read(W2), |bytes: &[u8]| {
        sha256(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    });
    site.remove(W2);
    site.write(".nixmox/txn/0", &lost);
    let new = hex(&lost);
    site.write(
        ".nixmox/txn/journal",
        format!(
            r#"{{"version":1,"operations":[{{"write":{{"path":"{W2}","staged":0,"mode":"0644","new":"{new}","old":null}}}}]}}"#
        ),
    );
    let outcome = site.try_change(&mut Clone::clone).unwrap();
    assert!(matches!(outcome.recovered, Recovery::Finished { .. }), "{:?}", outcome.recovered);
    assert!(outcome.report.unwrap().is_unchanged());
    assert_eq!(site.read(W2), lost);
}

#[test]
fn giving_up_changes_nothing() {
    let site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    let identities = site.admin.identities();
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let outcome = nixmox_secrets::change(
        site.root(),
        options(&identities, NOTHING, None),
        &mut |_| None,
        &mut rng,
        jiff::Timestamp::UNIX_EPOCH,
    )
    .unwrap();
    assert!(outcome.report.is_none() && outcome.written.is_empty());
    assert_eq!(before, site.snapshot());
}

/// Takes out what age draws the randomness of itself.
fn without_envelopes(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("-----BEGIN AGE ENCRYPTED FILE-----") {
        kept += before;
        rest = after.split_once("-----END AGE ENCRYPTED FILE-----").unwrap().1;
    }
    kept + rest
}

#[test]
fn the_same_numbers_and_time_make_the_same_bytes() {
    for form in [Form::Nix, Form::Yaml] {
        let [one, other] = [Site::with_secrets(form), Site::with_secrets(form)];
        let (one, other) = (one.snapshot(), other.snapshot());
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, seen) in &one {
            // Digests are of whole files, envelopes among them.
            if name != DIGESTS {
                assert_eq!(without_envelopes(&seen.0), without_envelopes(&other[name].0), "{name}");
            }
        }
    }
}

#[test]
fn a_preview_plans_and_writes_nothing() {
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w1", "w2", "w3"]);
    let before = site.snapshot();
    let identities = site.admin.identities();
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let plan = preview(
        site.root(),
        options(&identities, NOTHING, None),
        &Renewal::default(),
        &mut rng,
        now,
    )
    .unwrap();
    assert_eq!(host(plan.report(), "w3"), (Change::Created, &[Reason::KeyMade, Reason::New][..]));
    assert_eq!(plan.changes().writes.len(), 4, "key, public key, sealed file and digests");
    assert_eq!(before, site.snapshot());
    let report = site.again();
    assert_eq!(report.count(Change::Created), 1);
    assert_eq!(report.master, Change::Unchanged);
}

#[test]
fn a_fleet_without_master_or_rules_says_so() {
    let site = Site::new(Form::Nix);
    let identities = site.admin.identities();
    let open = || nixmox_secrets::open(site.root(), &options(&identities, NOTHING, None));
    assert!(matches!(open(), Err(Error::NoMaster { .. })));
    let mut site = Site::new(Form::Nix);
    site.remove(".sops.yaml");
    assert!(matches!(site.try_edit(NIX), Err(Error::NoRules)));
    site.rules_by_path(&[("^secrets", &[&person(1)])]);
    match site.try_edit(NIX) {
        Err(Error::NoRecipients { path }) => assert_eq!(path.as_str(), W1_KEY),
        other => panic!("{other:?}"),
    }
    // Hosts that never get a key need no rule.
    site.edit("{ domain = \"x\"; }");
}

#[test]
fn no_error_tells_a_secret() {
    let mut site = Site::with_secrets(Form::Nix);
    let canary = "canary-d41d8cd9";
    let texts = [
        format!("{{ nodes.w1.a = \"{canary}\"; nodes.w1.b = \"\"; }}"),
        format!("{{ nodes.w1.a = \"{canary}\" }}"),
        format!("{{ nodes.w1 = \"{canary}\"; }}"),
        format!("{{ nodes = \"{canary}\"; }}"),
        format!("{{ nodes.w1.a = builtins.throw \"{canary}\"; }}"),
        format!("{{ nodes.w1.a = [ \"{canary}\" [ ] ]; }}"),
    ];
    for text in texts {
        let error = site.try_edit(&text).unwrap_err();
        let mut said = format!("{error:?}");
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            said += &format!(" {error} {error:?}");
            cause = error.source();
        }
        assert!(!said.contains(canary), "{said}");
    }
}

#[test]
fn what_sops_sealed_before_is_taken_over_when_it_is_accepted() {
    let mut site = Site::new(Form::Nix);
    let documents = nixmox_sops::Documents::binary(nixmox_tree::SecretBytes::new(NIX.as_bytes()));
    let options = SealOptions::new([site.admin.recipient().parse().unwrap()]);
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let sealed =
        seal(&documents, (Format::Binary, &options), Keep::Nothing, &mut rng, now).unwrap();
    site.write(MASTER, &sealed);
    assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })));
    let report = site.accepting(ADMINS).unwrap();
    assert_eq!(report.count(Change::Created), 2);
    let old = EncryptedFile::parse(&sealed, Format::Binary).unwrap();
    let old = old.open_data_key(&site.admin.identities()).unwrap();
    assert_ne!(*old.expose(), site.data_key(MASTER, Format::Binary));
    assert!(site.again().is_unchanged());
}
