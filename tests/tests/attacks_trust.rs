//! What somebody without an admin's key does to a real fleet that has a roster and signs, and how it is refused.
//!
//! W can have anything committed; he knows every public key. Needs `ssh-keygen`, `ssh-agent` and `ssh-add` (Debian
//! package openssh-client).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nixmox_signing::{Chain, DELIVERY, Delivery, Hash, KeyFile, ROSTER, Roster, SignedRoster};
use nixmox_sops::{Documents, Format, Keep, Recipient, SealOptions, seal};
use nixmox_tests::{Ran, Shape, TestEnv};
use nixmox_tree::{SecretString, SecretTree, Value};
use rand_core::SeedableRng;

const ROUTER1: &str = "nodes/routers/router1/secrets.yaml";
const ROUTER2: &str = "nodes/routers/router2/secrets.yaml";

/// Makes an SSH key without a passphrase, and returns its path.
fn ssh_key(env: &TestEnv, path: &str) -> PathBuf {
    let path = env.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = path.display().to_string();
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &file]);
    path
}

fn signer(path: &PathBuf) -> KeyFile {
    KeyFile::parse(&SecretString::new(fs::read_to_string(path).unwrap())).unwrap()
}

/// A fleet that signs, with Alice as its admin, and a list of its signers in `given/signers`.
fn fleet(shape: Shape) -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(shape);
    env.secrets(&[("routers.psk", "one"), ("server1.db.password", "two")]);
    ssh_key(&env, "home/.ssh/id_ed25519");
    env.run(&["sign", "enable", "--name", "alice"]).ends(0);
    let signers = env.run(&["sign", "signers"]).ends(0).out;
    env.give("signers", signers);
    all_is_well(&env);
    env
}

fn given(env: &TestEnv, name: &str) -> String {
    env.path("given").join(name).display().to_string()
}

/// Verifies as CI does: no key, no home, a list of signers.
fn ci(env: &TestEnv) -> Ran {
    env.run(&["verify", "--signers", &given(env, "signers")])
}

/// Verifies as the machine does.
fn machine(env: &TestEnv, host: &str, more: &[&str]) -> Ran {
    let (signers, state) = (given(env, "signers"), env.path("state").display().to_string());
    let args = ["verify", "--host", host, "--signers", &signers, "--state", &state];
    env.run(&[&args[..], more].concat())
}

#[track_caller]
fn all_is_well(env: &TestEnv) {
    env.run(&["check"]).ends(0);
    env.run(&["check", "--keyless"]).ends(0);
    ci(env).ends(0);
    machine(env, "router1", &[]).ends(0);
}

/// Demands that all who look refuse router1's file and say why.
#[track_caller]
fn refused(env: &TestEnv, why: &str) {
    for ran in [env.run(&["check"]), env.run(&["check", "--keyless"]), ci(env)] {
        let ran = ran.ends(1);
        assert!(ran.out.contains(why), "{ran:#?}");
    }
    let ran = machine(env, "router1", &[]).ends(1);
    assert!(ran.err.contains(why), "{ran:#?}");
}

fn read(env: &TestEnv, path: &str) -> Vec<u8> {
    fs::read(env.path("fleet").join(path)).unwrap()
}

fn write(env: &TestEnv, path: &str, bytes: impl AsRef<[u8]>) {
    fs::write(env.path("fleet").join(path), bytes).unwrap();
}

fn copy(env: &TestEnv, from: &str, to: &str) {
    for ending in ["", ".sig"] {
        let bytes = read(env, &format!("{from}{ending}"));
        write(env, &format!("{to}{ending}"), bytes);
    }
}

/// Makes a fresh sops file to some recipients, as anybody can who knows these.
fn forge(recipients: &[&str]) -> Vec<u8> {
    let tree: SecretTree = [("psk".to_owned(), Value::string("mine"))].into_iter().collect();
    let recipients = recipients.iter().map(|name| Recipient::parse(name).unwrap());
    let options = SealOptions::new(recipients);
    let mut rng = rand_chacha::ChaCha20Rng::from_seed([7; 32]);
    let documents = Documents::from_tree(&tree);
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    seal(&documents, (Format::Yaml, &options), Keep::Nothing, &mut rng, now).unwrap()
}

/// Returns the recipient of a host by its public key.
fn recipient(env: &TestEnv, host: &str) -> String {
    let line = read(env, &format!("nodes/routers/{host}/ssh_host_ed25519_key.pub"));
    nixmox_hostkey::HostPublicKey::parse(&String::from_utf8(line).unwrap()).unwrap().age_recipient()
}

/// Signs a file for router1 as somebody would who knows everything but an admin's key.
fn sign_with(env: &TestEnv, key: &PathBuf, file: &[u8], generation: u64) -> Vec<u8> {
    let old = String::from_utf8(read(env, &format!("{ROUTER1}.sig"))).unwrap();
    let fleet = old.split("\"fleet\":\"").nth(1).unwrap().split('"').next().unwrap();
    let recipients = BTreeSet::from([recipient(env, "router1")]);
    let names = (fleet.parse().unwrap(), "router1", ROUTER1);
    let mut statement = Delivery::new(names, file, (recipients, Hash::of(b"anything")));
    statement.generation = generation;
    statement.sign(&signer(key)).unwrap().to_bytes()
}

#[test]
fn a_file_forged_with_the_public_key_is_refused() {
    let env = fleet(Shape::default());
    let forged = forge(&[&recipient(&env, "router1")]);
    write(&env, ROUTER1, &forged);
    refused(&env, "the file is not the one that was signed");
    let mallory = ssh_key(&env, "mallory/key");
    write(&env, &format!("{ROUTER1}.sig"), sign_with(&env, &mallory, &forged, 9));
    refused(&env, "which is no admin's key");
    fs::remove_file(env.path("fleet").join(format!("{ROUTER1}.sig"))).unwrap();
    for ran in [env.run(&["check", "--keyless"]), ci(&env)] {
        let ran = ran.ends(1);
        assert!(ran.out.contains("no signature") || ran.out.contains("there is none"), "{ran:#?}");
    }
    machine(&env, "router1", &[]).ends(100);
    // The next change seals it anew and signs that.
    env.run_with(&["set", "router2.psk"], "three").ends(0);
    all_is_well(&env);
    assert!(!env.delivered("router1").unwrap().contains("mine"));
}

#[test]
fn a_hidden_extra_stanza_is_refused() {
    let env = fleet(Shape::default());
    let mallory = env.tool("age-keygen", &[]);
    let own = mallory.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    write(&env, ROUTER1, forge(&[&recipient(&env, "router1"), own]));
    refused(&env, "the file is not the one that was signed");
}

#[test]
fn an_older_file_is_refused() {
    let env = fleet(Shape::default());
    copy(&env, ROUTER1, "nodes/old");
    env.run_with(&["set", "routers.psk"], "another").ends(0);
    all_is_well(&env);
    let ci_state = env.path("ci").display().to_string();
    let signers = given(&env, "signers");
    let kept = ["verify", "--signers", &signers, "--state", &ci_state];
    env.run(&kept).ends(0);
    copy(&env, "nodes/old", ROUTER1);
    let why = "it is generation 1, and generation 2 was here before";
    for ran in [env.run(&["check"]), env.run(&kept)] {
        let ran = ran.ends(1);
        assert!(ran.out.contains(why), "{ran:#?}");
    }
    let ran = machine(&env, "router1", &[]).ends(1);
    assert!(ran.err.contains(why), "{ran:#?}");
    // A machine that goes back on purpose says so, and does not forget.
    machine(&env, "router1", &["--allow-rollback"]).ends(0);
    machine(&env, "router1", &[]).ends(1);
    // The number goes on from the highest.
    env.run_with(&["set", "routers.psk"], "a third").ends(0);
    all_is_well(&env);
    let ran = machine(&env, "router1", &["--json"]).ends(0);
    assert!(ran.out.contains("\"generation\": 3"), "{ran:#?}");
}

#[test]
fn files_swapped_between_hosts_and_fleets_are_refused() {
    let env = fleet(Shape::default());
    copy(&env, ROUTER2, ROUTER1);
    refused(&env, "it was signed for host router2");
    let other = fleet(Shape::default());
    for ending in ["", ".sig"] {
        write(&env, &format!("{ROUTER1}{ending}"), read(&other, &format!("{ROUTER1}{ending}")));
    }
    // Another fleet has other admins; with the same ones its id would differ.
    refused(&env, "which is no admin's key");
}

/// A fleet in which both routers have a WireGuard key pair each; the public halves lie in the clear for Nix.
fn with_public_parts() -> TestEnv {
    let mut env = fleet(Shape::default());
    let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let declared =
        "nodes = {\n    routers.wg._generate = { type = \"wireguard\"; perHost = true; };\n";
    env.types(&text.replacen("nodes = {\n", declared, 1));
    env.run(&["edit"]).ends(0);
    all_is_well(&env);
    env
}

/// Whoever swaps a public key in the clear becomes a peer, or an authority, of a host whose secrets are all sound.
#[test]
fn public_parts_that_nobody_signed_are_refused() {
    let (one, two) = ("nodes/routers/router1/public.json", "nodes/routers/router2/public.json");
    let mine = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let at = text.find("\"public\": \"").unwrap() + 11;
        format!("{}AAAA{}", &text[..at], &text[at + 4..])
    };
    let env = with_public_parts();
    let (good, other) = (read(&env, one), read(&env, two));
    assert_ne!(good, other);
    let why = "the public parts beside it are not those that were signed";
    // Another host's, a key of his own, a file that is none of ours, and none at all.
    for forged in [other, mine(&good).into_bytes(), b"{\"wg\":{\"public\":\"x\"}}".to_vec()] {
        write(&env, one, &forged);
        for ran in [env.run(&["check", "--keyless"]), ci(&env)] {
            assert!(ran.clone().ends(1).out.contains(why), "{ran:#?}");
        }
        env.run(&["check"]).ends(1);
        write(&env, one, &good);
        ci(&env).ends(0);
    }
    fs::remove_file(env.path("fleet").join(one)).unwrap();
    assert!(ci(&env).ends(1).out.contains(why));
    // Sealing brings them back and signs again; the machine's own file was never in question.
    env.run(&["seal"]).ends(0);
    assert_eq!(read(&env, one), good);
    all_is_well(&env);
    // A host that has none does not get some.
    write(&env, "nodes/servers/server1/public.json", &good);
    assert!(ci(&env).ends(1).out.contains(why));
    fs::remove_file(env.path("fleet/nodes/servers/server1/public.json")).unwrap();
    all_is_well(&env);
    // The state before a new pair was made does not come back, in whole or in part.
    let old: Vec<_> = [ROUTER1, &format!("{ROUTER1}.sig"), one]
        .iter()
        .map(|path| (path.to_string(), read(&env, path)))
        .collect();
    env.run(&["generate", "--regenerate", "router1.wg"]).ends(0);
    all_is_well(&env);
    let (path, bytes) = &old[2];
    let fresh = read(&env, path);
    write(&env, path, bytes);
    assert!(ci(&env).ends(1).out.contains(why));
    write(&env, path, &fresh);
    for (path, bytes) in &old {
        write(&env, path, bytes);
    }
    assert!(env.run(&["check"]).ends(1).out.contains("was here before"));
}

/// An admin's key that signs another structure than the file has: without a key nobody can tell, with one it is found.
#[test]
fn a_statement_about_other_values_is_refused() {
    let env = fleet(Shape::default());
    let key = env.path("home/.ssh/id_ed25519");
    let file = read(&env, ROUTER1);
    let signed = sign_with(&env, &key, &file, 7);
    write(&env, &format!("{ROUTER1}.sig"), signed);
    ci(&env).ends(0);
    let found = env.run(&["check"]).ends(1);
    assert!(found.out.contains("the values are not those that were signed"), "{found:#?}");
}

/// What is generated counts among what somebody knows who leaves, and is named as that.
#[test]
fn generated_values_are_among_what_an_admin_knows() {
    let env = with_public_parts();
    let bob = env.path("given/bob.txt").display().to_string();
    env.tool("age-keygen", &["-o", &bob]);
    let recipient = env.tool("age-keygen", &["-y", &bob]).trim().to_owned();
    let ssh = ssh_key(&env, "given/bob").display().to_string();
    let add = ["recipients", "add", "bob", &recipient, "--ssh", &format!("{ssh}.pub")];
    env.run(&add).ends(0);
    let text = env.run(&["recipients", "remove", "bob", "--dry-run"]).ends(0).out;
    assert!(text.contains("router1  wg.private* wg.public*"), "{text}");
    assert!(text.contains("generate --regenerate"), "{text}");
    let json = env.run(&["recipients", "remove", "bob", "--json"]).ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let known = &json["known"];
    assert_eq!(known["values"]["routers"].to_string(), r#"["psk"]"#);
    assert_eq!(known["generated"]["router2"].to_string(), r#"["wg.private","wg.public"]"#);
    assert_eq!(known["hosts"].as_array().unwrap().len(), 4, "{known:#}");
    // Of a member of a group, what the group's hosts get.
    let group = ["recipients", "group", "network", "--opens", "routers"];
    env.run(&group).ends(0);
    env.run(&["recipients", "add", "carol", &recipient, "--group", "network"]).ends(0);
    let json = env.run(&["recipients", "remove", "carol", "--json"]).ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let known = &json["known"];
    assert_eq!(known["hosts"].to_string(), r#"["router1","router2"]"#);
    assert_eq!(known["values"]["routers"].to_string(), r#"["psk"]"#, "{known:#}");
    assert!(known["values"].get("server1").is_none(), "{known:#}");
    assert!(!known["generated"].as_object().unwrap().is_empty(), "{known:#}");
}

#[test]
fn who_adds_himself_to_the_rules_gets_nothing() {
    let env = fleet(Shape::default());
    let mallory = env.tool("age-keygen", &[]);
    let own = mallory.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let rules = String::from_utf8(read(&env, ".sops.yaml")).unwrap();
    write(&env, ".sops.yaml", format!("{rules}      - {own}\n"));
    for args in [&["set", "routers.psk"][..], &["set", "routers.psk", "--accept-admins"]] {
        let ran = env.run_with(args, "secret").ends(1);
        assert!(ran.err.contains("names recipients that the roster does not"), "{ran:#?}");
        assert!(ran.err.contains(own), "{ran:#?}");
    }
    let ran = env.run(&["check", "--keyless"]).ends(1);
    assert!(ran.out.contains(own), "{ran:#?}");
    for file in ["secrets.yaml", "nodes/routers/router1/ssh_host_ed25519_key"] {
        assert!(!String::from_utf8(read(&env, file)).unwrap().contains(own), "{file}");
    }
}

#[test]
fn who_adds_himself_to_the_roster_is_no_admin() {
    let env = fleet(Shape::default());
    let mallory = ssh_key(&env, "mallory/key");
    let text = String::from_utf8(read(&env, ".nixmox/roster.json")).unwrap();
    let own = fs::read_to_string(env.path("mallory/key.pub")).unwrap();
    let own = own.trim();
    let refused = |why: &str| {
        let ran = env.run_with(&["set", "routers.psk"], "secret").ends(1);
        assert!(ran.err.contains(why), "{ran:#?}");
        assert_ne!(ci(&env).code, Some(0));
        assert_ne!(env.run(&["check", "--keyless"]).code, Some(0));
    };
    // In the canonical form, under the old signature and under his own.
    let mut roster = Roster::parse(text.as_bytes()).unwrap();
    roster.admins.get_mut("alice").unwrap().ssh.insert(own.to_owned());
    write(&env, ".nixmox/roster.json", roster.to_bytes());
    refused("the signature of roster 1 is not accepted");
    // His own signature makes a fleet of his own of it.
    let signed = SignedRoster::sign(&roster, &signer(&mallory)).unwrap();
    write(&env, ".nixmox/roster.json.sig", &signed.signature);
    refused("that of another fleet");
    for file in ["roster.json", "roster.json.sig"] {
        fs::remove_file(env.path("fleet/.nixmox").join(file)).unwrap();
    }
    refused("it is gone");
}

#[test]
fn an_older_roster_does_not_come_back() {
    let env = fleet(Shape::default());
    let bob = env.tool("age-keygen", &[]);
    let age = bob.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    env.run(&["recipients", "add", "bob", age]).ends(0);
    let old = ["roster.json", "roster.json.sig"]
        .map(|file| (format!(".nixmox/{file}"), read(&env, &format!(".nixmox/{file}"))));
    let rules = read(&env, ".sops.yaml");
    env.run(&["recipients", "remove", "bob"]).ends(0);
    all_is_well(&env);
    for (path, bytes) in old {
        write(&env, &path, bytes);
    }
    write(&env, ".sops.yaml", rules);
    let ran = env.run_with(&["set", "routers.psk"], "secret").ends(1);
    assert!(
        ran.err.contains("is generation 2, and this machine has seen generation 3"),
        "{ran:#?}"
    );
    let ran = env.run(&["check", "--keyless"]).ends(1);
    assert!(ran.out.contains("this machine has seen generation 3"), "{ran:#?}");
    for file in ["secrets.yaml", ROUTER1] {
        assert!(!String::from_utf8(read(&env, file)).unwrap().contains(age), "{file}");
    }
}

#[test]
fn who_left_signs_nothing_more_and_what_he_knows_is_listed() {
    let mut env = fleet(Shape::default());
    let bob = env.tool("age-keygen", &[]);
    let age = bob.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let key = ssh_key(&env, "bob/key");
    let public = env.path("bob/key.pub").display().to_string();
    env.run(&["recipients", "add", "bob", age, "--ssh", &public]).ends(0);
    env.give("signers", env.run(&["sign", "signers"]).ends(0).out);
    all_is_well(&env);
    let keys = env.give("bob.txt", &bob);
    let knows = |env: &mut TestEnv| {
        let own = env.path("home/.config").display().to_string();
        env.var("SOPS_AGE_KEY_FILE", &keys).var("XDG_CONFIG_HOME", "/nonexistent");
        let ran = env.run(&["get", "routers.psk"]);
        env.without("SOPS_AGE_KEY_FILE").var("XDG_CONFIG_HOME", &own);
        ran
    };
    knows(&mut env).ends(0);
    let old = read(&env, ROUTER1);

    let dry = env.run(&["recipients", "remove", "bob", "--dry-run", "--json"]).ends(0);
    assert_eq!(read(&env, ROUTER1), old);
    let json: serde_json::Value = serde_json::from_str(&dry.out).unwrap();
    assert_eq!(json["known"]["values"]["routers"], serde_json::json!(["psk"]));
    assert_eq!(json["known"]["values"]["server1"], serde_json::json!(["db.password"]));
    let gone = env.run(&["recipients", "remove", "bob"]).ends(0);
    for part in ["routers", "psk", "server1", "db.password", "rotate-host", "router1 router2"] {
        assert!(gone.out.contains(part), "{part}: {gone:#?}");
    }
    env.give("signers", env.run(&["sign", "signers"]).ends(0).out);
    all_is_well(&env);
    knows(&mut env).ends(128);
    let data_key = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split("mac:").nth(1).unwrap().to_owned()
    };
    assert_ne!(data_key(&old), data_key(&read(&env, ROUTER1)));

    // Bob still has the key that he signed with.
    let forged = forge(&[&recipient(&env, "router1")]);
    write(&env, ROUTER1, &forged);
    write(&env, &format!("{ROUTER1}.sig"), sign_with(&env, &key, &forged, 99));
    for ran in [env.run(&["check"]), ci(&env)] {
        let ran = ran.ends(1);
        assert!(ran.out.contains("it is signed by `bob`, who is no admin any more"), "{ran:#?}");
    }
    machine(&env, "router1", &[]).ends(1);
    // Nor does he make a roster after the one without him.
    let files = ["rosters/1.json", "rosters/2.json", "roster.json"].map(|file| SignedRoster {
        roster: read(&env, &format!(".nixmox/{file}")),
        signature: read(&env, &format!(".nixmox/{file}.sig")),
    });
    let mut roster = Chain::verify(files.to_vec()).unwrap().following();
    roster.delivery = false;
    let [.., last] = files;
    let signed = SignedRoster::sign(&roster, &signer(&key)).unwrap();
    write(&env, ".nixmox/rosters/3.json", last.roster);
    write(&env, ".nixmox/rosters/3.json.sig", last.signature);
    write(&env, ".nixmox/roster.json", signed.roster);
    write(&env, ".nixmox/roster.json.sig", signed.signature);
    let ran = env.run_with(&["set", "routers.psk"], "secret").ends(1);
    assert!(ran.err.contains("no admin of the roster before it"), "{ran:#?}");
}

#[test]
fn a_roster_is_accepted_by_its_id_and_by_nothing_else() {
    let mut env = fleet(Shape::default());
    let keys = env.path("home/.config/sops/age/keys.txt").display().to_string();
    env.var("XDG_CONFIG_HOME", &env.path("another").display().to_string());
    env.var("SOPS_AGE_KEY_FILE", &keys);
    // The digests still say which fleet it is; the machine does not.
    let ran = env.run_with(&["set", "routers.psk"], "secret").ends(1);
    assert!(ran.err.contains("never accepted on this machine"), "{ran:#?}");
    let id = ran.err.split("recipients accept ").nth(1).unwrap().split_whitespace().next().unwrap();
    env.run(&["recipients", "accept", &"0".repeat(32)]).ends(1);
    env.run(&["recipients", "accept", "nonsense"]).ends(2);
    env.run_with(&["set", "routers.psk"], "secret").ends(1);
    env.run(&["recipients", "accept", id]).ends(0);
    env.run_with(&["set", "routers.psk"], "secret").ends(0);
    all_is_well(&env);
}

#[test]
fn openssh_accepts_every_signature_in_the_repository() {
    let env = fleet(Shape { private: true, ..Shape::default() });
    let home = env.path("fleet/private");
    let signers = given(&env, "signers");
    let judge = |namespace: &str, file: PathBuf, message: Vec<u8>| {
        let message_file = env.give("message", message);
        let sig = file.display().to_string();
        let script = format!(
            "ssh-keygen -Y verify -f {signers} -I alice -n {namespace} -s {sig} <{message_file}"
        );
        env.tool("sh", &["-c", &script]);
    };
    let roster = fs::read(home.join(".nixmox/roster.json")).unwrap();
    judge(ROSTER, home.join(".nixmox/roster.json.sig"), roster);
    for file in [ROUTER1, ROUTER2, "nodes/servers/server1/secrets.yaml"] {
        let sig = home.join(format!("{file}.sig"));
        let text = fs::read_to_string(&sig).unwrap();
        let line = format!("{}\n", text.lines().last().unwrap());
        judge(DELIVERY, sig, line.into_bytes());
    }
}

#[test]
fn an_agent_and_a_key_under_a_passphrase_sign_through_openssh() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    env.secrets(&[("routers.psk", "one")]);
    let key = env.path("locked").display().to_string();
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "worthless", "-f", &key]);
    let socket = env.path("agent.sock").display().to_string();
    let started = env.tool("sh", &["-c", &format!("ssh-agent -s -a {socket} 2>&1")]);
    let pid = started.split("SSH_AGENT_PID=").nth(1).unwrap().split(';').next().unwrap();
    env.var("SSH_AUTH_SOCK", &socket);
    let asks = env.give("askpass.sh", "#!/bin/sh\necho worthless\n");
    env.tool("chmod", &["+x", &asks]);
    let add = format!("SSH_ASKPASS={asks} SSH_ASKPASS_REQUIRE=force ssh-add -q {key}");
    env.tool("sh", &["-c", &add]);
    let enabled = env.run(&["sign", "enable", "--name", "alice", "--agent"]);
    let set = env.run_with(&["set", "routers.psk"], "two");
    env.give("signers", env.run(&["sign", "signers"]).out);
    env.tool("kill", &[pid]);
    enabled.ends(0);
    set.ends(0);
    all_is_well(&env);
    // Without the agent there is nobody to sign, and nothing is written.
    let before = read(&env, ROUTER1);
    let ran = env.run_with(&["set", "routers.psk"], "three").ends(1);
    assert!(ran.err.contains("there is no key to sign with"), "{ran:#?}");
    assert_eq!(read(&env, ROUTER1), before);
    // The private file, which only ssh-keygen opens.
    env.without("SSH_AUTH_SOCK").var("NIXMOX_SIGNING_KEY", &key);
    env.var("SSH_ASKPASS", &asks).var("SSH_ASKPASS_REQUIRE", "force");
    env.run_with(&["set", "routers.psk"], "three").ends(0);
    all_is_well(&env);
}

#[test]
fn turned_off_nothing_is_signed_and_all_works_as_before() {
    let env = fleet(Shape::default());
    env.run(&["sign", "status"]).ends(0);
    env.run(&["sign", "disable"]).ends(0);
    assert!(!env.path("fleet").join(format!("{ROUTER1}.sig")).exists());
    env.run_with(&["set", "routers.psk"], "secret").ends(0);
    env.run(&["check"]).ends(0);
    let ran = ci(&env).ends(1);
    assert!(ran.err.contains("does not sign"), "{ran:#?}");
    env.run(&["sign", "enable"]).ends(0);
    all_is_well(&env);
}

#[test]
fn a_group_opens_its_hosts_and_nothing_else() {
    let mut env = fleet(Shape::default());
    let bob = env.tool("age-keygen", &[]);
    let age = bob.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    env.run(&["recipients", "group", "net", "--opens", "routers"]).ends(0);
    env.run(&["recipients", "add", "bob", age, "--group", "net"]).ends(0);
    all_is_well(&env);
    let holds = |path: &str| String::from_utf8(read(&env, path)).unwrap().contains(age);
    assert!(holds("nodes/routers/router1/ssh_host_ed25519_key"));
    assert!(!holds("nodes/servers/server1/ssh_host_ed25519_key"));
    assert!(!holds("secrets.yaml"));
    // Plain sops seals to the same people by the rules that were written.
    let rules = String::from_utf8(read(&env, ".sops.yaml")).unwrap();
    assert!(rules.contains("path_regex"), "{rules}");
    let ran = env.run(&["recipients", "remove", "bob", "--json"]).ends(0);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["known"]["hosts"], serde_json::json!(["router1", "router2"]));
    assert!(json["known"]["values"].get("server1").is_none(), "{json}");
    all_is_well(&env);
    env.without("HOME");
}
