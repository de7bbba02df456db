//! Fleets that take over what Nixverse, sops and agenix keep.
//!
//! The files of agenix are made by `age`, keys by `ssh-keygen`, the sops files are recorded ones that sops wrote. A
//! repository of Nixverse is put together from recorded cases of its cascade: its own files are sealed here, in the
//! form that sops gives them, because Nixverse itself cannot be run without nixpkgs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use nixmox_tests::{Ran, Shape, TestEnv, copy_tree};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").canonicalize().unwrap()
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Makes an ed25519 key pair and returns the line of its public half.
fn keygen(env: &TestEnv, name: &str) -> String {
    let path = env.path("given").join(name).display().to_string();
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &path]);
    fs::read_to_string(format!("{path}.pub")).unwrap().trim().to_owned()
}

/// Returns the user's own recipient.
fn own(env: &TestEnv) -> String {
    let rules = fs::read_to_string(env.path("fleet/.sops.yaml")).unwrap();
    let word = rules.split(|c: char| !c.is_ascii_alphanumeric()).find(|w| w.starts_with("age1"));
    word.unwrap().to_owned()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"))
}

/// Returns code and place of what was left.
fn left(report: &Value) -> Vec<(String, String)> {
    let text = |left: &Value, key: &str| left[key].as_str().unwrap().to_owned();
    let left = report["left"].as_array().unwrap().iter();
    left.map(|left| (text(left, "code"), text(left, "place"))).collect()
}

/// Every file of the fleet with its bytes: what a dry run must not change.
fn snapshot(env: &TestEnv) -> Vec<(String, Vec<u8>)> {
    let read = |path: String| {
        let bytes = fs::read(env.path("fleet").join(&path)).unwrap();
        (path, bytes)
    };
    let files = nixmox_tests::files(&env.path("fleet"));
    files.into_iter().map(|path| read(path.display().to_string())).collect()
}

/// A tree of agenix beside a fleet of four hosts, for keys of two routers and a server, an admin and a stranger.
struct Agenix {
    env: TestEnv,
    dir: String,
}

impl Agenix {
    fn new() -> Self {
        let mut env = TestEnv::new();
        env.fleet(Shape::default());
        let keys =
            ["router1", "router2", "server1", "alice"].map(|name| (name, keygen(&env, name)));
        let rules: String =
            keys.iter().map(|(name, key)| format!("  {name} = \"{key}\";\n")).collect();
        let me = own(&env);
        let rules = format!(
            "let\n{rules}  me = \"{me}\";\n  routers = [ router1 router2 ];\nin\n{{\n  \"psk.age\".publicKeys = routers ++ [ me ];\n  \"sub/token.age\" = {{ publicKeys = [ router1 me alice ]; armor = true; }};\n  \"mixed.age\".publicKeys = [ router1 server1 me ];\n  \"admins.age\".publicKeys = [ me alice ];\n  \"blob.age\".publicKeys = [ me router1 ];\n  \"closed.age\".publicKeys = [ router1 ];\n  \"gone.age\".publicKeys = [ me ];\n  \"../evil.age\".publicKeys = [ me ];\n}}\n"
        );
        let dir = env.path("given/agenix");
        write(&dir.join("secrets.nix"), rules);
        let agenix = Self { env, dir: dir.display().to_string() };
        let [router1, router2, server1, alice] = keys.map(|(_, key)| key);
        agenix.seal("psk.age", "p\u{e4}ss\n", &[&router1, &router2, &me]);
        agenix.seal("sub/token.age", "t0ken", &[&router1, &me, &alice]);
        agenix.seal("mixed.age", "a\nb\n", &[&router1, &server1, &me]);
        agenix.seal("admins.age", "recovery", &[&me, &alice]);
        agenix.seal("blob.age", b"\xff\xfe\x00", &[&me, &router1]);
        agenix.seal("closed.age", "x", &[&router1]);
        agenix.seal("unnamed.age", "x", &[&me]);
        agenix
    }

    fn seal(&self, name: &str, plain: impl AsRef<[u8]>, to: &[&str]) {
        let path = Path::new(&self.dir).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let plain = self.env.give("plain", plain);
        let recipients: Vec<&str> = to.iter().flat_map(|to| ["-r", *to]).collect();
        let armor: &[&str] = if name.starts_with("sub/") { &["-a"] } else { &[] };
        let output = path.display().to_string();
        let args = [armor, &recipients, &["-o", &output, &plain]].concat();
        self.env.tool("age", &args);
        fs::remove_file(plain).unwrap();
    }

    fn import(&self, more: &[&str]) -> Ran {
        let given = self.env.path("given").display().to_string();
        let hosts = [
            format!("--host-key=router1={given}/router1"),
            format!("--host=router2={given}/router2.pub"),
            format!(
                "--host=server1={}",
                fs::read_to_string(format!("{given}/server1.pub")).unwrap().trim()
            ),
        ];
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        self.env.run(&[&["import", "agenix", &self.dir], &hosts[..], more].concat())
    }
}

#[test]
fn agenix_is_taken_over() {
    let agenix = Agenix::new();
    let env = &agenix.env;
    let before = snapshot(env);
    let planned = json(&agenix.import(&["--json", "--dry-run"]).ends(0));
    assert_eq!(snapshot(env), before);
    let ran = agenix.import(&[]).ends(1);
    assert!(ran.err.contains("nobody has vouched for 1 host key"), "{}", ran.err);
    assert_eq!(snapshot(env), before);
    let done = json(&agenix.import(&["--json", "--accept-host-keys"]).ends(0));
    assert_eq!((left(&done), &done["values"]), (left(&planned), &planned["values"]));
    let alice = fs::read_to_string(env.path("given/alice.pub")).unwrap();
    let stranger = left(&done).into_iter().find(|(code, _)| code == "stranger").unwrap();
    assert!(stranger.1.starts_with("age1"), "{stranger:?} for {alice}");
    let left: Vec<_> = left(&done).into_iter().filter(|(code, _)| code != "stranger").collect();
    let left: Vec<_> = left.iter().map(|(code, place)| (&**code, &**place)).collect();
    assert_eq!(
        left,
        [
            ("unopened", "../evil.age"),
            ("no-host", "admins.age"),
            ("not-text", "blob.age"),
            ("unopened", "closed.age"),
            ("unopened", "gone.age"),
            ("key-stays-behind", "router2"),
            ("key-stays-behind", "server1"),
            ("unopened", "unnamed.age"),
        ]
    );
    assert_eq!(done["groups"]["mixed"], serde_json::json!(["router1", "server1"]));
    let get = |path: &str| env.run(&["get", path]).ends(0).out;
    assert_eq!(get("routers.psk"), "p\u{e4}ss\n");
    assert_eq!(get("router1.token"), "t0ken");
    assert_eq!(get("mixed.mixed"), "a\nb\n");
    assert!(env.delivered("server1").unwrap().contains("mixed:"));
    assert!(!env.delivered("server1").unwrap().contains("psk:"));
    assert!(env.run(&["decrypt", "secrets.yaml"]).ends(0).out.contains("recovery"));
    // The key that was given is the host's, and opens its file.
    let public =
        fs::read_to_string(env.path("fleet/nodes/routers/router1/ssh_host_ed25519_key.pub"))
            .unwrap();
    let given = fs::read_to_string(env.path("given/router1.pub")).unwrap();
    let key = |line: &str| line.split(' ').nth(1).unwrap().trim().to_owned();
    assert_eq!(key(&public), key(&given));
    env.run(&["check"]).ends(0);
    for value in ["p\u{e4}ss", "t0ken", "recovery"] {
        assert_eq!(env.holders(value), [""; 0], "{value}");
    }
    // A second time there is nothing to do.
    let again = agenix.import(&["--accept-host-keys"]).ends(0);
    assert!(again.out.contains("the master stays as it is"), "{}", again.out);
}

#[test]
fn rules_beyond_plain_data_are_asked_of_nix() {
    let agenix = Agenix::new();
    let rules = Path::new(&agenix.dir).join("secrets.nix");
    fs::rename(&rules, Path::new(&agenix.dir).join("rules.nix")).unwrap();
    fs::write(&rules, "import ./rules.nix").unwrap();
    let ran = agenix.import(&["--dry-run"]).ends(2);
    assert!(ran.err.contains("with --nix an installed Nix evaluates it"), "{}", ran.err);
    let planned = json(&agenix.import(&["--dry-run", "--nix", "--json"]).ends(0));
    assert_eq!(planned["values"].as_array().unwrap().len(), 4);
    // Of anything beside the tree a real Nix reads nothing for it.
    fs::write(&rules, "builtins.seq (builtins.readFile /etc/passwd) (import ./rules.nix)").unwrap();
    agenix.import(&["--dry-run", "--nix"]).ends(2);
}

#[test]
fn values_that_collide_are_told_with_both_places() {
    let agenix = Agenix::new();
    let env = &agenix.env;
    let rules = Path::new(&agenix.dir).join("secrets.nix");
    let text = fs::read_to_string(&rules).unwrap().replace("\"gone.age\"", "\"token.age\"");
    fs::write(
        &rules,
        text.replace(
            "\"token.age\".publicKeys = [ me ]",
            "\"token.age\".publicKeys = [ me router1 ]",
        ),
    )
    .unwrap();
    let router1 = fs::read_to_string(env.path("given/router1.pub")).unwrap();
    agenix.seal("token.age", "another", &[router1.trim(), &own(env)]);
    let before = snapshot(env);
    let ran = agenix.import(&["--accept-host-keys"]).ends(2);
    assert!(ran.err.contains("sub/token.age") && ran.err.contains(" token.age"), "{}", ran.err);
    assert_eq!(snapshot(env), before);
    agenix.import(&["--accept-host-keys", "--by-file"]).ends(0);
    assert_eq!(env.run(&["get", "router1.sub.token"]).ends(0).out, "t0ken");
    assert_eq!(env.run(&["get", "router1.token"]).ends(0).out, "another");
    // The master has another value by now.
    env.run_with(&["set", "router1.token"], "changed").ends(0);
    let ran = agenix.import(&["--accept-host-keys", "--by-file"]).ends(2);
    assert!(ran.err.contains("the master and token.age"), "{}", ran.err);
}

/// Recorded files that sops wrote; their one recipient is said to be a host's.
#[test]
fn recorded_sops_files_are_taken_over() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let keys = fixtures().join("sops/identities/age1.txt");
    env.var("SOPS_AGE_KEY_FILE", &keys.display().to_string());
    let text = fs::read_to_string(&keys).unwrap();
    let host = text.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    let tree = env.path("given/tree");
    for (from, to) in [
        ("yaml/nested/enc.yaml", "app.yaml"),
        ("yaml/comments/enc.yaml", "commented.yaml"),
        ("keys/ten/enc.yaml", "ten.yaml"),
        ("dotenv/basic/enc.env", "environment.env"),
        ("ini/basic/enc.ini", "settings.ini"),
    ] {
        write(&tree.join(to), fs::read(fixtures().join("sops").join(from)).unwrap());
    }
    write(&tree.join("README.md"), "not sealed");
    write(
        &tree.join("torn.yaml"),
        fs::read_to_string(fixtures().join("sops/yaml/nested/enc.yaml")).unwrap().replacen(
            "data:",
            "data:AAAA",
            1,
        ),
    );
    std::os::unix::fs::symlink("/etc/passwd", tree.join("link.yaml")).unwrap();
    write(&tree.join(".sops.yaml"), format!("keys:\n  - &app_host {host}\n"));
    let dir = tree.display().to_string();
    let plain = fs::read_to_string(fixtures().join("sops/yaml/nested/dec.yaml")).unwrap();
    // Unknown, the key is told with the name that it has there, and nothing is delivered.
    let unknown =
        json(&env.run(&["import", "sops", &dir, "--dry-run", "--json", "--by-file"]).ends(0));
    let values = unknown["values"].as_array().unwrap();
    assert!(values.iter().all(|value| value["path"][0] == "imported"), "{values:?}");
    let given = format!("--host=server1={host}");
    let ran = env.run(&["import", "sops", &dir, "--json", "--by-file", &given]).ends(0);
    let report = json(&ran);
    let left = left(&report);
    let has = |code: &str, place: &str| left.iter().any(|(c, p)| c == code && p == place);
    assert!(has("comments", "commented.yaml") && has("unopened", "torn.yaml"), "{left:?}");
    assert!(has("unopened", "link.yaml") && has("key-stays-behind", "server1"), "{left:?}");
    assert!(left.iter().any(|(code, _)| code == "stranger"), "{left:?}");
    // A name that is empty has no place in a sealed file here.
    assert!(left.iter().any(|(code, place)| code == "unsealable" && place.starts_with("app.yaml")));
    let delivered = env.delivered("server1").unwrap();
    let words = |line: &&str| line.trim_end().ends_with(|c: char| c.is_alphabetic());
    for line in plain.lines().filter(words).filter(|line| !line.contains("emptykey")) {
        assert!(delivered.contains(line.trim()), "{line} is not in\n{delivered}");
    }
    assert!(report["files"].as_u64().unwrap() >= 5);
    assert_eq!(env.run(&["get", "server1.environment.EQ"]).ends(0).out, "a=b=c");
    assert_eq!(env.run(&["get", "server1.settings.sec.longer_key"]).ends(0).out, "quoted");
    let ran = env.run(&["import", "sops", &env.path("home").display().to_string()]);
    assert!(ran.err.contains("no sops file lies there"), "{ran:#?}");
}

/// Makes a repository of Nixverse from a recorded case, sealed with the key of the user.
fn nixverse(env: &TestEnv, case: &str, nested: bool, hosts: &[&str]) -> String {
    let old = env.path("given").join(format!("{case}-{nested}"));
    copy_tree(&fixtures().join("cascade").join(case), &old);
    fs::remove_file(old.join("expected.json")).unwrap();
    let _ = fs::remove_file(old.join("secrets.raw.json"));
    let area = if old.join("private").exists() { old.join("private") } else { old.clone() };
    write(&old.join(".sops.yaml"), fs::read(env.path("fleet/.sops.yaml")).unwrap());
    let path = |path: &Path| path.display().to_string();
    let seal = |from: &Path, to: &Path| {
        env.run(&["encrypt", &path(from), "--output", &path(to)]).ends(0);
        fs::remove_file(from).unwrap();
    };
    seal(&old.join("secrets.nix"), &area.join("secrets.yaml"));
    for (index, dir) in hosts.iter().enumerate() {
        let dir = area.join(dir);
        let (private, public) = match nested {
            true => {
                ("secrets/fs/etc/ssh/ssh_host_ed25519_key", "fs/etc/ssh/ssh_host_ed25519_key.pub")
            }
            false => ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"),
        };
        let name = format!("{case}-{nested}-{index}");
        let line = keygen(env, &name);
        write(&dir.join(public), format!("{line}\n"));
        fs::create_dir_all(dir.join(private).parent().unwrap()).unwrap();
        // What is sealed as bytes must have no ending that tells otherwise.
        seal(&env.path("given").join(&name), &dir.join(private));
        if nested {
            write(&dir.join("secrets/fs/etc/extra"), "x");
        }
    }
    path(&old)
}

#[test]
fn repositories_of_nixverse_are_taken_over_in_both_arrangements() {
    for (case, nested, private, hosts) in [
        ("01-readme-group", false, false, &["nodes/routers/router1", "nodes/routers/router2"][..]),
        ("01-readme-group", true, false, &["nodes/routers/router1", "nodes/routers/router2"]),
        ("35-private-adds-child", true, true, &["nodes/g/h1", "nodes/secretbox"]),
        ("10-deep-merge", false, false, &[]),
    ] {
        let env = {
            let env = TestEnv::new();
            if private {
                fs::create_dir(env.path("fleet/private")).unwrap();
            }
            env.run(&["init", "--repo", "."]).ends(0);
            fs::remove_dir_all(env.path("fleet/nodes/example")).unwrap();
            env
        };
        let old = nixverse(&env, case, nested, hosts);
        let before = snapshot(&env);
        env.run(&["import", "nixverse", &old, "--dry-run"]).ends(0);
        assert_eq!(snapshot(&env), before, "{case}");
        let ran = env.run(&["import", "nixverse", &old, "--json", "--accept-host-keys"]).ends(0);
        let report = json(&ran);
        assert_eq!(report["hostKeys"].as_object().unwrap().len(), hosts.len(), "{case}");
        let files = left(&report).iter().filter(|(code, _)| code == "delivered-file").count();
        assert_eq!(files, if nested { hosts.len() } else { 0 }, "{case}");
        // Nixverse's own answer is the judge of what hosts get.
        let expected = fixtures().join("cascade").join(case).join("expected.json");
        let expected: Value = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
        for (host, values) in expected["delivered"].as_object().unwrap() {
            let shown = env.run(&["show", host, "--json"]).ends(0);
            let names: Vec<String> =
                json(&shown)["secrets"].as_object().unwrap().keys().cloned().collect();
            let mut leaves = Vec::new();
            each_leaf(values, "", &mut leaves);
            leaves.sort();
            assert_eq!(names, leaves, "{case} {host}");
        }
        // The text came along as it was.
        let text =
            fs::read_to_string(fixtures().join("cascade").join(case).join("secrets.nix")).unwrap();
        let area = if private { "private/secrets.yaml" } else { "secrets.yaml" };
        assert_eq!(env.run(&["decrypt", area]).ends(0).out, text, "{case}");
        env.run(&["check"]).ends(0);
    }
}

fn each_leaf(value: &Value, above: &str, leaves: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
                each_leaf(value, &path, leaves);
            }
        }
        _ => leaves.push(above.to_owned()),
    }
}

#[test]
fn nodes_that_mean_something_else_and_the_fleet_itself_are_refused() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let old = nixverse(&env, "01-readme-group", false, &[]);
    write(&Path::new(&old).join("nodes/routers/group.nix"), "{ router1 = { }; router9 = { }; }");
    let before = snapshot(&env);
    let ran = env.run(&["import", "nixverse", &old]).ends(2);
    assert!(ran.err.contains("`routers` is the group of router1, router9 there"), "{}", ran.err);
    let here = env.path("fleet").display().to_string();
    let ran = env.run(&["import", "nixverse", &here]).ends(2);
    assert!(ran.err.contains("this is the fleet itself"), "{}", ran.err);
    assert_eq!(snapshot(&env), before);
    // A tree is taken in value by value where there are values already.
    let old = nixverse(&env, "01-readme-group", true, &[]);
    env.secrets(&[("server1.own", "kept-value")]);
    env.run(&["import", "nixverse", &old]).ends(0);
    assert_eq!(env.run(&["get", "server1.own"]).ends(0).out, "kept-value");
    assert_eq!(env.run(&["get", "routers.pppoePassword"]).ends(0).out, "mypassword");
}

/// Written in YAML, a master has every leaf sealed: what cannot be is left, and the rest comes along.
#[test]
fn a_master_in_yaml_takes_what_it_can_seal() {
    let mut env = TestEnv::new();
    env.fleet(Shape { yaml: true, ..Shape::default() });
    let tree = env.path("given/tree");
    write(&tree.join(".sops.yaml"), fs::read(env.path("fleet/.sops.yaml")).unwrap());
    write(&tree.join("a.yaml"), "empty: ''\nnone: null\nkept: x-y-z\nlist: []\n");
    let file = tree.join("a.yaml").display().to_string();
    env.run(&["encrypt", "--in-place", &file]).ends(0);
    let dir = tree.display().to_string();
    let report = json(&env.run(&["import", "sops", &dir, "--json"]).ends(0));
    let unsealable = left(&report).iter().filter(|(code, _)| code == "unsealable").count();
    assert_eq!(unsealable, 3, "{report}");
    assert!(env.run(&["decrypt", "secrets.yaml"]).ends(0).out.contains("kept: x-y-z"));
    let ran = env.run(&["import", "nixverse", &dir]).ends(100);
    assert!(ran.err.contains("this is about the tree"), "{}", ran.err);
    let ran = env.run(&["import", "sops", "no-such"]).ends(100);
    assert!(ran.err.contains("no-such is no directory"), "{}", ran.err);
}

#[test]
fn a_plain_file_is_taken_in_as_before() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let file = env.give("plain.json", r#"{"nodes": {"router1": {"a": "b-c"}}}"#);
    env.run(&["import", &file]).ends(0);
    assert_eq!(env.run(&["get", "router1.a"]).ends(0).out, "b-c");
    let ran = env.run(&["import"]).ends(2);
    assert!(ran.err.contains("FILE") || ran.err.contains("nixverse"), "{}", ran.err);
}
