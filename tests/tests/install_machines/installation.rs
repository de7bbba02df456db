//! Somebody with a fleet's repository, who makes machines into its nodes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nixmox_hostkey::HostKey;
use nixmox_tests::{
    Fleet, Machine, NIX_CONFIG, Ran, TestEnv, deploy_program, install_program, kexec_archive,
    program, sops_program,
};
use nixmox_tree::SecretString;
use serde_json::Value;
use tempfile::NamedTempFile;

/// Where a node has its sealed file.
pub(crate) const PLACE: &str = "/var/lib/secrets.yaml";

/// A repository with a node for each machine.
pub(crate) struct Installation<'a> {
    pub(crate) env: TestEnv,
    pub(crate) machines: Vec<&'a Machine>,
    pub(crate) systems: Fleet,
    image_digest: String,
}

/// The configuration of ssh that has a key of the user, and nothing that recognises a machine.
const SSH: &str = "given/ssh_config";

impl<'a> Installation<'a> {
    pub(crate) fn new(machines: &[&'a Machine]) -> Self {
        let mut env = TestEnv::of(program());
        env.var("NIX_CONFIG", NIX_CONFIG);
        let systems = Fleet::new(&env.path("systems"), 0);
        systems.set_all("bootable", true);
        for machine in machines {
            systems.set(machine.name(), "revision", 1);
            let node = env.path("fleet/nodes").join(machine.name());
            fs::create_dir_all(&node).unwrap();
            let text = format!(
                "{{ os = \"nixos\"; deploy = {{ targetHost = \"127.0.0.1\"; sealedFile = \"{PLACE}\"; \
                 sshOpts = [ \"-p\" \"{}\" ]; }}; }}\n",
                machine.port()
            );
            fs::write(node.join("node.nix"), text).unwrap();
        }
        env.run(&["init"]).ends(0);
        let key = machines[0].client_key().canonicalize().unwrap();
        let own = format!("IdentityFile {}\nIdentitiesOnly yes\n", key.display());
        fs::write(env.path(SSH), own).unwrap();
        let digest = Command::new("sha256sum").arg(kexec_archive()).output().unwrap();
        let image_digest = String::from_utf8(digest.stdout).unwrap()[..64].to_owned();
        Self { env, machines: machines.to_vec(), systems, image_digest }
    }

    /// Seals secrets in the editor, which gives each node its host key.
    #[track_caller]
    pub(crate) fn edits(&mut self, secrets: &[(&str, &str)]) {
        let line = |(path, value): &(&str, &str)| format!("  nodes.{path} = \"{value}\";\n");
        self.env.give("typed", secrets.iter().map(line).collect::<String>());
        // The example's line becomes what is typed.
        let script = r#"sed -i -e "/^  nodes = { };$/{r $given/typed" -e "d}" "$f""#;
        let said = self.env.editor(script).run(&["edit"]).ends(0);
        let created = secrets.len();
        assert!(
            said.out.contains(&format!("{created} created; the master was sealed")),
            "{said:#?}"
        );
    }

    /// Returns the system that a node is to run.
    pub(crate) fn system(&self, node: &str) -> String {
        self.systems.build()[node].clone()
    }

    /// Returns the keys of machines as their consoles show them, as arguments.
    pub(crate) fn installer_keys(&self, nodes: &[&str]) -> Vec<String> {
        let one = |node: &&str| {
            let key = format!("{node}={}", self.machine(node).installer_key());
            ["--installer-key".to_owned(), key]
        };
        nodes.iter().flat_map(one).collect()
    }

    /// Agrees to erase what would be erased, as arguments.
    #[track_caller]
    pub(crate) fn tokens(&self, nodes: &[&str], keys: &[String]) -> Vec<String> {
        let dry = ["--dry-run", "--json"].map(str::to_owned);
        let said = self.installs(nodes, &[keys, &dry[..]].concat()).ends(0);
        let found: Value = serde_json::from_str(&said.out).unwrap();
        let token = |name: &&str| {
            let token = found[*name]["token"].as_str().unwrap();
            ["--wipe".to_owned(), format!("{name}={token}")]
        };
        nodes.iter().flat_map(token).collect()
    }

    pub(crate) fn machine(&self, node: &str) -> &'a Machine {
        self.machines.iter().find(|machine| machine.name() == node).unwrap()
    }

    pub(crate) fn installs(&self, nodes: &[&str], more: &[String]) -> Ran {
        Ran::new(&self.command(nodes, more).output().expect("setsid cannot be run"))
    }

    /// Installs, or goes on, and is killed in the midst of a phase.
    #[track_caller]
    pub(crate) fn is_killed_at(&self, nodes: &[&str], more: &[String], wanted: &str) {
        let ran = self.watched(nodes, more, |_, phase, group| {
            if phase == wanted {
                thread::sleep(Duration::from_secs(2));
                let mut kill = Command::new("kill");
                assert!(kill.args(["-KILL", "--", group]).status().unwrap().success());
            }
        });
        assert_eq!(ran.signal, Some(9), "it did not come to {wanted}: {ran:#?}");
    }

    /// Installs with an eye on it: whenever a phase of a node begins, something happens. It is told the node, the phase, and
    /// how the group of the program's processes is killed.
    pub(crate) fn watched(
        &self,
        nodes: &[&str],
        more: &[String],
        mut begins: impl FnMut(&str, &str, &str),
    ) -> Ran {
        let json = ["--json".to_owned()];
        let mut child = self.command(nodes, &[more, &json].concat()).spawn().unwrap();
        let group = format!("-{}", child.id());
        let mut stderr = child.stderr.take().unwrap();
        let err = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        let mut out = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            out.push_str(&line);
            out.push('\n');
            let word = |name: &str| said.get(name).and_then(Value::as_str);
            if let (Some("phase"), Some(node), Some(phase)) =
                (word("event"), word("node"), word("phase"))
            {
                begins(node, phase, &group);
            }
        }
        let status = child.wait().unwrap();
        let (code, signal) = (status.code(), ExitStatusExt::signal(&status));
        Ran { code, signal, out, err: err.join().unwrap() }
    }

    /// A command of the program for some nodes; the first word of `nodes` may be `resume`.
    fn command(&self, nodes: &[&str], more: &[String]) -> Command {
        let mut command = self.env.command(install_program());
        command.args(nodes).arg("--flake");
        command.arg(format!("path:{}", self.systems.path().display()));
        for machine in self.machines.iter().filter(|machine| nodes.contains(&machine.name())) {
            command.arg("--target");
            command.arg(format!("{}=root@127.0.0.1:{}", machine.name(), machine.port()));
        }
        command.arg("--ssh-config").arg(self.env.path(SSH));
        command.arg("--image").arg(kexec_archive()).args(["--image-sha256", &self.image_digest]);
        command.args(["--boot-timeout", "900", "--kexec-timeout", "900"]);
        command.args(["--connect-timeout", "300"]).args(more);
        command
    }

    /// Deploys what the systems are now to a node.
    pub(crate) fn deploys(&self, node: &str) -> Ran {
        let systems = self.systems.build();
        let paths = self.env.give("paths", format!("{node} {}\n", systems[node]));
        let mut command = self.env.command(deploy_program());
        command.args(["deploy", node, "--dwell", "1", "--paths", &paths, "--ssh-config"]);
        command.arg(self.env.path(SSH));
        Ran::new(&command.output().unwrap())
    }

    /// Returns the public key that the repository has for a node, `ssh-ed25519 AAAA…`.
    pub(crate) fn public_key(&self, node: &str) -> String {
        let file = format!("fleet/nodes/{node}/ssh_host_ed25519_key.pub");
        let text = fs::read_to_string(self.env.path(&file)).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Returns the line with the secret part of the private key that the repository has for a node.
    pub(crate) fn private_line(&self, node: &str) -> String {
        let mut open = self.env.command(sops_program());
        open.args(["decrypt", "--input-type", "binary", "--output-type", "binary"]);
        open.arg(format!("nodes/{node}/ssh_host_ed25519_key"));
        let opened = Ran::new(&open.output().unwrap()).ends(0).out;
        opened.lines().nth(4).unwrap().to_owned()
    }

    /// Runs a command on a machine with the user's ssh, which accepts one key alone.
    pub(crate) fn pinned(&self, machine: &Machine, key: &str, command: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(machine.ssh_config(Some(key))).args([machine.name(), command]);
        let said = Ran::new(&ssh.stdin(Stdio::null()).output().unwrap()).ends(0).out;
        machine.ssh_config(None);
        said.trim().to_owned()
    }
}

/// Returns the age identity of a private host key, by the arithmetic of ssh-to-age.
pub(crate) fn age_identity(openssh: &str) -> String {
    let key = HostKey::from_openssh(&SecretString::new(format!("{openssh}\n"))).unwrap();
    key.age_identity().expose().to_owned()
}

/// Packs a program of this machine with what it needs of it, for one that has another libc.
pub(crate) fn portable(program: &str) -> NamedTempFile {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(program, directory.path().join("program")).unwrap();
    let ldd = Ran::new(&Command::new("ldd").arg(program).output().unwrap()).ends(0).out;
    for word in ldd.split_whitespace().filter(|word| word.starts_with('/')) {
        let name = word.rsplit('/').next().unwrap();
        let name = if name.starts_with("ld-linux") { "ld.so" } else { name };
        fs::copy(word, directory.path().join(name)).unwrap();
    }
    let archive = NamedTempFile::new().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory.path()).arg("-cf").arg(archive.path()).arg(".");
    assert!(tar.status().unwrap().success());
    archive
}

/// Ends every connection to a machine's sshd; what was started over one goes on.
pub(crate) fn drop_connections(machine: &Machine) {
    let others = "for pid in $(pidof sshd sshd-session); do \
        [ \"$(awk '/^PPid/ { print $2 }' /proc/$pid/status)\" = 1 ] || kill -KILL $pid; done";
    // Whoever asks for it loses the connection as well.
    machine.ssh(others);
}
