//! The system, and its files.

use std::ffi::OsString;
use std::time::Duration;

use nixmox_deploy::{Chroot, Happening, NixLine, StorePath};
use nixmox_hostkey::HostPublicKey;
use nixmox_tree::SecretString;

use super::Work;
use crate::error::Cause;
use crate::facts::Facts;
use crate::marker::Reached;
use crate::problem::Problem;
use crate::remote::{Job, Remote};
use crate::{InstallError, Phase};

/// How long a closure may travel.
const TRAVEL: Duration = Duration::from_secs(6 * 60 * 60);

impl Work<'_> {
    /// Copies what is missing of the system to the new root.
    pub(super) async fn copy(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<(), InstallError> {
        let system = &self.order.system.toplevel;
        let at = |error| InstallError::at(Phase::Copy, error);
        if self.doubtful {
            let patience = self.order.patience.verify;
            let job = Job { name: "verify", words: vec!["verify"], patience };
            self.job(remote, &job, Phase::Copy).await?;
            self.doubtful = false;
        }
        self.has_room(remote).await?;
        let derivation = self.order.system.derivation.as_ref();
        let built_there = derivation.filter(|_| self.order.before.build_on_remote);
        if let Some(derivation) = built_there {
            self.build_there(remote, derivation).await?;
        } else if self.by_archive(facts) {
            self.archive(remote, system, "/mnt", Phase::Copy).await?;
        } else {
            let (events, node) = (&self.context.events, &self.order.node);
            let say = |line: NixLine| match line {
                NixLine::Progress { done, total } => {
                    events.send(node, Happening::Progress { done, total });
                }
                NixLine::Text(text) => events.send(node, Happening::Log(text)),
                _ => {}
            };
            let into = (Chroot::Mnt, self.order.rules.substitute);
            let copied = self.context.nix.copy_into(remote.host(), system, into, &say).await;
            copied.map_err(|error| InstallError::at(Phase::Copy, error))?;
        }
        remote.ask(&["valid"], &[system.as_str()]).await.map_err(at)?;
        self.mark(remote, Reached::Copied, Phase::Copy).await
    }

    /// Has the machine build the system itself, in its new store.
    async fn build_there(
        &self,
        remote: &Remote<'_>,
        derivation: &StorePath,
    ) -> Result<(), InstallError> {
        let into = (Chroot::Mnt, true);
        let copied = self.context.nix.copy_into(remote.host(), derivation, into, &|_| ()).await;
        copied.map_err(|error| InstallError::at(Phase::Copy, error))?;
        let job =
            Job { name: "build", words: vec!["build", derivation.as_str()], patience: TRAVEL };
        self.job(remote, &job, Phase::Copy).await
    }

    async fn has_room(&self, remote: &Remote<'_>) -> Result<(), InstallError> {
        let system = &self.order.system.toplevel;
        let mounts = remote.mounts(system).await.map_err(|e| InstallError::at(Phase::Copy, e))?;
        if mounts.root_in_memory() {
            let missing = Cause::Missing(vec!["a disk at /mnt".to_owned()]);
            return Err(InstallError::at(Phase::Copy, missing));
        }
        let Ok(bytes) = self.context.nix.closure_size(system).await else { return Ok(()) };
        let (needs, free) = (bytes >> 10, mounts.room_kib);
        if needs > free {
            let problem = Problem::NoSpace { needs, free };
            return Err(InstallError::at(Phase::Copy, Cause::Found(problem)));
        }
        Ok(())
    }

    /// Sends a closure as an archive to a machine without Nix.
    pub(super) async fn archive(
        &self,
        remote: &Remote<'_>,
        path: &StorePath,
        root: &str,
        phase: Phase,
    ) -> Result<(), InstallError> {
        let at = |error| InstallError::at(phase, error);
        let paths = self.context.nix.requisites(path).await;
        let paths = paths.map_err(|error| InstallError::at(phase, Cause::Nix(error)))?;
        if root == "/" {
            remote.ask(&["borrow-store"], &[]).await.map_err(at)?;
        }
        let mut words: Vec<OsString> = ["tar", "-c", "-C", "/"].map(OsString::from).into();
        let bare = |path: &StorePath| path.as_str().trim_start_matches('/').to_owned();
        words.extend(paths.iter().map(|path| OsString::from(bare(path))));
        let command = remote.command(&["unpack"], &[root]).map_err(at)?;
        remote.send(command.stdin_of(words).timeout(TRAVEL)).await.map_err(at)?;
        if root == "/" {
            return Ok(());
        }
        let mut words: Vec<OsString> = ["nix-store", "--dump-db"].map(OsString::from).into();
        words.extend(paths.iter().map(|path| OsString::from(path.as_str())));
        let command = remote.command(&["register"], &[]).map_err(at)?;
        let command = command.stdin_of(words).timeout(Duration::from_secs(600));
        remote.send(command).await.map_err(at).map(drop)
    }

    /// Puts the host key and the other files in place, and looks at what arrived.
    pub(super) async fn place(&mut self, remote: &Remote<'_>) -> Result<(), InstallError> {
        let order = self.order;
        let Some(host_key) = &order.host_key else {
            return Err(InstallError::at(Phase::Place, Cause::OtherKey));
        };
        let private = host_key.to_openssh(&format!("root@{}", order.node));
        let public = host_key.public();
        let line = format!("{}\n", public.to_openssh(&format!("root@{}", order.node)));
        let path = &order.host_key_path;
        remote.place(path, ("600", "0:0"), private).await?;
        let beside = format!("{path}.pub");
        remote.place(&beside, ("644", "0:0"), SecretString::new(line)).await?;
        let system = order.system.toplevel.as_str();
        let at = |error| InstallError::at(Phase::Place, error);
        let derived = remote.ask(&["public-key"], &[path, system]).await.map_err(at)?;
        let derived = HostPublicKey::parse(&String::from_utf8_lossy(&derived.stdout));
        if derived.ok() != Some(public) {
            return Err(InstallError::at(Phase::Place, Cause::OtherKey));
        }
        for file in &order.files {
            remote.place(&file.path, (&file.mode, &file.owner), file.text.clone()).await?;
        }
        self.mark(remote, Reached::Placed, Phase::Place).await
    }
}
