//! From whatever phase an activation is in to its end.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ActivationError;
use super::confirm::{Verdict, confirm};
use crate::event::{EventSink, Happening, Phase as Shown};
use crate::guard::{Guard, GuardError, Line, Phase, Standing, Transaction};
use crate::text::{last_lines, printable};
use crate::{Goal, Host, HostError, Outcome, Request, RollbackReason, StorePath};

/// How long a reboot of a host may take, on top of everything else.
const REBOOT: Duration = Duration::from_secs(120);
/// Between two tries to reach a host that was lost.
const RETRY: Duration = Duration::from_millis(700);
/// How much of a log is passed on; a host keeps less of each step, if it does what it promises.
const LOG: u64 = 8 << 20;
/// How much of its end is kept here for reports.
const END: usize = 64 << 10;
/// How many of its lines are reported.
const LINES: usize = 50;

/// One activation, as this machine sees it.
pub(super) struct Drive<'a> {
    pub(super) guard: Guard<'a>,
    pub(super) host: &'a Host,
    pub(super) request: &'a Request,
    pub(super) events: &'a EventSink,
    pub(super) nonce: String,
    /// Whether somebody else decides.
    pub(super) looks_on: bool,
    transaction: &'a Transaction,
    /// The end of the log.
    log: Vec<u8>,
    /// How much of the log was read, also what is not kept.
    offset: u64,
    /// How much of what is kept was sent as events.
    shown: usize,
    failed_check: Option<String>,
    failed_units: Vec<String>,
    /// The phase that was shown last.
    seen: Option<Shown>,
    /// Whether the host is rebooting into the new system.
    tries: bool,
    /// Whether it has ever begun to.
    tried: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        host: &'a Host,
        transaction: &'a Transaction,
        request: &'a Request,
        events: &'a EventSink,
    ) -> Self {
        Self {
            guard: Guard::new(host, transaction),
            host,
            request,
            events,
            nonce: String::new(),
            looks_on: false,
            transaction,
            log: Vec::new(),
            offset: 0,
            shown: 0,
            failed_check: None,
            failed_units: Vec::new(),
            seen: None,
            tries: false,
            tried: false,
        }
    }

    /// Does what each phase asks for, until nothing more happens.
    pub(super) async fn finish(
        &mut self,
        mut standing: Standing,
        from: &StorePath,
        begun: Instant,
    ) -> Result<Outcome, ActivationError> {
        let mut deadline = Instant::now() + self.longest(standing.phase);
        loop {
            let trying = standing.phase == Phase::Trying;
            if trying != self.tries {
                (self.tries, self.tried) = (trying, true);
                deadline = Instant::now() + self.longest(standing.phase);
            }
            let Some(step) = self.next(&standing).await else { break };
            self.show(&standing, &step);
            standing = self.again(deadline, &standing, step).await?;
        }
        self.catch_up(&standing).await;
        self.outcome(&standing, from, begun)
    }

    /// Says what a phase asks for.
    async fn next(&mut self, standing: &Standing) -> Option<Step> {
        if standing.was_interrupted() {
            return Some(Step::Recover);
        }
        Some(match standing.phase {
            phase if phase.is_over() => return None,
            _ if self.looks_on => Step::Follow,
            Phase::Prepared if self.request.goal == Goal::Boot => Step::Commit,
            Phase::Prepared => Step::Start,
            Phase::Awaiting => self.judge().await,
            _ => Step::Follow,
        })
    }

    /// The longest that everything from a phase on can take when the host does what it promises.
    fn longest(&self, phase: Phase) -> Duration {
        let patience = &self.request.patience;
        if phase == Phase::Trying {
            return patience.trial.unwrap_or(REBOOT);
        }
        let forth = patience.activation + patience.confirmation + patience.commit;
        forth + patience.rollback * 2 + REBOOT * 2
    }

    async fn judge(&mut self) -> Step {
        self.events.send(self.host.node(), Happening::Phase(Shown::Confirm));
        match confirm(self).await {
            Verdict::Good { failed_units } => {
                self.failed_units = failed_units;
                Step::Commit
            }
            Verdict::Unhealthy { check } => {
                self.failed_check = Some(check);
                Step::Abort
            }
            // The host's own timer decides.
            Verdict::Unconfirmed => Step::Follow,
        }
    }

    /// Takes a step and asks where that led, until there is an answer. A lost connection is no failure: everything
    /// runs on the host, and each step may be asked for twice.
    async fn again(
        &mut self,
        deadline: Instant,
        last: &Standing,
        step: Step,
    ) -> Result<Standing, ActivationError> {
        let mut line = Line::Shared;
        loop {
            let error = match self.take(&step, line).await {
                Ok(standing) => return Ok(standing),
                // It is in another phase by now; asking tells which.
                Err(GuardError::Refused(_)) => match self.guard.status(Line::Fresh).await {
                    Ok(standing) if standing.phase == last.phase => {
                        GuardError::Malformed { what: "progress" }
                    }
                    Ok(standing) => return Ok(standing),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() >= deadline || !may_pass(&error) {
                return Err(ActivationError::Lost {
                    transaction: self.transaction.clone(),
                    phase: last.phase,
                    source: Box::new(error),
                });
            }
            if line == Line::Shared {
                self.events.send(self.host.node(), Happening::ConnectionLost);
            }
            line = Line::Fresh;
            sleep(RETRY).await;
            // The host may have come back as another boot, where the script is not there any more.
            if let Ok(standing) = self.guard.recover().await {
                return Ok(standing);
            }
        }
    }

    async fn take(&mut self, step: &Step, line: Line) -> Result<Standing, GuardError> {
        match step {
            Step::Start => self.guard.start().await?,
            Step::Commit => self.guard.commit().await?,
            Step::Abort => self.guard.abort(&self.abort_reason()).await?,
            Step::Recover => return self.guard.recover().await,
            Step::Follow => {}
        }
        self.follow(line).await
    }

    async fn follow(&mut self, line: Line) -> Result<Standing, GuardError> {
        let followed = self.guard.follow(line, self.offset).await?;
        self.read_log(&followed.log);
        Ok(followed.standing)
    }

    fn read_log(&mut self, news: &[u8]) {
        let before = self.offset;
        self.offset = before.saturating_add(u64::try_from(news.len()).unwrap_or(u64::MAX));
        self.log.extend(news);
        while let Some(line) = self.log.get(self.shown..).and_then(first_line) {
            self.shown += line.len() + 1;
            let text = printable(line);
            if before < LOG {
                self.events.send(self.host.node(), Happening::Log(text));
            }
        }
        // Lines that were passed on are kept for reports, the last of them.
        let old = self.log.len().saturating_sub(END);
        self.log.drain(..old);
        self.shown = self.shown.saturating_sub(old);
    }

    /// Reads the end of the log, when the host still answers.
    async fn catch_up(&mut self, standing: &Standing) {
        if standing.phase == Phase::None {
            return;
        }
        let mut line = Line::Shared;
        loop {
            let before = self.offset;
            match self.follow(line).await {
                Ok(_) if self.offset == before => break,
                Ok(_) => {}
                Err(_) if line == Line::Shared => line = Line::Fresh,
                Err(_) => break,
            }
        }
    }

    pub(super) async fn status(&self) -> Result<Standing, GuardError> {
        self.guard.status(Line::Shared).await
    }

    fn abort_reason(&self) -> String {
        let plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let check: String =
            self.failed_check.iter().flat_map(|c| c.chars()).filter(plain).collect();
        format!("unhealthy:{check}")
    }

    fn show(&mut self, standing: &Standing, step: &Step) {
        let shown = match (standing.phase, step) {
            (_, Step::Recover) => return,
            (Phase::RollingBack, _) | (_, Step::Abort) => Shown::RollBack,
            (Phase::Trying, _) => Shown::Reboot,
            (_, Step::Commit) => Shown::Commit,
            // Whoever looks on sees phases when they have begun.
            (Phase::Prepared, _) if self.looks_on => Shown::Prepare,
            (Phase::Prepared, _) => Shown::Activate,
            (Phase::Activating, _) if self.looks_on => Shown::Activate,
            (Phase::Awaiting, _) if self.looks_on => Shown::Confirm,
            (Phase::Committing, _) if self.looks_on => Shown::Commit,
            _ => return,
        };
        if self.seen.replace(shown) != Some(shown) {
            self.events.send(self.host.node(), Happening::Phase(shown));
        }
    }

    fn outcome(
        &mut self,
        standing: &Standing,
        from: &StorePath,
        begun: Instant,
    ) -> Result<Outcome, ActivationError> {
        match standing.phase {
            Phase::Committed if self.request.goal == Goal::Boot && !self.tried => {
                Ok(Outcome::WillBoot)
            }
            Phase::Committed => Ok(Outcome::Activated {
                from: from.clone(),
                took: begun.elapsed(),
                failed_units: std::mem::take(&mut self.failed_units),
            }),
            Phase::RolledBack => Ok(Outcome::RolledBack {
                why: self.reason(standing),
                log: last_lines(&self.log, LINES),
            }),
            Phase::RollbackFailed => Err(ActivationError::RollbackFailed {
                transaction: self.transaction.clone(),
                log: last_lines(&self.log, LINES),
            }),
            phase => Err(ActivationError::Lost {
                transaction: self.transaction.clone(),
                phase,
                source: Box::new(GuardError::Malformed { what: "transaction" }),
            }),
        }
    }

    fn reason(&self, standing: &Standing) -> RollbackReason {
        match standing.reason.as_str() {
            "activation" => match standing.status.parse() {
                Ok(status) => RollbackReason::ActivationFailed { status },
                Err(_) => RollbackReason::ActivationKilled,
            },
            "not-confirmed" => RollbackReason::NotConfirmed,
            "commit" => RollbackReason::CommitFailed,
            "rebooted" => RollbackReason::Rebooted,
            "not-booted" => RollbackReason::NotBooted,
            other => match other.strip_prefix("unhealthy:") {
                Some(check) => RollbackReason::Unhealthy {
                    check: self.failed_check.clone().unwrap_or_else(|| check.to_owned()),
                },
                None => RollbackReason::Asked,
            },
        }
    }
}

/// What is asked of the host next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    Follow,
    Commit,
    Abort,
    Recover,
}

/// A login that is refused passes as well, and so does another key: the new system may have them, and the old one not.
fn may_pass(error: &GuardError) -> bool {
    match error {
        GuardError::Host(HostError::HostKey { .. }) => true,
        GuardError::Host(error) => error.may_pass(),
        GuardError::Failed { .. } | GuardError::Malformed { .. } => true,
        GuardError::Refused(_) => false,
    }
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    bytes.get(..end)
}

/// What a host was doing, in the words of an error.
pub(super) fn lasts(phase: Phase) -> &'static str {
    match phase {
        Phase::Prepared => "it was prepared",
        Phase::Activating => "the new system was activated",
        Phase::Awaiting => "the new system ran, not yet confirmed",
        Phase::Trying => "it rebooted into the new system, which its loader boots once",
        Phase::Committing => "the new system was made the one that boots",
        Phase::RollingBack => "it went back",
        _ => "nothing was under way",
    }
}
