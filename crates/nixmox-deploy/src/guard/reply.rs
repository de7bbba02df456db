//! What the part on the host answers. All of it is hostile until it is parsed.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use super::{GuardError, Transaction};
use crate::text::printable;
use crate::{Goal, StorePath};

/// Lines of `name=value`.
#[derive(Debug)]
pub(super) struct Reply(BTreeMap<String, String>);

impl Reply {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|byte| *byte == b'\n').map(printable);
        let fields = lines.filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Self(fields.collect())
    }

    /// Returns a value that is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, GuardError> {
        let value = self.text(name).and_then(|value| value.parse().ok());
        value.ok_or(GuardError::Malformed { what: name })
    }

    fn path(&self, name: &'static str) -> Result<StorePath, GuardError> {
        let value = self.text(name).and_then(|value| StorePath::parse(value).ok());
        value.ok_or(GuardError::Malformed { what: name })
    }

    fn own(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        let detail = self.own("detail");
        Some(match self.text("error")? {
            "locked" => Refusal::Locked {
                deployer: detail,
                transaction: self.own("holder"),
                phase: self.own("phase"),
            },
            "unexpected" => Refusal::Unexpected { current: detail },
            "missing" => Refusal::Missing { path: detail },
            "no-old" => Refusal::NotNixos { current: detail },
            "no-space" => Refusal::NoSpace { path: detail },
            "no-tool" => Refusal::NoTool { tool: detail },
            "boot" => Refusal::NothingBoots { said: detail },
            "checks" => Refusal::Checks { said: detail },
            "phase" => Refusal::Phase { phase: detail },
            "early" => Refusal::Early,
            "unconfirmed" => Refusal::Unconfirmed,
            "busy" => Refusal::Busy,
            code => Refusal::Other { code: code.to_owned(), detail },
        })
    }
}

/// What a host runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// The system that runs.
    pub current: StorePath,
    /// The system that it booted, where it says so.
    pub booted: Option<StorePath>,
    /// The system that its profile names.
    pub profile: Option<StorePath>,
    /// The generation's number.
    pub generation: Option<u64>,
    /// Which boot this is.
    pub boot_id: String,
    /// Seconds since then.
    pub uptime: u64,
    /// The system that was committed here last, if any was.
    pub deployed: Option<StorePath>,
    /// The revision of the repository that it came from.
    pub deployed_revision: Option<String>,
    /// The last activation by nixmox, and where it stands.
    pub last: Option<Last>,
}

/// The last activation by nixmox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Last {
    /// Its number.
    pub transaction: Transaction,
    /// Where it stands.
    pub standing: Standing,
    /// What it is for, as long as it is not over.
    pub order: Option<Order>,
}

/// What an activation is for that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// The system.
    pub system: StorePath,
    /// What is to be done with it.
    pub goal: Goal,
    /// Who began it, as they called themselves; empty when they did not.
    pub deployer: String,
    /// What ran before.
    pub before: Option<StorePath>,
}

impl Order {
    fn read(reply: &Reply) -> Option<Self> {
        Some(Self {
            system: reply.path("asked.toplevel").ok()?,
            goal: Goal::parse(reply.text("asked.goal")?)?,
            deployer: reply.own("asked.deployer"),
            before: reply.path("before").ok(),
        })
    }
}

impl Probe {
    pub(super) fn read(reply: &Reply) -> Result<Self, GuardError> {
        let last = match reply.text("last") {
            None => None,
            Some(text) => Some(Last {
                transaction: Transaction::parse(text)?,
                standing: Standing::read(reply)?,
                order: Order::read(reply),
            }),
        };
        let generation = reply
            .text("profile")
            .and_then(|link| link.strip_suffix("-link")?.rsplit_once('-')?.1.parse().ok());
        Ok(Self {
            current: reply.path("current")?,
            booted: reply.path("booted").ok(),
            profile: reply.path("profile_system").ok(),
            generation,
            boot_id: reply.own("boot"),
            uptime: reply.number("uptime")?,
            deployed: reply.path("deployed").ok(),
            deployed_revision: reply.text("deployed_revision").map(str::to_owned),
            last,
        })
    }

    /// Tells whether the host runs this system and boots it as well, as far as its profile tells.
    pub fn is_settled_on(&self, toplevel: &StorePath) -> bool {
        let over = self.last.as_ref().is_none_or(|last| last.standing.phase.is_over());
        self.current == *toplevel && self.profile.as_ref() == Some(toplevel) && over
    }
}

/// Where an activation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What is done or was done last.
    pub phase: Phase,
    /// Why it goes back or went back, in the words of the part on the host.
    pub reason: String,
    /// How the new system's activation ended: a number, `timeout`, or a signal's name.
    pub status: String,
    /// What runs.
    pub current: Option<StorePath>,
    pub(crate) boot: String,
    pub(crate) state_boot: String,
    pub(crate) nonce: String,
}

impl Standing {
    pub(super) fn read(reply: &Reply) -> Result<Self, GuardError> {
        let phase = reply.text("phase").and_then(Phase::parse);
        Ok(Self {
            phase: phase.ok_or(GuardError::Malformed { what: "phase" })?,
            reason: reply.own("state.reason"),
            status: reply.own("state.status"),
            current: reply.path("current").ok(),
            boot: reply.own("boot"),
            state_boot: reply.own("state.boot"),
            nonce: reply.own("nonce"),
        })
    }

    /// Tells whether a reboot came in between.
    pub(crate) fn was_interrupted(&self) -> bool {
        !self.phase.is_over() && !self.boot.is_empty() && self.boot != self.state_boot
    }
}

/// The phases of an activation on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// There is no such activation.
    None,
    /// The snapshot was taken.
    Prepared,
    /// The new system is activated.
    Activating,
    /// The new system runs and waits for confirmations.
    Awaiting,
    /// It becomes the one that boots.
    Committing,
    /// It reboots into the new system, which its loader boots once.
    Trying,
    /// It is the one that boots.
    Committed,
    /// The old system is activated.
    RollingBack,
    /// The old system runs.
    RolledBack,
    /// The host does not know what it runs.
    RollbackFailed,
}

impl Phase {
    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::None,
            Self::Prepared,
            Self::Activating,
            Self::Awaiting,
            Self::Committing,
            Self::Trying,
            Self::Committed,
            Self::RollingBack,
            Self::RolledBack,
            Self::RollbackFailed,
        ];
        all.into_iter().find(|phase| phase.word() == text)
    }

    /// Returns its name, as the part on the host has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Prepared => "prepared",
            Self::Activating => "activating",
            Self::Awaiting => "awaiting",
            Self::Committing => "committing",
            Self::Trying => "trying",
            Self::Committed => "committed",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::RollbackFailed => "rollback-failed",
        }
    }

    /// Tells whether nothing more happens.
    pub fn is_over(self) -> bool {
        matches!(self, Self::None | Self::Committed | Self::RolledBack | Self::RollbackFailed)
    }
}

/// News of an activation.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) standing: Standing,
    /// What was logged from the offset on.
    pub(crate) log: Vec<u8>,
}

impl Followed {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, GuardError> {
        const MARK: &[u8] = b"\nlog=\n";
        let at = bytes.windows(MARK.len()).position(|window| window == MARK);
        let at = at.ok_or(GuardError::Malformed { what: "log" })?;
        let (head, tail) = bytes.split_at(at);
        let standing = Standing::read(&Reply::parse(head))?;
        Ok(Self { standing, log: tail.get(MARK.len()..).unwrap_or_default().to_vec() })
    }
}

/// Why the part on the host will not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another deployment has the host.
    #[error("the host is being deployed by {deployer} ({transaction}, {phase})")]
    Locked {
        /// By whom, as they called themselves.
        deployer: String,
        /// Which activation.
        transaction: String,
        /// Where it stands.
        phase: String,
    },
    /// The host runs another system than it should before anything is done.
    #[error("the host now runs {current}")]
    Unexpected {
        /// What it runs.
        current: String,
    },
    /// The new system is not on the host.
    #[error("{path} is not on the host, or cannot be activated there")]
    Missing {
        /// The path.
        path: String,
    },
    /// What runs cannot be activated, so there is no way back to it.
    #[error("{current} cannot be gone back to: it is no system that can be activated")]
    NotNixos {
        /// What runs.
        current: String,
    },
    /// A disk is full.
    #[error("no space is left at {path} on the host")]
    NoSpace {
        /// Where.
        path: String,
    },
    /// A program is missing.
    #[error("the host has no {tool}")]
    NoTool {
        /// Its name.
        tool: String,
    },
    /// What the host would boot is not there, so a power cut would not lead back.
    #[error("the host would not boot: {said}")]
    NothingBoots {
        /// What its loader names.
        said: String,
    },
    /// The new system's own checks are against switching to it.
    #[error("the new system's own checks refuse: {said}")]
    Checks {
        /// The last lines of what they said.
        said: String,
    },
    /// The activation is in a phase where that cannot be done.
    #[error("the activation is {phase}")]
    Phase {
        /// The phase.
        phase: String,
    },
    /// The last confirmation was just now.
    #[error("it is too early for another confirmation")]
    Early,
    /// There are not enough confirmations.
    #[error("there are not enough confirmations")]
    Unconfirmed,
    /// Another call to the part on the host does not end.
    #[error("the host's part is busy")]
    Busy,
    /// Something else.
    #[error("{code} {detail}")]
    Other {
        /// A word for it.
        code: String,
        /// More about it.
        detail: String,
    },
}
