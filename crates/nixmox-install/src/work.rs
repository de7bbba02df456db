//! From where an installation stands to where it ends, one phase after the other.

mod boot;
mod copy;
mod disks;
mod faces;
mod finish;
mod look;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nixmox_deploy::{EventSink, Happening, Nix, SshSettings};
use rand_core::{OsRng, RngCore};
use tokio::sync::watch;

use crate::check;
use crate::error::Cause;
use crate::facts::Facts;
use crate::order::{Order, Via};
use crate::problem::{Finding, Problem, grave};
use crate::remote::{Remote, hex};
use crate::standing::{self, Next, Sight};
use crate::state::{Held, Memories, Memory};
use crate::{Identity, InstallError, Phase};

pub use look::{Survey, survey};

/// More steps than any installation has.
const MAX_STEPS: usize = 40;
/// How often a machine is met again after its connection was lost, outside of jobs, which wait longer.
const LOST: usize = 5;

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

/// One installation under way.
pub(crate) struct Work<'a> {
    order: &'a Order,
    context: &'a Context,
    held: Option<Held>,
    memory: Memory,
    /// Whether the new store has to be looked at, because the machine was started anew meanwhile.
    doubtful: bool,
    /// Whether this machine remembers the installation.
    begun: bool,
    /// Whether an installation that is done is remembered, which a machine that is refused leaves so.
    keeps: bool,
    /// The phase that is begun with again.
    from: Option<Phase>,
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

impl<'a> Work<'a> {
    pub(crate) fn new(order: &'a Order, context: &'a Context, remembered: Option<Memory>) -> Self {
        let toplevel = order.system.toplevel.as_str();
        let rules = &order.rules;
        let keeps = remembered.as_ref().is_some_and(|memory| memory.done);
        let going_on = remembered.filter(|memory| !memory.done || rules.only_resume);
        let begun = going_on.is_some();
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
        let (from, findings) = (rules.from, Vec::new());
        let (held, doubtful) = (None, false);
        Self { order, context, held, memory, doubtful, begun, keeps, from, findings }
    }

    async fn go_through(&mut self) -> Result<Installed, InstallError> {
        self.findings.extend(self.system()?);
        let mut lost = 0;
        for _ in 0..MAX_STEPS {
            self.begin(Phase::Connect)?;
            let faces = self.faces()?;
            let face = self.meet(&faces).await?;
            let run = self.memory.run.clone();
            let remote = Remote::new(&face.host, &run);
            let ended = self.stay(&remote, face.identity).await;
            face.host.close().await;
            match ended {
                // Where it stands is asked of the machine anyway.
                Err(error) if error.is_lost() && lost < LOST => {
                    lost += 1;
                    self.context.events.send(&self.order.node, Happening::ConnectionLost);
                }
                Err(error) => return Err(error),
                Ok(Some(installed)) => return Ok(installed),
                Ok(None) => {}
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
            let mut next = self.next(who, &facts).and_then(|next| self.back(next))?;
            if self.doubtful && matches!(next, Next::Place | Next::Activate | Next::Finish) {
                // What was copied before a power cut may not have come to the disk whole.
                next = Next::Copy;
            }
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
            begun: self.begun,
        };
        standing::next(&sight).map_err(|dead| refused(vec![grave(Problem::from(dead))]))
    }

    /// Goes back to the phase that somebody wants to begin with again, once.
    fn back(&mut self, next: Next) -> Result<Next, InstallError> {
        let Some(from) = self.from else { return Ok(next) };
        let again = standing::back(next, from);
        let again = again.map_err(|dead| refused(vec![grave(Problem::from(dead))]))?;
        if again.is_some() {
            self.from = None;
        }
        Ok(again.unwrap_or(next))
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

    /// A phase begins, unless somebody wants to stop.
    fn begin(&mut self, phase: Phase) -> Result<(), InstallError> {
        self.go_on()?;
        self.keeps &= phase == Phase::Connect;
        if phase != Phase::Connect || (self.memory.phase == "plan" && !self.keeps) {
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
