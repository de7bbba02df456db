//! The steps of one host.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::end::JobError;
use super::{Job, Settings, Watch};
use crate::closure::closure_on;
use crate::{
    Goal, GuardError, GuardPhase, Happening, HostError, Last, NixLine, Outcome, PackageChange,
    Phase, Probe, RemoteCommand, SecretFiles, StorePath, abort, activate, package_changes, probe,
    resume,
};

/// Between two looks at a host that reboots.
const LOOK: Duration = Duration::from_millis(500);
/// Where hosts keep their own key.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Has a root for a path that need not be there yet. The guard takes it away when it has its own.
const KEEP: &str =
    "mkdir -p /nix/var/nix/gcroots/nixmox && ln -sfn \"$1\" /nix/var/nix/gcroots/nixmox/brought";

/// What a host answers to the first question.
pub(super) struct Answer {
    pub(super) probe: Probe,
    /// Whether the files of secrets that it is to have are there already.
    pub(super) has_secrets: bool,
    /// How an activation ended that another run had begun.
    pub(super) adopted: Option<Outcome>,
}

/// Asks a host what it runs, bringing to its end what another run began there.
pub(super) async fn ask(
    job: &Job,
    settings: &Settings,
    watch: &Watch,
) -> Result<Answer, GuardError> {
    let (probe, adopted) = ask_what_runs(job, settings, watch).await?;
    let has_secrets = match &job.request.secrets {
        Some(secrets) => has(job, secrets).await?,
        None => true,
    };
    Ok(Answer { probe, has_secrets, adopted })
}

/// Tells whether files on a host have the content that they should have, by their digests.
async fn has(job: &Job, secrets: &SecretFiles) -> Result<bool, GuardError> {
    let sealed = secrets.sealed.as_ref().map(|file| (file.path.as_str(), file.text.as_bytes()));
    let key = secrets.host_key.as_ref().map(|key| (HOST_KEY, key.expose().as_bytes()));
    for (path, bytes) in sealed.into_iter().chain(key) {
        let output = job.host.run(&RemoteCommand::new(["sha256sum", path])?).await?;
        let digest: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        if !output.success() || !output.stdout.starts_with(digest.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn ask_what_runs(
    job: &Job,
    settings: &Settings,
    watch: &Watch,
) -> Result<(Probe, Option<Outcome>), GuardError> {
    watch.events.send(job.host.node(), Happening::Phase(Phase::Probe));
    let found = probe(&job.host).await?;
    let begun = found.last.as_ref().filter(|last| settings.adopt && is_the_same(job, last));
    let Some(last) = begun else { return Ok((found, None)) };
    // Files of secrets may not be there yet. So what was not begun is begun anew.
    let adopted = if last.standing.phase == GuardPhase::Prepared {
        abort(&job.host, &last.transaction, &job.request, &watch.events).await
    } else {
        resume(&job.host, last, &job.request, &watch.events).await
    };
    // However that ended, the host is asked again what it runs.
    Ok((probe(&job.host).await?, adopted.ok()))
}

/// Tells whether an activation that is not over is for what this run is to do. Another one is left to who began it.
fn is_the_same(job: &Job, last: &Last) -> bool {
    let (wanted, goal) = (&job.request.toplevel, job.request.goal);
    let same = |order: &crate::Order| order.system == *wanted && order.goal == goal;
    !last.standing.phase.is_over() && last.order.as_ref().is_some_and(same)
}

/// Brings the closure to the host.
pub(super) async fn bring(job: &Job, settings: &Settings, watch: &Watch) -> Result<(), JobError> {
    let node = job.host.node();
    if job.there {
        return Ok(());
    }
    let lines = |line: NixLine| match line {
        NixLine::Text(text) => watch.events.send(node, Happening::Log(text)),
        NixLine::Progress { done, total } => {
            watch.events.send(node, Happening::Progress { done, total });
        }
    };
    keep(job).await.map_err(|error| JobError::Copy(error.into()))?;
    let derivation = job.system.derivation.as_ref().filter(|_| job.build_on_remote);
    let brought = match derivation {
        Some(derivation) => {
            watch.events.send(node, Happening::Phase(Phase::Build));
            settings.nix.build_on(&job.host, derivation, &lines).await
        }
        None => {
            watch.events.send(node, Happening::Phase(Phase::Copy));
            settings.nix.copy(&job.host, &job.system.toplevel, settings.substitute, &lines).await
        }
    };
    brought.map_err(JobError::Copy)
}

/// Keeps what a host is about to get from its garbage collections: it may be long until it is its turn to be activated.
async fn keep(job: &Job) -> Result<(), HostError> {
    let command = RemoteCommand::script(KEEP, [job.system.toplevel.as_str()])?;
    // Who may not do that may copy nevertheless.
    job.host.run(&command).await.map(|_| ())
}

/// Lists the closure of what a host runs, if it can tell.
pub(super) async fn closure(job: &Job, system: Option<&StorePath>) -> Option<BTreeSet<StorePath>> {
    closure_on(&job.host, system?).await.ok()
}

/// Returns what differs between what a host runs and what it is to run, if it can tell.
pub(super) async fn changes(job: &Job, before: &BTreeSet<StorePath>) -> Vec<PackageChange> {
    let after = closure(job, Some(&job.system.toplevel)).await;
    after.map(|after| package_changes(before, &after)).unwrap_or_default()
}

/// Activates, and reboots where that is asked.
pub(super) async fn go(job: &Job, settings: &Settings, watch: &Watch) -> Result<Outcome, JobError> {
    let before = match settings.reboot {
        Some(_) => probe(&job.host).await.map_err(JobError::Probe)?.boot_id,
        None => String::new(),
    };
    let outcome = activate(&job.host, &job.request, &watch.events).await?;
    let kept = matches!(outcome, Outcome::Activated { .. } | Outcome::WillBoot);
    let persistent = matches!(job.request.goal, Goal::Switch | Goal::Boot);
    match settings.reboot.filter(|_| kept && persistent) {
        Some(limit) => reboot(job, watch, limit, &before).await.map(|()| outcome),
        None => Ok(outcome),
    }
}

/// Reboots a host and waits until it runs its new system in another boot than the given one; it may do so already.
async fn reboot(job: &Job, watch: &Watch, limit: Duration, first: &str) -> Result<(), JobError> {
    let wanted = &job.system.toplevel;
    let before = probe(&job.host).await.map_err(JobError::Probe)?;
    if before.boot_id != first && before.current == *wanted {
        return Ok(());
    }
    watch.events.send(job.host.node(), Happening::Phase(Phase::Reboot));
    let command = RemoteCommand::new(["systemctl", "reboot"]).map_err(GuardError::from);
    // The connection may end before the answer does.
    let _ = job.host.run_fresh(&command.map_err(JobError::Probe)?).await;
    let end = Instant::now() + limit;
    while Instant::now() < end {
        sleep(LOOK).await;
        job.host.close().await;
        let Ok(now) = probe(&job.host).await else { continue };
        if now.boot_id != before.boot_id {
            let good = now.current == *wanted;
            return if good { Ok(()) } else { Err(JobError::Reboot { wanted: wanted.clone() }) };
        }
    }
    Err(JobError::Reboot { wanted: wanted.clone() })
}
