//! `who --ever`: who could ever read something, from the git history.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use nixmox_cli::Failure;
use nixmox_cli::terminal::{Table, escape, plural, width};
use nixmox_secrets::readers::{Access, Commit, Era, History, Place};
use nixmox_topology::Topology;
use serde_json::{Value, json};

use crate::history;

/// The past of one secret, or of a host's files.
pub(crate) struct Past {
    history: History,
    /// The eras that count, by path.
    files: BTreeMap<String, Vec<Era>>,
}

/// Somebody who could read it.
#[derive(Default)]
struct Person {
    master: bool,
    keys: BTreeSet<String>,
    files: BTreeSet<String>,
    first: Option<Commit>,
    last: Option<Commit>,
}

impl Past {
    /// Reads the history, and keeps what is about the values at `below` of a node.
    pub(crate) fn of(
        root: &std::path::Path,
        topology: &Topology,
        (node, below): (&str, &[String]),
    ) -> Result<Self, Failure> {
        let history = history::read(root)?;
        let now: BTreeSet<String> =
            topology.hosts_of(node).iter().map(ToString::to_string).collect();
        // Of a host that is gone nobody knows any more whether it was in the group.
        let counts = |path: &str, host: &str| {
            now.contains(host)
                || !topology.contains(host)
                || path.contains(&format!("nodes/{node}/"))
        };
        let mut files = BTreeMap::new();
        let mut hosts = BTreeSet::new();
        for (path, eras) in &history.files {
            let Some(Place::Sealed(host)) = Place::of(path) else { continue };
            let holds = |era: &&Era| era.names.iter().any(|name| name.starts_with(below));
            let eras: Vec<Era> = eras.iter().filter(holds).cloned().collect();
            if counts(path, &host) && !eras.is_empty() {
                hosts.insert(host);
                files.insert(path.clone(), eras);
            }
        }
        for (path, eras) in &history.files {
            let opens = match Place::of(path) {
                Some(Place::Master) => true,
                Some(Place::Key(host)) => hosts.contains(&host),
                _ => false,
            };
            if opens {
                files.insert(path.clone(), eras.clone());
            }
        }
        Ok(Self { history, files })
    }

    /// Tells whether nothing in the history is about it but the master.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.keys().all(|path| Place::of(path) == Some(Place::Master))
    }

    fn people(&self) -> BTreeMap<&str, Person> {
        let mut people: BTreeMap<&str, Person> = BTreeMap::new();
        for (path, eras) in &self.files {
            let place = Place::of(path);
            for era in eras {
                for named in &era.readers {
                    let person = people.entry(&named.recipient).or_default();
                    match &place {
                        Some(Place::Master) => person.master = true,
                        Some(Place::Key(host)) => {
                            person.keys.insert(host.clone());
                        }
                        Some(Place::Sealed(host)) => {
                            person.files.insert(host.clone());
                        }
                        _ => {}
                    }
                    let first = person.first.iter().chain([&era.first]).min().cloned();
                    let last = person.last.iter().chain([&era.last]).max().cloned();
                    (person.first, person.last) = (first, last);
                }
            }
        }
        people
    }

    /// Writes who could ever read it, with the times at which it was first and last sealed to him.
    pub(crate) fn text(&self, out: &mut dyn io::Write, access: &Access) -> io::Result<()> {
        let now: BTreeSet<&str> =
            access.files().flat_map(|f| &f.readers).map(|r| r.recipient.as_str()).collect();
        writeln!(out, "\nin the git history, at times that the commits claim:")?;
        let mut table = Table::new(["RECIPIENT", "READS", "FIRST SEALED", "LAST SEALED", "NOW"]);
        for (recipient, person) in self.people() {
            let owners = self.history.owners.get(recipient);
            let owner = owners.map(|hosts| hosts.iter().cloned().collect::<Vec<_>>().join(", "));
            let owner = owner.map(|hosts| format!("  (a key of {hosts})")).unwrap_or_default();
            let now = if now.contains(recipient) { "reads something" } else { "" };
            table.row([
                &format!("{recipient}{owner}"),
                &reads(&person),
                &date(person.first.as_ref()),
                &date(person.last.as_ref()),
                now,
            ]);
        }
        table.write(out, width(std::io::stdout()))?;
        for (path, named) in self.hidden() {
            let said = format!("{path}: {} keys under the label {}", named.1, named.0);
            writeln!(out, "suspicious  {}", escape(&said))?;
        }
        match self.history.unread {
            0 => Ok(()),
            n => writeln!(out, "{} of the files could not be read", plural(n, "version")),
        }
    }

    /// Finds versions that more people opened than they named.
    fn hidden(&self) -> BTreeSet<(&str, (&str, usize))> {
        let eras = self.files.iter().flat_map(|(path, eras)| eras.iter().map(move |e| (path, e)));
        eras.flat_map(|(path, era)| era.readers.iter().map(move |named| (path.as_str(), named)))
            .filter(|(_, named)| named.stanzas.len() > 1)
            .map(|(path, named)| (path, (named.recipient.as_str(), named.stanzas.len())))
            .collect()
    }

    pub(crate) fn json(&self) -> Value {
        let era = |era: &Era| {
            let readers: Vec<Value> = era
                .readers
                .iter()
                .map(|named| json!({ "recipient": named.recipient, "stanzas": named.stanzas }))
                .collect();
            json!({
                "readers": readers,
                "first": { "commit": era.first.id, "time": time(&era.first) },
                "last": { "commit": era.last.id, "time": time(&era.last) },
            })
        };
        let eras = |eras: &Vec<Era>| eras.iter().map(era).collect::<Vec<_>>();
        let files: serde_json::Map<String, Value> =
            self.files.iter().map(|(path, found)| (path.clone(), json!(eras(found)))).collect();
        json!({ "files": files, "keys": self.history.owners, "unread": self.history.unread })
    }
}

fn reads(person: &Person) -> String {
    let hosts = |set: &BTreeSet<String>, noun: &str| match set.len() {
        0 => None,
        1 => Some(format!("{noun} of {}", set.first().map(String::as_str).unwrap_or_default())),
        n => Some(format!("{noun}s of {n} hosts")),
    };
    let master = person.master.then(|| "the master".to_owned());
    let parts = [master, hosts(&person.keys, "key"), hosts(&person.files, "file")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn time(commit: &Commit) -> Option<String> {
    Timestamp::from_second(commit.seconds).ok().map(|time| time.to_string())
}

fn date(commit: Option<&Commit>) -> String {
    let time = commit.and_then(time).unwrap_or_default();
    time.split('T').next().unwrap_or_default().to_owned()
}
