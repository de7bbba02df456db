//! Chains of rosters: each is signed by an admin of the one before, and nothing else is one.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use nixmox_signing::{
    Admin, Chain, ChainError, Group, KeyFile, Roster, RosterError, SignedRoster, Signer, is_name,
};
use nixmox_tree::SecretString;

fn key(seed: u8) -> KeyFile {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let text = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap();
    KeyFile::parse(&SecretString::new(text.as_str())).unwrap()
}

fn admin(seed: u8) -> Admin {
    let ssh = BTreeSet::from([key(seed).public().as_str().to_owned()]);
    Admin { age: BTreeSet::from([format!("age1{seed}")]), ssh }
}

fn first() -> Roster {
    Roster::first([9; 32], BTreeMap::from([("alice".to_owned(), admin(1))]))
}

fn signed(roster: &Roster, by: u8) -> SignedRoster {
    SignedRoster::sign(roster, &key(by)).unwrap()
}

/// Appends a roster that a change of the last one makes.
fn grow(files: &mut Vec<SignedRoster>, by: u8, change: impl FnOnce(&mut Roster)) {
    let mut next = Chain::verify(files.clone()).unwrap().following();
    change(&mut next);
    files.push(signed(&next, by));
}

/// Alice, who adds Bob, who removes Alice.
fn history() -> Vec<SignedRoster> {
    let mut files = vec![signed(&first(), 1)];
    grow(&mut files, 1, |next| drop(next.admins.insert("bob".to_owned(), admin(2))));
    grow(&mut files, 2, |next| drop(next.admins.remove("alice")));
    files
}

#[test]
fn admins_hand_on_and_the_id_stays() {
    let files = history();
    let chain = Chain::verify(files.clone()).unwrap();
    assert_eq!(chain.current().generation(), 3);
    assert_eq!(chain.fleet(), Chain::verify(files[..1].to_vec()).unwrap().fleet());
    assert_eq!(chain.signed_by().as_deref(), Some("bob"));
    let names = |keys: BTreeMap<_, String>| keys.into_values().collect::<Vec<_>>();
    assert_eq!(names(chain.current().signers()), ["bob"]);
    assert_eq!(names(chain.former_signers()), ["alice"]);
    let of = |seed: u8| BTreeMap::from([(key(seed).public().clone(), String::new())]);
    assert!(chain.is_signed_by(&of(1)) && chain.is_signed_by(&of(2)));
    assert!(!chain.is_signed_by(&of(3)));
}

#[test]
fn who_left_signs_nothing_more() {
    let mut files = history();
    grow(&mut files, 1, |next| drop(next.admins.insert("mallory".to_owned(), admin(3))));
    let stranger =
        ChainError::Stranger { generation: 4, fingerprint: key(1).public().fingerprint() };
    assert_eq!(Chain::verify(files).err(), Some(stranger));
}

#[test]
fn a_chain_has_all_its_links_in_their_order() {
    let files = history();
    let broken = |files: Vec<SignedRoster>| Chain::verify(files).err();
    assert_eq!(broken(Vec::new()), Some(ChainError::Missing { generation: 1 }));
    let without_second = vec![files[0].clone(), files[2].clone()];
    assert_eq!(broken(without_second), Some(ChainError::Broken { generation: 2 }));
    assert_eq!(broken(files[1..].to_vec()), Some(ChainError::Broken { generation: 1 }));
    let twice = vec![files[0].clone(), files[0].clone()];
    assert_eq!(broken(twice), Some(ChainError::Broken { generation: 2 }));
    let mut other = first();
    other.admins.insert("mallory".to_owned(), admin(3));
    let other = vec![signed(&other, 3), files[1].clone()];
    assert_eq!(broken(other), Some(ChainError::Broken { generation: 2 }));
    let mut changed = files;
    changed[1].signature = changed[2].signature.clone();
    let stranger =
        ChainError::Stranger { generation: 2, fingerprint: key(2).public().fingerprint() };
    assert_eq!(broken(changed), Some(stranger));
}

#[test]
fn a_signature_is_of_one_text() {
    let mut files = history();
    let text = String::from_utf8(files[0].roster.clone()).unwrap();
    files[0].roster = text.replace("age11", "age19").into_bytes();
    let wrong = Chain::verify(files).err();
    assert!(matches!(wrong, Some(ChainError::Signature { generation: 1, .. })), "{wrong:?}");
}

#[track_caller]
fn refuse(change: impl FnOnce(&mut Roster), expect: RosterError) {
    let mut roster = first();
    change(&mut roster);
    assert_eq!(Roster::parse(&roster.to_bytes()), Err(expect));
}

#[test]
fn rosters_that_make_no_sense_are_refused() {
    let name = |text: &str| text.to_owned();
    refuse(|r| drop(r.admins.insert(name("a b"), admin(2))), RosterError::Name(name("a b")));
    refuse(
        |r| drop(r.admins.insert(name("bob"), admin(1))),
        RosterError::Shared { one: name("alice"), other: name("bob") },
    );
    refuse(
        |r| drop(r.admins.insert(name("bob"), Admin::default())),
        RosterError::NoRecipient(name("bob")),
    );
    refuse(|r| r.admins.values_mut().for_each(|a| a.ssh.clear()), RosterError::NoSigner);
    let group = |member: &str| Group {
        members: BTreeSet::from([name(member)]),
        opens: BTreeSet::from([name("web")]),
    };
    refuse(
        |r| drop(r.groups.insert(name("ops"), group("carol"))),
        RosterError::Member { group: name("ops"), member: name("carol") },
    );
    refuse(|r| drop(r.groups.insert(name("ops"), group("alice"))), RosterError::NoSigner);
    let bytes = first().to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    let parse = |text: String| Roster::parse(text.as_bytes()).err();
    assert_eq!(parse(text.replace("  ", " ")), Some(RosterError::NotCanonical));
    assert_eq!(
        parse(text.replace("\"version\": 1", "\"version\": 2")),
        Some(RosterError::Version(2))
    );
    let more = parse(text.replace("\"delivery\"", "\"more\": 1,\n  \"delivery\""));
    assert!(matches!(more, Some(RosterError::Malformed(_))), "{more:?}");
}

#[test]
fn groups_open_what_they_name_and_nothing_else() {
    let mut roster = first();
    for (name, seed) in [("bob", 2), ("carol", 3)] {
        roster.admins.insert(name.to_owned(), admin(seed));
    }
    let ops = Group {
        members: BTreeSet::from(["bob".to_owned()]),
        opens: BTreeSet::from(["web".to_owned()]),
    };
    roster.groups.insert("ops".to_owned(), ops);
    let roster = Roster::parse(&roster.to_bytes()).unwrap();
    assert!(roster.opens_all("alice") && !roster.opens_all("bob") && !roster.opens_all("dave"));
    assert_eq!(roster.recipients(), BTreeSet::from(["age11", "age13"]));
    let of = |levels: &[&'static str]| roster.recipients_of_key(&levels.iter().copied().collect());
    assert_eq!(of(&["w1", "web"]), BTreeSet::from(["age11", "age12", "age13"]));
    assert_eq!(of(&["db"]), BTreeSet::from(["age11", "age13"]));
    assert!(!roster.signers().contains_key(key(2).public()), "who opens less signs nothing");
}

#[test]
fn names_have_a_grammar() {
    assert!(["a", "alice", "al.ice-2@x_y", "9"].into_iter().all(is_name));
    assert!(["", ".a", "-a", "a b", "a/b", "é", "a\n"].into_iter().all(|name| !is_name(name)));
    assert!(!is_name(&"a".repeat(64)));
}
