//! What a person sees, command by command.
//!
//! Needs bash, zsh, fish, groff and ssh-keygen (Debian: zsh, fish, groff-base, openssh-client), and what the harness
//! needs. Paths of the test, keys, fingerprints, times and process ids are replaced; everything else stands as it is printed.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use insta::assert_snapshot;
use nixmox_tests::{Ran, Shape, TestEnv};

const SEALED: &str = "nodes/routers/router1/secrets.yaml";

fn empty() -> TestEnv {
    TestEnv::of(Path::new(env!("CARGO_BIN_EXE_nixmox-secrets")))
}

fn fleet() -> TestEnv {
    let mut env = empty();
    env.fleet(Shape::default());
    env.secrets(&[("routers.psk", "group"), ("router1.psk", "own"), ("servers.db.user", "app")]);
    env
}

/// Shows a run as a person would see it.
fn shown(env: &TestEnv, args: &[&str], ran: &Ran) -> String {
    let code = ran.code.unwrap();
    let text = format!("$ nixmox-secrets {}\n{}{}[{code}]\n", args.join(" "), ran.out, ran.err);
    let text = text.replace(env.path("").to_str().unwrap(), "/test/");
    text.split_inclusive(|c: char| c.is_whitespace() || "\",:".contains(c)).map(replaced).collect()
}

/// Replaces what is another at every run.
fn replaced(word: &str) -> String {
    let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "\",:".contains(c));
    let end = word.strip_prefix(bare).unwrap_or_default();
    let standing = match bare {
        key if key.starts_with("age1") && key.len() == 62 => "age1…",
        key if key.starts_with("+age1") && key.len() == 63 => "+age1…",
        key if key.starts_with("-age1") && key.len() == 63 => "-age1…",
        print if print.len() == 43 && print.is_ascii() => "…",
        _ => bare,
    };
    format!("{standing}{end}")
}

/// Shows a run for scripts, its JSON on one line.
#[track_caller]
fn run_json(env: &TestEnv, args: &[&str], stdin: &str) -> String {
    let ran = env.run_with(args, stdin);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    shown(env, args, &Ran { out: format!("{json}\n"), ..ran })
}

#[track_caller]
fn run(env: &TestEnv, args: &[&str]) -> String {
    shown(env, args, &env.run(args))
}

#[track_caller]
fn run_with(env: &TestEnv, args: &[&str], stdin: &str) -> String {
    shown(env, args, &env.run_with(args, stdin))
}

#[test]
fn the_help() {
    assert_snapshot!(run(&empty(), &["-h"]), @r"
    $ nixmox-secrets -h
    One secrets file in, one sealed file per host out

    Usage: nixmox-secrets [OPTIONS] <COMMAND>

    Commands:
      demo         Make a throw-away fleet with four hosts, seal a secret and show what each host can
                   open
      init         Make an admin identity, `.sops.yaml` and an empty master in a repository
      edit         Open the secrets in your editor, then seal what changed
      set          Set one secret from standard input, a file, or a hidden prompt
      unset        Remove one secret
      get          Print one secret as it is written in the master
      list         List the names of all secrets, by the node they are written for
      show         Show what one host gets, and from where; values are masked
      eval         Evaluate the secrets and print what every host gets, as JSON; values are masked
      explain      Say which level supplies a host's value and what it shadows
      generate     List the secrets that are declared instead of written, or make them anew
      status       Show what sealing would change, and why; nothing is written
      seal         Carry out what `status` shows: seal what the master says already, without a change
      updatekeys   Seal everything to the recipients that `.sops.yaml` names now
      rotate       Give new data keys to everything, or to the files of some hosts; no value changes
      rotate-host  Replace a host's key in two steps: seal to the old and a new key, and once the
                   machine has it, to the new alone
      compromised  Somebody broke into a host: replace its key, and list everything that it could ever
                   read
      due          List the values that are past their age or that somebody may have read; ends with 1
                   when there are any
      who          Tell who can read a secret or a host's files: what is proved, what is claimed, what
                   is suspicious
      access       Tell who can read what, for the whole fleet
      check        Check everything, for CI: sealed, current, to the right recipients, nothing left over
      import       Take secrets in: of a plain YAML, JSON or Nix file, or of everything that another
                   tool keeps
      doctor       Find plaintext, keys and machines that are not as they should be, with the way out
      consumers    Compare what a host's configuration declares (`sops.secrets`) with what is delivered
                   to it
      encrypt      Encrypt any file as sops does, to the recipients of `.sops.yaml` or to a host
      decrypt      Decrypt any sops file with your keys, or with a host's
      git          Sealed files in git: diffs by name, merges by value
      recipients   Show and change who opens the secrets: admins and groups of admins, by a signed
                   roster
      sign         Sign what hosts are delivered, so that a forged, swapped or rolled-back file is
                   refused
      verify       Verify the roster and what hosts are delivered, without any secret key: in CI, or on
                   the machine
      completions  Print a completion script for a shell
      man          Print the manual page, or write all of them to a directory
      help         Print this message or the help of the given subcommand(s)

    Options:
          --repo <DIR>    The fleet's directory; without it the nearest one upwards from here
          --json          Report as JSON on standard output, for scripts
          --color <WHEN>  When to use colour; NO_COLOR and CLICOLOR_FORCE are respected [default: auto]
                          [possible values: auto, always, never]
      -h, --help          Print help (see more with '--help')
      -V, --version       Print version

    Start with `nixmox-secrets demo`, then `nixmox-secrets init` in your own repository.
    [0]
    ");
}

#[test]
fn the_demo() {
    let env = empty();
    let demo = env.path("tmp/demo");
    assert_snapshot!(run(&env, &["demo", demo.to_str().unwrap()]), @r#"
    $ nixmox-secrets demo /test/tmp/demo
    made a fleet in /test/tmp/demo/fleet and an admin key in /test/tmp/demo/admin-keys.txt
    wrote these secrets into the master, as `edit` would:

        # Made by `nixmox-secrets demo`: worthless values.
        { secrets, ... }:
        {
          nodes = {
            routers.pppoePassword = "mypassword";
            router1.pppoePassword = "only-for-router1";
            servers.database = {
              user = "app";
              password = "correct-horse";
            };
            backups.repository = "sftp://${secrets.nodes.servers.database.user}@backup/repo";
          };
        }

    created    router1  new host key, first secrets
    created    router2  new host key, first secrets
    created    server1  new host key, first secrets
    created    server2  new host key, first secrets
    4 created; the master was sealed

    what each host opens with its own key, and no other host can:

      private/nodes/routers/router1/secrets.yaml
          pppoePassword: only-for-router1
      private/nodes/routers/router2/secrets.yaml
          pppoePassword: mypassword
      private/nodes/servers/server1/secrets.yaml
          database:
              password: correct-horse
              user: app
          repository: sftp://app@backup/repo
      private/nodes/servers/server2/secrets.yaml
          database:
              password: correct-horse
              user: app

    go on with:
        export SOPS_AGE_KEY_FILE=/test/tmp/demo/admin-keys.txt
        nixmox-secrets edit --repo /test/tmp/demo/fleet
    [0]
    "#);
}

#[test]
fn a_new_fleet() {
    let mut env = empty();
    let mut seen = run(&env, &["init", "--repo", "."]);
    seen += &run(&env, &["init", "--repo", "."]);
    seen += &run(&env, &["check"]);
    fs::create_dir(env.path("fleet/nodes/web")).unwrap();
    fs::write(env.path("fleet/nodes/web/node.nix"), "{ }\n").unwrap();
    seen += &run_with(&env, &["set", "web.token"], "value");
    env.types("{ nodes.web = { token = \"other\"; _salt = \"s\"; }; }");
    seen += &run(&env, &["edit"]);
    seen += &run(&env, &["edit"]);
    assert_snapshot!(seen, @r"
    $ nixmox-secrets init --repo .
    made your key: /test/home/.config/sops/age/keys.txt (keep a copy in a safe place)
    wrote .gitignore
    wrote .sops.yaml
    wrote nodes/example/group.nix
    wrote .nixmox/digests.json
    wrote secrets.yaml

    now: nixmox-secrets edit --repo .
    [0]
    $ nixmox-secrets init --repo .
    your key stays: age1…

    now: nixmox-secrets edit --repo .
    [0]
    $ nixmox-secrets check
    all is well: 0 sealed hosts opened and compared
    [0]
    $ nixmox-secrets set web.token
    created    web  new host key, first secrets
    1 created; the master was sealed
    [0]
    $ nixmox-secrets edit
    updated    web  values changed
    1 updated; the master was sealed
    [0]
    $ nixmox-secrets edit
    1 unchanged; the master stays as it is
    [200]
    ");
}

#[test]
fn changes() {
    let env = fleet();
    let mut seen = run_with(&env, &["set", "routers.psk", "-n"], "new");
    seen += &run_with(&env, &["set", "routers.psk"], "new");
    seen += &run_with(&env, &["set", "routers.psk"], "new");
    seen += &run(&env, &["unset", "servers.db"]);
    seen += &run(&env, &["unset", "servers.db"]);
    let plain = env.give("plain.json", "{\"nodes\": {\"server1\": {\"port\": 25, \"tls\": true}}}");
    seen += &run(&env, &["import", &plain]);
    seen += &run(&env, &["import", &plain]);
    assert_snapshot!(seen, @r"
    $ nixmox-secrets set routers.psk -n
    updated    router2  values changed
    would be: 1 updated, 3 unchanged; the master would be sealed
    [0]
    $ nixmox-secrets set routers.psk
    updated    router2  values changed
    1 updated, 3 unchanged; the master was sealed
    [0]
    $ nixmox-secrets set routers.psk
    4 unchanged; the master stays as it is
    [0]
    $ nixmox-secrets unset servers.db
    updated    server1  values changed
    updated    server2  values changed
    2 updated, 2 unchanged; the master was sealed
    [0]
    $ nixmox-secrets unset servers.db
    error: there is no secret at `nodes.servers.db`
      hint: `nixmox-secrets list` names what there is
    [7]
    $ nixmox-secrets import /test/given/plain.json
    updated    server1  values changed
    1 updated, 3 unchanged; the master was sealed
    [0]
    $ nixmox-secrets import /test/given/plain.json
    4 unchanged; the master stays as it is
    [0]
    ");
}

#[test]
fn reading() {
    let env = fleet();
    let mut seen = String::new();
    for args in [
        &["get", "routers.psk"][..],
        &["get", "servers"],
        &["list"],
        &["list", "routers"],
        &["show", "router1"],
        &["explain", "router1"],
        &["eval", "server1"],
    ] {
        seen += &run(&env, args);
    }
    assert_snapshot!(seen, @r#"
    $ nixmox-secrets get routers.psk
    group[0]
    $ nixmox-secrets get servers
    {
      "db": {
        "user": "app"
      }
    }[0]
    $ nixmox-secrets list
    NODE     HOSTS  SECRETS
    router1  1      psk
    routers  2      psk
    servers  2      db.user
    [0]
    $ nixmox-secrets list routers
    NODE     HOSTS  SECRETS
    routers  2      psk
    [0]
    $ nixmox-secrets show router1
    SECRET  VALUE     FROM
    psk     ••••••••  router1
    [0]
    $ nixmox-secrets explain router1
    psk  string from router1
        shadows the string of routers
    [0]
    $ nixmox-secrets eval server1
    {
      "server1": {
        "db": {
          "user": "••••••••"
        }
      }
    }
    [0]
    "#);
}

#[test]
fn looking() {
    let env = fleet();
    let mut seen = run(&env, &["status"]);
    seen += &run(&env, &["check"]);
    seen += &run(&env, &["check", "--keyless"]);
    assert_snapshot!(seen, @r"
    $ nixmox-secrets status
    would be: 4 unchanged; the master stays as it is
    [0]
    $ nixmox-secrets check
    all is well: 4 sealed hosts opened and compared
    [0]
    $ nixmox-secrets check --keyless
    all is well: 4 sealed hosts looked at from outside
    [0]
    ");
}

#[test]
fn for_scripts() {
    let env = fleet();
    let mut seen = run_json(&env, &["set", "server1.db.user", "--json"], "own");
    for args in [
        &["list", "--json"][..],
        &["show", "router1", "--json"],
        &["explain", "router1", "psk", "--json"],
        &["eval", "router1", "--json"],
        &["status", "--json"],
        &["check", "--json"],
    ] {
        seen += &run_json(&env, args, "");
    }
    fs::remove_file(env.path("fleet").join(SEALED)).unwrap();
    seen += &run_json(&env, &["check", "--json"], "");
    assert_snapshot!(seen, @r#"
    $ nixmox-secrets set server1.db.user --json
    {"unchanged":false,"master":"updated","hosts":{"router1":{"change":"unchanged","reasons":[]},"router2":{"change":"unchanged","reasons":[]},"server1":{"change":"updated","reasons":["values"]},"server2":{"change":"unchanged","reasons":[]}},"rotating":[],"orphans":[],"lints":[],"generated":{}}
    [0]
    $ nixmox-secrets list --json
    {"router1":["psk"],"routers":["psk"],"server1":["db.user"],"servers":["db.user"]}
    [0]
    $ nixmox-secrets show router1 --json
    {"host":"router1","secrets":{"psk":{"from":"router1"}}}
    [0]
    $ nixmox-secrets explain router1 psk --json
    [{"path":["psk"],"type":"string","from":"router1","delivered":true,"shadowed":[{"node":"routers","path":["psk"],"type":"string"}]}]
    [0]
    $ nixmox-secrets eval router1 --json
    {"router1":{"psk":"••••••••"}}
    [0]
    $ nixmox-secrets status --json
    {"unchanged":true,"master":"unchanged","hosts":{"router1":{"change":"unchanged","reasons":[]},"router2":{"change":"unchanged","reasons":[]},"server1":{"change":"unchanged","reasons":[]},"server2":{"change":"unchanged","reasons":[]}},"rotating":[],"orphans":[],"lints":[],"generated":{}}
    [0]
    $ nixmox-secrets check --json
    {"problems":[],"hosts":4,"opened":true,"rotating":[]}
    [0]
    $ nixmox-secrets check --json
    {"problems":[{"path":"nodes/routers/router1/secrets.yaml","code":"missing","message":"is missing, though its host has secrets"}],"hosts":3,"opened":true,"rotating":[]}
    [1]
    "#);
}

#[test]
fn names_that_are_none() {
    let env = fleet();
    let mut seen = String::new();
    for args in [
        &["get", "ruoters.psk"][..],
        &["get", "routers.pks"],
        &["get", "routers..psk"],
        &["show", "ruoter1"],
        &["show", "routers"],
        &["list", "nobody"],
        &["explain", "router1", "nothing"],
        &["shwo"],
    ] {
        seen += &run(&env, args);
    }
    assert_snapshot!(seen, @r#"
    $ nixmox-secrets get ruoters.psk
    error: `ruoters` is neither a host nor a group of this fleet
      hint: did you mean routers or router1 or router2?
    [7]
    $ nixmox-secrets get routers.pks
    error: there is no secret at `routers.pks`
      hint: `nixmox-secrets list` names what there is
    [7]
    $ nixmox-secrets get routers..psk
    error: `routers..psk` is not a path of names
      hint: names are joined with dots: routers.wifi.psk; a name with a dot is quoted: web."a.b"
    [7]
    $ nixmox-secrets show ruoter1
    error: `ruoter1` is no host of this fleet
      hint: did you mean router1 or router2?
    [7]
    $ nixmox-secrets show routers
    error: `routers` is a group, not a host
      hint: its hosts: router1, router2
    [7]
    $ nixmox-secrets list nobody
    error: `nobody` is neither a host nor a group of this fleet
      hint: values beside `nodes` go to no host; only the editor reaches them
    [7]
    $ nixmox-secrets explain router1 nothing
    error: there is no secret at `router1.nothing`
      hint: `nixmox-secrets list` names what there is
    [7]
    $ nixmox-secrets shwo
    error: unrecognized subcommand 'shwo'

      tip: some similar subcommands exist: 'who', 'show'

    Usage: nixmox-secrets [OPTIONS] <COMMAND>

    For more information, try '--help'.
    [2]
    "#);
}

#[test]
fn files_that_are_missing() {
    let env = fleet();
    let mut seen = run(&env, &["check", "--repo", "nowhere"]);
    seen += &run(&env, &["import", "nowhere.yaml"]);
    seen += &run(&env, &["decrypt", "nowhere.yaml"]);
    let outside = empty();
    seen += &run(&outside, &["check"]);
    fs::create_dir(outside.path("fleet/nodes")).unwrap();
    seen += &run(&outside, &["get", "a.b"]);
    seen += &run_with(&outside, &["set", "a.b"], "x");
    assert_snapshot!(seen, @r"
    $ nixmox-secrets check --repo nowhere
    error: nowhere cannot be opened as the top directory of a repository
      caused by: No such file or directory (os error 2)
      hint: name the fleet's directory with --repo DIR
    [100]
    $ nixmox-secrets import nowhere.yaml
    error: nowhere.yaml cannot be read
      caused by: No such file or directory (os error 2)
    [100]
    $ nixmox-secrets decrypt nowhere.yaml
    error: nowhere.yaml cannot be read
      caused by: No such file or directory (os error 2)
    [100]
    $ nixmox-secrets check
    error: no fleet here or above: /test/fleet
      hint: a fleet is a directory with `nodes/`, a service manifest, `flake.nix` or `.sops.yaml`; name one with --repo DIR
      hint: to start one here: nixmox-secrets init --repo .
    [100]
    $ nixmox-secrets get a.b
    error: this fleet has no secrets.yaml yet
      hint: start with `nixmox-secrets init`, or write it with `nixmox-secrets edit`
    [100]
    $ nixmox-secrets set a.b
    error: this fleet has no .sops.yaml, which names the recipients of its secrets
      hint: `nixmox-secrets init` writes one with your own key as the recipient
    [5]
    ");
}

#[test]
fn texts_with_mistakes() {
    let mut env = fleet();
    let mut seen = String::new();
    for text in [
        "{\n  nodes.routers = {\n    psk = unquoted;\n  };\n}\n",
        "{\n  nodes.routers.psk = \"open;\n}\n",
        "{ nodes.routres.psk = \"x\"; }",
        "{ nodes.routers.psk = [ \"a\" null ]; }",
        "{ nodes.routers = \"x\"; }",
    ] {
        seen += &run(env.types(text), &["edit"]);
    }
    assert_snapshot!(seen, @r#"
    $ nixmox-secrets edit
    error: the secrets do not evaluate
      caused by: undefined variable (are quotes missing?)
       --> secrets:3:11
      3 |     psk = ••••••••;
        |           ^^^^^^^^
    error: given up; nothing was changed
    [2]
    $ nixmox-secrets edit
    error: the secrets do not evaluate
      caused by: quote is not closed
       --> secrets:2:23
      2 |   ••••••••••••••••• = "••••;
        |                       ^
    error: given up; nothing was changed
    [2]
    $ nixmox-secrets edit
    error: the secrets do not fit the nodes of this fleet
      caused by: `routres` is neither a host nor a group of this fleet; did you mean `routers` or `router1` or `router2`?
    error: given up; nothing was changed
    [2]
    $ nixmox-secrets edit
    error: the value of `psk[1]` for host router1 cannot be delivered: sops cannot seal null or an empty set in a list
      hint: give it a value, set it to null so that the host does not get it, or hide it from delivery with a leading underscore
    error: given up; nothing was changed
    [2]
    $ nixmox-secrets edit
    error: the secrets do not fit the nodes of this fleet
      caused by: the secrets of `routers` are a string, not a set
    error: given up; nothing was changed
    [2]
    "#);
}

#[test]
fn a_file_that_somebody_changed() {
    let env = fleet();
    let path = env.path("fleet").join(SEALED);
    let sealed = fs::read_to_string(&path).unwrap();
    let (before, mac) = sealed.split_once("mac: ENC[AES256_GCM,data:").unwrap();
    let other = if mac.starts_with('A') { 'B' } else { 'A' };
    let rest = mac.get(1..).unwrap();
    fs::write(&path, format!("{before}mac: ENC[AES256_GCM,data:{other}{rest}")).unwrap();
    let mut seen = run(&env, &["decrypt", SEALED, "--node", "router1"]);
    seen += &run(&env, &["check"]);
    seen += &run_with(&env, &["set", "router2.a"], "b");
    // The master cannot be made anew.
    let master = env.path("fleet/secrets.yaml");
    let text = fs::read_to_string(&master).unwrap();
    let (before, rest) = text.split_once("\"data\": \"ENC[AES256_GCM,data:").unwrap();
    let other = if rest.starts_with('A') { 'B' } else { 'A' };
    let rest = rest.get(1..).unwrap();
    fs::write(&master, format!("{before}\"data\": \"ENC[AES256_GCM,data:{other}{rest}")).unwrap();
    seen += &run_with(&env, &["set", "router2.a"], "c");
    assert_snapshot!(seen, @r"
    $ nixmox-secrets decrypt nodes/routers/router1/secrets.yaml --node router1
    error: nodes/routers/router1/secrets.yaml cannot be opened
      caused by: MAC mismatch: the file was changed
    [51]
    $ nixmox-secrets check
    nodes/routers/router1/secrets.yaml  does not open: nodes/routers/router1/secrets.yaml cannot be opened: MAC mismatch: the file was changed
    1 problem found; 4 sealed hosts opened and compared
    [1]
    $ nixmox-secrets set router2.a
    updated    router1  the file was not the one that was sealed here
    updated    router2  values changed
    2 updated, 2 unchanged; the master was sealed
    [0]
    $ nixmox-secrets set router2.a
    error: secrets.yaml cannot be opened
      caused by: value data does not open
      caused by: authentication of a sealed value failed
      hint: somebody changed secrets.yaml without its key; restore it with `git checkout -- secrets.yaml`
    [51]
    ");
}

#[test]
fn recipients_that_somebody_added() {
    let env = fleet();
    let rules = env.path("fleet/.sops.yaml");
    let before = fs::read_to_string(&rules).unwrap();
    let added = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    fs::write(&rules, format!("{before}      - {added}\n")).unwrap();
    let mut seen = run_with(&env, &["set", "routers.psk"], "x");
    seen += &run_with(&env, &["set", "routers.psk", "--accept-admins"], "x");
    fs::write(&rules, before).unwrap();
    seen += &run_with(&env, &["set", "routers.psk", "--accept-admins"], "x");
    assert_snapshot!(seen, @r"
    $ nixmox-secrets set routers.psk
    error: nobody has vouched for the recipients in .sops.yaml as they are now
      hint: would gain access: age1…
      hint: if that is what you want, repeat with --accept-admins; everything that admins can open is then sealed anew
    [1]
    $ nixmox-secrets set routers.psk --accept-admins
    updated    router1  host key sealed to other admins
    updated    router2  host key sealed to other admins
    updated    server1  host key sealed to other admins
    updated    server2  host key sealed to other admins
    4 updated; the master was sealed
    [0]
    $ nixmox-secrets set routers.psk --accept-admins
    updated    router1  host key sealed to other admins
    updated    router2  host key sealed to other admins
    updated    server1  host key sealed to other admins
    updated    server2  host key sealed to other admins
    4 updated; the master was sealed
    [0]
    ");
}

#[test]
fn a_host_key_that_somebody_put_there() {
    let env = fleet();
    let theirs = env.path("given/key");
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", theirs.to_str().unwrap()]);
    let public = env.path("fleet/nodes/routers/router1/ssh_host_ed25519_key.pub");
    fs::copy(theirs.with_extension("pub"), public).unwrap();
    let seen = run_with(&env, &["set", "routers.psk"], "y");
    assert_snapshot!(seen + &run(&env, &["check"]), @r"
    $ nixmox-secrets set routers.psk
    error: nobody has vouched for 1 host key of this fleet
      hint: router1  SHA256:…
      hint: nothing is sealed to a key that somebody else may have put there; compare the fingerprints with your machines, then repeat with --accept-host-keys
    [1]
    $ nixmox-secrets check
    nodes/routers/router1/secrets.yaml  is sealed to the wrong recipients: -age1… +age1…
    nodes/routers/router1/ssh_host_ed25519_key.pub  was neither made nor accepted by this tool
    2 problems found; 4 sealed hosts opened and compared
    [1]
    ");
}

#[test]
fn nobodys_key() {
    let mut env = fleet();
    fs::write(env.path("home/.config/sops/age/keys.txt"), "").unwrap();
    let mut seen = run(&env, &["get", "routers.psk"]);
    env.var("SOPS_AGE_KEY", "not a key");
    seen += &run(&env, &["check"]);
    seen += &run(&env, &["edit"]);
    seen += &run(&env, &["decrypt", "secrets.yaml"]);
    assert_snapshot!(seen, @r"
    $ nixmox-secrets get routers.psk
    error: secrets.yaml cannot be opened
      caused by: no identity was given
      hint: /test/home/.config/sops/age/keys.txt was not used: what it holds cannot be used: no identity in it
      hint: keys were looked for in $SOPS_AGE_KEY, $SOPS_AGE_KEY_FILE, $SOPS_AGE_KEY_CMD, /test/home/.config/sops/age/keys.txt, $SOPS_AGE_SSH_PRIVATE_KEY_FILE, $SOPS_AGE_SSH_PRIVATE_KEY_CMD, /test/home/.ssh/id_ed25519, /test/home/.ssh/id_rsa
    [128]
    $ nixmox-secrets check
    error: there is no key to open the secrets with
      hint: without one, `check --keyless` looks at what can be seen from outside
    [128]
    $ nixmox-secrets edit
    error: secrets.yaml cannot be opened
      caused by: no identity was given
      hint: $SOPS_AGE_KEY was not used: what it holds cannot be used: line 1 is not an age identity
      hint: /test/home/.config/sops/age/keys.txt was not used: what it holds cannot be used: no identity in it
      hint: keys were looked for in $SOPS_AGE_KEY, $SOPS_AGE_KEY_FILE, $SOPS_AGE_KEY_CMD, /test/home/.config/sops/age/keys.txt, $SOPS_AGE_SSH_PRIVATE_KEY_FILE, $SOPS_AGE_SSH_PRIVATE_KEY_CMD, /test/home/.ssh/id_ed25519, /test/home/.ssh/id_rsa
    [128]
    $ nixmox-secrets decrypt secrets.yaml
    error: secrets.yaml cannot be opened
      caused by: no identity was given
      hint: $SOPS_AGE_KEY was not used: what it holds cannot be used: line 1 is not an age identity
      hint: /test/home/.config/sops/age/keys.txt was not used: what it holds cannot be used: no identity in it
      hint: keys were looked for in $SOPS_AGE_KEY, $SOPS_AGE_KEY_FILE, $SOPS_AGE_KEY_CMD, /test/home/.config/sops/age/keys.txt, $SOPS_AGE_SSH_PRIVATE_KEY_FILE, $SOPS_AGE_SSH_PRIVATE_KEY_CMD, /test/home/.ssh/id_ed25519, /test/home/.ssh/id_rsa
    [128]
    ");
}

#[test]
fn a_narrow_terminal() {
    let mut env = fleet();
    env.secrets(&[("router1.a-rather-long-name.of-several.parts", "value of some length")]);
    let mut seen = String::new();
    for args in [&["list"][..], &["show", "router1"], &["show", "router1", "--reveal"]] {
        let (_, text) = env.var("NO_COLOR", "1").terminal(60, args).end();
        seen += &format!("$ nixmox-secrets {}\n{text}", args.join(" "));
    }
    for line in seen.lines().filter(|line| !line.starts_with('$')) {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert_snapshot!(seen, @r"
    $ nixmox-secrets list
    NODE     HOSTS  SECRETS
    router1  1      a-rather-long-name.of-several.parts psk
    routers  2      psk
    servers  2      db.user
    $ nixmox-secrets show router1
    SECRET                               VALUE     FROM
    a-rather-long-name.of-several.parts  ••••••••  router1
    psk                                  ••••••••  router1
    $ nixmox-secrets show router1 --reveal
    SECRET                         VALUE                 FROM
    a-rather-long-name.of-severa…  value of some length  router1
    psk                            own                   router1
    ");
}

#[test]
fn colours_are_for_terminals() {
    let mut env = fleet();
    let coloured = |text: &str| text.contains("\u{1b}[");
    assert!(coloured(&env.terminal(80, &["get", "nobody.x"]).end().1));
    assert!(!coloured(&env.terminal(80, &["get", "nobody.x", "--color", "never"]).end().1));
    let piped = |env: &TestEnv, args: &[&str]| {
        let ran = env.run(args);
        coloured(&format!("{}{}", ran.out, ran.err))
    };
    assert!(!piped(&env, &["get", "nobody.x"]));
    assert!(!piped(&env, &["status"]));
    assert!(piped(&env, &["get", "nobody.x", "--color", "always"]));
    env.var("NO_COLOR", "1");
    assert!(!coloured(&env.terminal(80, &["get", "nobody.x"]).end().1));
    env.without("NO_COLOR").var("TERM", "dumb");
    assert!(!coloured(&env.terminal(80, &["get", "nobody.x"]).end().1));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut env = fleet();
    let program = env.program().display().to_string();
    env.secrets(&[("router1.long", &"x".repeat(200_000))]);
    for command in
        ["eval", "list", "man", "completions zsh", "--help", "get router1.long", "check", "demo"]
    {
        let line = format!("'{program}' {command} | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}");
        let output = env.command(Path::new("bash")).args(["-c", &line]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{command}: {output:?}");
        let closed = format!("'{program}' {command} >&-");
        let output = env.command(Path::new("bash")).args(["-c", &closed]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() != Some(101) && !said.contains("panicked"), "{output:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let env = fleet();
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    for args in
        [&["list"][..], &["get", "routers.psk"], &["completions", "bash"], &["man"], &["check"]]
    {
        let mut command = env.command(env.program());
        let ran = Ran::new(&command.args(args).stdout(full()).output().unwrap()).ends(3);
        assert!(ran.err.contains("cannot write to standard output"), "{ran:#?}");
    }
    let mut command = env.command(env.program());
    let ran = Ran::new(&command.args(["get", "nobody.x"]).stderr(full()).output().unwrap());
    ran.ends(7);
}

/// The shells themselves judge the scripts (Debian packages bash, zsh and fish).
#[test]
fn completions_are_scripts_of_their_shells() {
    let env = empty();
    let script = |shell: &str| env.run(&["completions", shell]).ends(0).out;
    let bash = env.give("completions.bash", script("bash"));
    env.tool("bash", &["-n", &bash]);
    let words = "f=$(complete -p nixmox-secrets | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
         COMP_WORDS=(nixmox-secrets ed); COMP_CWORD=1; $f nixmox-secrets ed nixmox-secrets; \
         echo \"${COMPREPLY[*]}\"";
    assert_eq!(env.tool("bash", &["-c", &format!("source {bash}; {words}")]), "edit\n");
    for (shell, option) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let path = env.give(&format!("completions.{shell}"), script(shell));
        assert!(fs::metadata(&path).unwrap().len() > 1000);
        env.tool(shell, &[option, &path]);
    }
}

#[test]
fn manual_pages_are_rendered() {
    let env = empty();
    let pages = env.path("tmp/man");
    env.run(&["man", "--dir", pages.to_str().unwrap()]).ends(0);
    let mut names = Vec::new();
    for entry in fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let output = env
            .command(Path::new("groff"))
            .args(["-man", "-Tutf8", "-ww", "-P-cbou", "-K", "utf8"])
            .arg(&path)
            .output();
        let output = output.expect("groff cannot be run: install the Debian package groff-base");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{text}");
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    // Every command that the help lists has a page of its own.
    let help = env.run(&["-h"]).ends(0).out;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let commands = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> = commands.filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.len() > 20, "{list}");
    for command in commands {
        assert!(names.contains(&format!("nixmox-secrets-{command}.1")), "{command}: {names:?}");
    }
    assert!(names.contains(&"nixmox-secrets.1".to_owned()), "{names:?}");
}
