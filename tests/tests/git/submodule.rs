//! `private/` as a real git submodule: two repositories, two merges, one fleet.

use std::fs;
use std::path::Path;

use nixmox_tests::{Ran, Shape, TestEnv};

use super::{get, git, named, seals_and_checks};

/// Runs git in `private/`.
fn below(env: &TestEnv, args: &[&str]) -> Ran {
    let mut command = env.command(Path::new("git"));
    Ran::new(&command.args(["-C", "private"]).args(args).output().unwrap())
}

/// Commits in the submodule first, then the fleet that points to it.
fn commit(env: &TestEnv, message: &str) {
    below(env, &["add", "--all"]).ends(0);
    below(env, &["commit", "--quiet", "-m", message]).ends(0);
    env.tool("git", &["add", "--all"]);
    env.tool("git", &["commit", "--quiet", "-m", message]);
}

/// Goes to a new branch of both repositories, both from `main`.
fn branch(env: &mut TestEnv, name: &str, secrets: &[(&str, &str)]) {
    env.tool("git", &["checkout", "--quiet", "-b", name, "main"]);
    below(env, &["checkout", "--quiet", "-b", name, "main"]).ends(0);
    env.secrets(secrets);
    commit(env, name);
}

/// A fleet whose `private/` was added with `git submodule add` from a repository of its own.
fn fleet(yaml: bool) -> TestEnv {
    let mut env = named();
    let origin = env.path("given/private.git").display().to_string();
    env.tool("git", &["init", "--quiet", "--bare", "--initial-branch=main", &origin]);
    // A repository without a commit cannot be a submodule.
    let empty = env.tool("sh", &["-c", &format!("git -C {origin} mktree </dev/null")]);
    let first = env.tool("git", &["-C", &origin, "commit-tree", "-m", "start", empty.trim()]);
    env.tool("git", &["-C", &origin, "update-ref", "refs/heads/main", first.trim()]);
    env.tool("git", &["init", "--quiet", "--initial-branch=main"]);
    let from_disk = "protocol.file.allow=always";
    env.tool("git", &["-c", from_disk, "submodule", "--quiet", "add", &origin, "private"]);
    below(&env, &["checkout", "--quiet", "-B", "main"]).ends(0);
    // A submodule has its repository elsewhere: `.git` is a file.
    assert!(env.path("fleet/private/.git").is_file());
    env.fleet_in_place(yaml);
    env.secrets(&[("routers.psk", "one"), ("servers.db.password", "old"), ("server2.own", "2")]);
    let installed = env.run(&["git", "install"]).ends(0);
    assert!(installed.out.contains("fleet/private/.gitattributes"), "{installed:#?}");
    commit(&env, "start");
    env
}

/// Merges the fleet itself, which points to a commit of its submodule that both sides are part of.
fn merge_above(env: &TestEnv) {
    git(env, &["merge", "--no-edit", "theirs"]);
    env.tool("git", &["add", "private"]);
    env.tool("git", &["commit", "--quiet", "--no-edit"]);
    assert_eq!(git(env, &["status", "--porcelain"]).out, "");
}

#[test]
fn a_submodule_is_merged_by_its_own_driver() {
    for yaml in [false, true] {
        let mut env = fleet(yaml);
        branch(&mut env, "theirs", &[("routers.psk", "theirs"), ("server2.own", "theirs")]);
        branch(&mut env, "ours", &[("servers.db.password", "ours")]);
        below(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
        merge_above(&env);
        for (path, value) in
            [("routers.psk", "theirs"), ("server2.own", "theirs"), ("servers.db.password", "ours")]
        {
            assert_eq!(get(&env, path), value, "{path} yaml={yaml}");
        }
        assert!(env.delivered("router1").unwrap().contains("psk: theirs"));
        seals_and_checks(&env);
        assert!(!env.path("fleet/secrets.yaml").exists());
    }
}

#[test]
fn a_conflict_in_a_submodule_is_settled_in_the_editor() {
    let mut env = fleet(false);
    branch(&mut env, "theirs", &[("servers.db.password", "theirs"), ("routers.psk", "new")]);
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    let merge = below(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    assert!(merge.err.contains("settle it with: nixmox-secrets git resolve"), "{merge:#?}");
    let before = fs::read(env.path("fleet/private/secrets.yaml")).unwrap();
    // What the editor shows is kept; the first time nothing is done, so that the marks stay.
    env.give("count", "0");
    env.editor(
        "n=$(cat \"$given/count\"); cp \"$f\" \"$given/seen$n\"; echo $((n + 1)) >\"$given/count\"; \
         [ \"$n\" = 0 ] || sed -i -e '/^<<<<<<< /d' -e '/^=======/,/^>>>>>>> /d' -e 's/\"ours\"/\"both\"/' \"$f\"",
    );
    let mut terminal = env.terminal(120, &["git", "resolve"]);
    terminal.expect("there are marks of a conflict left in the text");
    assert_eq!(fs::read(env.path("fleet/private/secrets.yaml")).unwrap(), before);
    terminal.expect("[y/N]");
    terminal.send("n\r");
    terminal.expect("settled  private/secrets.yaml");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let seen = fs::read_to_string(env.path("given/seen0")).unwrap();
    assert!(seen.contains("<<<<<<<") && seen.contains("\"theirs\""), "{seen}");
    assert!(!shown.contains("\"theirs\"") && !shown.contains("\"ours\""), "{shown}");
    assert_eq!(below(&env, &["ls-files", "--unmerged"]).out, "");
    below(&env, &["commit", "--quiet", "--no-edit"]).ends(0);
    merge_above(&env);
    assert_eq!(get(&env, "servers.db.password"), "both");
    assert_eq!(get(&env, "routers.psk"), "new");
    seals_and_checks(&env);
    assert!(env.delivered("server1").unwrap().contains("password: both"));
    assert_eq!(nixmox_tests::files(&env.path("run")), Vec::<std::path::PathBuf>::new());
}

/// Giving up in the editor leaves the conflict as it was.
#[test]
fn giving_up_in_the_editor_settles_nothing() {
    let mut env = super::fleet(Shape { git: true, ..Shape::default() });
    super::branch(&mut env, "theirs", &[("servers.db.password", "theirs")]);
    super::branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    let open = git(&env, &["ls-files", "--unmerged"]).out;
    env.editor("true");
    let mut terminal = env.terminal(120, &["git", "resolve"]);
    terminal.expect("there are marks of a conflict left in the text");
    terminal.expect("[y/N]");
    terminal.send("y\r");
    let (code, shown) = terminal.end();
    assert_ne!(code, 0, "{shown}");
    assert!(shown.contains("given up; nothing was changed"), "{shown}");
    assert_eq!(git(&env, &["ls-files", "--unmerged"]).out, open);
    assert_eq!(get(&env, "servers.db.password"), "ours");
    super::no_marks(&env);
}
