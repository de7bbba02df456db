//! Looking at a machine without changing anything.

use super::boot::checked;
use super::{Context, Work, now};
use crate::check;
use crate::facts::Facts;
use crate::order::Order;
use crate::problem::{Finding, Problem, grave};
use crate::remote::Remote;
use crate::standing::{self, Next};
use crate::{Disk, Identity, InstallError, Phase};

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

/// Asks a machine what it is, and changes nothing.
///
/// # Errors
///
/// Those of reaching it, as [`install`](crate::install) has them.
pub async fn survey(order: &Order, context: &Context) -> Result<Survey, InstallError> {
    let remembered = context.memories.read(&order.node)?;
    Work::new(order, context, remembered).look().await
}

impl Work<'_> {
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
        let next = match self.next(face.identity, &facts).and_then(|next| self.back(next)) {
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
            let image = self.order.image.as_ref().filter(|_| boots);
            let wrong = image.and_then(|image| checked(image).err());
            survey.findings.extend(wrong.map(grave));
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
                survey.findings.extend(check::room(&erased, self.closure_bytes().await));
                survey.token = Some(crate::token(&self.order.node, &erased));
                survey.erased = erased.into_iter().cloned().collect();
            }
        }
        Ok(())
    }
}
