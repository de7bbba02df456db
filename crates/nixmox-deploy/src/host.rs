//! A host that commands can be run on.

mod command;
mod connection;
mod error;
mod process;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use nixmox_topology::NodeName;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use command::{Output, RemoteCommand};
pub use error::HostError;

use crate::{Address, Os, SshFiles, Target};
use connection::Connection;

/// How long a connection may take, all in all.
const CONNECT: Duration = Duration::from_secs(20);

/// A host that commands can be run on, over SSH or on this machine.
#[derive(Debug)]
pub struct Host {
    node: NodeName,
    address: Option<Address>,
    sudo: bool,
    os: Os,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Ssh(Box<Ssh>),
    Local,
}

#[derive(Debug)]
struct Ssh {
    files: Arc<SshFiles>,
    /// The connection that commands share; made by the first of them, and anew after it was lost.
    shared: Mutex<Option<Arc<Connection>>>,
}

impl Host {
    /// Makes a host that is reached over SSH. Nothing is connected yet.
    ///
    /// The target has to be one of those that `files` were written for.
    pub fn ssh(target: &Target, files: Arc<SshFiles>) -> Self {
        let way = Way::Ssh(Box::new(Ssh { files, shared: Mutex::new(None) }));
        let address = Some(target.address.clone());
        let (sudo, os) = (target.use_remote_sudo, target.os);
        Self { node: target.node.clone(), address, sudo, os, way }
    }

    /// Makes a host of this machine itself.
    pub fn local(node: NodeName, sudo: bool) -> Self {
        Self { node, address: None, sudo, os: Os::NixOs, way: Way::Local }
    }

    /// Returns where it is; `None` for this machine itself.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Returns which node it is.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Returns which system it runs.
    pub fn os(&self) -> Os {
        self.os
    }

    /// Tells whether commands go through `sudo`.
    pub(crate) fn uses_sudo(&self) -> bool {
        self.sudo
    }

    /// Tells whether it is this machine itself.
    pub fn is_local(&self) -> bool {
        matches!(self.way, Way::Local)
    }

    /// Runs a command over the shared connection.
    ///
    /// # Errors
    ///
    /// [`HostError`] when the host was not reached, was lost, took too long or said too much. A command that ends
    /// with another status than 0 is no error.
    pub async fn run(&self, command: &RemoteCommand) -> Result<Output, HostError> {
        let Way::Ssh(ssh) = &self.way else {
            return process::run(self.local_program(command), command).await;
        };
        let connection = ssh.connection(&self.node).await?;
        let result = connection.run(&self.shell_line(command), command).await;
        if matches!(result, Err(HostError::Lost | HostError::TimedOut { .. })) {
            ssh.forget(&connection).await;
        }
        result
    }

    /// Runs a command over a connection of its own, which shows that the host can be reached now.
    ///
    /// # Errors
    ///
    /// Those of [`Host::run`].
    pub async fn run_fresh(&self, command: &RemoteCommand) -> Result<Output, HostError> {
        self.run_alone(command, SshFiles::config).await
    }

    /// Runs a command whose standard input is secret, over a connection of its own with ssh's own key exchange.
    ///
    /// # Errors
    ///
    /// Those of [`Host::run`].
    pub async fn run_careful(&self, command: &RemoteCommand) -> Result<Output, HostError> {
        self.run_alone(command, SshFiles::careful_config).await
    }

    async fn run_alone(
        &self,
        command: &RemoteCommand,
        config: fn(&SshFiles) -> std::path::PathBuf,
    ) -> Result<Output, HostError> {
        let Way::Ssh(ssh) = &self.way else {
            return process::run(self.local_program(command), command).await;
        };
        let mut words: Vec<OsString> = vec!["ssh".into(), "-F".into(), config(&ssh.files).into()];
        for option in ["ControlMaster=no", "ControlPath=none", "ConnectTimeout=5"] {
            words.extend(["-o".into(), option.into()]);
        }
        words.extend(["-T".into(), self.node.as_str().into(), self.shell_line(command).into()]);
        process::run_ssh(words, command).await
    }

    /// Closes the shared connection. Without it the connection closes by itself soon after the last command.
    pub async fn close(&self) {
        if let Way::Ssh(ssh) = &self.way {
            ssh.shared.lock().await.take();
        }
    }

    /// Returns options with which another ssh shares the connection, as `NIX_SSHOPTS` takes them, connecting when
    /// nothing is connected; `None` for this machine itself.
    ///
    /// # Errors
    ///
    /// Those of connecting, as [`Host::run`] has them.
    pub async fn ssh_options(&self) -> Result<Option<String>, HostError> {
        let Way::Ssh(ssh) = &self.way else { return Ok(None) };
        let connection = ssh.connection(&self.node).await?;
        let config = ssh.files.config();
        let socket = connection.socket();
        Ok(Some(format!("-F {} -o ControlPath={}", config.display(), socket.display())))
    }

    /// The command as one line for whatever shell the user has on the host.
    fn shell_line(&self, command: &RemoteCommand) -> String {
        let sudo = if self.sudo { "sudo -n -- " } else { "" };
        format!("{sudo}{}{}", self.path(), command.line())
    }

    /// What has to stand in front of commands so that they are found: on a Mac, sh and sudo do not know where Nix is.
    pub(crate) fn path(&self) -> &'static str {
        match self.os {
            Os::NixOs => "",
            Os::Darwin => {
                "env PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "
            }
        }
    }

    fn local_program(&self, command: &RemoteCommand) -> Vec<OsString> {
        let sudo = if self.sudo { &["sudo", "-n", "--"][..] } else { &[] };
        let words = sudo.iter().copied().chain(command.words());
        words.map(OsString::from).collect()
    }
}

impl Ssh {
    async fn connection(&self, node: &NodeName) -> Result<Arc<Connection>, HostError> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &*shared {
            // It ends by itself while a host waits for its turn for long.
            if connection.is_open().await {
                return Ok(Arc::clone(connection));
            }
        }
        let connecting = timeout(CONNECT, Connection::open(node, &self.files));
        let connection = connecting.await.unwrap_or(Err(HostError::TimedOut { after: CONNECT }))?;
        let connection = Arc::new(connection);
        *shared = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Lets the next command connect anew, unless another one has done so already.
    async fn forget(&self, lost: &Arc<Connection>) {
        let mut shared = self.shared.lock().await;
        if shared.as_ref().is_some_and(|current| Arc::ptr_eq(current, lost)) {
            *shared = None;
        }
    }
}
