//! Merges while host keys are being replaced: the pair that a host is to get, and files that are sealed to two keys.

use std::fs;

use nixmox_tests::{Shape, TestEnv};

use super::{branch, commit, fleet, get, git, no_marks, seals_and_checks};

const ROUTER1: &str = "nodes/routers/router1";
const NEXT: &str = "nodes/routers/router1/ssh_host_ed25519_key.next";

fn text(env: &TestEnv, file: &str) -> String {
    fs::read_to_string(env.path("fleet").join(file)).unwrap()
}

/// Counts the recipients of a host's sealed file.
fn readers(env: &TestEnv, host_dir: &str) -> usize {
    text(env, &format!("{host_dir}/secrets.yaml")).matches("recipient:").count()
}

/// Begins to replace a host's key on the branch that is checked out.
fn rotate(env: &TestEnv, host: &str) {
    env.run(&["rotate-host", host]).ends(0);
    commit(env, "another key");
}

fn back_to_main(env: &TestEnv, name: &str) {
    env.tool("git", &["checkout", "--quiet", "-b", name, "main"]);
}

/// Ends the replacement: the machine has the new key, and opens its values with it.
fn finish(env: &TestEnv, host: &str, dir: &str) {
    let public = text(env, &format!("{dir}/ssh_host_ed25519_key.next.pub"));
    env.run(&["rotate-host", host, "--finish"]).ends(0);
    assert_eq!(text(env, &format!("{dir}/ssh_host_ed25519_key.pub")), public);
    assert_eq!(readers(env, dir), 1);
    env.run(&["check"]).ends(0);
}

#[test]
fn a_key_that_is_being_replaced_survives_the_merge_of_other_changes() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    back_to_main(&env, "theirs");
    rotate(&env, "router1");
    branch(&mut env, "ours", &[("servers.db.password", "ours")]);
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    assert_eq!(readers(&env, ROUTER1), 2);
    seals_and_checks(&env);
    assert_eq!(readers(&env, ROUTER1), 2);
    finish(&env, "router1", ROUTER1);
}

/// One side begins to replace the key of a host, the other one changes the host's values.
#[test]
fn values_that_change_meanwhile_go_to_both_keys() {
    for ours_rotates in [false, true] {
        let mut env = fleet(Shape { git: true, ..Shape::default() });
        let sides = if ours_rotates { ["changed", "rotated"] } else { ["rotated", "changed"] };
        for side in sides {
            if side == "rotated" {
                back_to_main(&env, side);
                rotate(&env, "router1");
            } else {
                branch(&mut env, side, &[("routers.psk", "fresh")]);
            }
        }
        git(&env, &["merge", "--quiet", "--no-edit", sides[0]]).ends(0);
        no_marks(&env);
        assert_eq!(get(&env, "routers.psk"), "fresh");
        assert!(env.delivered("router1").unwrap().contains("psk: fresh"), "{ours_rotates}");
        // The digests are those of one side, which knew nothing of the other's key or values.
        env.run(&["seal", "--accept-host-keys"]).ends(0);
        env.run(&["check"]).ends(0);
        assert_eq!(readers(&env, ROUTER1), 2, "{ours_rotates}");
        finish(&env, "router1", ROUTER1);
        assert!(env.delivered("router1").unwrap().contains("psk: fresh"));
    }
}

#[test]
fn two_hosts_whose_keys_are_replaced_on_two_branches() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    for (name, host) in [("theirs", "router1"), ("ours", "server2")] {
        back_to_main(&env, name);
        rotate(&env, host);
    }
    git(&env, &["merge", "--quiet", "--no-edit", "theirs"]).ends(0);
    seals_and_checks(&env);
    for dir in [ROUTER1, "nodes/servers/server2"] {
        assert_eq!(readers(&env, dir), 2, "{dir}");
    }
    finish(&env, "router1", ROUTER1);
    finish(&env, "server2", "nodes/servers/server2");
}

/// Both sides made a new key for one host: only one pair can be the next one, and never half of each.
#[test]
fn two_new_keys_of_one_host_are_a_conflict() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    for name in ["theirs", "ours"] {
        back_to_main(&env, name);
        rotate(&env, "router1");
    }
    let (ours, public) = (text(&env, NEXT), text(&env, &format!("{NEXT}.pub")));
    let theirs = env.tool("git", &["show", &format!("theirs:{NEXT}.pub")]);
    assert_ne!(theirs, public);
    let merge = git(&env, &["merge", "--no-edit", "theirs"]).ends(1);
    for file in [NEXT, &format!("{NEXT}.pub")] {
        assert!(merge.out.contains(&format!("conflict in {file}")), "{file}: {merge:#?}");
    }
    no_marks(&env);
    // Ours is left as it was, whole.
    assert_eq!((text(&env, NEXT), text(&env, &format!("{NEXT}.pub"))), (ours, public.clone()));
    // Taking half of theirs is no pair, and is refused before anything is sealed to it.
    env.run(&["git", "resolve", "--theirs", NEXT]).ends(0);
    env.run(&["seal"]).ends(1);
    env.run(&["seal", "--accept-host-keys"]).ends(1);
    env.tool("git", &["checkout", "--quiet", "--theirs", "--", &format!("{NEXT}.pub")]);
    env.tool("git", &["add", &format!("{NEXT}.pub")]);
    env.run(&["git", "resolve", "--ours"]).ends(0);
    env.tool("git", &["commit", "--quiet", "--no-edit"]);
    // Nobody has vouched for that pair here: the digests are ours.
    let refused = env.run(&["seal"]).ends(1);
    assert!(refused.err.contains("router1"), "{refused:#?}");
    env.run(&["seal", "--accept-host-keys"]).ends(0);
    env.run(&["check"]).ends(0);
    assert_eq!(text(&env, &format!("{NEXT}.pub")), theirs);
    finish(&env, "router1", ROUTER1);
}
