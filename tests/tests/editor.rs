//! `edit` at a terminal: mistakes are shown and the same text opens again, and every way out leaves all as it was.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use nixmox_tests::{Shape, TestEnv, files};

fn fleet() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape::default()).secrets(&[("routers.psk", "old")]);
    env
}

/// Everything in the fleet but the lock, which names who held it last.
fn bytes(env: &TestEnv) -> BTreeMap<PathBuf, Vec<u8>> {
    let lock = env.path("fleet/.nixmox/lock");
    let seen = files(&env.path("fleet")).into_iter().filter(|file| *file != lock);
    seen.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Demands that no text and no lock are left behind.
#[track_caller]
fn is_over(env: &TestEnv) {
    assert_eq!(files(&env.path("run")), Vec::<PathBuf>::new());
    env.run(&["check"]).ends(0);
}

/// Makes an editor that makes its n-th change at its n-th start, and keeps what it was given.
fn changes(env: &mut TestEnv, scripts: &[&str]) {
    for (n, script) in scripts.iter().enumerate() {
        env.give(&format!("change{n}"), script);
    }
    env.give("count", "0");
    env.editor(
        "n=$(cat \"$given/count\"); cp \"$f\" \"$given/seen$n\"; sed -i -f \"$given/change$n\" \"$f\"; \
         echo $((n + 1)) >\"$given/count\"",
    );
}

fn seen(env: &TestEnv, n: usize) -> String {
    fs::read_to_string(env.path(&format!("given/seen{n}"))).unwrap()
}

#[test]
fn a_mistake_is_shown_and_the_same_text_opens_again() {
    let mut env = fleet();
    changes(&mut env, &["s/old\";/new/", "s/new$/new\";/"]);
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("quote is not closed");
    terminal.expect("Throw this text away?");
    terminal.send("\r");
    terminal.expect("updated");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(seen(&env, 1), seen(&env, 0).replace("old\";", "new"));
    assert_eq!(env.run(&["get", "routers.psk"]).out, "new");
    assert_eq!(shown.matches("[y/N]").count(), 1, "{shown}");
    is_over(&env);
}

#[test]
fn every_kind_of_mistake_opens_the_text_again() {
    let mut env = fleet();
    let host = "s/routers/ruoters/";
    let shape = "s/ruoters/routers/; s/psk = \"old\"/psk = [ null ]/";
    let right = "s/\\[ null \\]/\"new\"/";
    changes(&mut env, &[host, shape, right]);
    let mut terminal = env.terminal(80, &["edit"]);
    for says in ["`ruoters` is neither a host nor a group", "cannot be delivered"] {
        terminal.expect(says);
        terminal.expect("[y/N]");
        terminal.send("no\r");
    }
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(env.run(&["get", "routers.psk"]).out, "new");
    is_over(&env);
}

#[test]
fn giving_up_changes_nothing() {
    let mut env = fleet();
    let before = bytes(&env);
    changes(&mut env, &["s/old\";/new/"]);
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("[y/N]");
    terminal.send("y\r");
    let (code, shown) = terminal.end();
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("given up; nothing was changed"), "{shown}");
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn an_interrupted_question_changes_nothing() {
    let mut env = fleet();
    let before = bytes(&env);
    changes(&mut env, &["s/old\";/new/"]);
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("[y/N]");
    terminal.send("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn an_unchanged_text_changes_no_byte() {
    let mut env = fleet();
    let before = bytes(&env);
    env.editor("cat \"$f\" >\"$d/copy\"; mv \"$d/copy\" \"$f\"");
    let ran = env.run(&["edit"]).ends(200);
    assert_eq!(ran.out, "2 unchanged; the master stays as it is\n");
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn a_second_edit_is_refused_by_name() {
    let mut env = fleet();
    env.editor("echo \"the editor runs\"; read answer");
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("the editor runs");
    let before = bytes(&env);
    let lock = fs::read_to_string(env.path("fleet/.nixmox/lock")).unwrap();
    let holder = lock.split_whitespace().next().unwrap().to_owned();
    for args in [&["edit"][..], &["unset", "routers.psk"]] {
        let refused = env.run(args).ends(1);
        assert!(refused.err.contains(&format!("process {holder}")), "{refused:#?}");
        assert!(refused.err.contains("wait for it to end"), "{refused:#?}");
    }
    // Who only reads need not wait.
    assert_eq!(env.run(&["get", "routers.psk"]).ends(0).out, "old");
    env.run(&["check"]).ends(0);
    assert_eq!(bytes(&env), before);
    terminal.send("\r");
    assert_eq!(terminal.end().0, 200);
    is_over(&env);
}

#[test]
fn what_an_editor_leaves_is_named_and_removed() {
    let mut env = fleet();
    env.editor("cp \"$f\" \"$d/.secrets.nix.swp\"; mkdir \"$d/undo\"; cp \"$f\" \"$TMPDIR/v1\"; cp \"$f\" \"$(printf \"$d/a\\033b\")\"");
    let ran = env.run(&["edit"]).ends(200);
    let said = "removed what the editor had left beside the text: .secrets.nix.swp, .tmp/v1, a\\u{1b}b, undo/";
    assert!(ran.err.contains(said), "{ran:#?}");
    is_over(&env);
}

#[test]
fn the_interrupt_key_is_the_editors() {
    let mut env = fleet();
    env.editor("trap 'sed -i s/old/new/ \"$f\"; exit 0' INT; echo \"the editor runs\"; while :; do sleep 0.05; done");
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("the editor runs");
    terminal.send("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(env.run(&["get", "routers.psk"]).out, "new");
    is_over(&env);
}

#[test]
fn an_editor_that_is_interrupted_or_killed_changes_nothing() {
    let mut env = fleet();
    let before = bytes(&env);
    env.editor("echo \"the editor runs\"; sed -i s/old/new/ \"$f\"; sleep 600");
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("the editor runs");
    terminal.send("\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 201, "{shown}");
    assert!(shown.contains("the editor") && shown.contains("failed"), "{shown}");
    env.editor("sed -i s/old/new/ \"$f\"; kill -9 $$");
    let killed = env.run(&["edit"]).ends(201);
    assert!(killed.err.contains("signal: 9"), "{killed:#?}");
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn a_terminal_that_hangs_up_takes_the_text_along() {
    let mut env = fleet();
    let before = bytes(&env);
    env.editor("sed -i s/old/new/ \"$f\"; echo \"the editor runs\"; sleep 600");
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("the editor runs");
    terminal.hang_up();
    for _ in 0..1200 {
        if files(&env.path("run")).is_empty() && env.run(&["unset", "routers.no"]).code == Some(7) {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn an_empty_text_is_no_set_of_secrets() {
    let mut env = fleet();
    let before = bytes(&env);
    env.editor(": >\"$f\"");
    let ran = env.run(&["edit"]).ends(2);
    assert!(ran.err.contains("the secrets do not evaluate"), "{ran:#?}");
    assert!(ran.err.contains("given up; nothing was changed"), "{ran:#?}");
    assert_eq!(bytes(&env), before);
    is_over(&env);
}

#[test]
fn a_value_is_typed_unseen() {
    let env = fleet();
    let mut terminal = env.terminal(80, &["set", "router1.psk"]);
    terminal.expect("Value of router1.psk: ");
    terminal.send("typed-value\r");
    terminal.expect("updated");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("typed-value") && !shown.contains(": :"), "{shown}");
    assert_eq!(env.run(&["get", "router1.psk"]).out, "typed-value");
    let mut terminal = env.terminal(80, &["set", "router1.psk"]);
    terminal.expect("Value of router1.psk: ");
    terminal.send("half\u{3}");
    assert_eq!(terminal.end().0, 130);
    assert_eq!(env.run(&["get", "router1.psk"]).out, "typed-value");
}

#[test]
fn values_are_revealed_on_a_terminal_alone() {
    let mut env = fleet();
    env.secrets(&[("router1.a", "visible-value")]);
    for command in ["show", "eval"] {
        let (code, shown) = env.terminal(80, &[command, "router1", "--reveal"]).end();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("visible-value"), "{shown}");
        let (code, shown) = env.terminal(80, &[command, "router1"]).end();
        assert_eq!(code, 0, "{shown}");
        assert!(!shown.contains("visible-value"), "{shown}");
        let refused = env.run(&[command, "router1", "--reveal"]).ends(2);
        assert_eq!(refused.out, "");
    }
}

#[test]
fn a_real_editor_is_told_to_leave_nothing() {
    let mut env = fleet();
    env.var("EDITOR", "vim");
    let mut terminal = env.terminal(80, &["edit"]);
    terminal.expect("old");
    let beside = || files(&env.path("run")).len();
    terminal.send(":%s/old/new/\r");
    terminal.expect("new");
    assert_eq!(beside(), 1, "{:?}", files(&env.path("run")));
    terminal.send(":wq\r");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(env.run(&["get", "routers.psk"]).out, "new");
    assert_eq!(files(&env.path("home")), [env.path("home/.config/sops/age/keys.txt")]);
    is_over(&env);
}
