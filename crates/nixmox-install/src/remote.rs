//! The part of an installation that runs on the machine, and talking to it.

mod job;

use std::sync::LazyLock;
use std::time::Duration;

use nixmox_deploy::{Host, HostError, Output, RemoteCommand, StorePath};
use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::disks::Disks;
use crate::facts::Facts;
use crate::marker::Marker;
use crate::mounts::Mounts;
use crate::reply::{Reply, split};
use crate::{InstallError, Phase};

pub(crate) use job::Job;
pub use job::JobFailed;

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
/// A machine that can be asked, in one run.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    host: &'a Host,
    run: &'a str,
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
