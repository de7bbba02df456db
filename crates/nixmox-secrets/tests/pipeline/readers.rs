//! Who can read what: what is proved, what is only said, and what lies.

use nixmox_secrets::readers::{Access, Evidence, FileReaders, Opened, Readable, receivers};
use nixmox_secrets::{Error, Form, master};
use nixmox_sops::Identities;

use crate::site::*;

fn access_with(site: &Site, identities: &Identities) -> Access {
    let opened = Opened::new(site.root(), &options(identities, NOTHING, None)).unwrap();
    opened.access(identities).unwrap()
}

fn access(site: &Site) -> Access {
    access_with(site, &site.admin.identities())
}

fn evidence(file: &FileReaders) -> Vec<(String, Evidence)> {
    file.readers.iter().map(|reader| (reader.recipient.clone(), reader.evidence)).collect()
}

fn of<'a>(access: &'a Access, host: &str) -> (&'a FileReaders, &'a FileReaders) {
    let (_, found) = access.hosts.iter().find(|(name, _)| name.as_ref() == host).unwrap();
    (found.sealed.as_ref().unwrap(), found.key.as_ref().unwrap())
}

fn codes(file: &FileReaders) -> Vec<&'static str> {
    file.suspicions.iter().map(|found| found.code()).collect()
}

/// Replaces a wrapped data key in a file that lies in the repository, as anybody can who commits.
fn replace_enc(text: &str, at: usize, enc: &str) -> String {
    let begin = "-----BEGIN AGE ENCRYPTED FILE-----";
    let end = "-----END AGE ENCRYPTED FILE-----";
    let mut parts = text.match_indices(begin);
    let (from, _) = parts.nth(at).unwrap();
    let until = from + text[from..].find(end).unwrap() + end.len();
    let old = &text[from..until];
    let break_ = if old.contains("\\n") { "\\n" } else { "\n            " };
    let enc: Vec<&str> = enc.trim().lines().collect();
    format!("{}{}{}", &text[..from], enc.join(break_), &text[until..])
}

#[test]
fn keys_at_hand_prove_and_digests_vouch() {
    let mut site = Site::with_secrets(Form::Nix);
    let other = person(5);
    site.rules(&[&site.admin, &other]);
    site.accepting(ADMINS).unwrap();
    let found = access(&site);
    assert!(found.opened && found.suspicions() == 0);
    let (sealed, key) = of(&found, "w1");
    let admins =
        [(site.admin.recipient(), Evidence::Proved), (other.recipient(), Evidence::Sealed)];
    assert_eq!(evidence(key), admins);
    assert_eq!(sealed.readers[0].evidence, Evidence::Proved, "with the key that the admin opened");
    assert_eq!(sealed.readers[0].host.as_ref().unwrap().as_ref(), "w1");
    assert_eq!(sealed.names, [vec!["db", "password"], vec!["port"], vec!["token"], vec!["url"]]);
    let master = evidence(found.master.as_ref().unwrap());
    assert_eq!(master[1], (other.recipient(), Evidence::Claimed), "nothing vouches for the master");
    // Without a key everything is only said.
    let found = access_with(&site, &Identities::new());
    assert!(!found.opened && found.suspicions() == 0);
    assert!(found.files().flat_map(evidence).all(|(_, evidence)| evidence == Evidence::Claimed));
}

#[test]
fn a_label_that_lies_is_found_with_its_key() {
    let mut site = Site::with_secrets(Form::Nix);
    let (other, eve) = (person(5), person(6));
    site.rules(&[&site.admin, &other]);
    site.accepting(ADMINS).unwrap();
    // Eve's wrapped key, from a file of her own, under the admin's label.
    let hers = sealed_to(&eve);
    for (path, at) in [(W1, 0), (W1_KEY, 0), (MASTER, 1)] {
        let text = replace_enc(&site.text(path), at, &hers);
        site.write(path, text);
    }
    let found = access_with(&site, &other.identities());
    assert_eq!(codes(found.master.as_ref().unwrap()), ["lying-label"]);
    let (sealed, key) = of(&found, "w1");
    assert_eq!(evidence(key)[0].1, Evidence::Claimed, "nobody vouches for it any more");
    assert_eq!(codes(sealed), ["lying-label"]);
    // Whose key it is, his label shows it.
    let found = access_with(&site, &eve.identities());
    let (sealed, _) = of(&found, "w1");
    assert_eq!(codes(sealed), ["opens-under-anothers-label"]);
    let master = codes(found.master.as_ref().unwrap());
    assert_eq!(master, ["opens-under-anothers-label", "does-not-open"]);
}

#[test]
fn a_hidden_stanza_is_found_without_any_key() {
    let mut site = Site::with_secrets(Form::Nix);
    site.again();
    let eve = person(6);
    let both = age_file(&[&site.admin, &eve], &[7; 32]);
    let text = replace_enc(&site.text(W1_KEY), 0, &both);
    site.write(W1_KEY, text);
    for identities in [site.admin.identities(), Identities::new()] {
        let found = access_with(&site, &identities);
        assert_eq!(codes(of(&found, "w1").1), ["more-stanzas-than-labels"]);
        assert_eq!(codes(of(&found, "w2").1), [""; 0]);
    }
}

#[test]
fn a_value_is_followed_to_the_hosts_that_get_it() {
    let site = Site::with_secrets(Form::Nix);
    let identities = site.admin.identities();
    let opened = Opened::new(site.root(), &options(&identities, NOTHING, None)).unwrap();
    let access = opened.access(&identities).unwrap();
    let topology = opened.fleet.topology();
    let file = opened.master.as_ref().unwrap();
    let tree = master::evaluate(file.form(), file.text(), None).unwrap();
    let hosts = |path: &[&str], tree| {
        let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
        receivers(topology, tree, &access, &path).map(|found| {
            let hosts = found.hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
            (hosts.join(" "), found.resolved)
        })
    };
    let is = |path: &[&str], expect: &str| {
        assert_eq!(hosts(path, Some(&tree)).unwrap(), (expect.to_owned(), true), "{path:?}");
    };
    is(&["nodes", "web", "token"], "w2");
    is(&["nodes", "web", "port"], "w1 w2");
    is(&["nodes", "w1", "token"], "w1");
    is(&["nodes", "w1", "port"], "w1");
    is(&["nodes", "w1", "_hidden"], "");
    is(&["domain"], "");
    for path in [&["nodes", "web", "nothing"][..], &["nothing"], &["nodes", "db", "token"]] {
        assert!(matches!(hosts(path, Some(&tree)), Err(Error::NoSuchSecret { .. })), "{path:?}");
    }
    // The names in the files know neither levels nor what is hidden.
    let names = |path: &[&str]| hosts(path, None).ok();
    assert_eq!(names(&["nodes", "web", "token"]), Some(("w1 w2".to_owned(), false)));
    assert_eq!(names(&["nodes", "w1", "db"]), Some(("w1".to_owned(), false)));
    assert_eq!(names(&["nodes", "w1", "_hidden"]), None);
}

#[test]
fn what_somebody_could_read_is_told_by_name() {
    let mut site = Site::with_secrets(Form::Nix);
    let (part, nobody) = (person(5), person(6));
    let admin = person(1);
    site.rules_by_path(&[("^nodes/web/w2/", &[&admin, &part]), ("", &[&admin])]);
    site.accepting(ADMINS).unwrap();
    let found = access(&site);
    let tree = master::evaluate(Form::Nix, &nixmox_tree::SecretString::new(NIX), None).unwrap();
    let fleet = site.fleet();
    let by = |who: &Person| Readable::by(&fleet, &tree, &found, &who.recipient()).unwrap();
    let names = |found: &Readable| {
        found.secrets.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&by(&part)), "nodes.web.port nodes.web.token nodes.web.url");
    assert!(!by(&part).master && by(&part).hosts.len() == 1);
    assert!(by(&site.admin).master && names(&by(&site.admin)).contains("nodes.w1._hidden"));
    assert_eq!(by(&nobody), Readable::default());
}

/// Seals something to a person, and returns the wrapped data key.
fn sealed_to(person: &Person) -> String {
    age_file(&[person], &[7; 32])
}

/// Lets Debian's `age` write an armored file for all of some people.
fn age_file(people: &[&Person], content: &[u8]) -> String {
    let mut command = std::process::Command::new("age");
    command.arg("--armor");
    for person in people {
        command.args(["-r", &person.recipient()]);
    }
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("age cannot be run: {e}"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
