//! Disks: agreed to, erased, formatted, mounted, and marked.

use nixmox_deploy::StorePath;
use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};

use super::{Work, refused};
use crate::check;
use crate::error::Cause;
use crate::facts::{Facts, JobState};
use crate::marker::{Marker, Reached};
use crate::problem::{Problem, grave};
use crate::remote::{Job, Remote, hex};
use crate::standing::FORMAT;
use crate::{InstallError, Phase, token};

impl Work<'_> {
    /// Erases and formats the disks that were agreed to, or waits for that to end.
    pub(super) async fn format(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<(), InstallError> {
        let goes_on = facts.job(&self.memory.run, FORMAT) == Some(JobState::Running);
        if !goes_on {
            self.agreed(remote, false).await?;
            for (path, secret) in &self.order.disk_secrets {
                give(remote, path, secret).await?;
            }
            self.script(remote, facts, &self.order.disks.format.toplevel).await?;
        }
        let script = self.order.disks.format.toplevel.as_str();
        let job = Job {
            name: FORMAT,
            words: vec!["format", script],
            patience: self.order.patience.disks,
        };
        self.job(remote, &job, Phase::Disks).await?;
        self.formatted(remote).await
    }

    /// Refuses to go on unless exactly these disks were agreed to.
    pub(super) async fn agreed(
        &mut self,
        remote: &Remote<'_>,
        boots: bool,
    ) -> Result<(), InstallError> {
        let devices = &self.order.disks.devices;
        let disks = remote.disks(devices).await.map_err(|e| InstallError::at(Phase::Disks, e))?;
        let erased = disks
            .erased(devices)
            .map_err(|missing| refused(vec![grave(Problem::NoDisk(missing.device))]))?;
        let mut found = check::disks(&erased, boots);
        found.extend(check::room(&erased, self.closure_bytes().await));
        found.retain(|finding| finding.grave);
        if !found.is_empty() {
            return Err(refused(found));
        }
        let token = token(&self.order.node, &erased);
        let agreed = self.order.consent.as_ref().or(self.memory.consent.as_ref());
        let blank = self.order.rules.blank_disks && erased.iter().all(|disk| disk.blank);
        if agreed != Some(&token) && !blank {
            let disks = erased
                .iter()
                .map(|disk| format!("{} ({})", disk.path, disk.lasting_name()))
                .collect();
            let other = agreed.is_some();
            return Err(InstallError::Consent { token, disks, other });
        }
        self.memory.consent = Some(token);
        self.save()
    }

    /// How many bytes the system has; nothing when this machine does not have it.
    pub(super) async fn closure_bytes(&self) -> u64 {
        let size = self.context.nix.closure_size(&self.order.system.toplevel).await;
        size.unwrap_or_default()
    }

    /// The disks are formatted: this machine remembers it, and the disks say so.
    pub(super) async fn formatted(&mut self, remote: &Remote<'_>) -> Result<(), InstallError> {
        self.memory.formatted = true;
        self.save()?;
        self.mark(remote, Reached::Formatted, Phase::Disks).await
    }

    /// Mounts what was formatted before the machine was started anew.
    pub(super) async fn mount(
        &mut self,
        remote: &Remote<'_>,
        facts: &Facts,
    ) -> Result<(), InstallError> {
        self.doubtful = true;
        for (path, secret) in &self.order.disk_secrets {
            give(remote, path, secret).await?;
        }
        let Some(mount) = &self.order.disks.mount else {
            let missing = "a script that mounts the disks as they are".to_owned();
            return Err(InstallError::at(Phase::Disks, Cause::Missing(vec![missing])));
        };
        self.script(remote, facts, &mount.toplevel).await?;
        let job = Job {
            name: "mount",
            words: vec!["mount", mount.toplevel.as_str()],
            patience: self.order.patience.disks,
        };
        self.job(remote, &job, Phase::Disks).await
    }

    /// Brings a script and what it needs to where it runs.
    async fn script(
        &self,
        remote: &Remote<'_>,
        facts: &Facts,
        script: &StorePath,
    ) -> Result<(), InstallError> {
        if self.by_archive(facts) {
            return self.archive(remote, script, "/", Phase::Disks).await;
        }
        let copied = self.context.nix.copy(remote.host(), script, false, &|_| ()).await;
        copied.map_err(|error| InstallError::at(Phase::Disks, error))
    }

    pub(super) async fn mark(
        &self,
        remote: &Remote<'_>,
        reached: Reached,
        phase: Phase,
    ) -> Result<(), InstallError> {
        let marker = Marker {
            run: self.memory.run.clone(),
            node: self.order.node.clone(),
            toplevel: self.order.system.toplevel.clone(),
            reached,
        };
        remote.mark(&marker).await.map_err(|error| InstallError::at(phase, error))
    }

    pub(super) async fn job(
        &self,
        remote: &Remote<'_>,
        job: &Job<'_>,
        phase: Phase,
    ) -> Result<(), InstallError> {
        let ended = remote.job(job, &self.context.events).await;
        let ended = ended.map_err(|error| InstallError::at(phase, error))?;
        ended.map_err(|failed| InstallError::at(phase, Cause::Job(failed)))
    }
}

/// Puts a secret where the scripts of the disks look for it, in memory.
async fn give(remote: &Remote<'_>, path: &str, secret: &SecretString) -> Result<(), InstallError> {
    let digest = hex(&Sha256::digest(secret.expose()));
    let sent = remote.send_secret(&["memory-file", path, &digest], secret.clone()).await;
    sent.map(drop).map_err(|error| InstallError::at(Phase::Disks, error))
}

impl From<crate::remote::JobFailed> for Cause {
    fn from(failed: crate::remote::JobFailed) -> Self {
        Self::Job(failed)
    }
}
