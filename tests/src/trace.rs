use std::fs;
use std::path::Path;
use std::process::Command;

use crate::env::feed;
use crate::{Ran, TestEnv};

/// A run under strace.
#[derive(Debug)]
pub struct Traced {
    /// How the program ended.
    pub ran: Ran,
    /// What strace wrote down.
    pub log: String,
}

/// One system call of a log: its name, which of this name it is, and the whole line.
#[derive(Debug, Clone)]
pub struct Call {
    /// The name.
    pub name: String,
    /// Counted from one among calls of this name, as strace counts for injections.
    pub when: usize,
    /// The line of the log.
    pub line: String,
}

impl TestEnv {
    /// Runs `nixmox-secrets` under strace with options of strace's own.
    ///
    /// # Panics
    ///
    /// When strace is missing or may not trace.
    pub fn traced(&self, options: &[&str], args: &[&str], stdin: impl AsRef<[u8]>) -> Traced {
        self.traced_program((self.program(), args), options, stdin.as_ref())
    }

    /// Runs another program in the same way.
    ///
    /// # Panics
    ///
    /// As [`TestEnv::traced`].
    pub fn traced_tool(&self, program: &str, options: &[&str], args: &[&str]) -> Traced {
        self.traced_program((Path::new(program), args), options, &[])
    }

    fn traced_program(
        &self,
        (program, args): (&Path, &[&str]),
        options: &[&str],
        stdin: &[u8],
    ) -> Traced {
        let log = self.log("strace");
        let mut command = self.command(Path::new("strace"));
        command.args(["-qq", "-y", "-o"]).arg(&log).args(options);
        command.arg(program).args(args);
        let ran = feed(&mut command, stdin);
        let read = fs::read(&log);
        let log = String::from_utf8_lossy(&read.expect("strace wrote no log")).into_owned();
        Traced { ran, log }
    }

    /// Prepares the same for a run that is not waited for here, and returns the log's path with it.
    pub fn tracer(&self, options: &[&str], args: &[&str]) -> (Command, std::path::PathBuf) {
        let log = self.log("strace");
        let mut command = Command::new("strace");
        command.args(["-qq", "-y", "-o"]).arg(&log).args(options);
        command.arg(self.program()).args(args);
        self.prepare(&mut command);
        (command, log)
    }
}

/// Lists the calls of a log that was written without `-f`: those of the program's first thread.
pub fn calls(log: &str) -> Vec<Call> {
    let mut counts = std::collections::BTreeMap::new();
    let named = log.lines().filter_map(|line| Some((line.split_once('(')?.0, line)));
    named
        .map(|(name, line)| {
            let when = counts.entry(name).or_insert(0_usize);
            *when = when.saturating_add(1);
            Call { name: name.to_owned(), when: *when, line: line.to_owned() }
        })
        .collect()
}
