//! Sealing anew what the master says already.

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_secrets::{Change, Error, Form, KeyStep, Reason, Renewal, Renewed, host_identities};
use nixmox_sops::{EncryptedFile, Format, Identities, Indent};
use nixmox_tree::SecretString;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::site::*;

fn of_hosts(names: &[&str]) -> Renewal {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Renewal { hosts: Renewed::Named(names), ..Renewal::default() }
}

#[test]
fn sealing_what_is_sealed_changes_no_byte() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    assert!(site.renew(&Renewal::default()).unwrap().is_unchanged());
    assert_eq!(before, site.snapshot());
}

#[test]
fn sealing_carries_out_what_a_merge_left() {
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w1", "w2", "w3"]);
    site.remove(W2);
    let report = site.renew(&Renewal::default()).unwrap();
    assert_eq!(host(&report, "w3"), (Change::Created, &[Reason::KeyMade, Reason::New][..]));
    assert_eq!(host(&report, "w2").0, Change::Created);
    assert_eq!(site.check().problems, []);
}

#[test]
fn rotation_gives_every_file_a_new_data_key_and_changes_no_value() {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::with_secrets(form);
        let master = (MASTER, form.format());
        let keys = |site: &Site| {
            let w1 = *site.open("w1", W1).data_key().expose();
            [site.data_key(master.0, master.1), site.data_key(W1_KEY, Format::Binary), w1]
        };
        let (old, values, public) = (keys(&site), site.values("w1", W1), site.read(W1_PUB));
        let report = site.renew(&Renewal::everything()).unwrap();
        assert_eq!(report.master, Change::Updated);
        assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::Renewed][..]));
        assert!(keys(&site).iter().zip(&old).all(|(new, old)| new != old));
        assert_eq!((site.values("w1", W1), site.read(W1_PUB)), (values, public));
        assert!(site.again().is_unchanged());
        assert_eq!(site.check().problems, []);
    }
}

#[test]
fn rotation_of_a_host_or_of_the_master_leaves_the_others_alone() {
    let mut site = Site::with_secrets(Form::Nix);
    let before = site.snapshot();
    site.renew(&of_hosts(&["w1"])).unwrap();
    let after = site.snapshot();
    assert_eq!(changed(&before, &after), [W1, W1_KEY, DIGESTS].into());
    let master = Renewal { master: true, ..Renewal::default() };
    site.renew(&master).unwrap();
    assert_eq!(changed(&after, &site.snapshot()), [MASTER, DIGESTS].into());
    assert_eq!(site.check().problems, []);
}

#[test]
fn rotation_of_nobody_is_refused() {
    let mut site = Site::with_secrets(Form::Nix);
    match site.renew(&of_hosts(&["w1", "w22"])) {
        Err(Error::NoSuchHost { name, nearest }) => {
            assert_eq!((name.as_str(), nearest.first().map(String::as_str)), ("w22", Some("w2")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_master_with_a_recipient_of_its_own_is_sealed_anew() {
    let mut site = Site::with_secrets(Form::Nix);
    let eve = person(9);
    // An admin's own sops may have put anybody in; only `.sops.yaml` counts.
    site.rules(&[&site.admin, &eve]);
    site.accepting(ADMINS).unwrap();
    let shared = site.read(MASTER);
    site.rules(&[&site.admin]);
    site.accepting(ADMINS).unwrap();
    let digests = site.read(DIGESTS);
    site.write(MASTER, &shared);
    assert!(eve.opens(&site.read(MASTER), Format::Binary));
    // The old master comes with its old data key, which the digests do not fit.
    site.write(DIGESTS, digests);
    site.accepting(BOTH).unwrap();
    assert!(!eve.opens(&site.read(MASTER), Format::Binary));
}

const NEXT: &str = "nodes/web/w1/ssh_host_ed25519_key.next";
const NEXT_PUB: &str = "nodes/web/w1/ssh_host_ed25519_key.next.pub";

fn step(step: KeyStep) -> Renewal {
    Renewal { keys: [("w1".to_owned(), step)].into(), ..Renewal::default() }
}

/// Opens the key that a host is to get as an admin would.
fn next_key(site: &Site) -> Identities {
    let file = EncryptedFile::parse(&site.read(NEXT), Format::Binary).unwrap();
    let file = file.open(&site.admin.identities()).unwrap();
    let text = file.documents().to_bytes(Format::Binary, Indent::default()).unwrap();
    let key = HostKey::from_openssh(&SecretString::new(text.as_str().unwrap())).unwrap();
    assert!(HostPublicKey::parse(&site.text(NEXT_PUB)).unwrap().matches(&key));
    Identities::from_age_secret(&key.age_identity()).unwrap()
}

fn opens(site: &Site, key: &Identities) -> bool {
    EncryptedFile::parse(&site.read(W1), Format::Yaml).unwrap().open(key).is_ok()
}

#[test]
fn a_host_key_is_replaced_in_two_steps() {
    let mut site = Site::with_secrets(Form::Nix);
    let old = host_identities(&site.fleet(), "w1", &site.admin.identities()).unwrap();
    let (public, master) = (site.read(W1_PUB), site.data_key(MASTER, Format::Binary));
    let report = site.renew(&step(KeyStep::Begin)).unwrap();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::NextKeyMade][..]));
    assert_eq!(report.rotating.len(), 1);
    let new = next_key(&site);
    assert!(opens(&site, &old) && opens(&site, &new));
    assert_eq!(site.read(W1_PUB), public, "the machine still has the old key");
    // It survives being done again, an edit, other admins and new data keys.
    let before = site.snapshot();
    assert!(site.renew(&step(KeyStep::Begin)).unwrap().is_unchanged());
    assert_eq!(before, site.snapshot());
    site.edit(&NIX.replace("own-token", "another"));
    assert!(opens(&site, &old) && opens(&site, &new));
    let other = person(5);
    site.rules(&[&site.admin, &other]);
    site.accepting(ADMINS).unwrap();
    assert!(other.opens(&site.read(NEXT), Format::Binary));
    site.renew(&Renewal::everything()).unwrap();
    assert!(opens(&site, &old) && opens(&site, &new));
    let checked = site.check();
    assert_eq!((checked.problems, checked.rotating.len()), (vec![], 1));
    assert_eq!(site.check_from_outside().problems, []);
    // Then the new one alone.
    let waiting = site.read(NEXT_PUB);
    let report = site.renew(&step(KeyStep::Finish)).unwrap();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::KeyReplaced][..]));
    assert!(!opens(&site, &old) && opens(&site, &new));
    assert!(!site.has(NEXT) && !site.has(NEXT_PUB));
    assert_eq!(site.read(W1_PUB), waiting);
    assert_ne!(site.data_key(MASTER, Format::Binary), master, "the old digests are void");
    assert!(site.again().is_unchanged());
    assert_eq!((site.check().problems, site.check().rotating.len()), (vec![], 0));
    assert!(matches!(site.renew(&step(KeyStep::Finish)), Err(Error::NoNextKey { .. })));
}

/// A host gets another directory while it waits for its new key: the waiting pair comes along, and stays vouched for.
#[track_caller]
fn the_pair_comes_along(change: impl Fn(&mut Site), dir: &str, last: KeyStep) {
    let mut site = Site::new(Form::Nix);
    site.edit("{ nodes.w1.token = \"own-token\"; nodes.web.port = 443; }");
    let old = host_identities(&site.fleet(), "w1", &site.admin.identities()).unwrap();
    site.renew(&step(KeyStep::Begin)).unwrap();
    let new = next_key(&site);
    let files = ["ssh_host_ed25519_key.next", "ssh_host_ed25519_key.next.pub"];
    let pair = files.map(|file| site.read(&format!("nodes/web/w1/{file}")));
    let public = site.read(W1_PUB);
    change(&mut site);
    let report = site.again();
    assert_eq!(report.orphans, []);
    assert_eq!(report.rotating.len(), 1);
    assert!(!site.has(NEXT) && !site.has(NEXT_PUB) && !site.has(W1));
    assert_eq!(files.map(|file| site.read(&format!("{dir}/{file}"))), pair);
    let sealed = |site: &Site| {
        EncryptedFile::parse(&site.read(&format!("{dir}/secrets.yaml")), Format::Yaml).unwrap()
    };
    assert!(sealed(&site).open(&old).is_ok() && sealed(&site).open(&new).is_ok());
    let checked = site.check();
    assert_eq!((checked.problems, checked.rotating.len()), (vec![], 1));
    assert!(site.again().is_unchanged());
    let finishes = last == KeyStep::Finish;
    site.renew(&step(last)).unwrap();
    assert_eq!(sealed(&site).open(&old).is_ok(), !finishes);
    assert_eq!(sealed(&site).open(&new).is_ok(), finishes);
    let kept = if finishes { &pair[1] } else { &public };
    assert_eq!(&site.read(&format!("{dir}/ssh_host_ed25519_key.pub")), kept);
    assert!(files.iter().all(|file| !site.has(&format!("{dir}/{file}"))));
    assert_eq!(site.check().problems, []);
}

#[test]
fn a_host_that_moves_takes_its_waiting_key_along() {
    for last in [KeyStep::Finish, KeyStep::Abort] {
        the_pair_comes_along(|site| site.group("zoo", &["w1"]), "nodes/zoo/w1", last);
        the_pair_comes_along(|site| site.write("nodes/w1/host.nix", "{ }"), "nodes/w1", last);
        the_pair_comes_along(|site| site.write("private/README", ""), "private/nodes/web/w1", last);
        // Moved, and changed by the same run.
        the_pair_comes_along(
            |site| {
                site.group("zoo", &["w1"]);
                site.edit("{ nodes.w1.token = \"another\"; nodes.web.port = 443; }");
            },
            "nodes/zoo/w1",
            last,
        );
    }
}

/// Half of the waiting pair is left at the old place: nothing is sealed to it.
#[test]
fn a_waiting_pair_that_is_torn_apart_by_a_move_stops_every_run() {
    let mut site = Site::with_secrets(Form::Nix);
    site.renew(&step(KeyStep::Begin)).unwrap();
    site.group("zoo", &["w1"]);
    for file in ["secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
        site.rename(&format!("nodes/web/w1/{file}"), &format!("nodes/zoo/w1/{file}"));
    }
    site.rename(NEXT, "nodes/zoo/w1/ssh_host_ed25519_key.next");
    let eve = HostKey::generate(&mut ChaCha20Rng::from_seed([66; 32]));
    site.write(NEXT_PUB, eve.public().to_openssh("root@w1"));
    let before = site.snapshot();
    let refused = site.try_again();
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(before, site.snapshot());
}

#[test]
fn a_replacement_is_called_off() {
    let mut site = Site::with_secrets(Form::Yaml);
    let old = host_identities(&site.fleet(), "w1", &site.admin.identities()).unwrap();
    assert!(matches!(site.renew(&step(KeyStep::Abort)), Err(Error::NoNextKey { .. })));
    site.renew(&step(KeyStep::Begin)).unwrap();
    let new = next_key(&site);
    let report = site.renew(&step(KeyStep::Abort)).unwrap();
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::NextKeyDropped][..]));
    assert!(opens(&site, &old) && !opens(&site, &new));
    assert!(!site.has(NEXT) && site.check().problems.is_empty());
}

#[test]
fn a_broken_host_gets_another_key_at_once() {
    let mut site = Site::with_secrets(Form::Nix);
    let old = host_identities(&site.fleet(), "w1", &site.admin.identities()).unwrap();
    site.renew(&step(KeyStep::Begin)).unwrap();
    let new = next_key(&site);
    let (digests, pair) = (site.read(DIGESTS), [site.read(W1_KEY), site.read(W1_PUB)]);
    site.renew(&step(KeyStep::Replace)).unwrap();
    assert!(!opens(&site, &old) && !opens(&site, &new) && !site.has(NEXT));
    assert_eq!(site.check().problems, []);
    // Its old key does not come back with the digests that vouched for it.
    site.write(W1_KEY, &pair[0]);
    site.write(W1_PUB, &pair[1]);
    site.write(DIGESTS, digests);
    assert!(matches!(site.try_again(), Err(Error::AdminsChanged { .. })));
}

#[test]
fn a_key_that_somebody_lays_beside_is_never_sealed_to() {
    let mut site = Site::with_secrets(Form::Nix);
    let eve = HostKey::generate(&mut ChaCha20Rng::from_seed([66; 32]));
    let sealed = site.read(W1_KEY);
    site.write(NEXT, sealed);
    site.write(NEXT_PUB, eve.public().to_openssh("root@w1"));
    let before = site.snapshot();
    for result in [
        site.try_again(),
        site.try_edit(&NIX.replace("443", "1")),
        site.renew(&Renewal::everything()),
        site.renew(&step(KeyStep::Finish)),
    ] {
        assert!(matches!(result, Err(Error::UnvouchedNextKey { .. })), "{result:?}");
    }
    assert!(matches!(site.accepting(KEYS), Err(Error::MismatchedHostKey { .. })));
    assert_eq!(before, site.snapshot());
    let found: Vec<_> = site.check().problems.iter().map(|p| p.kind.code()).collect();
    assert!(found.contains(&"unvouched-next-key"), "{found:?}");
    // What nobody vouches for is dropped like any other.
    site.renew(&step(KeyStep::Abort)).unwrap();
    assert!(!site.has(NEXT) && site.check().problems.is_empty());
}

#[test]
fn a_waiting_key_that_is_lost_or_halved_stops_every_run() {
    let mut site = Site::with_secrets(Form::Nix);
    site.renew(&step(KeyStep::Begin)).unwrap();
    site.remove(NEXT);
    assert!(matches!(site.try_again(), Err(Error::HalfHostKey { .. })));
    site.remove(NEXT_PUB);
    assert!(matches!(site.try_again(), Err(Error::LostNextKey { .. })));
    site.renew(&step(KeyStep::Abort)).unwrap();
    assert_eq!(site.check().problems, []);
}
