//! The configuration of ssh for one run: ours first, then the user's own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nixmox_topology::NodeName;
use tempfile::TempDir;
use thiserror::Error;

use crate::Target;
use crate::known_hosts::known_hosts;

/// The longest path of a socket, with what ssh appends to it while it makes one.
const MAX_SOCKET: usize = 80;

/// What is the same for every host of the run, whatever else is configured.
const ALWAYS: &str = "\
    StrictHostKeyChecking yes
    UpdateHostKeys no
    VerifyHostKeyDNS no
    CheckHostIP no
    BatchMode yes
    NumberOfPasswordPrompts 0
    RemoteCommand none
    RequestTTY no
    PermitLocalCommand no
    ForwardAgent no
    ForwardX11 no
    ClearAllForwardings yes
    ControlMaster no
    ControlPath none
    ServerAliveInterval 5
    ServerAliveCountMax 3
    LogLevel ERROR
";

/// What is asked of ssh where neither the repository nor the user says anything.
const LAST: &str = "\
Match all
    User root
    ConnectTimeout 10
";

/// How a host is recognised whose key the repository does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// By the user's own known hosts; a host that is not among them is refused.
    #[default]
    Known,
    /// The same, but a key that is seen for the first time is written down there and accepted.
    AcceptNew,
}

/// What else goes into the configuration.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// For hosts without a key in the repository.
    pub trust: Trust,
    /// Configurations that are read after ours, such as `~/.ssh/config` and `/etc/ssh/ssh_config`.
    pub include: Vec<PathBuf>,
    /// Where the run's private directory is made; a short path, because sockets lie in it. Without one the
    /// system's directory for temporary files.
    pub directory: Option<PathBuf>,
    /// Key exchanges to prefer for connections that carry no secret, as `ssh -Q kex` names them.
    ///
    /// On some machines the default one of OpenSSH 9 takes eight times as long as `curve25519-sha256`. Connections that
    /// carry a secret use ssh's own choice always.
    pub quick_key_exchange: Vec<String>,
}

impl Default for SshSettings {
    /// Refuses hosts that are not known, reads no other configuration, and prefers `curve25519-sha256` where no secret
    /// travels.
    fn default() -> Self {
        let quick_key_exchange = vec!["curve25519-sha256".to_owned()];
        Self { trust: Trust::Known, include: Vec::new(), directory: None, quick_key_exchange }
    }
}

/// A private directory with ssh's configuration, known hosts and sockets; dropping it removes it.
#[derive(Debug)]
pub struct SshFiles {
    directory: TempDir,
}

impl SshFiles {
    /// Writes the configuration for these targets.
    ///
    /// # Errors
    ///
    /// [`SshFilesError::SameName`] when two nodes differ in upper and lower case alone, which ssh does not tell
    /// apart, [`SshFilesError::Include`] for a path that would not stay on its line, [`SshFilesError::LongPath`],
    /// [`SshFilesError::Io`].
    pub fn write(targets: &[Target], settings: &SshSettings) -> Result<Self, SshFilesError> {
        check_names(targets)?;
        let parent = settings.directory.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::Builder::new()
            .prefix("nixmox-")
            .tempdir_in(&parent)
            .map_err(|source| SshFilesError::Io { path: parent, source })?;
        let files = Self { directory };
        if files.directory.path().as_os_str().len() > MAX_SOCKET {
            return Err(SshFilesError::LongPath { path: files.directory.path().to_owned() });
        }
        let own = own_config(targets, settings.trust, &files.known_hosts())?;
        let included = included(&settings.include)?;
        let careful = format!("{own}{included}{LAST}");
        let mut quick = careful.clone();
        if !settings.quick_key_exchange.is_empty() {
            let _ = writeln!(quick, "    KexAlgorithms ^{}", settings.quick_key_exchange.join(","));
        }
        write(&files.known_hosts(), &known_hosts(targets))?;
        write(&files.careful_config(), &careful)?;
        write(&files.config(), &quick)?;
        let sockets = files.sockets();
        fs::create_dir(&sockets).map_err(|source| SshFilesError::Io { path: sockets, source })?;
        Ok(files)
    }

    /// Returns the configuration, for `ssh -F`.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// Returns the configuration for connections that carry a secret: it leaves the key exchange to ssh.
    pub fn careful_config(&self) -> PathBuf {
        self.directory.path().join("careful")
    }

    fn known_hosts(&self) -> PathBuf {
        self.directory.path().join("known_hosts")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.directory.path().join("s")
    }
}

fn check_names(targets: &[Target]) -> Result<(), SshFilesError> {
    let mut seen = BTreeSet::new();
    for target in targets {
        if !seen.insert(target.node.as_str().to_ascii_lowercase()) {
            return Err(SshFilesError::SameName { node: target.node.clone() });
        }
    }
    Ok(())
}

fn own_config(
    targets: &[Target],
    trust: Trust,
    known_hosts: &Path,
) -> Result<String, SshFilesError> {
    let known_hosts = quoted(known_hosts)?;
    let mut text = String::new();
    for target in targets {
        let _ = writeln!(text, "Host {}", target.node);
        // Without an address of its own, the user's configuration may know one.
        if target.address.as_str() != target.node.as_str() {
            let _ = writeln!(text, "    HostName {}", target.address);
        }
        if let Some(user) = &target.user {
            let _ = writeln!(text, "    User {user}");
        }
        if let Some(port) = target.port {
            let _ = writeln!(text, "    Port {port}");
        }
        for option in &target.ssh_options {
            let _ = writeln!(text, "    {} {}", option.name(), option.value());
        }
        if !target.host_keys.is_empty() {
            let _ = writeln!(
                text,
                "    HostKeyAlias {}\n    HostKeyAlgorithms ssh-ed25519\n    \
                 UserKnownHostsFile {known_hosts}\n    GlobalKnownHostsFile /dev/null\n    \
                 KnownHostsCommand none",
                target.node
            );
        } else if trust == Trust::AcceptNew {
            text.push_str("    StrictHostKeyChecking accept-new\n");
        }
        text.push_str(ALWAYS);
    }
    Ok(text)
}

fn included(paths: &[PathBuf]) -> Result<String, SshFilesError> {
    let mut text = String::from("Match all\n");
    for path in paths {
        let _ = writeln!(text, "    Include {}", quoted(path)?);
    }
    Ok(text)
}

/// A path as ssh's configuration takes it. There is no way to escape anything there.
fn quoted(path: &Path) -> Result<String, SshFilesError> {
    let refused = || SshFilesError::Include { path: path.to_owned() };
    let text = path.to_str().ok_or_else(refused)?;
    let odd = |c: char| c.is_control() || "\"\\%$*?[".contains(c);
    if text.contains(odd) {
        return Err(refused());
    }
    Ok(format!("\"{text}\""))
}

fn write(path: &Path, text: &str) -> Result<(), SshFilesError> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| SshFilesError::Io { path: path.to_owned(), source })
}

/// Why there is no configuration for ssh.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SshFilesError {
    /// ssh compares names without regard to case, so one of them could answer for the other.
    #[error("another node has the name {node} but for upper and lower case")]
    SameName {
        /// The second of them.
        node: NodeName,
    },
    /// The path has characters that ssh's configuration reads in a way of its own.
    #[error("{} cannot be named in a configuration of ssh", path.display())]
    Include {
        /// The path.
        path: PathBuf,
    },
    /// The system limits how long the paths of sockets are.
    #[error("{} is too long a path for sockets", path.display())]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// The directory or a file in it could not be made.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
