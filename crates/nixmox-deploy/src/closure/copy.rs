//! Bringing closures to hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;

use super::nix::run;
use super::{Nix, NixError, NixLine};
use crate::{Host, HostError, RemoteCommand, StorePath};

/// How long a build on a host may take.
const BUILD: Duration = Duration::from_secs(6 * 60 * 60);
/// How often a copy is tried when the connection is lost in between; what has arrived stays.
const TRIES: u32 = 3;

impl Nix {
    /// Copies a closure to a host, over the connection that its commands share. Only what is missing there is sent.
    ///
    /// With `substitute` the host fetches what it can from its own caches.
    ///
    /// # Errors
    ///
    /// [`CopyError::Host`] when the host is not reached, [`CopyError::Nix`] when the copy fails.
    pub async fn copy(
        &self,
        host: &Host,
        path: &StorePath,
        substitute: bool,
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<(), CopyError> {
        self.copy_into(host, path, (Chroot::None, substitute), lines).await
    }

    /// Copies a closure to a host as [`Nix::copy`] does, also into the store of a system that does not run yet.
    ///
    /// # Errors
    ///
    /// Those of [`Nix::copy`].
    pub async fn copy_into(
        &self,
        host: &Host,
        path: &StorePath,
        (chroot, substitute): (Chroot, bool),
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<(), CopyError> {
        let mut tries = 1;
        loop {
            let Some(options) = host.ssh_options().await? else { return Ok(()) };
            let mut command = self.command("nix");
            command.args(["copy", "--no-check-sigs"]);
            if path.name().ends_with(".drv") {
                command.arg("--derivation");
            }
            if substitute {
                command.arg("--substitute-on-destination");
            }
            self.configure(&mut command).arg("--to");
            command.arg(format!("ssh://{}{}", host.node(), chroot.query(host)));
            command.arg(path.as_str()).env("NIX_SSHOPTS", options);
            match run("nix copy", &mut command, lines).await {
                Ok(_) => return Ok(()),
                Err(NixError::Failed { said, .. }) if tries < TRIES && is_lost(&said) => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has a host build a system itself: the derivation is copied there, and realised.
    ///
    /// # Errors
    ///
    /// Those of [`Nix::copy`], and [`CopyError::Build`] with what the host said.
    pub async fn build_on(
        &self,
        host: &Host,
        derivation: &StorePath,
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<(), CopyError> {
        self.copy(host, derivation, true, lines).await?;
        let command = RemoteCommand::new(["nix-store", "--realise", derivation.as_str()])?;
        let output = host.run(&command.timeout(BUILD).limit(64 << 20)).await?;
        if output.success() {
            return Ok(());
        }
        Err(CopyError::Build { said: output.complaint() })
    }
}

/// Lists the closure of a path in a host's store.
///
/// # Errors
///
/// [`CopyError::Host`] when the host is not reached or does not know the path.
pub async fn closure_on(host: &Host, path: &StorePath) -> Result<BTreeSet<StorePath>, CopyError> {
    let command = RemoteCommand::new(["nix-store", "--query", "--requisites", path.as_str()])?;
    let output = host.run(&command.limit(16 << 20)).await?;
    if !output.success() {
        return Err(CopyError::Build { said: output.complaint() });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| StorePath::parse(line).ok()).collect())
}

/// In which store of a host a closure belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroot {
    /// That of the system that runs.
    None,
    /// That of the system below `/mnt`.
    Mnt,
}

impl Chroot {
    /// Whoever may become root there need not be trusted by its Nix as well.
    fn query(self, host: &Host) -> String {
        let sudo = if host.uses_sudo() { "sudo -n " } else { "" };
        let program = format!("{sudo}{}", host.path());
        let mut query = Vec::new();
        if !program.is_empty() {
            query.push(format!("remote-program={program}nix-store").replace(' ', "%20"));
        }
        if self == Self::Mnt {
            query.push("remote-store=local%3Froot=%2Fmnt".to_owned());
        }
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{mark}{}", query.join("&"))
    }
}

/// Tells whether a copy failed because of the connection.
fn is_lost(said: &[String]) -> bool {
    let signs = ["Connection", "connection", "Broken pipe", "unexpected end-of-file", "mux_client"];
    said.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}

/// Why a closure is not on a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The host was not reached.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The copy failed.
    #[error("the system cannot be copied")]
    Nix(#[from] NixError),
    /// The host's own Nix failed.
    #[error("nix on the host: {said}")]
    Build {
        /// The last lines of what it said, in a form that can be shown.
        said: String,
    },
}
