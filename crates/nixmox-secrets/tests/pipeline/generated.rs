//! Values that are declared instead of written, from the master to the hosts' files.

use std::collections::BTreeSet;

use jiff::Timestamp;
use nixmox_generate::{Records, Why};
use nixmox_secrets::{
    Change, Error, Form, Generation, Options, ProblemKind, Regenerate, Renewal, Renewed, Report,
    regenerate,
};
use nixmox_sops::{Documents, EncryptedFile, Format, Keep, Recipient, SealOptions, seal};
use nixmox_tree::{SecretTree, Value};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::site::*;

const DECLARED: &str = r#"{
  nodes.web = {
    plain = "written";
    key._generate = { type = "password"; length = 40; every = "90d"; };
    wg._generate = { type = "wireguard"; perHost = true; };
    _pw._generate = { type = "hex"; };
    hash._generate = { type = "sha512-crypt"; of = "web._pw"; rounds = 5000; };
  };
  nodes.d1.peer._generate = { type = "template"; text = "{{w1.wg.public}}"; };
}
"#;

const DECLARED_YAML: &str = "\
nodes:
    web:
        plain: written
        key:
            _generate:
                type: password
                length: 40
                every: 90d
        wg:
            _generate:
                type: wireguard
                perHost: true
        _pw:
            _generate:
                type: hex
        hash:
            _generate:
                type: sha512-crypt
                of: web._pw
                rounds: 5000
    d1:
        peer:
            _generate:
                type: template
                text: '{{w1.wg.public}}'
";

const GENERATED: &str = ".nixmox/generated.yaml";
const W1_PUBLIC: &str = "nodes/web/w1/public.json";

fn again(site: &Site, again: Regenerate, accept: bool) -> Result<Report, Error> {
    let identities = site.admin.identities();
    let generation = Generation { again: &again, sandbox: None, accept };
    let options = Options { generation, ..options(&identities, NOTHING, None) };
    let now = Timestamp::from_second(1_900_000_000).unwrap();
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    regenerate(site.root(), options, &mut rng, now).map(|outcome| outcome.report.unwrap())
}

fn paths(paths: &[&str]) -> Regenerate {
    Regenerate::Paths(paths.iter().map(|path| (*path).to_owned()).collect())
}

#[track_caller]
fn value(tree: &SecretTree, path: &str) -> String {
    let path: Vec<&str> = path.split('.').collect();
    tree.at(&path).and_then(Value::as_str).unwrap_or_else(|| panic!("{path:?}")).to_owned()
}

#[track_caller]
fn problems(site: &Site) -> Vec<(String, ProblemKind)> {
    site.check().problems.into_iter().map(|p| (p.path.to_string(), p.kind)).collect()
}

#[track_caller]
fn made_from_nothing(form: Form, text: &str) {
    let mut site = Site::new(form);
    let report = site.edit(text);
    assert_eq!(report.generated.len(), 6);
    assert!(report.generated.values().all(|why| *why == Why::New));
    let (w1, w2) = (site.values("w1", W1), site.values("w2", W2));
    assert_eq!(value(&w1, "plain"), "written");
    assert_eq!(value(&w1, "key"), value(&w2, "key"), "the group shares it");
    assert_eq!(value(&w1, "key").len(), 40);
    assert_ne!(value(&w1, "wg.private"), value(&w2, "wg.private"), "each host has its own");
    assert!(w1.get("_pw").is_none() && value(&w1, "hash").starts_with("$6$rounds=5000$"));
    let d1 = site.values("d1", "nodes/db/d1/secrets.yaml");
    assert_eq!(value(&d1, "peer"), value(&w1, "wg.public"), "across hosts");
    let clear = site.text(W1_PUBLIC);
    assert!(clear.contains(&value(&w1, "wg.public")));
    let secrets = ["key", "wg.private", "hash"].map(|path| value(&w1, path));
    for (name, (bytes, ..)) in site.snapshot() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{name}");
    }
    assert_eq!(problems(&site), []);
    let before = site.snapshot();
    assert!(site.again().is_unchanged());
    assert_eq!(before, site.snapshot());
}

#[test]
fn declared_values_are_made_and_delivered() {
    made_from_nothing(Form::Nix, DECLARED);
    made_from_nothing(Form::Yaml, DECLARED_YAML);
}

#[test]
fn edits_keep_what_was_made() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let (sealed, clear) = (site.read(GENERATED), site.read(W1_PUBLIC));
    let w1 = site.values("w1", W1);
    let report = site.edit(&DECLARED.replace("written", "another"));
    assert!(report.generated.is_empty());
    assert_eq!((site.read(GENERATED), site.read(W1_PUBLIC)), (sealed, clear));
    let mut now = site.values("w1", W1);
    now.insert("plain", Value::string("written"));
    assert_eq!(now, w1);
}

#[test]
fn what_is_asked_for_is_made_anew_and_the_rest_keeps_its_ciphertext() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let before = site.text(GENERATED);
    let w1 = site.values("w1", W1);
    let report = again(&site, paths(&["web._pw"]), false).unwrap();
    let names: Vec<&str> = report.generated.keys().map(String::as_str).collect();
    assert_eq!(names, ["web._pw", "web.hash"]);
    assert_eq!(report.master, Change::Unchanged);
    let now = site.values("w1", W1);
    assert_ne!(value(&now, "hash"), value(&w1, "hash"));
    assert_eq!(value(&now, "key"), value(&w1, "key"));
    let line = |text: &str, place: &str| {
        let (_, below) = text.split_once(&format!("{place}:\n")).unwrap();
        below.lines().find(|line| line.contains("value: ")).unwrap().to_owned()
    };
    assert_eq!(line(&before, "web.key"), line(&site.text(GENERATED), "web.key"));
    assert_eq!(problems(&site), []);
    // The password is older than its declaration allows by then; nothing else has an age.
    let report = again(&site, Regenerate::Due, false).unwrap();
    assert_eq!(report.generated, [("web.key".to_owned(), Why::Asked)].into());
    assert!(matches!(
        again(&site, paths(&["web.nothing"]), false),
        Err(Error::NotGenerated { path }) if path == "web.nothing"
    ));
}

/// New data keys, the same values: the file of generated values gets one too, derived from the master's new one.
#[test]
fn rotation_keeps_what_was_made_under_a_new_data_key() {
    for (form, text) in [(Form::Nix, DECLARED), (Form::Yaml, DECLARED_YAML)] {
        let mut site = Site::new(form);
        site.edit(text);
        let paths = [("w1", W1), ("w2", W2), ("d1", "nodes/db/d1/secrets.yaml")];
        let values = |site: &Site| paths.map(|(host, path)| site.values(host, path));
        let (before, clear, old) = (values(&site), site.read(W1_PUBLIC), site.read(GENERATED));
        let key = site.data_key(GENERATED, Format::Yaml);
        let master = Renewal { master: true, ..Renewal::default() };
        for renewal in [Renewal::everything(), master] {
            let (former, sealed) = (site.data_key(GENERATED, Format::Yaml), site.read(GENERATED));
            let report = site.renew(&renewal).unwrap();
            assert!(report.generated.is_empty(), "{:?}", report.generated);
            assert_ne!(site.data_key(GENERATED, Format::Yaml), former);
            // Not one value's ciphertext is what the holder of the former key has seen.
            let ciphertexts = |bytes: &[u8]| -> BTreeSet<String> {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let values = text.match_indices("ENC[").map(|(at, _)| &text[at..]);
                values.map(|rest| rest.split(']').next().unwrap().to_owned()).collect()
            };
            let both = [ciphertexts(&sealed), ciphertexts(&site.read(GENERATED))];
            assert!(!both[0].is_empty() && both[0].is_disjoint(&both[1]));
            assert_eq!((values(&site), site.read(W1_PUBLIC)), (before.clone(), clear.clone()));
            assert_eq!(problems(&site), []);
            assert!(site.again().is_unchanged());
        }
        // Of one host alone: nothing that is generated is touched.
        let sealed = site.read(GENERATED);
        let hosts = Renewed::Named(["w1".to_owned()].into());
        site.renew(&Renewal { hosts, ..Renewal::default() }).unwrap();
        assert_eq!((site.read(GENERATED), values(&site)), (sealed, before));
        // The former file does not come back.
        site.write(GENERATED, old);
        assert_eq!(site.data_key(GENERATED, Format::Yaml), key);
        let refused = site.try_edit(&text.replace("written", "another"));
        assert!(matches!(refused, Err(Error::UnvouchedGenerated { .. })), "{refused:?}");
    }
}

#[test]
fn what_a_host_could_read_is_made_anew() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let host = nixmox_topology::NodeName::parse("w1").unwrap();
    let report = again(&site, Regenerate::ReadBy(host), false).unwrap();
    let asked = report.generated.iter().filter(|(_, why)| **why == Why::Asked);
    let asked: BTreeSet<&str> = asked.map(|(name, _)| name.as_str()).collect();
    assert_eq!(asked, BTreeSet::from(["web.hash", "web.key", "web.wg for w1"]));
    assert_eq!(report.generated.get("d1.peer"), Some(&Why::Inputs));
    assert_eq!(problems(&site), []);
}

#[test]
fn nothing_is_left_of_what_is_not_declared_any_more() {
    let mut site = Site::new(Form::Nix);
    site.edit("{ nodes.web.plain = \"written\"; }");
    let before: BTreeSet<String> = site.snapshot().into_keys().collect();
    site.edit(DECLARED);
    let report = site.edit("{ nodes.web.plain = \"written\"; }");
    assert_eq!(report.generated.len(), 6);
    assert!(report.generated.values().all(|why| *why == Why::Dropped));
    let mut after: BTreeSet<String> = site.snapshot().into_keys().collect();
    after.retain(|name| !name.starts_with("nodes/db/d1/"));
    assert_eq!(after, before);
    assert_eq!(problems(&site), []);
}

/// Somebody without an admin's key makes a file of values that he knows, as anybody can for a public key.
#[test]
fn values_that_somebody_else_sealed_are_not_taken() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let identities = site.admin.identities();
    let own = EncryptedFile::parse(&site.read(GENERATED), Format::Yaml).unwrap();
    let mut tree = own.open(&identities).unwrap().documents().to_tree().unwrap();
    tree.insert_at(&["shared", "web.key", "value"], Value::string("known to him")).unwrap();
    assert!(Records::from_tree(&tree).is_ok());
    let mut options = SealOptions::new([Recipient::parse(&site.admin.recipient()).unwrap()]);
    options.strict = true;
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let documents = Documents::from_tree(&tree);
    let forged = seal(&documents, (Format::Yaml, &options), Keep::Nothing, &mut rng, now).unwrap();
    site.write(GENERATED, &forged);
    let before = site.snapshot();
    assert!(matches!(site.try_again(), Err(Error::UnvouchedGenerated { .. })));
    let edited = site.try_edit(&DECLARED.replace("written", "another"));
    assert!(matches!(edited, Err(Error::UnvouchedGenerated { .. })));
    assert_eq!(before, site.snapshot());
    assert!(problems(&site).contains(&(GENERATED.to_owned(), ProblemKind::UnvouchedFile)));
    again(&site, Regenerate::Nothing, true).unwrap();
    assert_eq!(value(&site.values("w1", W1), "key"), "known to him", "who accepts it gets it");
    assert_eq!(problems(&site), []);
}

#[test]
fn a_changed_byte_is_refused() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let text = site.text(GENERATED);
    site.write(GENERATED, text.replacen("data:", "data:AAAA", 1));
    assert!(matches!(site.try_again(), Err(Error::Open { .. })));
    let found = problems(&site);
    let unopened = |(path, kind): &(String, ProblemKind)| {
        path == GENERATED && matches!(kind, ProblemKind::Unopened(_))
    };
    assert!(found.iter().any(unopened), "{found:?}");
    site.remove(GENERATED);
    assert_eq!(site.again().generated.len(), 6, "without it everything is made anew");
}

#[test]
fn public_parts_that_were_changed_are_reported_and_restored() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let clear = site.text(W1_PUBLIC);
    site.write(W1_PUBLIC, clear.replace("\"public\": \"", "\"public\": \"AAAA"));
    assert_eq!(problems(&site), [(W1_PUBLIC.to_owned(), ProblemKind::AlteredPublic)]);
    site.again();
    assert_eq!(site.text(W1_PUBLIC), clear);
    site.remove(W1_PUBLIC);
    assert_eq!(problems(&site), [(W1_PUBLIC.to_owned(), ProblemKind::Missing)]);
    site.again();
    assert_eq!(site.text(W1_PUBLIC), clear);
    // One where none belongs, made to look like ours.
    site.write("nodes/x/public.json", &clear);
    let stray = ("nodes/x/public.json".to_owned(), ProblemKind::Orphan);
    assert_eq!(problems(&site), [stray]);
    site.again();
    assert!(!site.has("nodes/x/public.json"));
    // Somebody else's file of that name is neither read nor overwritten.
    site.write("nodes/x/public.json", "{}");
    assert_eq!(problems(&site), []);
    site.write(W1_PUBLIC, "{ \"mine\": 1 }");
    assert!(matches!(site.try_again(), Err(Error::InTheWay { .. })));
}

#[test]
fn other_admins_get_another_data_key() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let former = person(1);
    let key = site.data_key(GENERATED, Format::Yaml);
    let w1 = site.values("w1", W1);
    let other = person(2);
    site.rules(&[&site.admin, &other]);
    site.accepting(ADMINS).unwrap();
    assert!(other.opens(&site.read(GENERATED), Format::Yaml));
    assert_ne!(site.data_key(GENERATED, Format::Yaml), key);
    assert_eq!(site.values("w1", W1), w1);
    site.admin = other;
    site.rules(&[&site.admin]);
    site.accepting(ADMINS).unwrap();
    assert!(!former.opens(&site.read(GENERATED), Format::Yaml));
    assert_eq!(site.values("w1", W1), w1);
    assert_eq!(problems(&site), []);
}

#[test]
fn an_overlay_takes_the_values_along() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let w1 = site.values("w1", W1);
    std::fs::create_dir(site.root().join("private")).unwrap();
    site.again();
    assert!(!site.has(GENERATED) && site.has("private/.nixmox/generated.yaml"));
    assert!(!site.has(W1_PUBLIC) && site.has("private/nodes/web/w1/public.json"));
    assert_eq!(site.values("w1", "private/nodes/web/w1/secrets.yaml"), w1);
    assert_eq!(problems(&site), []);
    assert!(site.again().is_unchanged());
}

#[test]
fn a_declaration_that_is_wrong_writes_nothing() {
    let mut site = Site::new(Form::Nix);
    site.edit(DECLARED);
    let before = site.snapshot();
    let wrong = DECLARED.replace("\"hex\"", "\"hexx\"");
    assert!(matches!(site.try_edit(&wrong), Err(Error::Declare(_))));
    let circle =
        DECLARED.replace("{ type = \"hex\"; }", "{ type = \"bcrypt\"; of = \"web.hash\"; }");
    assert!(matches!(site.try_edit(&circle), Err(Error::Generate(_))));
    assert_eq!(before, site.snapshot());
}
