//! Attacks of somebody who can commit to the repository and opens nothing in it.

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_secrets::{Change, Error, Form, Reason};
use nixmox_sops::{DataKey, Documents, Format, Keep, SealOptions, seal};
use nixmox_tree::{SecretBytes, SecretTree, Value};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::site::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([66; 32])
}

/// Seals a tree as an attacker would, with a data key that he knows.
fn forge(tree: &SecretTree, recipients: &[String], known: &DataKey) -> Vec<u8> {
    let options = SealOptions::new(recipients.iter().map(|r| r.parse().unwrap()));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let documents = Documents::from_tree(tree);
    seal(&documents, (Format::Yaml, &options), Keep::Key(known), &mut rng(), now).unwrap()
}

/// Puts a key pair of the attacker's into the place of a host's, sealed to the admin as it should be.
fn plant(site: &Site, dir: &str) -> HostKey {
    let key = HostKey::generate(&mut rng());
    let text = key.to_openssh("root@w1");
    let options = SealOptions::new([site.admin.recipient().parse().unwrap()]);
    let documents = Documents::binary(SecretBytes::from(&text));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let sealed = seal(&documents, (Format::Binary, &options), Keep::Nothing, &mut rng(), now);
    site.write(&format!("{dir}/ssh_host_ed25519_key"), sealed.unwrap());
    site.write(&format!("{dir}/ssh_host_ed25519_key.pub"), key.public().to_openssh("root@w1"));
    key
}

#[track_caller]
fn asks_for_keys(result: Result<nixmox_secrets::Report, Error>, expect: &[&str]) {
    match result {
        Err(Error::UnknownHostKeys { hosts }) => {
            let hosts: Vec<&str> = hosts.iter().map(|(host, _)| host.as_ref()).collect();
            assert_eq!(hosts, expect);
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn asks_for_admins(
    result: Result<nixmox_secrets::Report, Error>,
    expect: (&[&Person], &[&Person]),
) {
    let names = |people: &[&Person]| people.iter().map(|p| p.recipient()).collect();
    match result {
        Err(Error::AdminsChanged { added, removed }) => {
            assert_eq!((added, removed), (names(expect.0), names(expect.1)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_swapped_host_key_stops_every_run() {
    let mut site = Site::with_secrets(Form::Nix);
    let key = plant(&site, "nodes/web/w1");
    let before = site.snapshot();
    asks_for_keys(site.try_again(), &["w1"]);
    asks_for_keys(site.try_edit(&NIX.replace("443", "1")), &["w1"]);
    assert_eq!(before, site.snapshot());
    match site.try_again() {
        Err(Error::UnknownHostKeys { hosts }) => assert_eq!(hosts[0].1, key.public().fingerprint()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_public_key_alone_cannot_be_swapped_even_when_keys_are_accepted() {
    let mut site = Site::with_secrets(Form::Nix);
    let other = HostKey::generate(&mut rng());
    site.write(W1_PUB, other.public().to_openssh("root@w1"));
    asks_for_keys(site.try_again(), &["w1"]);
    assert!(matches!(site.accepting(KEYS), Err(Error::MismatchedHostKey { .. })));
}

#[test]
fn an_accepted_key_is_sealed_anew_and_then_known() {
    let mut site = Site::with_secrets(Form::Nix);
    plant(&site, "nodes/web/w1");
    let planted = (site.read(W1_KEY), site.data_key(W1_KEY, Format::Binary));
    let old_master = site.data_key(MASTER, Format::Binary);
    let report = site.accepting(KEYS).unwrap();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::KeyAccepted][..]));
    assert_ne!(site.read(W1_KEY), planted.0);
    assert_ne!(site.data_key(W1_KEY, Format::Binary), planted.1);
    assert_ne!(site.data_key(MASTER, Format::Binary), old_master, "the old digests are void");
    assert_eq!(site.values("w1", W1).get("token").unwrap().as_str(), Some("own-token"));
    assert!(site.again().is_unchanged());
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_key_that_waits_for_a_host_is_not_accepted_along_with_others() {
    let mut site = Site::with_secrets(Form::Nix);
    plant(&site, "nodes/db/d1");
    // The owner takes over the other hosts' keys, and `d1` has no secrets yet.
    site.remove(DIGESTS);
    site.accepting(BOTH).unwrap();
    let text = format!("{NIX} // {{ }}");
    assert!(site.edit(&text).orphans.is_empty());
    asks_for_keys(
        site.try_edit(&NIX.replace("nodes.w1 =", "nodes.d1 = { a = \"b\"; }; nodes.w1 =")),
        &["d1"],
    );
}

#[test]
fn weak_and_foreign_host_keys_are_refused() {
    let mut site = Site::with_secrets(Form::Nix);
    let weak = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(HostPublicKey::parse(weak).is_err());
    for text in [weak, "", "ssh-rsa AAAA"] {
        site.write(W1_PUB, text);
        assert!(matches!(site.accepting(KEYS), Err(Error::HostKey { .. })), "{text}");
    }
}

#[test]
fn an_added_recipient_stops_every_run_until_accepted() {
    let mut site = Site::with_secrets(Form::Nix);
    let evil = person(66);
    site.rules(&[&site.admin, &evil]);
    let before = site.snapshot();
    asks_for_admins(site.try_again(), (&[&evil], &[]));
    asks_for_admins(site.try_edit(&NIX.replace("443", "1")), (&[&evil], &[]));
    asks_for_admins(site.accepting(KEYS), (&[&evil], &[]));
    assert_eq!(before, site.snapshot());
}

#[test]
fn labels_in_sealed_files_are_no_evidence() {
    let mut site = Site::with_secrets(Form::Yaml);
    let evil = person(66);
    site.rules(&[&site.admin, &evil]);
    // The master's metadata names him already, with an envelope that opens nothing; the digests are gone.
    let text = site.text(MASTER);
    let own = site.admin.recipient();
    let copied = text.split_once("- enc: |").unwrap().1.split_once("recipient:").unwrap().0;
    let entry = format!("- enc: |{copied}recipient: {}\n        ", evil.recipient());
    site.write(MASTER, text.replacen("- enc: |", &format!("{entry}- enc: |"), 1));
    site.remove(DIGESTS);
    match site.try_again() {
        Err(Error::AdminsChanged { added, .. }) => {
            assert_eq!(added, [own, evil.recipient()].into_iter().collect());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn recipients_cannot_be_exchanged_between_files() {
    let mut site = Site::new(Form::Nix);
    let contractor = person(7);
    let both = [&person(1), &contractor];
    site.rules_by_path(&[("^nodes/web/w1/", &both), (".", &[&person(1)])]);
    site.edit(NIX);
    assert!(contractor.opens(&site.read(W1_KEY), Format::Binary));
    // The same people in all, but now for everything.
    site.rules_by_path(&[(".", &both)]);
    asks_for_admins(site.try_again(), (&[&contractor], &[]));
    // Or for one more host.
    site.rules_by_path(&[("^nodes/web/", &both), (".", &[&person(1)])]);
    asks_for_admins(site.try_edit(&NIX.replace("443", "1")), (&[&contractor], &[]));
    // Or for a host that is yet to come.
    site.rules_by_path(&[("^nodes/(web/w1|x)/", &both), (".", &[&person(1)])]);
    assert!(site.try_again().is_ok(), "x has no secrets");
    asks_for_admins(
        site.try_edit(&NIX.replace("nodes.w1 =", "nodes.x = { a = \"b\"; }; nodes.w1 =")),
        (&[&contractor], &[]),
    );
}

#[test]
fn a_new_host_for_the_same_admins_asks_for_nothing() {
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w1", "w2", "w3"]);
    assert_eq!(site.again().count(Change::Created), 1);
}

#[test]
fn other_admins_mean_new_data_keys_everywhere() {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::new(form);
        let gone = person(2);
        site.rules(&[&site.admin, &gone]);
        site.edit(if form == Form::Nix { NIX } else { YAML });
        let master = form.format();
        let keys = |site: &Site| {
            let hosts = [("w1", W1), ("w2", W2)];
            let mut keys =
                vec![site.data_key(MASTER, master), site.data_key(W1_KEY, Format::Binary)];
            keys.extend(hosts.map(|(host, path)| *site.open(host, path).data_key().expose()));
            keys
        };
        let (old, old_files) = (keys(&site), site.snapshot());
        site.rules(&[&site.admin]);
        asks_for_admins(site.try_again(), (&[], &[&gone]));
        let report = site.accepting(ADMINS).unwrap();
        assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::Admins][..]));
        for (old, new) in old.iter().zip(keys(&site)) {
            assert_ne!(*old, new);
        }
        for (path, format) in [(MASTER, master), (W1_KEY, Format::Binary)] {
            assert!(gone.opens(&old_files[path].0, format), "he could open it once");
            assert!(!gone.opens(&site.read(path), format), "{path}");
        }
        assert_eq!(site.read(W1_PUB), old_files[W1_PUB].0, "machines keep their keys");
        assert_eq!(site.check().problems, []);
        assert!(site.again().is_unchanged());
    }
}

#[test]
fn digests_that_are_gone_or_broken_vouch_for_nothing() {
    let broken: [&dyn Fn(&Site); 5] = [
        &|site| site.remove(DIGESTS),
        &|site| site.write(DIGESTS, "<<<<<<< ours"),
        &|site| site.write(DIGESTS, "{}"),
        &|site| site.write(DIGESTS, site.text(DIGESTS).replace("\"version\": 1", "\"version\": 2")),
        // Another fleet's, or those of somebody who made up a key.
        &|site| {
            let mut other = Site::new(Form::Nix);
            other.edit(&NIX.replace("443", "442"));
            site.write(DIGESTS, other.read(DIGESTS));
        },
    ];
    for (number, damage) in broken.into_iter().enumerate() {
        let mut site = Site::with_secrets(Form::Nix);
        site.edit(&NIX.replace("443", "8443"));
        // Drawn after the first one, so the other fleet's data key is not this one's.
        site.accepting(ADMINS).unwrap();
        let public = site.read(W1_PUB);
        let old = site.data_key(MASTER, Format::Binary);
        site.rules(&[&site.admin, &person(9)]);
        site.accepting(ADMINS).unwrap();
        damage(&site);
        let before = site.snapshot();
        assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })), "{number}");
        asks_for_keys(site.accepting(ADMINS), &["w1", "w2"]);
        assert_eq!(before, site.snapshot());
        site.accepting(BOTH).unwrap();
        assert_ne!(site.data_key(MASTER, Format::Binary), old);
        assert_eq!(site.read(W1_PUB), public);
        assert!(site.again().is_unchanged());
    }
}

#[test]
fn one_hosts_record_does_not_vouch_for_another() {
    let mut site = Site::with_secrets(Form::Nix);
    for file in ["secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
        site.write(&format!("nodes/web/w1/{file}"), site.read(&format!("nodes/web/w2/{file}")));
    }
    // Two lines of the digests change places along with the files.
    let digests = site.text(DIGESTS);
    let record = |name: &str| {
        let line = digests.lines().find(|line| line.contains(&format!("\"{name}\": {{"))).unwrap();
        line.trim().trim_end_matches(',').split_once(": ").unwrap().1.to_owned()
    };
    site.write(DIGESTS, digests.replace(&record("w1"), &record("w2")));
    asks_for_keys(site.try_again(), &["w1"]);
}

#[test]
fn recorded_admins_cannot_be_edited() {
    let mut site = Site::with_secrets(Form::Nix);
    let evil = person(66);
    site.rules(&[&site.admin, &evil]);
    let own = format!("\"{}\"", site.admin.recipient());
    let both = format!("{own},\"{}\"", evil.recipient());
    site.write(DIGESTS, site.text(DIGESTS).replace(&own, &both));
    assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })));
}

#[test]
fn a_forged_file_is_replaced_and_its_data_key_never_used() {
    let mut site = Site::with_secrets(Form::Nix);
    let known = DataKey::generate(&mut rng());
    let public = HostPublicKey::parse(&site.text(W1_PUB)).unwrap();
    let values = tree(&[("token", "of the attacker")]);
    site.write(W1, forge(&values, &[public.age_recipient()], &known));
    assert_eq!(site.values("w1", W1), values, "the machine would take it");
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::NotOurs][..]));
    let file = site.open("w1", W1);
    assert_ne!(file.data_key().expose(), known.expose());
    assert_eq!(site.values("w1", W1).get("token").unwrap().as_str(), Some("own-token"));
    assert!(site.again().is_unchanged());
}

#[test]
fn a_forged_file_with_the_right_values_is_replaced_too() {
    let mut site = Site::with_secrets(Form::Nix);
    let known = DataKey::generate(&mut rng());
    let public = HostPublicKey::parse(
        &site.text(W2.replace("secrets.yaml", "ssh_host_ed25519_key.pub").as_str()),
    )
    .unwrap();
    // He knows what everybody in his group has.
    let values = site.values("w2", W2);
    site.write(W2, forge(&values, &[public.age_recipient()], &known));
    site.edit(&NIX.replace("group-token", "new-token"));
    assert_ne!(site.open("w2", W2).data_key().expose(), known.expose());
}

#[test]
fn a_rolled_back_file_is_replaced() {
    let mut site = Site::with_secrets(Form::Nix);
    let (sealed, digests) = (site.read(W1), site.read(DIGESTS));
    let old = *site.open("w1", W1).data_key().expose();
    site.edit(&NIX.replace("hunter2", "hunter3"));
    site.write(W1, &sealed);
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::NotOurs][..]));
    assert_eq!(site.values("w1", W1).at(&["db", "password"]).unwrap().as_str(), Some("hunter3"));
    assert_ne!(*site.open("w1", W1).data_key().expose(), old);
    // Along with the digests of that time: the master still says otherwise.
    site.write(W1, &sealed);
    site.write(DIGESTS, &digests);
    site.again();
    assert_eq!(site.values("w1", W1).at(&["db", "password"]).unwrap().as_str(), Some("hunter3"));
}

#[test]
fn a_key_that_was_replaced_cannot_be_rolled_back() {
    let mut site = Site::with_secrets(Form::Nix);
    let old = [W1_KEY, W1_PUB, W1, DIGESTS].map(|path| (path, site.read(path)));
    // The machine was compromised: it gets a new key.
    site.remove(W1_KEY);
    site.remove(W1_PUB);
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::KeyMade][..]));
    assert_ne!(site.read(W1_PUB), old[1].1);
    // Sealed to the new key, although no value changed.
    assert_eq!(site.values("w1", W1).get("token").unwrap().as_str(), Some("own-token"));
    // Whoever has the old key brings it back, with the digests that vouched for it.
    for (path, bytes) in &old {
        site.write(path, bytes);
    }
    assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })));
    asks_for_keys(site.accepting(ADMINS), &["w1", "w2"]);
}

#[test]
fn swapped_files_of_two_hosts_are_set_right() {
    let mut site = Site::with_secrets(Form::Nix);
    let (one, other) = (site.read(W1), site.read(W2));
    site.write(W1, other);
    site.write(W2, one);
    let report = site.again();
    assert_eq!(report.count(Change::Updated), 2);
    assert_eq!(site.values("w1", W1).get("token").unwrap().as_str(), Some("own-token"));
    assert_eq!(site.values("w2", W2).get("token").unwrap().as_str(), Some("group-token"));
}

#[test]
fn a_master_that_somebody_else_sealed_is_not_vouched_for() {
    let mut site = Site::with_secrets(Form::Yaml);
    let known = DataKey::generate(&mut rng());
    let mut values = SecretTree::new();
    values.insert_at(&["nodes", "w1", "rootPassword"], Value::string("his")).unwrap();
    site.write(MASTER, forge(&values, &[site.admin.recipient()], &known));
    let before = site.snapshot();
    assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })));
    assert_eq!(before, site.snapshot());
    // Even who takes it does not go on with its data key.
    site.accepting(BOTH).unwrap();
    assert_ne!(site.data_key(MASTER, Format::Yaml), *known.expose());
}

#[test]
fn empties_that_somebody_puts_into_a_yaml_master_are_refused() {
    for line in [
        "        rootPassword: \"\"\n",
        "        token2: null\n",
        "        m: {}\n",
        "        l: []\n",
    ] {
        let mut site = Site::with_secrets(Form::Yaml);
        let text = site.text(MASTER).replacen("    web:\n", &format!("    web:\n{line}"), 1);
        assert_ne!(text, site.text(MASTER));
        site.write(MASTER, text);
        // sops' MAC does not cover them; nothing that is to be sealed may be such a value.
        let found = site.check_from_outside().problems;
        assert!(found.iter().any(|p| p.kind.code() == "unsound"), "{found:?}");
        assert!(
            matches!(site.try_again(), Err(Error::Unsealable { .. } | Error::Seal { .. })),
            "{line}"
        );
    }
}

#[test]
fn a_selection_rule_in_the_master_is_not_followed() {
    let mut site = Site::with_secrets(Form::Yaml);
    let text = site.text(MASTER);
    let weak = text.replace("unencrypted_suffix: _unencrypted", "unencrypted_regex: ^future");
    assert_ne!(weak, text);
    site.write(MASTER, weak);
    assert!(!site.again().is_unchanged(), "sealed anew at once");
    assert!(site.text(MASTER).contains("unencrypted_suffix: _unencrypted"));
    let more = YAML.replace("    w1:\n", "    w1:\n        future: in-the-clear\n");
    site.edit(&more);
    assert!(!site.text(MASTER).contains("in-the-clear"));
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_changed_byte_of_the_master_stops_everything() {
    let mut site = Site::with_secrets(Form::Nix);
    let text = site.text(MASTER);
    let at = text.find("data:").unwrap_or(0) + 12;
    let letter = if text[at..].starts_with('A') { "B" } else { "A" };
    let mut broken = text.clone();
    broken.replace_range(at..=at, letter);
    site.write(MASTER, broken);
    assert!(matches!(site.try_again(), Err(Error::Open { .. } | Error::Parse { .. })));
    site.write(MASTER, NIX);
    assert!(matches!(site.try_again(), Err(Error::Parse { .. })));
}

#[test]
fn a_name_that_sops_would_leave_in_the_clear_is_refused() {
    for name in ["x_unencrypted", "\"a:b\"", "sops"] {
        let mut site = Site::new(Form::Nix);
        let result = site.try_edit(&format!("{{ nodes.w1.{name} = \"secret\"; }}"));
        assert!(matches!(result, Err(Error::Unsealable { .. } | Error::Cascade(_))), "{name}");
    }
}
