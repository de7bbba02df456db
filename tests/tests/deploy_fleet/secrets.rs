//! Hosts whose keys and sealed files are in the repository.

use std::fs;
use std::path::Path;

use nixmox_tests::{Ran, program};

use crate::operator::{Operator, activations};

const PLACE: &str = "/var/lib/secrets/secrets.yaml";

fn secrets(operator: &Operator, arguments: &[&str], input: &str) -> Ran {
    use std::io::Write as _;
    let mut child = operator
        .env
        .command(program())
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::new(&child.wait_with_output().unwrap())
}

#[test]
fn a_host_has_its_sealed_file_and_the_repositorys_key() {
    let operator = Operator::new(1);
    let address = operator.host(1).address();
    let definition = format!(
        "{{ os = \"nixos\"; deploy = {{ targetHost = \"{address}\"; sealedFile = \"{PLACE}\"; }}; }}"
    );
    operator.file("nodes/node1/node.nix", &definition);
    secrets(&operator, &["init"], "").ends(0);
    secrets(&operator, &["set", "node1.token"], "correct horse").ends(0);
    let systems = operator.build();
    let host = operator.host(1);
    let old = host.current_system();

    // The machine has another key than the repository: it is nobody that is known.
    let ran = operator.deploy("").ends(71);
    assert!(ran.out.contains("the host's key is not the one that is known"), "{ran:#?}");
    assert_eq!((host.current_system(), activations(host)), (old, 0));

    take_key(&operator);
    operator.deploy("").ends(0);
    host.runs_and_boots(&systems["node1"]);
    let sealed = fs::read(operator.env.path("fleet/nodes/node1/secrets.yaml")).unwrap();
    assert_eq!(fs::read(host.root().join(&PLACE[1..])).unwrap(), sealed);

    // Nothing has changed; then only a secret has.
    let ran = operator.deploy("").ends(0);
    assert_eq!(ran.out, "1 host: 1 as they should be\n");
    secrets(&operator, &["set", "node1.token"], "battery staple").ends(0);
    operator.deploy("").ends(0);
    let newer = fs::read(operator.env.path("fleet/nodes/node1/secrets.yaml")).unwrap();
    assert_ne!(newer, sealed);
    assert_eq!(fs::read(host.root().join(&PLACE[1..])).unwrap(), newer);

    // With a bad system the old file is back as well.
    secrets(&operator, &["set", "node1.token"], "third").ends(0);
    operator.systems.set("node1", "variant", "activate-fails");
    operator.build();
    operator.deploy("").ends(70);
    assert_eq!(fs::read(host.root().join(&PLACE[1..])).unwrap(), newer);
}

#[test]
fn a_fleet_whose_check_fails_is_not_deployed() {
    let operator = Operator::new(1);
    operator.file("nodes/node1/node.nix", "{ os = \"nixos\"; }");
    secrets(&operator, &["init"], "").ends(0);
    secrets(&operator, &["set", "node1.token"], "correct horse").ends(0);
    let sealed = operator.env.path("fleet/nodes/node1/secrets.yaml");
    let text = fs::read_to_string(&sealed).unwrap();
    fs::write(
        &sealed,
        text.replacen("token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AA", 1),
    )
    .unwrap();
    operator.build();
    let ran = operator.deploy("").ends(1);
    assert!(ran.err.contains("the fleet's sealed files are not as they should be"), "{ran:#?}");
    assert_eq!(activations(operator.host(1)), 0);
}

/// A master that is beyond the embedded evaluator needs an installed Nix here too.
#[test]
fn a_master_that_needs_nix_is_checked_with_it() {
    let operator = Operator::new(1);
    let address = operator.host(1).address();
    let definition = format!("{{ os = \"nixos\"; deploy = {{ targetHost = \"{address}\"; }}; }}");
    operator.file("nodes/node1/node.nix", &definition);
    secrets(&operator, &["init"], "").ends(0);
    let master = operator.env.give(
        "master.nix",
        "{ nodes.node1.token = builtins.hashString \"sha1\" \"correct horse\"; }\n",
    );
    let mut editing = operator.env.command(program());
    editing.args(["edit", "--nix"]).env("EDITOR", format!("cp {master}"));
    Ran::new(&editing.output().unwrap()).ends(0);
    take_key(&operator);
    let systems = operator.build();
    let ran = operator.deploy("").ends(5);
    assert!(ran.err.contains("with --nix an installed Nix evaluates it"), "{ran:#?}");
    assert_eq!(activations(operator.host(1)), 0);
    operator.deploy("--nix").ends(0);
    operator.host(1).runs_and_boots(&systems["node1"]);
}

/// Who has accepted the admins of a fleet deploys it; on another machine they have to be accepted first.
#[test]
fn a_fleet_that_signs_is_deployed_by_who_knows_its_admins() {
    let operator = Operator::new(1);
    let address = operator.host(1).address();
    let definition = format!("{{ os = \"nixos\"; deploy = {{ targetHost = \"{address}\"; }}; }}");
    operator.file("nodes/node1/node.nix", &definition);
    secrets(&operator, &["init"], "").ends(0);
    secrets(&operator, &["set", "node1.token"], "correct horse").ends(0);
    let key = operator.env.path("home/.ssh/id_ed25519").display().to_string();
    fs::create_dir(operator.env.path("home/.ssh")).unwrap();
    let make = ["-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", &key];
    let made = operator.env.command(Path::new("ssh-keygen")).args(make).output().unwrap();
    Ran::new(&made).ends(0);
    secrets(&operator, &["sign", "enable", "--name", "alice"], "").ends(0);
    take_key(&operator);
    let systems = operator.build();
    operator.deploy("").ends(0);
    operator.host(1).runs_and_boots(&systems["node1"]);

    fs::remove_dir_all(operator.env.path("home/.config/nixmox")).unwrap();
    operator.systems.set("node1", "revision", "2");
    operator.build();
    let ran = operator.deploy("").ends(1);
    assert!(ran.err.contains("the roster of this fleet was never accepted"), "{ran:#?}");
    assert_eq!(operator.host(1).current_system(), systems["node1"]);
}

/// Gives the machine the key that the repository has for it, as an installation does.
fn take_key(operator: &Operator) {
    let key = Path::new("nodes/node1/ssh_host_ed25519_key");
    let opened = nixmox_tests::sops_program();
    let output = operator
        .env
        .command(opened)
        .args(["decrypt", "--input-type", "binary", "--output-type", "binary"])
        .arg(key)
        .output()
        .unwrap();
    let opened = Ran::new(&output).ends(0).out;
    let host = operator.host(1);
    fs::write(host.root().join("etc/ssh/ssh_host_ed25519_key"), opened).unwrap();
    host.sh("systemctl restart sshd");
}
