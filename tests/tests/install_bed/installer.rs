//! Somebody with a fleet's repository, who makes a host of a bed the node `web`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use nixmox_hostkey::HostPublicKey;
use nixmox_tests::{
    Bed, BedHost, Fleet, NIX_CONFIG, Ran, TestEnv, install_program, nix, program, sops_program,
};
use serde_json::{Value, json};

/// The node's secret.
pub(crate) const CANARY: &str = "canary-of-the-node";

/// What stands for the disks of a host: a directory that is empty.
pub(crate) const DIRECTORY: &str =
    "mkdir -p /var/lib/new-root /mnt\nmount --bind /var/lib/new-root /mnt";
/// What the disks of a host are otherwise: its own root, so that it boots what is installed. It counts how often they are
/// formatted.
pub(crate) const WHOLE: &str =
    "echo formatted >>/var/lib/formatted\nmkdir -p /mnt\nmount --bind / /mnt";

/// Somebody who installs the node `web` on the first host of a bed.
pub(crate) struct Installer {
    pub(crate) env: TestEnv,
    pub(crate) bed: Bed,
    pub(crate) systems: Fleet,
    format: String,
}

/// What a run is told about a machine, and with which a later one goes on.
pub(crate) struct Told {
    key: String,
    token: String,
}

impl Told {
    pub(crate) fn of(installer: &Installer) -> Self {
        Self { key: installer.key(), token: installer.token() }
    }

    /// Says whose key the machine has, and that its disks may be erased.
    pub(crate) fn agreed(&self) -> [&str; 4] {
        ["--installer-key", &self.key, "--wipe", &self.token]
    }

    /// Says the same to go on with what was begun.
    pub(crate) fn resume(&self) -> [&str; 5] {
        ["resume", "--installer-key", &self.key, "--wipe", &self.token]
    }
}

/// What becomes of a run once a phase has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    GoesOn,
    /// It is killed, with everything that it has started.
    Killed,
}

impl Installer {
    /// Whose node gets a directory as its disk.
    pub(crate) fn new() -> Self {
        Self::with(DIRECTORY)
    }

    /// Whose node is the whole host in the end.
    pub(crate) fn whole() -> Self {
        Self::with(WHOLE)
    }

    /// Whose disks a script makes.
    pub(crate) fn with(format: &str) -> Self {
        let bed = Bed::up(1);
        let mut env = TestEnv::of(install_program());
        env.var("NIX_CONFIG", NIX_CONFIG);
        let systems = Fleet::new(&env.path("systems"), 0);
        // It has a kernel, which nothing boots here, and no file systems of its own.
        systems.set("web", "bootable", true).set("web", "etc", json!({ "fstab": "\n" }));
        let this = Self { env, bed, systems, format: format.to_owned() };
        this.is_a_machine();
        this.secrets(&["init"], "");
        let node = this.env.path("fleet/nodes/web");
        fs::create_dir_all(&node).unwrap();
        let definition = "{ deploy.sealedFile = \"/var/lib/secrets.yaml\"; }";
        fs::write(node.join("node.nix"), definition).unwrap();
        this.secrets(&["set", "web.password"], CANARY);
        this.builds();
        this
    }

    pub(crate) fn host(&self) -> BedHost<'_> {
        self.bed.host(1)
    }

    /// Until its next boot the host stands for a machine that runs from memory: it is no container, which would be refused,
    /// and its sshd keeps its key, whatever becomes of the one on the disk.
    pub(crate) fn is_a_machine(&self) {
        let hide = "mount --bind $(readlink -f /usr/bin/false) $(readlink -f $(command -v systemd-detect-virt))";
        let keep = "mkdir -p /run/before /run/systemd/system/sshd.service.d && cd /run/before && \
            cp -p /etc/ssh/ssh_host_ed25519_key* . && \
            sed 's|/etc/ssh/ssh_host|/run/before/ssh_host|' /etc/ssh/sshd_config >sshd_config && \
            printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/sshd -D -f /run/before/sshd_config\\n' \
                >/run/systemd/system/sshd.service.d/before.conf && \
            systemctl daemon-reload && systemctl restart sshd";
        self.host().sh(&format!("{hide} && {keep}"));
        self.host().is_reached();
    }

    fn secrets(&self, words: &[&str], value: &str) {
        let mut secrets = self.env.command(program());
        let mut child = secrets.args(words).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        Ran::new(&child.wait_with_output().unwrap()).ends(0);
    }

    /// Builds the system as it is set now, which every later run installs; returns it.
    pub(crate) fn builds(&self) -> String {
        let toplevel = self.systems.build().remove("web").unwrap();
        let format = self.script("disks", &self.format);
        // What is mounted again is not formatted.
        let mount = self.format.lines().filter(|line| !line.starts_with("echo"));
        let mount = self.script("mount", &mount.collect::<Vec<_>>().join("\n"));
        let paths = json!({ "web": { "toplevel": toplevel, "format": format, "mount": mount } });
        self.env.give("paths.json", paths.to_string());
        toplevel
    }

    /// Changes a setting of the system; see [`Installer::builds`].
    pub(crate) fn set(&self, setting: &str, value: impl Into<Value>) -> String {
        self.systems.set("web", setting, value);
        self.builds()
    }

    /// Puts a script into the store.
    fn script(&self, name: &str, text: &str) -> String {
        let script = self.env.give(name, format!("#!/bin/sh\nset -e\n{text}\n"));
        let mut chmod = Command::new("chmod");
        assert!(chmod.args(["755", &script]).status().unwrap().success());
        let add = nix("nix-store").args(["--add", &script]).output().unwrap();
        Ran::new(&add).ends(0).out.trim().to_owned()
    }

    /// The words that every run has here: where the host is, and how whoever installs logs in.
    pub(crate) fn words(&self, more: &[&str]) -> Vec<String> {
        let target = format!("web=root@{}", self.host().address());
        let config = self.env.path("given/ssh_config");
        if !config.exists() {
            let key = self.bed.client_key().canonicalize().unwrap();
            let text = format!("IdentityFile {}\nIdentitiesOnly yes\n", key.display());
            self.env.give("ssh_config", text);
        }
        let paths = self.env.path("given/paths.json");
        let own = ["--target", &target, "--ssh-config", &config.display().to_string()];
        let paths = paths.display().to_string();
        // Unless it is said otherwise.
        let rescue = ["--paths", &paths, "--via", "rescue"];
        let from = if more.contains(&"--via") { &rescue[..2] } else { &rescue[..] };
        let (command, more) = match more.split_first() {
            Some((command, more)) if !command.starts_with('-') => (&[*command][..], more),
            _ => (&[][..], more),
        };
        let all = [command, &["web"], more, &own, from].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Runs the program; a command may come first.
    pub(crate) fn run(&self, more: &[&str]) -> Ran {
        let words = self.words(more);
        self.env.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The key of the host, as it is given on the command line.
    pub(crate) fn key(&self) -> String {
        let key = HostPublicKey::parse(&self.host().host_key()).unwrap();
        format!("web={}", key.fingerprint())
    }

    /// What agrees to erase the host's disks.
    pub(crate) fn token(&self) -> String {
        let key = self.key();
        let shown = self.run(&["--dry-run", "--json", "--installer-key", &key]).ends(0);
        let shown: Value = serde_json::from_str(&shown.out).unwrap();
        format!("web={}", shown.pointer("/web/token").unwrap().as_str().unwrap())
    }

    /// What is said of where the installation stands.
    #[track_caller]
    pub(crate) fn stands(&self) -> String {
        let words = self.words(&["status"]);
        // All but where systems come from, which it does not take.
        let words: Vec<_> =
            words.iter().map(String::as_str).take_while(|w| *w != "--paths").collect();
        self.env.run(&words).ends(0).out
    }

    /// Runs the program with an eye on it: whenever a phase begins, it is decided what becomes of the run.
    pub(crate) fn watched(&self, more: &[&str], mut begins: impl FnMut(&str) -> Then) -> Ran {
        let words = self.words(&[more, &["--json"]].concat());
        let mut child = self.env.command(self.env.program()).args(words).spawn().unwrap();
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
            let Some(phase) = said.get("phase").and_then(Value::as_str) else { continue };
            if begins(phase) == Then::Killed {
                let group = format!("-{}", child.id());
                let mut kill = Command::new("kill");
                assert!(kill.args(["-KILL", "--", &group]).status().unwrap().success());
                break;
            }
        }
        let status = child.wait().unwrap();
        let (code, signal) =
            (status.code(), std::os::unix::process::ExitStatusExt::signal(&status));
        Ran { code, signal, out, err: err.join().unwrap() }
    }

    /// Runs the program until a phase has begun, and kills it then.
    #[track_caller]
    pub(crate) fn is_killed_at(&self, more: &[&str], wanted: &str) {
        let ran =
            self.watched(more, |phase| if phase == wanted { Then::Killed } else { Then::GoesOn });
        assert_eq!(ran.signal, Some(9), "it did not come to {wanted}: {ran:#?}");
    }

    /// How often the disks were formatted.
    pub(crate) fn formatted(&self) -> usize {
        self.host().sh("cat /var/lib/formatted 2>/dev/null | wc -l").trim().parse().unwrap()
    }

    /// Demands that the host is the node: it runs and boots the system, and has the repository's key.
    #[track_caller]
    pub(crate) fn is_installed(&self, system: &str) {
        let host = self.host();
        host.runs_and_boots(system);
        assert_eq!(host.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub"), self.node_key());
        let sealed = fs::read_to_string(self.env.path("fleet/nodes/web/secrets.yaml")).unwrap();
        assert_eq!(host.sh("cat /var/lib/secrets.yaml"), sealed.trim());
    }

    /// The public key that the repository has for the node.
    pub(crate) fn node_key(&self) -> String {
        let file = self.env.path("fleet/nodes/web/ssh_host_ed25519_key.pub");
        let text = fs::read_to_string(file).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Demands that neither the secret nor a private key lies about: not on the host besides where it belongs, not here.
    #[track_caller]
    pub(crate) fn leaks_nothing(&self) {
        let mut open = self.env.command(sops_program());
        open.args(["decrypt", "--input-type", "binary", "--output-type", "binary"]);
        open.arg("nodes/web/ssh_host_ed25519_key");
        let key = Ran::new(&open.output().unwrap()).ends(0).out;
        for needle in [CANARY, key.lines().nth(2).unwrap()] {
            assert_eq!(self.env.holders(needle), [""; 0]);
            let look = "grep -rlaF -e \"$1\" /etc /var /run /tmp /root /boot 2>/dev/null | \
                grep -vx -e /etc/ssh/ssh_host_ed25519_key || true";
            assert_eq!(self.host().exec(&["sh", "-c", look, "sh", needle]), "");
        }
    }
}

/// Ends every connection to a host's sshd; what was started over one goes on.
pub(crate) fn drop_connections(host: BedHost<'_>) {
    let drop = "for pid in $(pidof sshd sshd-session); do \
        [ \"$(awk '/^PPid/ { print $2 }' /proc/$pid/status)\" = 1 ] || kill -KILL $pid; done; true";
    host.try_exec(&["sh", "-c", drop]);
}
