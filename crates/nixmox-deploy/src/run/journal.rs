//! Directories of runs.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use nixmox_topology::NodeName;
use thiserror::Error;

use super::record::{Line, Verdict, millis};
use super::{Plan, PlanError};
use crate::Event;

const PLAN: &str = "plan.json";
const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
/// The longest record that is read.
const MAX_EVENTS: u64 = 256 << 20;

/// The directory that the runs of a fleet are kept in.
#[derive(Debug, Clone)]
pub struct Runs {
    directory: PathBuf,
}

/// The name of a run: when it began. Names sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// Takes a name as somebody wrote it.
    ///
    /// # Errors
    ///
    /// [`RunError::Name`] when it has other characters than letters, digits and dashes.
    pub fn parse(text: &str) -> Result<Self, RunError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
            return Err(RunError::Name);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Runs {
    /// Keeps runs in a directory, which is made when the first one begins.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Begins a run and writes down what it is to do.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`]; [`RunError::Running`] when the name is taken by a run that goes on.
    pub fn begin(&self, id: &RunId, plan: &Plan) -> Result<Journal, RunError> {
        let directory = self.path(id);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&directory).map_err(|source| io_at(&directory, source))?;
        let file = directory.join(PLAN);
        let unfinished = directory.join(format!("{PLAN}.new"));
        let written = write_new(&unfinished, plan.to_json().as_bytes())
            .and_then(|()| fs::rename(&unfinished, &file));
        written.map_err(|source| io_at(&file, source))?;
        Journal::open(directory)
    }

    /// Opens a run to go on with it; also returns what it was to do and how far it came.
    ///
    /// # Errors
    ///
    /// [`RunError::Running`] when another process goes on with it, [`RunError::Plan`], [`RunError::Io`].
    pub fn reopen(
        &self,
        id: &RunId,
    ) -> Result<(Journal, Plan, BTreeMap<NodeName, Verdict>), RunError> {
        let journal = Journal::open(self.path(id))?;
        let plan = self.plan(id)?;
        let verdicts = self.verdicts(id)?;
        Ok((journal, plan, verdicts))
    }

    /// Lists the runs, the newest first.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`].
    pub fn list(&self) -> Result<Vec<RunId>, RunError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| io_at(&self.directory, source))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut runs: Vec<_> = names.filter_map(|name| RunId::parse(&name).ok()).collect();
        runs.retain(|id| self.path(id).join(PLAN).is_file());
        runs.sort();
        runs.reverse();
        Ok(runs)
    }

    /// Returns what a run was to do.
    ///
    /// # Errors
    ///
    /// [`RunError::Plan`] and [`RunError::Io`].
    pub fn plan(&self, id: &RunId) -> Result<Plan, RunError> {
        let path = self.path(id).join(PLAN);
        let bytes = fs::read(&path).map_err(|source| io_at(&path, source))?;
        Plan::parse(&bytes).map_err(|source| RunError::Plan { path, source })
    }

    /// Returns how each node ended, the last time that it did; those that did not are not there.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`].
    pub fn verdicts(&self, id: &RunId) -> Result<BTreeMap<NodeName, Verdict>, RunError> {
        let mut verdicts = BTreeMap::new();
        self.lines(id, |line| {
            if let (Line::Done { verdict, .. }, Some(node)) = (&line, line.node()) {
                verdicts.insert(node, *verdict);
            }
        })?;
        Ok(verdicts)
    }

    /// Shows every line of a run's record; what a crash left half written is passed over.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`].
    pub fn lines(&self, id: &RunId, mut show: impl FnMut(Line)) -> Result<(), RunError> {
        let path = self.path(id).join(EVENTS);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(|source| io_at(&path, source))?,
        };
        for line in BufReader::new(file.take(MAX_EVENTS)).split(b'\n') {
            let line = line.map_err(|source| io_at(&path, source))?;
            if let Ok(line) = serde_json::from_slice(&line) {
                show(line);
            }
        }
        Ok(())
    }

    /// Tells whether a process works on the run now.
    pub fn is_running(&self, id: &RunId) -> bool {
        matches!(lock(&self.path(id)), Err(RunError::Running { .. }))
    }

    /// Returns the directory of a run.
    pub fn path(&self, id: &RunId) -> PathBuf {
        self.directory.join(id.as_str())
    }
}

/// The record of a run that goes on. Its lock ends with the process.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    events: Mutex<File>,
    _lock: File,
}

impl Journal {
    fn open(directory: PathBuf) -> Result<Self, RunError> {
        let lock = lock(&directory)?;
        let path = directory.join(EVENTS);
        let events = append(&path).map_err(|source| io_at(&path, source))?;
        Ok(Self { directory, events: Mutex::new(events), _lock: lock })
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the run's name.
    pub fn name(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Writes an event down; lines of logs also go to a file of the node.
    pub fn event(&self, event: &Event) {
        if let crate::Happening::Log(line) = &event.what {
            self.log(event.node.as_str(), line);
        }
        self.write(&Line::of(event));
    }

    /// Writes how a node ended, and returns the line.
    pub fn done(
        &self,
        node: &NodeName,
        verdict: Verdict,
        message: &str,
        systems: [Option<String>; 2],
    ) -> Line {
        let [before, after] = systems;
        let (at, node, message) = (millis(SystemTime::now()), node.to_string(), message.to_owned());
        self.ended(Line::Done { at, node, verdict, message, before, after, code: None })
    }

    /// Writes how a node ended, with the exit status that the program would have with this node alone.
    pub fn done_with_code(
        &self,
        node: &NodeName,
        verdict: Verdict,
        message: &str,
        code: u8,
    ) -> Line {
        let (at, node, message) = (millis(SystemTime::now()), node.to_string(), message.to_owned());
        let (before, after, code) = (None, None, Some(code));
        self.ended(Line::Done { at, node, verdict, message, before, after, code })
    }

    fn ended(&self, line: Line) -> Line {
        self.write(&line);
        // A node whose end is lost is asked once more, which costs one that was as it should be no more than now.
        if !matches!(line, Line::Done { verdict: Verdict::Unchanged, .. }) {
            let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = events.sync_data();
        }
        line
    }

    /// Writes how the run ended, and returns the line.
    pub fn end(&self, status: u8) -> Line {
        let line = Line::end(status);
        self.write(&line);
        line
    }

    /// Adds a line to the log of a node, or to one of the run such as `build`.
    pub fn log(&self, name: &str, line: &str) {
        let file = append(&self.directory.join(format!("{name}.log")));
        // A log that cannot be written must not end a deployment.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }

    fn write(&self, line: &Line) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // A record that cannot be written must not end a deployment.
        let _ = events.write_all(&text);
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn lock(directory: &Path) -> Result<File, RunError> {
    let path = directory.join(LOCK);
    let file = append(&path).map_err(|source| io_at(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Running { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_at(&path, source)),
    }
}

fn io_at(path: &Path, source: io::Error) -> RunError {
    RunError::Io { path: path.to_owned(), source }
}

/// Why a run cannot be begun, read or gone on with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// It is no name of a run.
    #[error("the name of a run has letters, digits and dashes alone")]
    Name,
    /// Another process works on it.
    #[error("another process works on the run in {}", path.display())]
    Running {
        /// Its directory.
        path: PathBuf,
    },
    /// What it was to do cannot be read.
    #[error("{} is no plan", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PlanError,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
