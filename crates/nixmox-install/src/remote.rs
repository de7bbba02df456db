//! The part of an installation that runs on the machine, and talking to it.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nixmox_deploy::{EventSink, Happening, Host, HostError, Output, RemoteCommand, StorePath};
use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::disks::Disks;
use crate::facts::{Facts, JobState};
use crate::marker::Marker;
use crate::mounts::Mounts;
use crate::reply::{Reply, printable, split};
use crate::{InstallError, Phase};

const SCRIPT: &str = concat!(
    include_str!("script/base.sh"),
    include_str!("script/facts.sh"),
    include_str!("script/jobs.sh"),
    include_str!("script/disks.sh"),
    include_str!("script/place.sh"),
    include_str!("script/activate.sh"),
    include_str!("script/kexec.sh"),
    include_str!("script/lxc.sh"),
    include_str!("script/finish.sh"),
    include_str!("script/main.sh"),
);

static DIGEST: LazyLock<String> = LazyLock::new(|| hex(&Sha256::digest(SCRIPT)));

/// Returns the part that runs on machines, a script for a POSIX shell, for whoever wants to read it first.
pub fn install_script() -> &'static str {
    SCRIPT
}

/// How long a short question may take.
const QUESTION: Duration = Duration::from_secs(60);
/// How long the machine waits for news of a job before it answers that there are none.
const NEWS: u64 = 5;
/// Between two tries to reach a machine whose connection was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How many of a log's last lines an error carries.
const LAST: usize = 20;

/// A machine that can be asked, in one run.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    host: &'a Host,
    run: &'a str,
}

/// A job: its name, what it does, and how long it may take.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) words: Vec<&'a str>,
    pub(crate) patience: Duration,
}

/// How a job ended that did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailed {
    /// Its status; none when it was killed.
    pub status: Option<i32>,
    /// The last lines of its log, in a form that can be shown.
    pub log: Vec<String>,
}

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "it ended with {status}"),
            None => f.write_str("it was killed"),
        }?;
        match self.log.last() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

impl<'a> Remote<'a> {
    pub(crate) fn new(host: &'a Host, run: &'a str) -> Self {
        Self { host, run }
    }

    pub(crate) fn run(&self) -> &'a str {
        self.run
    }

    pub(crate) fn host(&self) -> &'a Host {
        self.host
    }

    /// Puts the script where every later question looks for it.
    pub(crate) async fn put(&self) -> Result<(), RemoteError> {
        let path = script_path();
        let text = format!(
            "umask 077; mkdir -p /run/nixmox-install && chmod 0700 /run/nixmox-install && \
             cat >{path}.new <<'{end}' &&\n{SCRIPT}{end}\nmv -f {path}.new {path}\n",
            end = *DIGEST
        );
        let command = RemoteCommand::script(&text, [])?.timeout(QUESTION);
        checked(&self.host.run(&command).await?).map(drop)
    }

    /// Asks what the machine is. Puts the script there first.
    pub(crate) async fn facts(&self) -> Result<Facts, RemoteError> {
        self.put().await?;
        let output = self.ask(&["facts"], &[]).await?;
        Facts::read(&Reply::parse(&output.stdout)).ok_or(RemoteError::Malformed { what: "facts" })
    }

    pub(crate) async fn disks(&self, devices: &[String]) -> Result<Disks, RemoteError> {
        let words: Vec<_> = devices.iter().map(String::as_str).collect();
        let output = self.ask(&["disks"], &words).await?;
        let (json, lines) = split(&output);
        let disks = Disks::read(json, &Reply::parse(lines));
        disks.ok_or(RemoteError::Malformed { what: "list of disks" })
    }

    pub(crate) async fn mounts(&self, system: &StorePath) -> Result<Mounts, RemoteError> {
        let output = self.ask(&["mounts"], &[system.as_str()]).await?;
        let (json, lines) = split(&output);
        let mounts = Mounts::read(json, &Reply::parse(lines));
        mounts.ok_or(RemoteError::Malformed { what: "list of mounts" })
    }

    /// Asks something short.
    pub(crate) async fn ask(
        &self,
        verb: &[&str],
        arguments: &[&str],
    ) -> Result<Output, RemoteError> {
        self.send(self.command(verb, arguments)?).await
    }

    pub(crate) async fn send(&self, command: RemoteCommand) -> Result<Output, RemoteError> {
        checked(&self.host.run(&command).await?).cloned()
    }

    /// Sends what nobody else may see, over a connection of its own.
    pub(crate) async fn send_secret(
        &self,
        words: &[&str],
        secret: SecretString,
    ) -> Result<Output, RemoteError> {
        let command = self.command(words, &[])?.secret_stdin(secret);
        checked(&self.host.run_careful(&command).await?).cloned()
    }

    /// Places a file as a whole, with its permissions and its owner, and has its digest compared there.
    pub(crate) async fn place(
        &self,
        path: &str,
        (mode, owner): (&str, &str),
        text: SecretString,
    ) -> Result<(), InstallError> {
        let digest = hex(&Sha256::digest(text.expose()));
        let sent = self.send_secret(&["place", path, mode, owner, &digest], text).await;
        sent.map(drop).map_err(|error| InstallError::at(Phase::Place, error))
    }

    /// Writes the marker of the installation.
    pub(crate) async fn mark(&self, marker: &Marker) -> Result<(), RemoteError> {
        let command = self.command(&["mark"], &[])?.stdin(marker.to_json().into_bytes());
        self.send(command).await.map(drop)
    }

    /// Does a job to its end, or waits for the end of one that goes on already; a lost connection does not end it.
    pub(crate) async fn job(
        &self,
        job: &Job<'_>,
        events: &EventSink,
    ) -> Result<Result<(), JobFailed>, RemoteError> {
        let words = [&[job.name], job.words.as_slice()].concat();
        let end = Instant::now() + job.patience;
        self.patiently(end, events, || self.ask(&["start"], &words)).await?;
        let mut log = Log::default();
        loop {
            let offset = log.read.to_string();
            let news = NEWS.to_string();
            let arguments = [job.name, &offset, &news];
            let output = self.patiently(end, events, || self.ask(&["follow"], &arguments)).await?;
            let (head, text) = split(&output);
            for line in log.take(text) {
                events.send(self.host.node(), Happening::Log(line));
            }
            let state = Reply::parse(head).text("state").and_then(JobState::parse);
            let state = state.ok_or(RemoteError::Malformed { what: "state of the job" })?;
            match state {
                JobState::Running if Instant::now() >= end => {
                    return Err(RemoteError::TooLong { after: job.patience });
                }
                JobState::Running => {}
                // What it said last may not have been read yet.
                _ if !text.is_empty() => {}
                JobState::Done(0) => return Ok(Ok(())),
                JobState::Done(status) => return Ok(Err(log.failed(Some(status)))),
                JobState::Dead => return Ok(Err(log.failed(None))),
            }
        }
    }

    /// Asks again while the connection is lost; another key than the machine's ends it at once.
    async fn patiently<F>(
        &self,
        end: Instant,
        events: &EventSink,
        ask: impl Fn() -> F,
    ) -> Result<Output, RemoteError>
    where
        F: Future<Output = Result<Output, RemoteError>>,
    {
        loop {
            match ask().await {
                Err(RemoteError::Host(error)) if error.may_pass() && Instant::now() < end => {
                    events.send(self.host.node(), Happening::ConnectionLost);
                    tokio::time::sleep(AGAIN).await;
                }
                other => return other,
            }
        }
    }

    pub(crate) fn command(
        &self,
        verb: &[&str],
        arguments: &[&str],
    ) -> Result<RemoteCommand, RemoteError> {
        let path = script_path();
        let (verb, more) = verb.split_first().unwrap_or((&"put", &[]));
        let words = ["sh", &path, *verb, self.run].into_iter();
        let words = words.chain(more.iter().copied()).chain(arguments.iter().copied());
        Ok(RemoteCommand::new(words)?.timeout(QUESTION).limit(16 << 20))
    }
}

/// What was read of a job's log.
#[derive(Debug, Default)]
struct Log {
    read: usize,
    /// What follows the last line end.
    rest: Vec<u8>,
    last: Vec<String>,
}

impl Log {
    /// Takes the next bytes and returns the lines that are whole by now.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.read += bytes.len();
        self.rest.extend_from_slice(bytes);
        let Some(at) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(at + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let text = String::from_utf8_lossy(&whole);
        let lines: Vec<String> =
            text.lines().map(printable).filter(|line| !line.is_empty()).collect();
        self.last.extend(lines.iter().cloned());
        let first = self.last.len().saturating_sub(LAST);
        self.last.drain(..first);
        lines
    }

    fn failed(mut self, status: Option<i32>) -> JobFailed {
        self.take(b"\n");
        JobFailed { status, log: self.last }
    }
}

fn script_path() -> String {
    let digest: String = DIGEST.chars().take(16).collect();
    format!("/run/nixmox-install/script-{digest}")
}

fn checked(output: &Output) -> Result<&Output, RemoteError> {
    if output.success() {
        return Ok(output);
    }
    let reply = Reply::parse(&output.stdout);
    match reply.text("error") {
        Some(code) => Err(RemoteError::Refused {
            code: code.to_owned(),
            detail: reply.text("detail").unwrap_or_default().to_owned(),
        }),
        None => Err(RemoteError::Failed { status: output.status, said: output.complaint() }),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why the machine did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// It was not reached, or not in time.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It says why not.
    #[error("the machine refuses: {}", refusal(code, detail))]
    Refused {
        /// A word for the reason.
        code: String,
        /// What it is about.
        detail: String,
    },
    /// It failed without saying why.
    #[error("the machine's part ended with {status}: {said}")]
    Failed {
        /// Its exit status.
        status: i32,
        /// The last lines of its standard error, in a form that can be shown.
        said: String,
    },
    /// The answer makes no sense.
    #[error("the machine's answer has no usable {what}")]
    Malformed {
        /// What is missing from it.
        what: &'static str,
    },
    /// A job did not end in time; it goes on.
    #[error("no end after {} s; it goes on there", after.as_secs())]
    TooLong {
        /// How long it could take.
        after: Duration,
    },
}

fn refusal(code: &str, detail: &str) -> String {
    match code {
        "link" => format!("there is a symbolic link on the way to {detail}"),
        "path" => format!("{detail} cannot be a file there"),
        "digest" => format!("{detail} did not arrive as it was sent"),
        "tool" => format!("it has no {detail}"),
        "not-mounted" => format!("nothing is mounted at {detail}"),
        "not-memory" => format!("{detail} would not be in memory"),
        "no-job" => format!("it knows nothing of the job {detail}"),
        "disko-test" => {
            "IN_DISKO_TEST is set there, which means a password that everybody knows".to_owned()
        }
        _ => format!("{code} ({detail})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_come_in_pieces() {
        let mut log = Log::default();
        assert_eq!(log.take(b"one\ntw"), ["one"]);
        assert_eq!(log.take(b"o\n\x1b[2J\n"), ["two", "[2J"]);
        assert_eq!(log.take(b"three"), Vec::<String>::new());
        assert_eq!(log.read, 18);
        let failed = log.failed(Some(72));
        assert_eq!(failed.log, ["one", "two", "[2J", "three"]);
        assert_eq!(failed.to_string(), "it ended with 72: three");
    }

    #[test]
    fn refusals_are_told_from_failures() {
        let output = |status, stdout: &str| Output {
            status,
            stdout: stdout.as_bytes().to_vec(),
            stderr: Vec::new(),
        };
        assert!(checked(&output(0, "")).is_ok());
        let refused = checked(&output(3, "error=link\ndetail=/etc/ssh\n")).unwrap_err();
        assert!(refused.to_string().contains("symbolic link on the way to /etc/ssh"));
        assert!(matches!(checked(&output(2, "")), Err(RemoteError::Failed { status: 2, .. })));
    }
}
