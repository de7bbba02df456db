//! The store against a real file system: what it reads, refuses, commits and recovers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nixmox_secrets::store::{
    Changes, EntryKind, JournalError, Mode, Recovery, RelPath, Store, StoreError, sha256,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

/// A repository with the given files.
fn repo(files: &[(&str, &str)]) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn commit(store: &Store, changes: Changes) -> Result<(), StoreError> {
    store.lock()?.commit(changes)
}

fn write(changes: &mut Changes, name: &str, content: &str) {
    changes.write(path(name), content.as_bytes().to_vec(), Mode::Private);
}

/// Every file outside `.nixmox`, and whatever is left in `.nixmox/txn`.
fn files(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let at = entry.unwrap().path();
            let name = at.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if [".nixmox/lock", ".nixmox/.gitignore"].contains(&name.as_str()) {
                continue;
            }
            if at.is_dir() {
                dirs.push(at);
            } else {
                found.push((name, fs::read_to_string(&at).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn check_files(root: &Path, expect: &[(&str, &str)]) {
    let found = files(root);
    let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(found, expect);
}

#[test]
fn reads_are_bounded_and_absence_is_none() {
    let (_dir, store) = repo(&[("a/b/c.yaml", "12345")]);
    assert_eq!(store.read(&path("a/b/c.yaml"), 5).unwrap().unwrap(), b"12345");
    assert_eq!(store.read(&path("a/b/d.yaml"), 5).unwrap(), None);
    assert_eq!(store.read(&path("x/y/z"), 5).unwrap(), None);
    let error = store.read(&path("a/b/c.yaml"), 4).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { limit: 4, .. }));
    assert_eq!(error.to_string(), "a/b/c.yaml has more than 4 bytes");
}

#[test]
fn reads_follow_no_link_and_open_only_files() {
    let (dir, store) = repo(&[("real/file", "x"), ("file", "x")]);
    let at = |name: &str| dir.path().join(name);
    symlink("real", at("dirlink")).unwrap();
    symlink("file", at("filelink")).unwrap();
    symlink("/etc", at("real/up")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
    assert!(fifo.success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

    let refused = |name: &str| store.read(&path(name), 1 << 20).unwrap_err().to_string();
    assert_eq!(refused("dirlink/file"), "dirlink is a symbolic link, and links are not followed");
    assert_eq!(refused("filelink"), "filelink is a symbolic link, and links are not followed");
    assert_eq!(refused("real/up/passwd"), "real/up is a symbolic link, and links are not followed");
    assert_eq!(refused("dangling"), "dangling is a symbolic link, and links are not followed");
    assert_eq!(refused("real"), "real is not a regular file but a directory");
    assert_eq!(refused("file/x"), "file is not a directory");
    assert_eq!(refused("fifo"), "fifo is not a regular file but a pipe, a socket or a device");
    assert_eq!(refused("socket"), "socket is not a regular file but a pipe, a socket or a device");
    let error = store.read(&RelPath::root(), 1).unwrap_err();
    assert!(matches!(error, StoreError::NotAFile { kind: EntryKind::Dir, .. }));
}

#[test]
fn the_root_must_be_a_directory_and_may_be_a_link() {
    let (dir, _store) = repo(&[("file", "x")]);
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    assert!(matches!(Store::open(&file), Err(StoreError::Root { .. })));
    assert!(matches!(Store::open(&dir.path().join("none")), Err(StoreError::Root { .. })));
    symlink(".", &link).unwrap();
    let store = Store::open(&link).unwrap();
    assert_eq!(store.root(), link);
    assert!(store.read(&path("file"), 1).unwrap().is_some());
}

#[test]
fn entries_are_sorted_and_name_links() {
    let (dir, store) = repo(&[("n/b", ""), ("n/a/x", ""), ("n/B", "")]);
    symlink("b", dir.path().join("n/l")).unwrap();
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"z\xff");
    fs::write(dir.path().join("n").join(odd), "").unwrap();
    let listed = store.entries(&path("n")).unwrap();
    let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    let expect = [
        ("B", EntryKind::File),
        ("a", EntryKind::Dir),
        ("b", EntryKind::File),
        ("l", EntryKind::Symlink),
        ("z\u{fffd}", EntryKind::Other),
    ];
    assert_eq!(listed, expect);
    assert_eq!(store.entries(&path("none/such")).unwrap(), []);
    assert_eq!(store.entries(&RelPath::root()).unwrap().len(), 1);
    assert!(matches!(store.entries(&path("n/b")), Err(StoreError::NotADirectory { .. })));
    assert!(matches!(store.entries(&path("n/l")), Err(StoreError::Symlink { .. })));
}

#[test]
fn a_commit_writes_replaces_and_removes() {
    let (dir, store) = repo(&[("master", "old"), ("hosts/gone/s", "bye"), ("keep", "k")]);
    fs::set_permissions(dir.path().join("master"), fs::Permissions::from_mode(0o777)).unwrap();
    let before = fs::File::open(dir.path().join("master")).unwrap();
    let mut changes = Changes::new();
    write(&mut changes, "master", "new");
    changes.write(path("hosts/web/key.pub"), b"public".to_vec(), Mode::Public);
    changes.remove(path("hosts/gone/s"));
    changes.remove(path("hosts/never/was"));
    changes.expect(path("master"), Some(sha256(b"old")));
    changes.expect(path("keep"), Some(sha256(b"k")));
    changes.expect(path("hosts/web/key.pub"), None);
    commit(&store, changes).unwrap();

    let expect = [("hosts/web/key.pub", "public"), ("keep", "k"), ("master", "new")];
    check_files(dir.path(), &expect);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("master") & 0o7777, 0o600);
    assert_eq!(mode("hosts/web/key.pub") & 0o7777, 0o644);
    // Whoever had the old file open still has all of it: it was replaced, not overwritten.
    assert_eq!(std::io::read_to_string(before).unwrap(), "old");
    assert!(!dir.path().join(".nixmox/txn").exists());
    assert!(!store.unfinished().unwrap());
    let ignored = fs::read_to_string(dir.path().join(".nixmox/.gitignore")).unwrap();
    assert!(ignored.starts_with("/lock\n/txn\n"));
}

#[test]
fn many_files_take_the_other_way_of_syncing() {
    let (dir, store) = repo(&[]);
    let mut changes = Changes::new();
    for n in 0..200 {
        write(&mut changes, &format!("hosts/h{n:03}/secrets.yaml"), &n.to_string());
    }
    commit(&store, changes).unwrap();
    let found = files(dir.path());
    assert_eq!(found.len(), 200);
    assert_eq!(found[7], ("hosts/h007/secrets.yaml".to_owned(), "7".to_owned()));
    let mut changes = Changes::new();
    (0..200).for_each(|n| changes.remove(path(&format!("hosts/h{n:03}/secrets.yaml"))));
    commit(&store, changes).unwrap();
    check_files(dir.path(), &[]);
}

#[track_caller]
fn check_refused(changes: Changes, expect: &str) {
    let (dir, store) = repo(&[("file", "f"), ("dir/x", "x")]);
    symlink("dir", dir.path().join("link")).unwrap();
    symlink("file", dir.path().join("flink")).unwrap();
    let before = files(dir.path());
    let error = commit(&store, changes).unwrap_err();
    assert_eq!(error.to_string(), expect);
    assert_eq!(files(dir.path()), before);
    assert!(!dir.path().join(".nixmox/txn").exists());
}

#[test]
fn bad_targets_are_refused_and_nothing_changes() {
    let writes = |names: &[&str]| {
        let mut changes = Changes::new();
        write(&mut changes, "a-good-one", "x");
        names.iter().for_each(|name| write(&mut changes, name, "x"));
        changes
    };
    let link = " is a symbolic link, and links are not followed";
    check_refused(writes(&["flink"]), &format!("flink{link}"));
    check_refused(writes(&["link/y"]), &format!("link{link}"));
    check_refused(writes(&["dir"]), "dir is not a regular file but a directory");
    check_refused(writes(&["file/y"]), "file is not a directory");
    check_refused(writes(&["n", "n-1", "n/y"]), "the changes to n/y contradict each other");
    let reserved = " is a place that cannot be written to";
    check_refused(writes(&[".nixmox"]), &format!(".nixmox{reserved}"));
    check_refused(writes(&[".nixmox/lock"]), &format!(".nixmox/lock{reserved}"));
    check_refused(writes(&[".nixmox/txn/journal"]), &format!(".nixmox/txn/journal{reserved}"));
    let mut both = writes(&["file"]);
    both.remove(path("file"));
    check_refused(both, "the changes to file contradict each other");
    let mut root = writes(&[]);
    root.remove(RelPath::root());
    check_refused(root, &format!(".{reserved}"));
    let mut under = writes(&["file"]);
    under.remove(path("file/x"));
    check_refused(under, "the changes to file/x contradict each other");
}

#[test]
fn what_changed_meanwhile_stops_the_commit() {
    let expecting = |name: &str, hash| {
        let mut changes = Changes::new();
        write(&mut changes, "new", "x");
        changes.expect(path(name), hash);
        changes
    };
    let stopped = |name: &str| format!("{name} was changed by someone else in the meantime");
    check_refused(expecting("file", Some(sha256(b"other"))), &stopped("file"));
    check_refused(expecting("file", None), &stopped("file"));
    check_refused(expecting("new", Some(sha256(b""))), &stopped("new"));
    let mut only = Changes::new();
    only.expect(path("dir/x"), None);
    check_refused(only, &stopped("dir/x"));
}

#[test]
fn the_lock_keeps_others_out_and_names_the_holder() {
    let (dir, store) = repo(&[]);
    let other = Store::open(dir.path()).unwrap();
    let held = store.lock().unwrap();
    let Err(StoreError::Busy { holder: Some(holder) }) = other.lock() else {
        panic!("the second lock was not refused with a holder");
    };
    assert_eq!(holder.pid, std::process::id());
    let age = std::time::SystemTime::now().duration_since(holder.since).unwrap();
    assert!(age.as_secs() < 3600);
    fs::write(dir.path().join(".nixmox/lock"), "garbage").unwrap();
    assert!(matches!(other.lock(), Err(StoreError::Busy { holder: None })));
    drop(held);
    other.lock().unwrap();
}

#[test]
fn hostile_own_files_are_not_followed() {
    for name in ["lock", ".gitignore", "txn"] {
        let (dir, store) = repo(&[("victim/file", "v"), (".nixmox/x", "")]);
        symlink("../victim", dir.path().join(".nixmox").join(name)).unwrap();
        let refused = store.lock().and_then(|mut locked| locked.recover());
        assert!(matches!(refused, Err(StoreError::Symlink { .. })), "{name}: {refused:?}");
        symlink("file", dir.path().join("victim/journal")).unwrap();
        if name == "txn" {
            assert!(store.unfinished().is_err());
        }
        assert_eq!(fs::read_to_string(dir.path().join("victim/file")).unwrap(), "v");
    }
    let (dir, store) = repo(&[("victim/file", "v")]);
    symlink("victim", dir.path().join(".nixmox")).unwrap();
    assert!(matches!(store.lock(), Err(StoreError::Symlink { .. })));
    assert_eq!(fs::read_dir(dir.path().join("victim")).unwrap().count(), 1);
}

const HASH_A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
const HASH_B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

/// A journal of one write of `b` over `a`, with the pieces replaced.
fn journal(replace: &[(&str, &str)]) -> String {
    let write = format!(
        r#"{{"write":{{"path":"t","staged":0,"mode":"0600","new":"{HASH_B}","old":"{HASH_A}"}}}}"#
    );
    let text = format!(r#"{{"version":1,"operations":[{write}]}}"#);
    replace.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

fn with_journal(journal: &str, staged: &str, target: &str) -> (TempDir, Store) {
    repo(&[(".nixmox/txn/journal", journal), (".nixmox/txn/0", staged), ("t", target)])
}

#[test]
fn a_decided_commit_is_finished() {
    let (dir, store) = with_journal(&journal(&[]), "b", "a");
    assert!(store.unfinished().unwrap());
    let mut locked = store.lock().unwrap();
    let mut changes = Changes::new();
    write(&mut changes, "x", "x");
    assert!(matches!(locked.commit(changes), Err(StoreError::Unfinished)));
    assert_eq!(locked.recover().unwrap(), Recovery::Finished { paths: vec![path("t")] });
    assert_eq!(locked.recover().unwrap(), Recovery::Nothing);
    check_files(dir.path(), &[("t", "b")]);
    let mode = fs::metadata(dir.path().join("t")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!store.unfinished().unwrap());
}

#[test]
fn what_was_not_decided_is_undone() {
    let (dir, store) =
        repo(&[(".nixmox/txn/journal.new", "{"), (".nixmox/txn/0", "b"), ("t", "a")]);
    assert!(!store.unfinished().unwrap());
    assert_eq!(store.lock().unwrap().recover().unwrap(), Recovery::Undone);
    check_files(dir.path(), &[("t", "a")]);
    assert!(!dir.path().join(".nixmox/txn").exists());
}

#[test]
fn a_decided_commit_of_very_many_files_is_finished() {
    let text = journal(&[(r#""staged":0"#, r#""staged":1100"#)]);
    let (dir, store) =
        repo(&[(".nixmox/txn/journal", &text), (".nixmox/txn/d2/1100", "b"), ("t", "a")]);
    fs::create_dir(dir.path().join(".nixmox/txn/d1")).unwrap();
    let recovered = store.lock().unwrap().recover().unwrap();
    assert_eq!(recovered, Recovery::Finished { paths: vec![path("t")] });
    check_files(dir.path(), &[("t", "b")]);
    assert!(!dir.path().join(".nixmox/txn").exists());
}

#[test]
fn staged_files_behind_a_link_are_none() {
    let text = journal(&[(r#""staged":0"#, r#""staged":600"#)]);
    let (dir, store) = repo(&[(".nixmox/txn/journal", &text), ("t", "a"), ("elsewhere/600", "b")]);
    symlink("../../elsewhere", dir.path().join(".nixmox/txn/d1")).unwrap();
    let before = files(dir.path());
    let error = store.lock().unwrap().recover().unwrap_err();
    let refused = ".nixmox/txn/d1 is a symbolic link, and links are not followed";
    assert_eq!(error.to_string(), refused);
    assert_eq!(files(dir.path()), before, "nothing may change");
}

#[track_caller]
fn check_hostile(journal: &str, staged: &str, target: &str, expect: &str) {
    let (dir, store) = with_journal(journal, staged, target);
    let before = files(dir.path());
    let error = store.lock().unwrap().recover().unwrap_err();
    let StoreError::Journal { source } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), expect);
    assert!(error.to_string().contains("delete .nixmox/txn"));
    assert_eq!(files(dir.path()), before, "nothing may change");
}

#[test]
fn a_hostile_journal_changes_nothing() {
    let bad = |field: &str| format!("operation 0 of the journal has a bad {field}");
    let check = |from: &str, to: &str, expect: &str| {
        check_hostile(&journal(&[(from, to)]), "b", "a", expect);
    };
    check(r#""t""#, r#""../t""#, &bad("path"));
    check(r#""t""#, r#""/etc/passwd""#, &bad("path"));
    check(r#""t""#, r#"".git/hooks/pre-commit""#, &bad("path"));
    check(r#""t""#, r#"".nixmox/lock""#, &bad("path"));
    check(r#""t""#, r#""""#, &bad("path"));
    check("0600", "4755", &bad("mode"));
    check(":0,", ":100000,", &bad("staged name"));
    check(HASH_B, "beef", &bad("hash"));
    check(HASH_A, &HASH_A.to_uppercase(), &bad("hash"));
    check(":0,", ":-1,", "the journal cannot be read");
    check(r#""staged""#, r#""extra":1,"staged""#, "the journal cannot be read");
    check(r#""version":1"#, r#""version":2"#, "the journal has version 2, which is not known");
    check_hostile("", "b", "a", "the journal cannot be read");
    check_hostile(&"[".repeat(100_000), "b", "a", "the journal cannot be read");
    let staged = "the staged file for t is missing or was changed";
    check_hostile(&journal(&[]), "evil", "a", staged);
    check(":0,", ":1,", staged);
    check_hostile(&journal(&[]), "b", "edited", "t was changed after the commit was interrupted");
    let twice = |second: &str| {
        let second = format!(
            r#"}}}},{{"write":{{"path":"{second}","staged":1,"mode":"0600","new":"{HASH_B}","old":null}}}}]"#
        );
        journal(&[("}}]", &second)])
    };
    let conflict = "operation 1 of the journal contradicts another one";
    check_hostile(&twice("t"), "b", "a", conflict);
    check_hostile(&twice("t/u"), "b", "a", conflict);
    check_hostile(&twice("u").replace(":1,\"mode", ":0,\"mode"), "b", "a", conflict);
    let remove = |path: &str, old: &str| {
        format!(r#"{{"version":1,"operations":[{{"remove":{{"path":"{path}","old":"{old}"}}}}]}}"#)
    };
    let changed = "t was changed after the commit was interrupted";
    check_hostile(&remove("t", HASH_B), "b", "a", changed);
    check_hostile(&remove(".nixmox/txn", HASH_A), "b", "a", &bad("path"));
    check_hostile(&remove(".nixmox", HASH_A), "b", "a", &bad("path"));
}

#[test]
fn a_journal_reaches_through_no_link() {
    let (dir, store) = with_journal(&journal(&[(r#""t""#, r#""link/t""#)]), "b", "a");
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    let error = store.lock().unwrap().recover().unwrap_err();
    let StoreError::Journal { source: JournalError::Unusable(source) } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(*source, StoreError::Symlink { .. }));
    assert_eq!(fs::read_dir(dir.path().join("real")).unwrap().count(), 0);
}

#[test]
fn a_commit_after_a_long_edit_sees_replaced_directories() {
    let (dir, store) = repo(&[("hosts/web", "1")]);
    assert!(store.read(&path("hosts/web"), 9).unwrap().is_some());
    // What `git checkout` does to a directory while an editor is open.
    fs::rename(dir.path().join("hosts"), dir.path().join("away")).unwrap();
    fs::create_dir(dir.path().join("hosts")).unwrap();
    fs::write(dir.path().join("hosts/web"), "2").unwrap();
    let mut changes = Changes::new();
    write(&mut changes, "hosts/web", "3");
    changes.expect(path("hosts/web"), Some(sha256(b"1")));
    assert!(matches!(commit(&store, changes), Err(StoreError::ChangedMeanwhile { .. })));
    assert_eq!(store.read(&path("hosts/web"), 9).unwrap().unwrap(), b"2");
}

#[test]
fn threads_read_at_the_same_time() {
    let names: Vec<_> = (0..200).map(|n| format!("hosts/h{n}/s")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let (_dir, store) = repo(&files);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for name in &names {
                    assert_eq!(store.read(&path(name), 99).unwrap().unwrap(), name.as_bytes());
                }
            });
        }
    });
}

/// A file of a small repository in which paths collide often.
fn any_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "d/a", "d/b", "e/f/g", "a/x", "d"]).prop_map(str::to_owned)
}

fn any_files() -> impl Strategy<Value = BTreeMap<String, String>> {
    // Only names of which none is the directory of another.
    let name = prop::sample::select(vec!["a", "b", "d/a", "e/f/g"]).prop_map(str::to_owned);
    prop::collection::btree_map(name, "[xyz]", 0..4)
}

proptest! {
    #[test]
    fn a_commit_does_what_it_says_or_nothing(
        old in any_files(),
        writes in prop::collection::btree_map(any_name(), "[xyz]", 0..4),
        removes in prop::collection::btree_set(any_name(), 0..3),
    ) {
        let listed: Vec<_> = old.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (dir, store) = repo(&listed);
        let mut changes = Changes::new();
        writes.iter().for_each(|(name, text)| write(&mut changes, name, text));
        removes.iter().for_each(|name| changes.remove(path(name)));
        let mut expect = old.clone();
        if commit(&store, changes).is_ok() {
            removes.iter().for_each(|name| drop(expect.remove(name)));
            expect.extend(writes);
        } else {
            let plain = ["a", "b", "d/a", "d/b", "e/f/g"];
            let all: Vec<_> = writes.keys().chain(&removes).collect();
            let twice = writes.keys().any(|name| removes.contains(name));
            prop_assert!(twice || all.iter().any(|name| !plain.contains(&name.as_str())));
        }
        prop_assert_eq!(files(dir.path()), expect.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_path_that_is_taken_stays_inside(text in "[./a-z\\-~\\\\\u{0}\u{200c}]{0,12}|\\PC*") {
        if let Ok(parsed) = RelPath::parse(&text) {
            let inside = |part| matches!(part, std::path::Component::Normal(_));
            prop_assert!(Path::new(&text).components().all(inside));
            prop_assert_eq!(Path::new(&text).components().count(), text.split('/').count());
            prop_assert_eq!(parsed.as_str(), text.as_str());
            prop_assert!(!text.split('/').any(|part| part.eq_ignore_ascii_case(".git")));
        }
    }

    #[test]
    fn a_damaged_journal_is_refused_or_harmless(at in 0usize..300, byte in any::<u8>()) {
        let mut text = journal(&[]).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let (dir, store) = with_journal("", "b", "a");
        fs::write(dir.path().join(".nixmox/txn/journal"), &text).unwrap();
        let recovered = store.lock().unwrap().recover();
        let target = fs::read_to_string(dir.path().join("t")).unwrap();
        match recovered {
            Ok(_) => prop_assert!(target == "b" || !text.windows(3).any(|part| part == b"\"t\"")),
            Err(_) => prop_assert_eq!(target, "a"),
        }
    }
}
