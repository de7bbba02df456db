//! One connection that many commands share.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nixmox_topology::NodeName;
use openssh::{Session, Stdio as RemoteStdio};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::process::{Pipes, exchange};
use super::{HostError, Output, RemoteCommand};
use crate::SshFiles;

/// A connection that stays open; dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    socket: PathBuf,
}

impl Connection {
    /// Connects. It is ssh that does so, in a process that outlives this call and ends with the connection, or by
    /// itself a minute after the last command when nobody is left to end it.
    pub(super) async fn open(node: &NodeName, files: &SshFiles) -> Result<Self, HostError> {
        let directory = TempDir::with_prefix_in("", files.sockets()).map_err(HostError::Io)?;
        // Names that the session looks for.
        let socket = directory.path().join("master");
        let log = directory.path().join("log");
        let status = Command::new("ssh")
            .args(["-M", "-f", "-N", "-o", "ControlPersist=60", "-F"])
            .arg(files.config())
            .arg("-S")
            .arg(&socket)
            .arg("-E")
            .arg(&log)
            .arg(node.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .status()
            .await
            .map_err(|source| HostError::Start { program: "ssh".into(), source })?;
        if status.success() {
            return Ok(Self { session: Session::new_native_mux(directory), socket });
        }
        let said = tokio::fs::read(&log).await.unwrap_or_default();
        Err(HostError::of_ssh(&said))
    }

    /// Tells whether ssh still holds it, without asking the host.
    pub(super) async fn is_open(&self) -> bool {
        self.session.check().await.is_ok()
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) async fn run(
        &self,
        line: &str,
        command: &RemoteCommand,
    ) -> Result<Output, HostError> {
        let after = command.allowed_time();
        let running = timeout(after, self.run_to_end(line, command));
        running.await.unwrap_or(Err(HostError::TimedOut { after }))
    }

    async fn run_to_end(&self, line: &str, command: &RemoteCommand) -> Result<Output, HostError> {
        let mut remote = self.session.raw_command(line);
        remote.stdin(RemoteStdio::piped());
        remote.stdout(RemoteStdio::piped());
        remote.stderr(RemoteStdio::piped());
        let mut child = remote.spawn().await.map_err(|_| HostError::Lost)?;
        let pipes = Pipes {
            stdin: child.stdin().take(),
            stdout: child.stdout().take(),
            stderr: child.stderr().take(),
        };
        let (stdout, stderr) = exchange(pipes, command).await?;
        let status = child.wait().await.map_err(|_| HostError::Lost)?;
        let status = status.code().ok_or(HostError::Killed)?;
        Ok(Output { status, stdout, stderr })
    }
}
