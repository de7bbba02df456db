//! A container of Proxmox that is a node from its first start.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nixmox_deploy::{EventSink, Happening, SshSettings, Target};
use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_topology::NodeName;
use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};

use crate::error::Cause;
use crate::identity::{Answer, Face, who};
use crate::order::PlacedFile;
use crate::problem::{Problem, grave};
use crate::remote::{Remote, RemoteError, hex};
use crate::reply::Reply;
use crate::{Identity, InstallError, Phase};

/// How long the template may travel.
const TRAVEL: Duration = Duration::from_secs(2 * 60 * 60);
/// How long Proxmox may take to unpack it.
const UNPACK: Duration = Duration::from_secs(1800);

/// What is asked for one container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Which node it becomes.
    pub node: NodeName,
    /// Its number.
    pub number: u32,
    /// The archive that it is made of: the node's own, with its system.
    pub template: PathBuf,
    /// Options of `pct create`, each with its value.
    pub options: Vec<(String, String)>,
    /// Whether its root is nobody on the Proxmox host.
    pub unprivileged: bool,
    /// The Proxmox host. Without a key of its own it is recognised by the user's known hosts.
    pub proxmox: Target,
    /// How the node is reached, with the repository's key.
    pub after: Target,
    /// The host key that it gets.
    pub host_key: HostKey,
    /// Where that belongs.
    pub host_key_path: String,
    /// Other files that it gets.
    pub files: Vec<PlacedFile>,
    /// How long it may take to start.
    pub boot: Duration,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Stopped,
    Running,
}

impl Container {
    /// Lists what is done on the Proxmox host, as somebody would type it.
    pub fn plan(&self) -> Vec<String> {
        let (number, path) = (self.number, &self.host_key_path);
        let mut lines =
            vec![format!("put {} into /var/lib/vz/template/cache", self.template.display())];
        lines
            .push(format!("pct create {number} {}", self.words("local:vztmpl/TEMPLATE").join(" ")));
        lines.push(format!("pct mount {number}"));
        lines.push(format!(
            "put the host key at /var/lib/lxc/{number}/rootfs{path}, owned by {}",
            self.owner("0:0").unwrap_or_default()
        ));
        lines.extend(self.files.iter().map(|file| {
            format!(
                "put {} there, owned by {}",
                file.path,
                self.owner(&file.owner).unwrap_or_default()
            )
        }));
        lines.push(format!("pct unmount {number}"));
        lines.push(format!("pct start {number}"));
        lines.push(format!(
            "wait for {} to answer with {}",
            self.after.address,
            self.host_key.public().fingerprint()
        ));
        lines
    }

    /// The words that follow the number in `pct create`.
    fn words(&self, template: &str) -> Vec<String> {
        let mut words = vec![template.to_owned()];
        let unprivileged = if self.unprivileged { "1" } else { "0" };
        let own = [
            ("ostype", "unmanaged"),
            ("hostname", self.node.as_str()),
            ("unprivileged", unprivileged),
            ("features", "nesting=1"),
        ];
        let given = |name: &str| self.options.iter().any(|(own, _)| own == name);
        for (name, value) in own.into_iter().filter(|(name, _)| !given(name)) {
            words.extend([format!("--{name}"), value.to_owned()]);
        }
        for (name, value) in &self.options {
            words.extend([format!("--{name}"), value.clone()]);
        }
        words
    }

    /// Returns who an owner is on the Proxmox host.
    fn owner(&self, owner: &str) -> Option<String> {
        let (user, group) = owner.split_once(':')?;
        let base: u32 = if self.unprivileged { 100_000 } else { 0 };
        let shift = |text: &str| text.parse::<u32>().ok()?.checked_add(base);
        Some(format!("{}:{}", shift(user)?, shift(group)?))
    }

    /// What marks the container as one that this installation has made.
    fn mark(&self) -> String {
        format!("nixmox-install {}", self.node)
    }
}

/// Makes a container, puts its key and its files in place before its first start, and waits for it.
///
/// Done again, it goes on where it stands; a container that this did not make is left alone.
///
/// # Errors
///
/// As [`install`](crate::install) has them.
pub async fn install_container(
    container: &Container,
    ssh: &SshSettings,
    events: &EventSink,
) -> Result<(), InstallError> {
    let begin = |phase: Phase| events.send(&container.node, phase.begins());
    begin(Phase::Connect);
    let proxmox = Face::new(Identity::Before, &container.proxmox, ssh)?;
    let run = format!("lxc-{}", container.number);
    let remote = Remote::new(&proxmox.host, &run);
    let unreached = |error| match error {
        RemoteError::Host(nixmox_deploy::HostError::HostKey { .. }) => InstallError::Stranger,
        RemoteError::Host(error) => InstallError::Unreachable(error),
        error => InstallError::at(Phase::Connect, error),
    };
    remote.put().await.map_err(unreached)?;
    let mut standing = state(&remote, container).await?;
    if standing == Standing::Absent {
        begin(Phase::Disks);
        create(&remote, container).await?;
        standing = Standing::Stopped;
    }
    if standing == Standing::Stopped {
        begin(Phase::Place);
        place(&remote, container).await?;
        begin(Phase::Reboot);
        let number = container.number.to_string();
        let command = remote.command(&["lxc-start"], &[&number]);
        let started = command.map(|command| command.timeout(UNPACK));
        let at = |error| InstallError::at(Phase::Reboot, error);
        remote.send(started.map_err(at)?).await.map_err(at)?;
    }
    begin(Phase::Verify);
    answers(container, ssh, events).await
}

async fn state(remote: &Remote<'_>, container: &Container) -> Result<Standing, InstallError> {
    let number = container.number.to_string();
    let answer = remote.ask(&["lxc-state"], &[&number]).await;
    let answer = Reply::parse(&answer.map_err(|e| InstallError::at(Phase::Connect, e))?.stdout);
    let standing = match answer.text("state") {
        Some("absent") => return Ok(Standing::Absent),
        Some("stopped") => Standing::Stopped,
        _ => Standing::Running,
    };
    if answer.text("run") != Some(container.node.as_str()) {
        let findings = vec![grave(Problem::OtherRun)];
        return Err(InstallError::Refused { findings });
    }
    Ok(standing)
}

async fn create(remote: &Remote<'_>, container: &Container) -> Result<(), InstallError> {
    let at = |error| InstallError::at(Phase::Disks, error);
    let path = &container.template;
    let digest = digest(path).map_err(|source| {
        InstallError::at(Phase::Disks, Cause::File { path: path.clone(), source })
    })?;
    let short: String = digest.chars().take(16).collect();
    let name = format!("nixmox-{}-{short}{}", container.node, ending(path));
    let command = remote.command(&["lxc-template"], &[&name, &digest]).map_err(at)?;
    remote.send(command.stdin_file(path.clone()).timeout(TRAVEL)).await.map_err(at)?;
    let mut words = container.words(&format!("local:vztmpl/{name}"));
    words.extend(["--description".to_owned(), container.mark()]);
    let number = container.number.to_string();
    let command = remote.command(&["lxc-create"], &[&number]).map_err(at)?;
    let text = format!("{}\n", words.join("\n"));
    remote.send(command.stdin(text.into_bytes()).timeout(UNPACK)).await.map_err(at).map(drop)
}

fn ending(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let known = [".tar.xz", ".tar.gz", ".tar.zst", ".tar"];
    let found = known.into_iter().find(|ending| name.ends_with(ending));
    found.unwrap_or(".tar").to_owned()
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
    }
    Ok(hex(&hash.finalize()))
}

async fn place(remote: &Remote<'_>, container: &Container) -> Result<(), InstallError> {
    let at = |error| InstallError::at(Phase::Place, error);
    let number = container.number.to_string();
    let root = container.owner("0:0").unwrap_or_default();
    remote.ask(&["lxc-mount"], &[&number, &root]).await.map_err(at)?;
    let comment = format!("root@{}", container.node);
    let public = container.host_key.public();
    let line = SecretString::new(format!("{}\n", public.to_openssh(&comment)));
    let path = &container.host_key_path;
    let beside = format!("{path}.pub");
    remote.place(path, ("600", &root), container.host_key.to_openssh(&comment)).await?;
    remote.place(&beside, ("644", &root), line).await?;
    let derived = remote.ask(&["public-key"], &[path, "none"]).await.map_err(at)?;
    let derived = HostPublicKey::parse(&String::from_utf8_lossy(&derived.stdout));
    if derived.ok() != Some(public) {
        return Err(InstallError::at(Phase::Place, Cause::OtherKey));
    }
    for file in &container.files {
        let owner = container.owner(&file.owner).unwrap_or_else(|| root.clone());
        remote.place(&file.path, (&file.mode, &owner), file.text.clone()).await?;
    }
    remote.ask(&["lxc-unmount"], &[&number]).await.map_err(at).map(drop)
}

async fn answers(
    container: &Container,
    ssh: &SshSettings,
    events: &EventSink,
) -> Result<(), InstallError> {
    let faces = [Face::new(Identity::Node, &container.after, ssh)?];
    let end = Instant::now() + container.boot;
    let mut denied = None;
    while Instant::now() < end {
        match who(&faces).await {
            Answer::Known(_) => return Ok(()),
            Answer::Denied(_, said) => denied = Some(said),
            Answer::Stranger => return Err(InstallError::Stranger),
            Answer::Silent(_) => events.send(&container.node, Happening::ConnectionLost),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    match denied {
        Some(said) => Err(InstallError::at(Phase::Verify, Cause::NoLogin { said })),
        None => Err(InstallError::at(Phase::Reboot, Cause::NoAnswer(container.boot.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixmox_deploy::Address;
    use rand_core::OsRng;

    fn container(unprivileged: bool) -> Container {
        let node = NodeName::parse("web").unwrap();
        let target = |at: &str| Target::new(node.clone(), Address::parse(at).unwrap());
        Container {
            number: 104,
            template: "/x/web.tar.xz".into(),
            options: vec![("rootfs".into(), "local-lvm:8".into())],
            unprivileged,
            proxmox: target("pve"),
            after: target("10.0.0.4"),
            host_key: HostKey::generate(&mut OsRng),
            host_key_path: "/etc/ssh/ssh_host_ed25519_key".into(),
            files: Vec::new(),
            boot: Duration::from_secs(1),
            node,
        }
    }

    #[test]
    fn the_plan_says_what_somebody_would_type() {
        let plan = container(true).plan();
        assert_eq!(
            plan.get(1).map(String::as_str),
            Some(
                "pct create 104 local:vztmpl/TEMPLATE --ostype unmanaged --hostname web \
                 --unprivileged 1 --features nesting=1 --rootfs local-lvm:8"
            )
        );
        assert!(plan.iter().any(|line| line.ends_with("owned by 100000:100000")));
        assert!(plan.last().is_some_and(|line| line.contains("10.0.0.4 to answer with SHA256:")));
    }

    #[test]
    fn owners_are_shifted_where_root_is_nobody() {
        assert_eq!(container(true).owner("1000:100").as_deref(), Some("101000:100100"));
        assert_eq!(container(false).owner("0:0").as_deref(), Some("0:0"));
        assert_eq!(container(true).owner("4294967295:0"), None);
    }
}
