//! Who opens what, as others see it: Debian's `age` tries the keys, `ssh-keygen` holds the halves of pairs together,
//! git keeps the past.
//!
//! Needs age, git and ssh-keygen (Debian: age, git, openssh-client), and what the harness needs.

#![expect(clippy::unwrap_used, reason = "tests and their helpers fail by panicking")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use nixmox_hostkey::HostKey;
use nixmox_tests::{Shape, TestEnv};
use nixmox_tree::SecretString;
use serde_json::Value;

const SEALED: &str = "nodes/routers/router1/secrets.yaml";
const KEY: &str = "nodes/routers/router1/ssh_host_ed25519_key";

fn fleet() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape { git: true, ..Shape::default() });
    env.tool("git", &["config", "user.name", "nobody"]);
    env.tool("git", &["config", "user.email", "nobody@example.org"]);
    env.secrets(&[("routers.psk", "one"), ("router1.old", "gone"), ("servers.db.password", "two")]);
    commit(&env);
    env
}

fn commit(env: &TestEnv) {
    env.tool("git", &["add", "--all"]);
    env.tool("git", &["commit", "--quiet", "--message=x"]);
}

/// Makes an admin with `age-keygen`, and returns his recipient and the path of his key.
fn person(env: &TestEnv, name: &str) -> (String, String) {
    let path = env.path("given").join(name).display().to_string();
    env.tool("age-keygen", &["--output", &path]);
    (env.tool("age-keygen", &["-y", &path]).trim().to_owned(), path)
}

/// Writes the age identity of a private host key to a file, and returns its path.
fn identity(env: &TestEnv, name: &str, private: &str) -> String {
    let key = HostKey::from_openssh(&SecretString::new(private)).unwrap();
    env.give(name, key.age_identity().expose())
}

/// Takes the wrapped data keys out of a sops file.
fn wrapped(text: &str) -> Vec<String> {
    let (begin, end) = ("-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----");
    let text = text.replace("\\n", "\n");
    let blocks = text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap());
    let lines = |block: &str| block.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    blocks.map(|block| format!("{begin}{}\n{end}\n", lines(block).trim_end())).collect()
}

/// Lets `age` try a key on every wrapped data key of a file.
fn opens(env: &TestEnv, file: &str, key: &str) -> bool {
    let text = fs::read_to_string(env.path("fleet").join(file)).unwrap();
    assert!(!wrapped(&text).is_empty(), "{file}");
    opens_text(env, &text, key)
}

fn opens_text(env: &TestEnv, text: &str, key: &str) -> bool {
    wrapped(text).iter().any(|enc| {
        let mut age = env.command(Path::new("age"));
        let mut child =
            age.args(["--decrypt", "--identity", key]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(enc.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        done.status.success() && done.stdout.len() == 32
    })
}

fn json(env: &TestEnv, args: &[&str], code: i32) -> Value {
    serde_json::from_str(&env.run(args).ends(code).out).unwrap()
}

fn private(env: &TestEnv, file: &str) -> String {
    env.run(&["decrypt", file]).ends(0).out
}

#[test]
fn a_host_key_is_replaced_in_two_steps_and_age_opens_what_it_should() {
    let env = fleet();
    let old = identity(&env, "old", &private(&env, KEY));
    let other =
        identity(&env, "other", &private(&env, "nodes/servers/server1/ssh_host_ed25519_key"));
    assert!(opens(&env, SEALED, &old) && !opens(&env, SEALED, &other));
    env.run(&["rotate-host", "router1"]).ends(0);
    let text = private(&env, &format!("{KEY}.next"));
    let path = env.give("next", &text);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let public = fs::read_to_string(env.path("fleet").join(format!("{KEY}.next.pub"))).unwrap();
    let derived = env.tool("ssh-keygen", &["-y", "-f", &path]);
    assert_eq!(
        derived.split(' ').take(2).collect::<Vec<_>>(),
        public.split(' ').take(2).collect::<Vec<_>>()
    );
    let new = identity(&env, "new", &text);
    assert!(opens(&env, SEALED, &old) && opens(&env, SEALED, &new));
    env.run_with(&["set", "router1.more"], "x").ends(0);
    assert!(opens(&env, SEALED, &old) && opens(&env, SEALED, &new));
    env.run(&["check"]).ends(0);
    env.run(&["rotate-host", "router1", "--finish"]).ends(0);
    assert!(!opens(&env, SEALED, &old) && opens(&env, SEALED, &new));
    let placed = fs::read_to_string(env.path("fleet").join(format!("{KEY}.pub"))).unwrap();
    assert_eq!(placed, public);
    env.run(&["check"]).ends(0);
}

#[test]
fn updatekeys_takes_admins_in_and_out_and_age_agrees() {
    let env = fleet();
    let (recipient, key) = person(&env, "colleague");
    let rules = env.path("fleet/.sops.yaml");
    let alone = fs::read_to_string(&rules).unwrap();
    let own = alone.split("age1").nth(1).unwrap().split_whitespace().next().unwrap();
    let own = format!("age1{}", own.trim_end_matches(','));
    fs::write(&rules, alone.replace(&own, &format!("{own},{recipient}"))).unwrap();
    let asked = env.run(&["updatekeys"]).ends(1);
    assert!(asked.err.contains(&format!("gains access: {recipient}")), "{asked:#?}");
    let before = fs::read(env.path("fleet").join(KEY)).unwrap();
    env.run(&["updatekeys", "--dry-run"]).ends(0);
    assert_eq!(fs::read(env.path("fleet").join(KEY)).unwrap(), before);
    env.run(&["updatekeys", "--yes"]).ends(0);
    for file in ["secrets.yaml", KEY] {
        assert!(opens(&env, file, &key), "{file}");
    }
    commit(&env);
    fs::write(&rules, &alone).unwrap();
    env.run(&["updatekeys", "-y"]).ends(0);
    for file in ["secrets.yaml", KEY] {
        assert!(!opens(&env, file, &key), "{file}");
    }
    commit(&env);
    let now = env.run(&["access", "--json"]).ends(0).out;
    assert!(!now.contains(&recipient));
    // What is in the history he still opens.
    let past = json(&env, &["who", "routers.psk", "--ever", "--json"], 0);
    assert!(past["ever"]["files"][KEY].to_string().contains(&recipient), "{past:#}");
    assert!(past["ever"]["files"]["secrets.yaml"].to_string().contains(&recipient));
    assert!(past["ever"]["files"][SEALED].is_array());
    assert!(
        !past["ever"]["files"].to_string().contains("server1"),
        "of other hosts nothing is said"
    );
    env.run(&["check"]).ends(0);
}

/// What the whole fleet's past says about two people is what `age` does with every committed version.
#[expect(clippy::too_many_lines, reason = "one history, looked at from several sides")]
#[test]
fn the_past_of_the_fleet_is_what_age_opens() {
    let mut env = fleet();
    let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let declared = "nodes = {\n    servers.token._generate = { type = \"hex\"; };\n";
    env.types(&text.replacen("nodes = {\n", declared, 1));
    env.run(&["edit"]).ends(0);
    commit(&env);
    // A colleague comes and goes; another is there for the routers alone, and a host is taken down.
    let (colleague, colleague_key) = person(&env, "colleague");
    let (helper, helper_key) = person(&env, "helper");
    let rules = env.path("fleet/.sops.yaml");
    let alone = fs::read_to_string(&rules).unwrap();
    let own =
        format!("age1{}", alone.split("age1").nth(1).unwrap().split_whitespace().next().unwrap());
    let own = own.trim_end_matches(',');
    let routers = format!(
        "creation_rules:\n  - path_regex: ^nodes/routers/\n    age: {own},{helper}\n  - age: {own},{colleague}\n"
    );
    for rule in [&routers, &alone] {
        fs::write(&rules, rule).unwrap();
        env.run(&["updatekeys", "--yes"]).ends(0);
        commit(&env);
    }
    let group = env.path("fleet/nodes/servers/group.nix");
    let members = fs::read_to_string(&group).unwrap();
    fs::write(&group, members.replace("server2 = { };", "")).unwrap();
    env.tool("git", &["rm", "-r", "--quiet", "nodes/servers/server2"]);
    env.run(&["seal"]).ends(0);
    commit(&env);
    let seen = json(&env, &["access", "--ever", "--json"], 0);
    let (mut versions, mut opened) = (0, 0);
    for (path, eras) in seen["ever"]["files"].as_object().unwrap() {
        let commits =
            env.tool("git", &["log", "--all", "--format=%H", "--diff-filter=AM", "--", path]);
        let texts: Vec<String> =
            commits.lines().map(|c| env.tool("git", &["show", &format!("{c}:{path}")])).collect();
        versions += texts.len();
        for (who, key) in [(&colleague, &colleague_key), (&helper, &helper_key)] {
            let any = texts.iter().any(|text| opens_text(&env, text, key));
            assert_eq!(eras.to_string().contains(who.as_str()), any, "{path} {who}");
            opened += usize::from(any);
        }
    }
    // The master, the generated values and both servers' keys; both routers' keys.
    assert_eq!(opened, 6, "{seen:#}");
    assert!(versions > 20, "{versions}");
    // The file of generated values is named where it holds what is asked about.
    let generated =
        |what: &str| json(&env, &["who", what, "--json"], 0)["generated"]["path"].clone();
    for what in ["servers.token", "server1"] {
        assert_eq!(generated(what), ".nixmox/generated.yaml", "{what}");
    }
    for what in ["servers.db.password", "router1"] {
        assert!(generated(what).is_null(), "{what}");
    }
    assert_eq!(seen["generated"]["secrets"].to_string(), r#"["servers.token"]"#);
    let ever = &seen["ever"];
    let people = &ever["people"];
    let told = |who: &str| {
        let said = &people[who];
        format!(
            "{} {} {} {} {}",
            said["master"], said["generated"], said["keys"], said["files"], said["now"]
        )
    };
    assert_eq!(told(&colleague), r#"true true ["server1","server2"] [] false"#);
    assert_eq!(told(&helper), r#"false false ["router1","router2"] [] false"#);
    assert_eq!(people[own]["now"], true);
    assert_eq!(
        ever["hosts"]["server2"].to_string(),
        r#"{"gone":true,"secrets":["db.password","token"]}"#
    );
    assert_eq!(ever["hosts"]["router1"].to_string(), r#"{"gone":false,"secrets":["old","psk"]}"#);
    let table = env.run(&["access", "--ever"]).ends(0).out;
    let words: Vec<String> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in ["server2 (gone) 2 ", "router1 2 ", "generated values 1 "] {
        assert!(words.iter().any(|words| words.starts_with(line)), "{line}: {table}");
    }
    assert!(table.contains(&colleague) && table.contains(&helper), "{table}");
    assert!(!table.contains("suspicious"), "{table}");
    // Somebody else's data key under the admin's label, in one commit that is taken back.
    let path = env.path("fleet").join(KEY);
    let honest = fs::read_to_string(&path).unwrap();
    let mut age = env.command(Path::new("age"));
    let mut child = age.args(["--armor", "-r", &helper]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[7; 32]).unwrap();
    let enc = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let (before, rest) = honest.split_once("-----BEGIN").unwrap();
    let (_, after) = rest.split_once("-----END AGE ENCRYPTED FILE-----").unwrap();
    let enc = enc.trim().replace('\n', "\\n");
    for text in [format!("{before}{enc}{after}"), honest.clone()] {
        fs::write(&path, text).unwrap();
        commit(&env);
    }
    let table = env.run(&["access", "--ever"]).ends(0).out;
    let lie =
        format!("suspicious  {KEY}  the key of {own} does not open what was labelled with it");
    assert!(table.contains(&lie), "{table}");
}

#[test]
fn the_past_knows_former_keys_former_values_and_hidden_readers() {
    let env = fleet();
    let first = json(&env, &["who", "router1", "--json"], 0);
    let sealed = &first["hosts"]["router1"]["sealed"]["readers"][0];
    let former = sealed["recipient"].as_str().unwrap().to_owned();
    env.run(&["rotate-host", "router1"]).ends(0);
    env.run(&["rotate-host", "router1", "--finish"]).ends(0);
    env.run(&["unset", "router1.old"]).ends(0);
    commit(&env);
    env.run(&["who", "router1.old"]).ends(7);
    let past = json(&env, &["who", "router1.old", "--ever", "--json"], 0);
    assert!(past["ever"]["files"][SEALED].to_string().contains(&former));
    assert_eq!(past["ever"]["keys"][&former][0], "router1");
    assert!(env.run(&["who", "router1.old", "--ever"]).ends(0).out.contains("(a key of router1)"));
    // Somebody hid himself in one commit, on a branch that nobody looks at, and took himself out again.
    let (eve, _) = person(&env, "eve");
    let text = fs::read_to_string(env.path("fleet").join(SEALED)).unwrap();
    let owner = text.split("recipient: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let mut age = env.command(Path::new("age"));
    age.args(["--armor", "-r", owner, "-r", &eve]).stdin(Stdio::piped());
    let mut child = age.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[7; 32]).unwrap();
    let both = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let begin = text.find("-----BEGIN").unwrap();
    let end = text.find("-----END AGE ENCRYPTED FILE-----").unwrap();
    let indented = both.trim().replace('\n', "\n            ");
    let after = &text[end + "-----END AGE ENCRYPTED FILE-----".len()..];
    let hidden = format!("{}{indented}{after}", &text[..begin]);
    env.tool("git", &["switch", "--quiet", "--create", "aside"]);
    fs::write(env.path("fleet").join(SEALED), hidden).unwrap();
    let seen = env.run(&["access"]).ends(1);
    assert!(seen.out.contains("suspicious") && seen.out.contains("2 keys open"), "{seen:#?}");
    commit(&env);
    env.tool("git", &["switch", "--quiet", "-"]);
    env.run(&["access"]).ends(0);
    let seen = env.run(&["who", "routers.psk", "--ever"]).ends(0);
    assert!(seen.out.contains("2 keys under the label"), "{seen:#?}");
}

#[test]
fn a_hostile_history_is_read_and_printed_harmlessly() {
    let env = fleet();
    let strange = env.path("fleet/nodes/a\u{1b}[31mb");
    fs::create_dir_all(&strange).unwrap();
    let sealed = fs::read(env.path("fleet").join(SEALED)).unwrap();
    fs::write(strange.join("secrets.yaml"), &sealed).unwrap();
    fs::create_dir_all(env.path("fleet/nodes/link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", env.path("fleet/nodes/link/secrets.yaml")).unwrap();
    fs::write(env.path("fleet").join(SEALED), "sops: {age: [{recipient: \"\\e[2J\", enc: x}]}")
        .unwrap();
    commit(&env);
    env.tool("git", &["rm", "-r", "--quiet", "nodes/a\u{1b}[31mb", "nodes/link"]);
    fs::write(env.path("fleet").join(SEALED), &sealed).unwrap();
    commit(&env);
    let seen = env.run(&["who", "routers.psk", "--ever"]).ends(0);
    assert!(!seen.out.contains('\u{1b}') && !seen.err.contains('\u{1b}'), "{seen:#?}");
    assert!(seen.out.contains("1 version of the files could not be read"), "{seen:#?}");
    json(&env, &["who", "routers.psk", "--ever", "--json"], 0);
    fs::remove_dir_all(env.path("fleet/.git")).unwrap();
    let seen = env.run(&["who", "routers.psk", "--ever"]).ends(1);
    assert!(seen.err.contains("git history"), "{seen:#?}");
}

#[test]
fn a_broken_host_leaves_a_list_that_shrinks() {
    let mut env = fleet();
    let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let declared = "nodes = {\n    routers.token._generate = { type = \"hex\"; };\n    \
        servers.token._generate = { type = \"hex\"; };\n";
    env.types(&text.replacen("nodes = {\n", declared, 1));
    env.run(&["edit"]).ends(0);
    let get = |env: &TestEnv, path: &str| env.run(&["get", path]).ends(0).out;
    let (token, other) = (get(&env, "routers.token"), get(&env, "servers.token"));
    let old = identity(&env, "old", &private(&env, KEY));
    env.run(&["due"]).ends(0);
    let planned = json(&env, &["compromised", "router1", "--dry-run", "--json"], 0);
    assert_eq!(planned["change"].to_string(), r#"[["router1","old"],["routers","psk"]]"#);
    assert_eq!(get(&env, "routers.token"), token, "a dry run makes nothing");
    assert!(opens(&env, SEALED, &old));
    env.run(&["due"]).ends(0);
    env.run(&["compromised", "router1"]).ends(0);
    // What has a generator is made anew, wherever it is delivered; what the host did not get stays.
    let fresh = get(&env, "routers.token");
    assert!(fresh != token && fresh.len() == 64, "{fresh}");
    for host in ["router1", "router2"] {
        let delivered = env.delivered(host).unwrap();
        assert!(delivered.contains(&fresh) && !delivered.contains(&token), "{delivered}");
    }
    assert_eq!(get(&env, "servers.token"), other);
    assert!(!opens(&env, SEALED, &old));
    let due = json(&env, &["due", "--json"], 1);
    assert_eq!(due["due"].as_array().unwrap().len(), 2, "{due:#}");
    env.run(&["rotate"]).ends(0);
    env.run(&["due"]).ends(1);
    env.secrets(&[("routers.psk", "fresh")]);
    let left = env.run(&["due"]).ends(1);
    assert!(left.out.contains("router1.old") && !left.out.contains("psk"), "{left:#?}");
    env.run(&["unset", "router1.old"]).ends(0);
    env.run(&["due"]).ends(0);
    env.run(&["check"]).ends(0);
    env.run(&["compromised", "router9"]).ends(7);
}
