//! From a system on disks to a node that answers.

use std::time::Instant;

use super::{Installed, Work};
use crate::error::Cause;
use crate::facts::Facts;
use crate::identity::{Answer, who};
use crate::marker::Reached;
use crate::remote::{Job, Remote};
use crate::reply::Reply;
use crate::{Identity, InstallError, Phase};

impl Work<'_> {
    /// Activates the system in its new root, installs its boot loader, and looks at the result.
    pub(super) async fn activate(&mut self, remote: &Remote<'_>) -> Result<(), InstallError> {
        let system = &self.order.system.toplevel;
        let accept = if self.order.rules.accept_activation_errors { "accept" } else { "no" };
        let job = Job {
            name: "activate",
            words: vec!["activate", system.as_str(), accept],
            patience: self.order.patience.activate,
        };
        self.job(remote, &job, Phase::Activate).await?;
        let at = |error| InstallError::at(Phase::Activate, error);
        let ready = remote.ask(&["ready"], &[system.as_str()]).await.map_err(at)?;
        let ready = Reply::parse(&ready.stdout);
        let mut missing: Vec<String> = ready.all("missing").map(str::to_owned).collect();
        if !ready.is("checked", "yes") {
            missing.push("an answer".to_owned());
        }
        let mounts = remote.mounts(system).await.map_err(at)?;
        missing.extend(mounts.missing());
        if !missing.is_empty() {
            return Err(InstallError::at(Phase::Activate, Cause::Missing(missing)));
        }
        self.mark(remote, Reached::Bootable, Phase::Activate).await
    }

    /// Brings everything to the disks, and lets go of them.
    pub(super) async fn finish(&mut self, remote: &Remote<'_>) -> Result<(), InstallError> {
        let system = self.order.system.toplevel.as_str();
        let patience = self.order.patience.disks;
        let job = Job { name: "finish", words: vec!["finish", system], patience };
        self.job(remote, &job, Phase::Finish).await
    }

    /// Reboots into the new system, and waits for it.
    pub(super) async fn reboot(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<(), InstallError> {
        self.memory.rebooted_from = Some(facts.boot_id.clone());
        self.save()?;
        let asked = remote.ask(&["reboot"], &[]).await;
        asked.map_err(|error| InstallError::at(Phase::Reboot, error))?;
        remote.host().close().await;
        self.node_answers(&facts.boot_id).await
    }

    async fn node_answers(&self, before: &str) -> Result<(), InstallError> {
        let end = Instant::now() + self.order.patience.boot;
        let faces = self.faces()?;
        let failed = |cause| Err(InstallError::at(Phase::Reboot, cause));
        let mut denied = None;
        while Instant::now() < end {
            self.go_on()?;
            match who(&faces).await {
                Answer::Known(face) if face.identity == Identity::Node => return Ok(()),
                Answer::Known(face) => {
                    let remote = Remote::new(&face.host, &self.memory.run);
                    let facts = remote.facts().await;
                    face.host.close().await;
                    if facts.is_ok_and(|facts| facts.boot_id != before) {
                        return failed(Cause::WrongBoot(face.identity));
                    }
                }
                // Keys of who may log in may come later than sshd.
                Answer::Denied(Identity::Node, said) => denied = Some(said),
                Answer::Denied(..) | Answer::Silent(_) => {}
                Answer::Stranger => return Err(InstallError::Stranger),
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        match denied {
            Some(said) => Err(InstallError::at(Phase::Verify, Cause::NoLogin { said })),
            None => failed(Cause::NoAnswer(self.order.patience.boot.as_secs())),
        }
    }

    /// Looks at the node that has come back.
    pub(super) async fn verify(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<Installed, InstallError> {
        let failed = |cause| Err(InstallError::at(Phase::Verify, cause));
        if facts.current_system.as_ref() != Some(&self.order.system.toplevel) {
            let found = facts.current_system.as_ref().map(ToString::to_string);
            let found = found.unwrap_or_else(|| "something that is no NixOS".to_owned());
            return failed(Cause::OtherSystem { found });
        }
        let health = remote.ask(&["health"], &[]).await;
        let health = health.map_err(|error| InstallError::at(Phase::Verify, error))?;
        let units: Vec<_> = Reply::parse(&health.stdout).all("failed").map(str::to_owned).collect();
        if self.order.rules.strict_health && !units.is_empty() {
            return failed(Cause::Units(units));
        }
        let _ = remote.ask(&["forget"], &[]).await;
        self.memory.done = true;
        self.save()?;
        // Whoever has the key of an installer that is gone has nothing.
        let _ = std::fs::remove_file(self.client_key());
        Ok(self.installed(Phase::Verify, units))
    }
}
