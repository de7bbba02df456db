//! What takes long on a machine, and goes on there whatever becomes of the connection.

use std::fmt;
use std::time::{Duration, Instant};

use nixmox_deploy::{EventSink, Happening, Output};

use super::{Remote, RemoteError};
use crate::facts::JobState;
use crate::reply::{Reply, printable, split};

/// How long the machine waits for news of a job before it answers that there are none.
const NEWS: u64 = 5;
/// Between two tries to reach a machine whose connection was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How many of a log's last lines an error carries.
const LAST: usize = 20;

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

impl Remote<'_> {
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
}
