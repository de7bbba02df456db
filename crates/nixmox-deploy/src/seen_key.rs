//! The key that a host shows, when nothing is known of it yet.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nixmox_hostkey::{HostKeyError, HostPublicKey};
use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{SshFiles, SshFilesError, SshSettings, Target};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Learns which ed25519 key a host has, with the proof that it has it, and logs in nowhere.
///
/// Nothing tells who that host is: the key is to be compared with what is known of it by another way.
///
/// # Errors
///
/// [`SeenKeyError::Silent`] when nobody answers with such a key.
pub async fn seen_key(
    target: &Target,
    settings: &SshSettings,
) -> Result<HostPublicKey, SeenKeyError> {
    let files = SshFiles::write(std::slice::from_ref(target), settings)?;
    let known = files.config().with_file_name("seen");
    let known = known.to_str().ok_or(SeenKeyError::Silent { said: String::new() })?;
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(files.careful_config());
    let alias = format!("HostKeyAlias={}", target.node);
    for option in [
        "StrictHostKeyChecking=accept-new",
        &format!("UserKnownHostsFile={known}"),
        "GlobalKnownHostsFile=/dev/null",
        &alias,
        "HashKnownHosts=no",
        "HostKeyAlgorithms=ssh-ed25519",
        "PreferredAuthentications=none",
        "ControlMaster=no",
        "ControlPath=none",
        "ConnectTimeout=10",
    ] {
        ssh.args(["-o", option]);
    }
    ssh.args(["-T", target.node.as_str(), "true"]);
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let start = |source| SeenKeyError::Io { path: PathBuf::from("ssh"), source };
    let output = match timeout(PATIENCE, ssh.output()).await {
        Ok(output) => output.map_err(start)?,
        Err(_) => return Err(SeenKeyError::Silent { said: "no answer in time".to_owned() }),
    };
    let said = crate::text::last_lines(&output.stderr, 2).join("; ");
    let text = tokio::fs::read_to_string(known).await.unwrap_or_default();
    let line = text.lines().next().and_then(|line| line.split_once(' '));
    match line {
        Some((_, key)) => Ok(HostPublicKey::parse(key)?),
        None => Err(SeenKeyError::Silent { said }),
    }
}

/// Why it is not known which key a host has.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SeenKeyError {
    /// Nobody answers, or not with an ed25519 key.
    #[error("nobody answers with an ed25519 key: {said}")]
    Silent {
        /// ssh's words, in a form that can be shown.
        said: String,
    },
    /// It answers with a key that cannot be one.
    #[error("the key that it shows is none")]
    Key(#[from] HostKeyError),
    /// There is no configuration for ssh.
    #[error(transparent)]
    Files(#[from] SshFilesError),
    /// ssh cannot be run.
    #[error("cannot run {}", path.display())]
    Io {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
