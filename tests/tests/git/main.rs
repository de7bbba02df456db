//! Sealed files in git: real merges, rebases and picks of real fleets, by the git that is installed.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod declared;
mod pending;
mod submodule;

use std::fs;
use std::path::Path;

use nixmox_tests::{HOSTS, Ran, Shape, TestEnv};

/// An environment in which git knows who commits.
fn named() -> TestEnv {
    let mut env = TestEnv::new();
    for (name, value) in [
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.org"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.org"),
        ("GIT_EDITOR", "true"),
    ] {
        env.var(name, value);
    }
    env
}

/// A fleet in git with secrets in two groups, set up for merging, its state committed as `main`.
fn fleet(shape: Shape) -> TestEnv {
    let mut env = named();
    env.tool("git", &["init", "--quiet", "--initial-branch=main"]);
    env.fleet(Shape { git: false, ..shape });
    env.secrets(&[
        ("routers.psk", "one"),
        ("router1.own", "1"),
        ("servers.db.user", "app"),
        ("servers.db.password", "old"),
        ("server2.own", "2"),
    ]);
    env.run(&["git", "install"]).ends(0);
    commit(&env, "start");
    env
}

fn commit(env: &TestEnv, message: &str) {
    env.tool("git", &["add", "--all"]);
    env.tool("git", &["commit", "--quiet", "-m", message]);
}

/// Makes a branch from `main` on which secrets are set.
fn branch(env: &mut TestEnv, name: &str, secrets: &[(&str, &str)]) {
    env.tool("git", &["checkout", "--quiet", "-b", name, "main"]);
    env.secrets(secrets);
    commit(env, name);
}

/// Runs git and says how it ended.
fn git(env: &TestEnv, args: &[&str]) -> Ran {
    Ran::new(&env.command(Path::new("git")).args(args).output().unwrap())
}

fn get(env: &TestEnv, path: &str) -> String {
    env.run(&["get", path]).ends(0).out
}

/// No sealed file holds marks of a conflict, and every one is a sops file still.
#[track_caller]
fn no_marks(env: &TestEnv) {
    for area in ["", "private/"] {
        let hosts = HOSTS.map(|(_, dir)| dir);
        let files = hosts
            .iter()
            .flat_map(|dir| [format!("{dir}/secrets.yaml"), format!("{dir}/ssh_host_ed25519_key")]);
        for file in files.chain(["secrets.yaml".to_owned(), ".nixmox/digests.json".to_owned()]) {
            let Ok(text) = fs::read_to_string(env.path("fleet").join(area).join(&file)) else {
                continue;
            };
            assert!(!text.contains("<<<<<<<") && !text.contains(">>>>>>>"), "{file}:\n{text}");
        }
    }
}

/// After a merge that both sides made cleanly, sealing brings everything in step.
#[track_caller]
fn seals_and_checks(env: &TestEnv) {
    no_marks(env);
    env.run(&["status"]).ends(0);
    env.run(&["seal"]).ends(0);
    let checked = env.run(&["check"]).ends(0);
    assert!(checked.out.contains("all is well: 4 sealed hosts"), "{checked:#?}");
}

#[test]
fn changes_of_both_sides_are_merged_by_value() {
    for (yaml, private) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut env = fleet(Shape { yaml, private, git: true });
        branch(&mut env, "theirs", &[("routers.psk", "theirs"), ("server2.own", "theirs")]);
        branch(&mut env, "ours", &[("servers.db.password", "ours"), ("router1.own", "ours")]);
        git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
        assert_eq!(git(&env, &["status", "--porcelain"]).out, "");
        for (path, value) in [
            ("routers.psk", "theirs"),
            ("server2.own", "theirs"),
            ("servers.db.password", "ours"),
            ("router1.own", "ours"),
            ("servers.db.user", "app"),
        ] {
            assert_eq!(get(&env, path), value, "{path} yaml={yaml} private={private}");
        }
        // A host's own file was merged too, before anything is sealed.
        let router = env.delivered("router1").unwrap();
        assert!(router.contains("psk: theirs") && router.contains("own: ours"), "{router}");
        seals_and_checks(&env);
    }
}

#[test]
fn unchanged_values_keep_their_ciphertext() {
    let mut env = fleet(Shape { yaml: true, git: true, ..Shape::default() });
    branch(&mut env, "theirs", &[("routers.psk", "theirs")]);
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    let line = |env: &TestEnv, name: &str| {
        let text = fs::read_to_string(env.path("fleet/secrets.yaml")).unwrap();
        text.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned()
    };
    let before = ["user:", "password:", "own:"].map(|name| line(&env, name));
    let theirs = env.tool("git", &["show", "theirs:secrets.yaml"]);
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    assert_eq!(["user:", "password:", "own:"].map(|name| line(&env, name)), before);
    assert!(theirs.contains(&line(&env, "psk:")));
}

#[test]
fn a_conflict_leaves_ours_sealed_and_is_settled_by_name() {
    for yaml in [false, true] {
        let mut env = fleet(Shape { yaml, git: true, ..Shape::default() });
        branch(&mut env, "theirs", &[("servers.db.password", "theirs"), ("routers.psk", "new")]);
        branch(&mut env, "ours", &[("servers.db.password", "ours")]);
        let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
        let said = format!("{}{}", merge.out, merge.err);
        assert!(said.contains("CONFLICT (content): Merge conflict in secrets.yaml"), "{said}");
        assert!(said.contains("settle it with: nixmox-secrets git resolve"), "{said}");
        assert!(!said.contains("ours\"") && !said.contains("theirs\""), "{said}");
        no_marks(&env);
        assert_eq!(get(&env, "servers.db.password"), "ours");
        assert_eq!(get(&env, "routers.psk"), "new", "what does not clash is merged");
        let list = env.run(&["git", "conflicts"]).ends(0).out;
        // The master comes first: what hosts have follows from it.
        assert!(list.starts_with("secrets.yaml: 1 conflict\n"), "{list}");
        assert!(list.contains("nodes.servers.db.password"), "{list}");
        let place = list.lines().nth(1).and_then(|line| line.split_whitespace().next());
        let place = place.unwrap().to_owned();
        if yaml {
            assert_eq!(place, "nodes.servers.db.password");
        } else {
            assert!(place.starts_with("line-"), "{place}");
        }
        let undecided = env.run(&["git", "resolve"]).ends(2);
        assert!(undecided.err.contains(&place), "{undecided:#?}");
        let settled = env.run(&["git", "resolve", "--take-theirs", &place]).ends(0);
        assert!(settled.out.starts_with("settled  secrets.yaml\n"), "{settled:#?}");
        assert_eq!(get(&env, "servers.db.password"), "theirs");
        assert_eq!(git(&env, &["ls-files", "--unmerged"]).out, "");
        env.tool("git", &["commit", "--quiet", "--no-edit"]);
        seals_and_checks(&env);
        let server = env.delivered("server1").unwrap();
        assert!(server.contains("password: theirs"), "{server}");
    }
}

#[test]
fn a_rebase_and_a_pick_merge_as_well() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    branch(&mut env, "theirs", &[("routers.psk", "theirs")]);
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    env.secrets(&[("router1.own", "again")]);
    commit(&env, "again");
    git(&env, &["rebase", "--quiet", "theirs"]).ends(0);
    assert_eq!(get(&env, "routers.psk"), "theirs");
    assert_eq!(get(&env, "servers.db.password"), "ours");
    assert_eq!(get(&env, "router1.own"), "again");
    seals_and_checks(&env);
    commit(&env, "sealed");
    branch(&mut env, "picked", &[("server2.own", "picked")]);
    git(&env, &["checkout", "--quiet", "ours"]).ends(0);
    git(&env, &["cherry-pick", "picked"]).ends(0);
    assert_eq!(get(&env, "server2.own"), "picked");
    assert_eq!(get(&env, "routers.psk"), "theirs");
    seals_and_checks(&env);
}

#[test]
fn new_hosts_of_both_sides_come_together() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    for (name, host) in [("theirs", "alpha"), ("ours", "beta")] {
        env.tool("git", &["checkout", "--quiet", "-b", name, "main"]);
        let dir = env.path("fleet/nodes").join(host);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("node.nix"), "{ }\n").unwrap();
        // Not beside each other: whoever appends at one place is asked which comes first.
        let near = if host == "alpha" { "routers.psk" } else { "server2.own" };
        env.secrets(&[(near, host)]);
        env.types(&{
            let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
            match host {
                "alpha" => text.replacen("nodes = {\n", "nodes = {\n    alpha.key = \"a\";\n", 1),
                _ => {
                    let end = text.rfind("  };").unwrap();
                    format!("{}    beta.key = \"b\";\n{}", &text[..end], &text[end..])
                }
            }
        });
        env.run(&["edit"]).ends(0);
        commit(&env, name);
    }
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    no_marks(&env);
    // Both new host keys are vouched for still: each by the side that made it.
    env.run(&["seal"]).ends(0);
    let checked = env.run(&["check"]).ends(0);
    assert!(checked.out.starts_with("all is well: 6 sealed hosts"), "{checked:#?}");
}

#[test]
fn without_a_key_ours_stays() {
    let mut env = fleet(Shape { yaml: true, git: true, ..Shape::default() });
    branch(&mut env, "theirs", &[("routers.psk", "theirs")]);
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    let before = fs::read(env.path("fleet/secrets.yaml")).unwrap();
    let keys = env.path("home/.config/sops/age/keys.txt");
    let kept = fs::read(&keys).unwrap();
    let other = env.tool("age-keygen", &[]);
    for wrong in [None, Some(other)] {
        match wrong {
            None => fs::remove_file(&keys).unwrap(),
            Some(key) => fs::write(&keys, key).unwrap(),
        }
        let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
        assert!(merge.err.contains("was not merged; ours was left as it is"), "{merge:#?}");
        assert_eq!(fs::read(env.path("fleet/secrets.yaml")).unwrap(), before);
        git(&env, &["merge", "--abort"]).ends(0);
    }
    fs::write(&keys, kept).unwrap();
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    seals_and_checks(&env);
}

/// Nothing is sealed to somebody whom nobody has vouched for, just because files are merged.
#[test]
fn a_merge_lets_nobody_in() {
    let mut env = fleet(Shape { yaml: true, git: true, ..Shape::default() });
    branch(&mut env, "theirs", &[("routers.psk", "theirs")]);
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    let stranger = env.tool("sh", &["-c", "age-keygen 2>/dev/null | age-keygen -y"]);
    let stranger = stranger.trim();
    let rules = env.path("fleet/.sops.yaml");
    let text = fs::read_to_string(&rules).unwrap();
    let at = text.find("age1").unwrap();
    fs::write(&rules, format!("{}{stranger},{}", &text[..at], &text[at..])).unwrap();
    commit(&env, "a stranger among the rules");
    let before = fs::read(env.path("fleet/secrets.yaml")).unwrap();
    let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    assert!(merge.err.contains("nobody has vouched for the recipients"), "{merge:#?}");
    assert_eq!(fs::read(env.path("fleet/secrets.yaml")).unwrap(), before);
    assert!(!git(&env, &["grep", "--quiet", stranger, "--", "*secrets.yaml"]).code.eq(&Some(0)));
}

/// What somebody put into a file without its key is not taken over by a merge.
#[test]
fn what_is_not_sealed_is_not_merged() {
    let mut env = fleet(Shape { yaml: true, git: true, ..Shape::default() });
    branch(&mut env, "theirs", &[("routers.psk", "theirs")]);
    let master = env.path("fleet/secrets.yaml");
    let text = fs::read_to_string(&master).unwrap();
    fs::write(&master, text.replacen("    servers:\n", "    servers:\n        root: \"\"\n", 1))
        .unwrap();
    commit(&env, "an empty value more");
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    assert!(merge.err.contains("their version is not sealed strictly"), "{merge:#?}");
    assert!(!fs::read_to_string(&master).unwrap().contains("root:"));
}

#[test]
fn hostile_names_are_names() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    let name = "x/$(touch pwned) `touch pwned` '\"; touch pwned; \u{1b}[2J.yaml";
    fs::create_dir(env.path("fleet/x")).unwrap();
    let attributes = env.path("fleet/.gitattributes");
    let text = fs::read_to_string(&attributes).unwrap();
    fs::write(&attributes, format!("{text}x/* diff=nixmox-secrets merge=nixmox-secrets\n"))
        .unwrap();
    let write = |env: &TestEnv, text: &str| {
        let plain = env.give("plain.yaml", text);
        let sealed = env.run(&["encrypt", &plain]).ends(0).out;
        fs::write(env.path("fleet").join(name), sealed).unwrap();
    };
    write(&env, "a: 1\nb: 1\n");
    commit(&env, "base");
    for (branch, text) in [("theirs", "a: 1\nb: 2\n"), ("ours", "a: 2\nb: 1\n")] {
        env.tool("git", &["checkout", "--quiet", "-b", branch, "main"]);
        write(&env, text);
        commit(&env, branch);
    }
    // The store takes no name that hides something; the merge is refused, and nothing else happens.
    let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    assert!(merge.err.contains("is not in the fleet"), "{merge:#?}");
    assert!(!merge.err.contains('\u{1b}'), "{merge:#?}");
    git(&env, &["log", "-p", "-1", "--no-pager"]);
    for place in ["fleet/pwned", "fleet/x/pwned", "home/pwned"] {
        assert!(!env.path(place).exists(), "{place}");
    }
    env.var("PAGER", "cat");
    let shown = git(&env, &["show", "ours"]).ends(0);
    assert!(shown.out.contains("a: int"), "{shown:#?}");
    assert!(!env.path("fleet/pwned").exists());
}

#[test]
fn a_plain_sops_file_is_merged_by_its_rule() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    fs::create_dir(env.path("fleet/x")).unwrap();
    let attributes = env.path("fleet/.gitattributes");
    let text = fs::read_to_string(&attributes).unwrap();
    fs::write(&attributes, format!("{text}x/* diff=nixmox-secrets merge=nixmox-secrets\n"))
        .unwrap();
    let write = |env: &TestEnv, text: &str| {
        let plain = env.give("plain.json", text);
        env.run(&["encrypt", &plain, "--output", "x/odd '$(name)'.json"]).ends(0);
    };
    write(&env, "{\"a\": 1, \"b\": [1, 2]}");
    commit(&env, "base");
    for (branch, text) in
        [("theirs", "{\"a\": 1, \"b\": [1, 3]}"), ("ours", "{\"a\": 2, \"b\": [1, 2]}")]
    {
        env.tool("git", &["checkout", "--quiet", "-b", branch, "main"]);
        write(&env, text);
        commit(&env, branch);
    }
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    let merged = env.run(&["decrypt", "x/odd '$(name)'.json"]).ends(0).out;
    let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
    assert_eq!(merged, serde_json::json!({ "a": 2, "b": [1, 3] }));
}
