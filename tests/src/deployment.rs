use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::BedHost;

/// How long a deployment may take before the test gives up.
const LIMIT: Duration = Duration::from_secs(150);

/// A deployer at work on one host of a bed, in a process of its own, so that it can be stopped and killed.
pub struct Deployment {
    process: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Deployment {
    /// Starts to switch a host to a system that is in its store, with short times: 20 seconds for the activation, 6 for
    /// the confirmations, which are one second apart.
    ///
    /// `more` is a JSON object that adds to the order or changes it; `tests/clients/activate.rs` has its names.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(host: BedHost<'_>, system: &str, more: &Value) -> Self {
        let mut order = json!({
            "node": host.name(),
            "address": host.address(),
            "host_key": host.host_key(),
            "ssh_config": host.ssh_config(),
            "toplevel": system,
            "activation": 20, "confirmation": 6, "dwell": 1, "commit": 20, "rollback": 20,
        });
        let more = more.as_object().into_iter().flatten();
        for (name, value) in more {
            order[name.as_str()] = value.clone();
        }
        let mut client = Command::new("setsid");
        client.arg(activate_program()).arg(order.to_string());
        client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = client.spawn().expect("setsid cannot be run");
        let (send, lines) = channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { process, lines, said: Vec::new() }
    }

    /// Waits until it says a line that begins so.
    ///
    /// # Panics
    ///
    /// When it ends first, or does not say it for long.
    #[track_caller]
    pub fn until(&mut self, begin: &str) -> &mut Self {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.starts_with(begin);
                    self.said.push(line);
                    if found {
                        return self;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {begin:?} for long: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("no {begin:?}: {:#?}", self.said),
            }
        }
    }

    /// Kills it, as `kill -9` does, with whatever it has started.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub fn kill(mut self) {
        let group = format!("-{}", self.process.id());
        let mut kill = Command::new("kill");
        assert!(kill.args(["-KILL", "--", &group]).status().unwrap().success());
        self.process.wait().unwrap();
    }

    /// Waits for its end and returns its last word: `outcome …` or `error …`.
    ///
    /// # Panics
    ///
    /// When it does not end, or says nothing of that kind.
    #[track_caller]
    pub fn ends(mut self) -> Ended {
        let end = Instant::now() + LIMIT;
        while !self
            .said
            .last()
            .is_some_and(|line| line.starts_with("outcome ") || line.starts_with("error "))
        {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(why) => panic!("it does not end well ({why}): {:#?}", self.said),
            }
        }
        self.process.wait().unwrap();
        Ended { said: std::mem::take(&mut self.said) }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a deployer said from its beginning to its end.
#[derive(Debug)]
pub struct Ended {
    said: Vec<String>,
}

impl Ended {
    /// Returns all lines.
    pub fn lines(&self) -> &[String] {
        &self.said
    }

    /// Demands how it ended: the last line begins so.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn with(self, begin: &str) -> Self {
        assert!(
            self.said.last().is_some_and(|last| last.starts_with(begin)),
            "not {begin:?}: {self:#?}"
        );
        self
    }
}

/// Returns the path of the client, which may also be run on a host itself: cargo builds the programs of this package
/// before it runs its tests.
///
/// # Panics
///
/// When it is not known which test this is.
pub fn activate_program() -> PathBuf {
    // target/debug/deps/TEST
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("activate-once")
}
