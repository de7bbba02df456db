//! From where an installation stands to where it ends, one phase after the other.

mod boot;
mod copy;
mod disks;
mod finish;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nixmox_deploy::{EventSink, Nix, SshOption, SshSettings, Target, UserName};
use nixmox_hostkey::HostPublicKey;
use rand_core::{OsRng, RngCore};
use tokio::sync::watch;

use crate::check::{self, Finding, Problem, grave};
use crate::error::Cause;
use crate::facts::Facts;
use crate::identity::{Answer, Face, somebody};
use crate::order::{Order, Via};
use crate::remote::{Remote, hex};
use crate::standing::{self, Next, Sight};
use crate::state::{Held, Memories, Memory};
use crate::{Disk, Identity, InstallError, Phase};

/// More steps than any installation has.
const MAX_STEPS: usize = 40;

/// What installations work with.
#[derive(Debug, Clone)]
pub struct Context {
    /// How Nix is run on this machine.
    pub nix: Nix,
    /// What goes into ssh's configuration besides the keys.
    pub ssh: SshSettings,
    /// Where installations are remembered.
    pub memories: Memories,
    /// A private directory in memory, for the keys that log in to installers.
    pub private: PathBuf,
    /// Where events go.
    pub events: EventSink,
    /// Turns true when somebody wants to stop.
    pub stop: watch::Receiver<bool>,
}

/// How an installation ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The last phase that was done.
    pub reached: Phase,
    /// Whether nobody had told the key of the machine by another way.
    pub unauthenticated: bool,
    /// Units that have failed.
    pub failed_units: Vec<String>,
    /// What was found and accepted.
    pub findings: Vec<Finding>,
}

/// What a machine is, before anything on it is changed.
#[derive(Debug, Clone)]
pub struct Survey {
    /// By which key it was recognised.
    pub who: Identity,
    /// What it says about itself.
    pub facts: Facts,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What comes next; nothing when it cannot be installed.
    pub next: Option<Phase>,
    /// The disks that would be erased, if they are to be.
    pub erased: Vec<Disk>,
    /// The token with which that is agreed to.
    pub token: Option<String>,
}

/// One installation under way.
pub(crate) struct Work<'a> {
    order: &'a Order,
    context: &'a Context,
    held: Option<Held>,
    memory: Memory,
    /// Whether the new store has to be looked at, because the machine was started anew meanwhile.
    doubtful: bool,
    findings: Vec<Finding>,
}

/// Installs a machine, or goes on with its installation wherever that stands.
///
/// # Errors
///
/// [`InstallError`] says which phase failed and why. What was begun stays as it is, to be gone on with.
pub async fn install(order: &Order, context: &Context) -> Result<Installed, InstallError> {
    let held = context.memories.hold(&order.node)?;
    let mut work = Work::new(order, context, held.read()?);
    work.held = Some(held);
    work.go_through().await
}

/// Asks a machine what it is, and changes nothing.
///
/// # Errors
///
/// Those of reaching it, as [`install`] has them.
pub async fn survey(order: &Order, context: &Context) -> Result<Survey, InstallError> {
    let remembered = context.memories.read(&order.node)?;
    Work::new(order, context, remembered).look().await
}

impl<'a> Work<'a> {
    pub(crate) fn new(order: &'a Order, context: &'a Context, remembered: Option<Memory>) -> Self {
        let toplevel = order.system.toplevel.as_str();
        let rules = &order.rules;
        let going_on = remembered.filter(|memory| !memory.done || rules.only_resume);
        let fresh = || Memory::new(new_run(), &order.node, toplevel);
        let mut memory = going_on.unwrap_or_else(fresh);
        toplevel.clone_into(&mut memory.toplevel);
        if let Some(key) = order.before.host_keys.first() {
            memory.before_key = Some(key.to_openssh(""));
            memory.unauthenticated = order.unauthenticated;
        }
        if order.rules.reformat {
            memory.formatted = false;
        }
        Self { order, context, held: None, memory, doubtful: false, findings: Vec::new() }
    }

    async fn go_through(&mut self) -> Result<Installed, InstallError> {
        self.findings.extend(self.system()?);
        for _ in 0..MAX_STEPS {
            self.begin(Phase::Connect)?;
            let faces = self.faces()?;
            let face = self.meet(&faces).await?;
            let run = self.memory.run.clone();
            let remote = Remote::new(&face.host, &run);
            let ended = self.stay(&remote, face.identity).await;
            face.host.close().await;
            if let Some(installed) = ended? {
                return Ok(installed);
            }
        }
        Err(InstallError::at(self.phase(), Cause::Stuck))
    }

    /// Does one step after the other as long as the same system answers.
    async fn stay(
        &mut self,
        remote: &Remote<'_>,
        who: Identity,
    ) -> Result<Option<Installed>, InstallError> {
        let mut checked = false;
        for _ in 0..MAX_STEPS {
            let facts = remote.facts().await.map_err(|e| InstallError::at(self.phase(), e))?;
            if self.order.rules.only_resume && !self.memory.formatted {
                standing::adopt(&mut self.memory, &facts, &self.order.node);
                if self.memory.run != *remote.run() {
                    return Ok(None);
                }
            }
            let next = self.next(who, &facts)?;
            if next.phase() > self.order.rules.until {
                return Ok(Some(self.installed(self.order.rules.until, Vec::new())));
            }
            if !checked && !matches!(next, Next::Verify | Next::WrongBoot) {
                self.check(&facts, next == Next::Boot)?;
                checked = true;
            }
            self.begin(next.phase())?;
            match next {
                Next::Boot => return self.boot(remote, &facts).await.map(|()| None),
                Next::Reboot => return self.reboot(remote, &facts).await.map(|()| None),
                Next::Verify => return self.verify(remote, &facts).await.map(Some),
                Next::WrongBoot => {
                    return Err(InstallError::at(Phase::Reboot, Cause::WrongBoot(who)));
                }
                Next::Format => self.format(remote, &facts).await?,
                Next::Mount => self.mount(remote, &facts).await?,
                Next::Mark => self.formatted(remote).await?,
                Next::Copy => self.copy(remote, &facts).await?,
                Next::Place => self.place(remote).await?,
                Next::Activate => self.activate(remote).await?,
                Next::Finish => self.finish(remote).await?,
            }
        }
        Err(InstallError::at(self.phase(), Cause::Stuck))
    }

    fn next(&self, who: Identity, facts: &Facts) -> Result<Next, InstallError> {
        let sight = Sight {
            who,
            facts,
            memory: &self.memory,
            node: &self.order.node,
            toplevel: &self.order.system.toplevel,
            via: self.order.via,
            rules: &self.order.rules,
        };
        standing::next(&sight).map_err(|dead| refused(vec![grave(Problem::from(dead))]))
    }

    async fn look(&mut self) -> Result<Survey, InstallError> {
        self.findings.extend(self.system()?);
        self.say(Phase::Connect);
        let faces = self.faces()?;
        let face = self.meet(&faces).await?;
        let run = self.memory.run.clone();
        let remote = Remote::new(&face.host, &run);
        let at = |error| InstallError::at(Phase::Connect, error);
        let facts = remote.facts().await.map_err(at)?;
        if self.order.rules.only_resume && !self.memory.formatted {
            standing::adopt(&mut self.memory, &facts, &self.order.node);
        }
        let mut findings = std::mem::take(&mut self.findings);
        let next = match self.next(face.identity, &facts) {
            Ok(next) => Some(next),
            Err(InstallError::Refused { findings: dead }) => {
                findings.extend(dead);
                None
            }
            Err(error) => return Err(error),
        };
        let mut survey = Survey {
            who: face.identity,
            facts: facts.clone(),
            findings,
            next: next.map(Next::phase),
            erased: Vec::new(),
            token: None,
        };
        if let Some(next) = next {
            let boots = next == Next::Boot;
            survey.findings.extend(check::machine(self.order, &facts, boots, now()));
            if matches!(next, Next::Boot | Next::Format) && facts.has("lsblk") {
                self.look_at_disks(&remote, boots, &mut survey).await?;
            }
        }
        face.host.close().await;
        Ok(survey)
    }

    async fn look_at_disks(
        &self,
        remote: &Remote<'_>,
        boots: bool,
        survey: &mut Survey,
    ) -> Result<(), InstallError> {
        let devices = &self.order.disks.devices;
        let disks = remote.disks(devices).await.map_err(|e| InstallError::at(Phase::Connect, e))?;
        match disks.erased(devices) {
            Err(missing) => survey.findings.push(grave(Problem::NoDisk(missing.device))),
            Ok(erased) => {
                survey.findings.extend(check::disks(&erased, boots));
                survey.token = Some(crate::token(&self.order.node, &erased));
                survey.erased = erased.into_iter().cloned().collect();
            }
        }
        Ok(())
    }

    fn system(&self) -> Result<Vec<Finding>, InstallError> {
        let found = check::system(&self.order.system.toplevel);
        if found.iter().any(|finding| finding.grave) { Err(refused(found)) } else { Ok(found) }
    }

    fn check(&mut self, facts: &Facts, boots: bool) -> Result<(), InstallError> {
        let found = check::machine(self.order, facts, boots, now());
        if found.iter().any(|finding| finding.grave) {
            return Err(refused(found.into_iter().filter(|finding| finding.grave).collect()));
        }
        for finding in found {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        Ok(())
    }

    /// Returns the machine as it can be reached by each key that is known.
    pub(crate) fn faces(&self) -> Result<Vec<Face>, InstallError> {
        let (order, ssh) = (self.order, &self.context.ssh);
        let mut faces = Vec::new();
        // Without a key of its own, ssh would look for one elsewhere.
        if !order.after.host_keys.is_empty() {
            faces.push(Face::new(Identity::Node, &order.after, ssh)?);
        }
        if let Some(target) = self.installer() {
            faces.push(Face::new(Identity::Installer, &target, ssh)?);
        }
        if let Some(key) = self.before_key() {
            let target = Target { host_keys: vec![key], ..order.before.clone() };
            faces.push(Face::new(Identity::Before, &target, ssh)?);
        }
        Ok(faces)
    }

    fn before_key(&self) -> Option<HostPublicKey> {
        HostPublicKey::parse(self.memory.before_key.as_deref()?).ok()
    }

    /// Returns how the installer of this run is reached, if there is one and its key is still here.
    fn installer(&self) -> Option<Target> {
        let key = HostPublicKey::parse(self.memory.installer_key.as_deref()?).ok()?;
        let client = self.client_key();
        if !client.is_file() {
            return None;
        }
        let mut target = self.order.installer.clone();
        let given = |option: &SshOption| {
            !["user", "identityfile"].contains(&option.name().to_ascii_lowercase().as_str())
        };
        target.ssh_options.retain(given);
        for (name, value) in [("IdentityFile", client.to_str()?), ("IdentitiesOnly", "yes")] {
            target.ssh_options.push(SshOption::parse(name, value).ok()?);
        }
        target.user = UserName::parse("root").ok();
        target.use_remote_sudo = false;
        target.host_keys = vec![key];
        Some(target)
    }

    pub(crate) fn client_key(&self) -> PathBuf {
        self.context.private.join(format!("{}-{}", self.order.node, self.memory.run))
    }

    /// Waits for whoever answers, and lets in nobody who is not known.
    async fn meet<'f>(&self, faces: &'f [Face]) -> Result<&'f Face, InstallError> {
        let known = self.before_key().is_some();
        match somebody(faces, self.order.patience.connect).await {
            Answer::Known(face) => Ok(face),
            Answer::Denied(identity, _) => Err(InstallError::Denied(identity)),
            Answer::Stranger if !known => Err(InstallError::Unauthenticated),
            Answer::Stranger => Err(InstallError::Stranger),
            Answer::Silent(Some(error)) => Err(InstallError::Unreachable(error)),
            Answer::Silent(None) => Err(InstallError::Silent),
        }
    }

    /// A phase begins, unless somebody wants to stop.
    fn begin(&mut self, phase: Phase) -> Result<(), InstallError> {
        self.go_on()?;
        if phase != Phase::Connect || self.memory.phase == "plan" {
            phase.word().clone_into(&mut self.memory.phase);
            self.save()?;
        }
        self.say(phase);
        Ok(())
    }

    /// Stops when somebody wants to.
    fn go_on(&self) -> Result<(), InstallError> {
        if *self.context.stop.borrow() { Err(InstallError::Interrupted) } else { Ok(()) }
    }

    fn say(&self, phase: Phase) {
        self.context.events.send(&self.order.node, phase.begins());
    }

    fn phase(&self) -> Phase {
        Phase::parse(&self.memory.phase).unwrap_or(Phase::Connect)
    }

    fn save(&self) -> Result<(), InstallError> {
        self.held.as_ref().map_or(Ok(()), |held| held.write(&self.memory))
    }

    fn installed(&self, reached: Phase, failed_units: Vec<String>) -> Installed {
        Installed {
            reached,
            unauthenticated: self.memory.unauthenticated,
            failed_units,
            findings: self.findings.clone(),
        }
    }

    /// Tells whether store paths travel as archives, because the machine has no Nix.
    fn by_archive(&self, facts: &Facts) -> bool {
        !facts.has("nix-store") && matches!(self.order.via, Via::Rescue | Via::Auto)
    }
}

fn refused(findings: Vec<Finding>) -> InstallError {
    InstallError::Refused { findings }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Makes the name of a run: the time, and something random.
fn new_run() -> String {
    let mut random = [0; 4];
    OsRng.fill_bytes(&mut random);
    format!("{}-{}", now(), hex(&random))
}
