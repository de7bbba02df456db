//! How much is done at once, and how hosts are reached, as the repository and the command line say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nixmox_tests::Ran;

use crate::operator::Operator;

/// Puts programs of Nix in front of the real ones that write down when they begin and end.
fn watch_nix(operator: &mut Operator) {
    let place = operator.env.path("given/bin");
    fs::create_dir(&place).unwrap();
    for program in ["nix", "nix-store"] {
        let real = operator.env.tool("sh", &["-c", &format!("command -v {program}")]);
        let calls = operator.env.path("given/calls").display().to_string();
        let text = format!(
            "#!/bin/sh\necho \"begins {program} $*\" | head -c 3000 >>{calls}\n{real} \"$@\"\nstatus=$?\n\
             echo \"ends {program} $*\" | head -c 3000 >>{calls}\nexit $status\n",
            real = real.trim()
        );
        let path = place.join(program);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap());
    operator.env.var("PATH", &path);
}

/// What was called since this was asked last: whether it begins or ends, and with what.
fn calls(operator: &Operator, of: &str) -> Vec<String> {
    let path = operator.env.path("given/calls");
    let text = fs::read_to_string(&path).unwrap_or_default();
    text.lines().filter(|line| line.contains(of)).map(str::to_owned).collect()
}

fn forget(operator: &Operator) {
    let _ = fs::remove_file(operator.env.path("given/calls"));
}

#[test]
fn each_kind_of_work_has_a_limit_of_its_own() {
    let mut operator = Operator::new(3);
    watch_nix(&mut operator);
    let flake = operator.systems.path().display().to_string();
    let nodes = "node1 node2 node3";
    let deploy = |more: &str| -> Ran {
        operator.run(format!("deploy {nodes} --flake {flake} --dwell 1 {more}").trim_end())
    };
    for number in [1, 2, 3] {
        operator.file(&format!("nodes/node{number}/node.nix"), "{ os = \"nixos\"; }");
    }
    // One evaluation for all of them, one copy after the other, one build at a time.
    deploy("--copy-jobs 1 --build-jobs 1").ends(0);
    assert_eq!(calls(&operator, "begins nix eval").len(), 1);
    let builds = calls(&operator, "begins nix-store --realise");
    assert!(builds.len() == 1 && builds[0].contains("--max-jobs 1"), "{builds:#?}");
    let copies = calls(&operator, " nix copy");
    let kinds: Vec<&str> = copies.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["begins", "ends", "begins", "ends", "begins", "ends"], "{copies:#?}");
    let done = operator.running();

    // What was evaluated once is not evaluated again.
    forget(&operator);
    let ran = deploy("").ends(0);
    assert_eq!(ran.out, "3 hosts: 3 as they should be\n");
    assert_eq!(calls(&operator, "begins nix eval").len(), 0);
    assert_eq!(calls(&operator, " nix copy").len(), 0);

    // Another content of the flake is another one; two parts of the hosts at once.
    forget(&operator);
    operator.systems.set_all("revision", 2);
    deploy("--eval-jobs 2 --activate-jobs 1").ends(0);
    let evaluations = calls(&operator, "begins nix eval");
    assert_eq!(evaluations.len(), 2, "{evaluations:#?}");
    let both = |call: &&String| call.contains("\"node1\" \"node2\"");
    assert_eq!(evaluations.iter().filter(both).count(), 1, "{evaluations:#?}");
    let now = operator.running();
    assert!(now.iter().all(|(node, system)| done[node] != *system), "{now:#?}");
}

#[test]
fn hosts_are_reached_as_the_repository_says() {
    let operator = Operator::new(2);
    let (one, two) = (operator.host(1), operator.host(2));
    // The first listens on another port alone, and the group of the second says which account is meant.
    one.sh("/usr/sbin/sshd -f /etc/ssh/sshd_config -p 2222");
    one.kill_sshd();
    let deploy = "deploy.targetHost = \"node1\"; deploy.sshOpts = [ \"-p 2222\" ];";
    operator.file("nodes/node1/node.nix", &format!("{{ os = \"nixos\"; {deploy} }}"));
    let group = "{ common = { os = \"nixos\"; deploy = { sshOpts = [ \"-l\" \"deploy\" ]; useRemoteSudo = true; }; }; node2 = { }; }";
    operator.file("nodes/edge/group.nix", group);
    let systems = operator.build();
    operator.run("deploy node1 edge --paths PATHS --dwell 1").ends(0);
    assert_eq!(operator.running(), systems);
    let accepted = two.sh("journalctl --boot | grep 'Accepted publickey'");
    assert!(accepted.lines().all(|line| line.contains(" for deploy ")), "{accepted}");

    // What runs a program here, or trusts somebody else, no repository may say.
    operator.file(
        "nodes/node1/node.nix",
        "{ os = \"nixos\"; deploy.sshOpts = [ \"-oProxyCommand=touch /tmp/x\" ]; }",
    );
    let ran = operator.run("status node1").ends(5);
    assert!(ran.err.contains("the ssh option ProxyCommand cannot be set"), "{ran:#?}");
}

#[test]
fn who_is_not_known_is_accepted_when_it_is_said() {
    let operator = Operator::new(1);
    let host = operator.host(1);
    operator.file(
        "nodes/node1/node.nix",
        &format!("{{ os = \"nixos\"; deploy.targetHost = \"root@{}\"; }}", host.address()),
    );
    // A configuration that knows no host.
    let key = operator.bed.client_key().canonicalize().unwrap();
    let known = operator.env.path("given/known_hosts");
    let config = operator.env.give(
        "ssh",
        format!(
            "IdentityFile {}\nIdentitiesOnly yes\nBatchMode yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n",
            key.display(),
            known.display()
        ),
    );
    let run = |more: &[&str]| {
        let words = [&["--ssh-config", &config, "status", "node1"], more].concat();
        operator.env.run(&words)
    };
    let ran = run(&[]).ends(71);
    assert!(ran.out.contains("No ED25519 host key is known for "), "{ran:#?}");
    assert!(!known.exists());
    run(&["--accept-new"]).ends(0);
    let line = fs::read_to_string(&known).unwrap();
    assert!(line.contains(&host.host_key()), "{line}");
    // From now on it is known, and another one is not it.
    run(&[]).ends(0);
    fs::write(
        &known,
        line.replace(
            &host.host_key(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICRpaYxC7B5wmxBzajOOqQTnT7KcLkA5/yxVSVv+VuDV",
        ),
    )
    .unwrap();
    run(&["--accept-new"]).ends(71);
}
