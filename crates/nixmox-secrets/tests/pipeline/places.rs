//! Where generated files lie, and how they get there.

use nixmox_secrets::{Arrangement, Change, Error, Form, Reason};

use crate::site::*;

const NESTED_W1: [&str; 3] = [
    "nodes/web/w1/secrets/default.yaml",
    "nodes/web/w1/secrets/fs/etc/ssh/ssh_host_ed25519_key",
    "nodes/web/w1/fs/etc/ssh/ssh_host_ed25519_key.pub",
];
const FLAT_W1: [&str; 3] = [W1, W1_KEY, W1_PUB];

/// Expects that a host kept its key, that its three files are at these places, and that all is well.
#[track_caller]
fn moved(site: &mut Site, host: &str, public: &[u8], places: [String; 3]) {
    assert_eq!(site.read(&places[2]), public, "the key is the same");
    assert_eq!(site.values(host, &places[0]).get("token").unwrap().as_str(), Some("own-token"));
    assert!(site.has(&places[1]));
    assert_eq!(site.check().problems, []);
    assert!(site.again().is_unchanged());
}

fn in_dir(dir: &str) -> [String; 3] {
    ["secrets.yaml", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
        .map(|file| format!("{dir}/{file}"))
}

/// Expects exactly these files of any host below `nodes/`.
#[track_caller]
fn only(site: &Site, expect: &[&str]) {
    let found = site.snapshot();
    let generated =
        found.keys().filter(|name| name.contains("ssh_host") || name.ends_with(".yaml"));
    let mut found: Vec<&str> = generated.map(String::as_str).collect();
    found.retain(|name| name.contains("nodes/"));
    assert_eq!(found, expect);
}

#[test]
fn files_move_into_an_overlay_that_was_made() {
    let mut site = Site::with_secrets(Form::Nix);
    let public = site.read(W1_PUB);
    site.write("private/README", "");
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Unchanged, &[Reason::Moved][..]));
    assert_eq!(report.master, Change::Updated);
    for file in [MASTER, DIGESTS, W1, W1_KEY, W1_PUB] {
        assert!(site.has(&format!("private/{file}")) && !site.has(file), "{file}");
    }
    moved(&mut site, "w1", &public, in_dir("private/nodes/web/w1"));
}

#[test]
fn an_overlay_and_the_rest_both_having_a_file_is_an_error() {
    for file in [MASTER, DIGESTS, W1, W1_KEY, W1_PUB] {
        let mut site = Site::with_secrets(Form::Nix);
        site.write("private/README", "");
        site.write(&format!("private/{file}"), site.read(file));
        let before = site.snapshot();
        match site.try_again() {
            Err(Error::BothAreas { public, private }) => {
                assert_eq!(
                    (public.as_str(), private.as_str()),
                    (file, &*format!("private/{file}"))
                );
            }
            other => panic!("{file}: {other:?}"),
        }
        assert_eq!(before, site.snapshot());
    }
}

#[test]
fn an_overlay_that_is_a_link_is_refused() {
    let mut site = Site::with_secrets(Form::Nix);
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), site.root().join("private")).unwrap();
    assert!(matches!(site.try_again(), Err(Error::SymlinkedNode { .. })));
}

#[test]
fn rules_in_an_overlay_see_paths_from_there() {
    let mut site = Site::bare(Form::Nix);
    site.remove(".sops.yaml");
    let keeper = person(2);
    let rule = |pattern: &str, people: &Person| {
        format!("  - path_regex: {pattern}\n    age: {}\n", people.recipient())
    };
    let rules = rule(r"^secrets\.yaml$", &site.admin) + &rule("^nodes/web/", &keeper);
    site.write("private/.sops.yaml", format!("creation_rules:\n{rules}"));
    site.group("web", &["w1", "w2"]);
    site.edit(NIX);
    let opens = |person: &Person, path: &str, format| person.opens(&site.read(path), format);
    assert!(opens(&site.admin, "private/secrets.yaml", nixmox_sops::Format::Binary));
    let key = format!("private/{W1_KEY}");
    assert!(opens(&keeper, &key, nixmox_sops::Format::Binary));
    assert!(!opens(&site.admin, &key, nixmox_sops::Format::Binary));
}

#[test]
fn nodes_of_the_overlay_count() {
    let mut site = Site::new(Form::Nix);
    site.write("private/nodes/web/group.nix", "{ w9 = { }; }");
    site.edit("{ nodes.web.token = \"own-token\"; }");
    let public = site.read("private/nodes/web/w9/ssh_host_ed25519_key.pub");
    moved(&mut site, "w9", &public, in_dir("private/nodes/web/w9"));
}

#[test]
fn the_nested_arrangement_stays() {
    let mut site = Site::new(Form::Nix);
    site.write("nodes/x/secrets/fs/etc/motd", "hello");
    site.edit(NIX);
    assert_eq!(site.fleet().layout().arrangement, Arrangement::Nested);
    only(
        &site,
        &[
            NESTED_W1[2],
            NESTED_W1[0],
            NESTED_W1[1],
            &NESTED_W1[2].replace("w1", "w2"),
            &NESTED_W1[0].replace("w1", "w2"),
            &NESTED_W1[1].replace("w1", "w2"),
        ],
    );
    let public = site.read(NESTED_W1[2]);
    moved(&mut site, "w1", &public, NESTED_W1.map(str::to_owned));
}

#[test]
fn one_stray_file_does_not_rearrange_a_fleet() {
    let mut site = Site::with_secrets(Form::Nix);
    let public = site.read(W1_PUB);
    site.write("nodes/db/secrets/default.yaml", "a: 1\n");
    assert!(site.again().is_unchanged());
    moved(&mut site, "w1", &public, FLAT_W1.map(str::to_owned));
}

#[test]
fn a_host_that_is_arranged_otherwise_than_the_rest_comes_along() {
    let mut site = Site::with_secrets(Form::Nix);
    let public = site.read(W1_PUB);
    for (from, to) in FLAT_W1.into_iter().zip(NESTED_W1) {
        site.rename(from, to);
    }
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Unchanged, &[Reason::Moved][..]));
    moved(&mut site, "w1", &public, FLAT_W1.map(str::to_owned));
    assert!(!site.has(NESTED_W1[0]));
}

/// A host gets another directory by a change of definitions; its key and file come along.
#[track_caller]
fn follows(change: impl Fn(&Site), dir: &str) {
    let mut site = Site::new(Form::Nix);
    site.edit("{ nodes.w1.token = \"own-token\"; }");
    let (public, sealed) = (site.read(W1_PUB), site.read(W1));
    change(&site);
    let misplaced = site.check().problems;
    assert!(misplaced.iter().any(|p| p.kind.code() == "misplaced"), "{misplaced:?}");
    let report = site.again();
    assert_eq!(host(&report, "w1"), (Change::Unchanged, &[Reason::Moved][..]));
    assert_eq!(report.orphans, []);
    assert!(!site.has(W1) && !site.has(W1_KEY) && !site.has(W1_PUB));
    assert_eq!(site.read(&format!("{dir}/secrets.yaml")), sealed, "not even sealed anew");
    moved(&mut site, "w1", &public, in_dir(dir));
}

#[test]
fn a_host_that_moves_takes_its_key_along() {
    follows(|site| site.group("zoo", &["w1"]), "nodes/zoo/w1");
    follows(|site| site.write("nodes/w1/host.nix", "{ }"), "nodes/w1");
    follows(
        |site| {
            site.group("web", &["w2"]);
            site.group("aaa", &["w1"]);
        },
        "nodes/aaa/w1",
    );
}

#[test]
fn a_host_that_moves_and_changes_is_sealed_at_its_new_place_alone() {
    let mut site = Site::with_secrets(Form::Nix);
    let public = site.read(W1_PUB);
    site.group("zoo", &["w1"]);
    let report = site.edit(&NIX.replace("hunter2", "hunter3"));
    assert_eq!(host(&report, "w1"), (Change::Updated, &[Reason::Values, Reason::Moved][..]));
    assert!(!site.has(W1));
    moved(&mut site, "w1", &public, in_dir("nodes/zoo/w1"));
}

#[test]
fn a_host_without_secrets_takes_its_key_along_too() {
    let mut site = Site::with_secrets(Form::Nix);
    let public = site.read(W1_PUB);
    site.edit("{ nodes.w2.token = \"x\"; }");
    site.group("zoo", &["w1"]);
    site.again();
    assert!(!site.has(W1_KEY));
    site.edit(NIX);
    moved(&mut site, "w1", &public, in_dir("nodes/zoo/w1"));
}

#[test]
fn a_key_that_could_be_any_of_several_is_nobodys() {
    let mut site = Site::with_secrets(Form::Nix);
    for file in ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
        site.write(&format!("nodes/old/w1/{file}"), site.read(&format!("nodes/web/w1/{file}")));
    }
    assert!(site.again().is_unchanged(), "what lies at home counts");
    site.group("zoo", &["w1"]);
    match site.try_again() {
        Err(Error::ScatteredHost { host, places }) => assert_eq!((&*host, places.len()), ("w1", 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_got_another_name_is_another_host() {
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w2", "w5"]);
    let report = site.edit(&NIX.replace("w1", "w5"));
    assert_eq!(host(&report, "w5"), (Change::Created, &[Reason::KeyMade, Reason::New][..]));
    let orphans: Vec<&str> = report.orphans.iter().map(|path| path.as_str()).collect();
    assert_eq!(orphans, [W1]);
    // The person who moves the files along is asked: the key was vouched for under another name.
    let mut site = Site::with_secrets(Form::Nix);
    site.group("web", &["w2", "w5"]);
    site.rename("nodes/web/w1", "nodes/web/w5");
    assert!(matches!(site.try_edit(&NIX.replace("w1", "w5")), Err(Error::UnknownHostKeys { .. })));
}

#[test]
fn names_that_climb_are_refused() {
    for name in ["../../../etc", "a/b", "..", "a b"] {
        let mut site = Site::new(Form::Nix);
        site.write("nodes/evil/group.nix", format!("{{ \"{name}\" = {{ }}; }}"));
        assert!(matches!(site.try_edit(NIX), Err(Error::Topology(_))), "{name}");
    }
}

#[test]
fn links_in_place_of_files_are_refused() {
    for file in [W1, W1_KEY, W1_PUB, DIGESTS, ".sops.yaml"] {
        let mut site = Site::with_secrets(Form::Nix);
        let target = tempfile::NamedTempFile::new().unwrap();
        site.remove(file);
        std::os::unix::fs::symlink(target.path(), site.root().join(file)).unwrap();
        assert!(matches!(site.try_edit(&NIX.replace("443", "1")), Err(Error::Store(_))), "{file}");
        assert_eq!(std::fs::read(target.path()).unwrap(), b"");
    }
}

#[test]
fn a_group_file_that_is_no_set_is_named() {
    let mut site = Site::new(Form::Nix);
    site.write("nodes/web/group.nix", "{ lib, ... }: { w1 = { }; }");
    match site.try_edit(NIX) {
        Err(Error::GroupFile { path, .. }) => assert_eq!(path.as_str(), "nodes/web/group.nix"),
        other => panic!("{other:?}"),
    }
    // Members' own values may be functions.
    site.write("nodes/web/group.nix", "{ w1 = { lib, ... }: { }; w2 = import ./x.nix; }");
    assert_eq!(site.edit(NIX).count(Change::Created), 2);
}
