//! The part that runs on the host, and how it is spoken to.

mod reply;
mod request;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use nixmox_tree::SecretString;
use rand_core::{OsRng, RngCore as _};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub(crate) use reply::Followed;
pub use reply::{Last, Order, Phase, Probe, Refusal, Standing};

use crate::{Host, HostError, Os, Output, RemoteCommand, Request, StorePath};
use reply::Reply;

/// What every host gets of the script; what is between these and the end differs.
const COMMON: &str = concat!(
    include_str!("guard/script/base.sh"),
    include_str!("guard/script/state.sh"),
    include_str!("guard/script/units.sh"),
    include_str!("guard/script/system.sh"),
    include_str!("guard/script/loader.sh"),
    include_str!("guard/script/secrets.sh"),
    include_str!("guard/script/prepare.sh"),
    include_str!("guard/script/activate.sh"),
    include_str!("guard/script/rollback.sh"),
    include_str!("guard/script/commit.sh"),
    include_str!("guard/script/trial.sh"),
    include_str!("guard/script/report.sh"),
);
const MAIN: &str = include_str!("guard/script/main.sh");
/// What is another way on a Mac: later functions of a shell take the place of earlier ones.
const DARWIN: &str = include_str!("guard/script/darwin.sh");

static NIXOS_PART: LazyLock<Part> =
    LazyLock::new(|| Part::new(format!("{COMMON}{MAIN}"), "/run/nixmox"));
static DARWIN_PART: LazyLock<Part> =
    LazyLock::new(|| Part::new(format!("{COMMON}{DARWIN}{MAIN}"), "/var/run/nixmox"));

/// Returns the part that runs on hosts, a script for a POSIX shell, for whoever wants to read it first.
pub fn guard_script(os: Os) -> &'static str {
    &Part::of(os).script
}

/// The script for one kind of hosts.
struct Part {
    script: String,
    digest: String,
    directory: &'static str,
}

impl Part {
    fn new(script: String, directory: &'static str) -> Self {
        let digest = hex(&Sha256::digest(&script));
        Self { script, digest, directory }
    }

    fn of(os: Os) -> &'static Self {
        match os {
            Os::NixOs => &NIXOS_PART,
            Os::Darwin => &DARWIN_PART,
        }
    }

    fn path(&self) -> String {
        format!("{}/guard-{}", self.directory, self.digest)
    }

    /// What puts the script where the timer will look for it.
    fn installation(&self) -> String {
        let Self { script, digest, directory } = self;
        let path = self.path();
        format!(
            "mkdir -p {directory} && chmod 0700 {directory} && cat >{path}.new <<'{digest}' &&\n{script}{digest}\n\
             mv -f {path}.new {path} || exit 1\n"
        )
    }
}

/// How long a short question may take, with a recovery that it may start.
const QUESTION: Duration = Duration::from_secs(60);
/// How long the host waits for news before it answers that there are none.
const PATIENCE: u64 = 5;

/// The number of one activation on one host: the time and something random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction(String);

impl Transaction {
    /// Makes a number that no other activation has. They sort by time.
    pub fn new(now: std::time::SystemTime) -> Self {
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 4];
        OsRng.fill_bytes(&mut random);
        Self(format!("{:010}-{}", since.as_secs(), hex(&random)))
    }

    /// Takes a number as a host reported it.
    ///
    /// # Errors
    ///
    /// [`GuardError::Malformed`] when it has other characters than letters, digits and dashes.
    pub fn parse(text: &str) -> Result<Self, GuardError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
            return Err(GuardError::Malformed { what: "transaction" });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Over which connection a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// The one that all commands share.
    Shared,
    /// One of its own.
    Fresh,
}

/// Asks a host what it runs. Nothing on it is changed, and one connection is made.
///
/// # Errors
///
/// [`GuardError::Host`], or [`GuardError::Malformed`] when the answer makes no sense.
pub async fn probe(host: &Host) -> Result<Probe, GuardError> {
    let limited = |command: RemoteCommand| command.timeout(QUESTION).limit(64 << 10);
    // A shell reads a file in larger bites than its standard input.
    let part = Part::of(host.os());
    let there = RemoteCommand::new(["sh", &part.path(), "probe"])?;
    let mut output = host.run(&limited(there)).await?;
    // Shells end with statuses of their own when it is not there.
    if !output.success() && output.stdout.is_empty() {
        output = host.run(&limited(RemoteCommand::script(&part.script, ["probe"])?)).await?;
    }
    Probe::read(&reply(&output)?)
}

/// One activation on one host.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    host: &'a Host,
    transaction: &'a Transaction,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(host: &'a Host, transaction: &'a Transaction) -> Self {
        Self { host, transaction }
    }

    /// Puts the script on the host, and has it take its lock and its snapshot.
    pub(crate) async fn prepare(
        &self,
        request: &Request,
        expected: &StorePath,
    ) -> Result<(), GuardError> {
        let part = Part::of(self.host.os());
        let lines = request::lines(request, expected);
        let verb = format!("exec sh {} prepare {}", part.path(), self.transaction);
        let (install, end) = (part.installation(), &part.digest);
        let script = format!("{install}{verb} <<'{end}'\n{lines}{end}\n");
        let command = RemoteCommand::script(&script, [])?.timeout(Duration::from_secs(120));
        reply(&self.host.run(&command).await?).map(drop)
    }

    /// Puts a file where it waits for the activation.
    pub(crate) async fn stage(&self, name: &str, bytes: SecretString) -> Result<(), GuardError> {
        let digest = hex(&Sha256::digest(bytes.expose()));
        let command = self.verb("stage", &[name, &digest])?.secret_stdin(bytes);
        reply(&self.host.run_careful(&command).await?).map(drop)
    }

    pub(crate) async fn start(&self) -> Result<(), GuardError> {
        self.ask(Line::Shared, self.verb("start", &[])?).await.map(drop)
    }

    pub(crate) async fn commit(&self) -> Result<(), GuardError> {
        self.ask(Line::Fresh, self.verb("commit", &[])?).await.map(drop)
    }

    pub(crate) async fn abort(&self, reason: &str) -> Result<(), GuardError> {
        self.ask(Line::Fresh, self.verb("abort", &[reason])?).await.map(drop)
    }

    pub(crate) async fn recover(&self) -> Result<Standing, GuardError> {
        let part = Part::of(self.host.os());
        let (install, path) = (part.installation(), part.path());
        let script = format!("{install}exec sh {path} recover {}", self.transaction);
        let command = RemoteCommand::script(&script, [])?.timeout(QUESTION);
        Standing::read(&reply(&self.host.run_fresh(&command).await?)?)
    }

    /// Shows over a connection of its own that the host can be reached; returns how often that was shown, and units
    /// that failed since the snapshot.
    pub(crate) async fn confirm(&self, nonce: &str) -> Result<(u32, Vec<String>), GuardError> {
        let command = self.verb("confirm", &[])?.stdin(format!("{nonce}\n").into_bytes());
        let reply = self.ask(Line::Fresh, command.timeout(Duration::from_secs(15))).await?;
        let failed = reply.text("new_failed").unwrap_or_default();
        let failed = failed.split_whitespace().map(str::to_owned).collect();
        Ok((reply.number("count")?, failed))
    }

    pub(crate) async fn status(&self, line: Line) -> Result<Standing, GuardError> {
        Standing::read(&self.ask(line, self.verb("status", &[])?).await?)
    }

    /// Waits a little for news: another phase, or more of the log.
    pub(crate) async fn follow(&self, line: Line, offset: u64) -> Result<Followed, GuardError> {
        let seconds = PATIENCE.to_string();
        let command = self.verb("follow", &[&offset.to_string(), &seconds])?;
        let command = command.timeout(Duration::from_secs(PATIENCE + 10)).limit(1 << 20);
        let output = match line {
            Line::Shared => self.host.run(&command).await?,
            Line::Fresh => self.host.run_fresh(&command).await?,
        };
        Followed::read(&output.stdout)
    }

    async fn ask(&self, line: Line, command: RemoteCommand) -> Result<Reply, GuardError> {
        let output = match line {
            Line::Shared => self.host.run(&command).await?,
            Line::Fresh => self.host.run_fresh(&command).await?,
        };
        reply(&output)
    }

    fn verb(&self, verb: &str, arguments: &[&str]) -> Result<RemoteCommand, GuardError> {
        let path = Part::of(self.host.os()).path();
        let words = ["sh", &path, verb, self.transaction.as_str()];
        let command = RemoteCommand::new(words.into_iter().chain(arguments.iter().copied()))?;
        Ok(command.timeout(QUESTION).limit(1 << 20))
    }
}

/// Asks what activating a system would change; the lines come from the host.
pub(crate) async fn dry_activate(host: &Host, toplevel: &StorePath) -> Result<Output, GuardError> {
    let arguments = ["dry", "none", toplevel.as_str()];
    let script = guard_script(host.os());
    let command = RemoteCommand::script(script, arguments)?.timeout(Duration::from_secs(330));
    Ok(host.run(&command).await?)
}

/// Keeps a system from being collected.
pub(crate) async fn push(host: &Host, toplevel: &StorePath) -> Result<(), GuardError> {
    let script = guard_script(host.os());
    let command = RemoteCommand::script(script, ["push", "none", toplevel.as_str()])?;
    reply(&host.run(&command).await?).map(drop)
}

fn reply(output: &Output) -> Result<Reply, GuardError> {
    let reply = Reply::parse(&output.stdout);
    if let Some(refusal) = reply.refusal() {
        return Err(GuardError::Refused(refusal));
    }
    if output.success() {
        return Ok(reply);
    }
    Err(GuardError::Failed { status: output.status, said: output.complaint() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why the part on the host did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The host was not reached, or not in time.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It says why not.
    #[error(transparent)]
    Refused(Refusal),
    /// It failed without saying why.
    #[error("the host's part ended with {status}: {said}")]
    Failed {
        /// Its exit status.
        status: i32,
        /// The last lines of its standard error, in a form that can be shown.
        said: String,
    },
    /// The answer makes no sense.
    #[error("the host's answer has no usable {what}")]
    Malformed {
        /// What is missing from it.
        what: &'static str,
    },
}
