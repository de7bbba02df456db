//! `--ever`: who could ever read something, from the git history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use nixmox_cli::Failure;
use nixmox_cli::terminal::{Table, escape, plural, width};
use nixmox_secrets::readers::{Access, Commit, Era, History, Named, Place, Proof};
use nixmox_sops::Identities;
use nixmox_topology::Topology;
use serde_json::{Map, Value, json};

use crate::{history, paths};

/// The past of one secret, of a host's files, or of the fleet.
pub(crate) struct Past {
    history: History,
    /// The eras that count, by path.
    files: BTreeMap<String, Vec<Era>>,
    /// The hosts that the fleet has now.
    now: BTreeSet<String>,
    /// Whether it is the fleet's.
    whole: bool,
}

/// Somebody who could read it.
#[derive(Default)]
struct Person {
    master: bool,
    generated: bool,
    keys: BTreeSet<String>,
    files: BTreeSet<String>,
    first: Option<Commit>,
    last: Option<Commit>,
}

/// A host, with who opened what of it, and the values that it ever had.
#[derive(Default)]
struct Host<'a> {
    names: BTreeSet<&'a [String]>,
    sealed: BTreeSet<&'a str>,
    key: BTreeSet<&'a str>,
}

impl Past {
    /// Reads the history of the whole fleet.
    pub(crate) fn whole(
        root: &Path,
        topology: &Topology,
        identities: &Identities,
    ) -> Result<Self, Failure> {
        let history = history::read(root, identities)?;
        let now = topology.hosts().map(ToString::to_string).collect();
        Ok(Self { files: history.files.clone(), history, now, whole: true })
    }

    /// Reads the history, and keeps what is about the values at `below` of a node.
    pub(crate) fn of(
        root: &Path,
        topology: &Topology,
        (node, below): (&str, &[String]),
        identities: &Identities,
    ) -> Result<Self, Failure> {
        let mut past = Self::whole(root, topology, identities)?;
        let its: BTreeSet<String> =
            topology.hosts_of(node).iter().map(ToString::to_string).collect();
        // Of a host that is gone nobody knows any more whether it was in the group.
        let counts = |path: &str, host: &str| {
            its.contains(host)
                || !topology.contains(host)
                || path.contains(&format!("nodes/{node}/"))
        };
        let made = |name: &Vec<String>| made_for(topology, (node, below), name);
        let mut hosts = BTreeSet::new();
        past.files.retain(|path, eras| {
            match Place::of(path) {
                Some(Place::Generated) => eras.retain(|era| era.names.iter().any(made)),
                Some(Place::Sealed(host)) if counts(path, &host) => {
                    eras.retain(|era| era.names.iter().any(|name| name.starts_with(below)));
                    if !eras.is_empty() {
                        hosts.insert(host);
                    }
                }
                Some(Place::Sealed(_)) => eras.clear(),
                _ => {}
            }
            !eras.is_empty()
        });
        past.files.retain(|path, _| match Place::of(path) {
            Some(Place::Key(host)) => hosts.contains(&host),
            _ => true,
        });
        past.whole = false;
        Ok(past)
    }

    /// Tells whether nothing in the history is about it but the master.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.keys().all(|path| Place::of(path) == Some(Place::Master))
    }

    /// Finds everybody, those who read most first.
    fn people(&self) -> Vec<(&str, Person)> {
        let mut people: BTreeMap<&str, Person> = BTreeMap::new();
        for (path, eras) in &self.files {
            let place = Place::of(path);
            for era in eras {
                for named in &era.readers {
                    let person = people.entry(&named.recipient).or_default();
                    match &place {
                        Some(Place::Master) => person.master = true,
                        Some(Place::Generated) => person.generated = true,
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
        let mut people: Vec<(&str, Person)> = people.into_iter().collect();
        people.sort_by_cached_key(|(recipient, person)| {
            let most = (person.master, person.generated, person.keys.len());
            (Reverse(most), person.files.clone(), (*recipient).to_owned())
        });
        people
    }

    /// Puts together every host that ever had a file.
    fn hosts(&self) -> BTreeMap<String, Host<'_>> {
        let mut hosts: BTreeMap<String, Host<'_>> = BTreeMap::new();
        for (path, eras) in &self.files {
            let (name, is_key) = match Place::of(path) {
                Some(Place::Key(host)) => (host, true),
                Some(Place::Sealed(host)) => (host, false),
                _ => continue,
            };
            let host = hosts.entry(name).or_default();
            let readers = readers(eras);
            if is_key {
                host.key.extend(readers);
            } else {
                host.sealed.extend(readers);
                host.names.extend(eras.iter().flat_map(|era| &era.names).map(Vec::as_slice));
            }
        }
        hosts
    }

    /// Returns the eras of all files of one kind: the master's, or those of generated values.
    fn eras(&self, place: &Place) -> impl Iterator<Item = &Era> {
        let its = |path: &str| Place::of(path).as_ref() == Some(place);
        self.files.iter().filter(move |(path, _)| its(path)).flat_map(|(_, eras)| eras)
    }

    /// Writes who could ever read it, with the times at which it was first and last sealed to him.
    pub(crate) fn text(&self, out: &mut dyn io::Write, access: &Access) -> io::Result<()> {
        let people = self.people();
        let now = reading_now(access);
        writeln!(out, "\nin the git history, at times that the commits claim:")?;
        let mut table = Table::new(["", "READS", "FIRST SEALED", "LAST SEALED", "NOW"]);
        for (number, (recipient, person)) in (1_usize..).zip(&people) {
            let now = if now.contains(recipient) { "reads something" } else { "" };
            table.row([
                &number.to_string(),
                &reads(person),
                &date(person.first.as_ref()),
                &date(person.last.as_ref()),
                now,
            ]);
        }
        table.write(out, width(std::io::stdout()))?;
        if self.whole {
            self.matrix(out, &people)?;
        }
        for (number, (recipient, _)) in (1_usize..).zip(&people) {
            let owners = self.history.owners.get(*recipient);
            let owner = owners.map(|hosts| hosts.iter().cloned().collect::<Vec<_>>().join(", "));
            let owner = owner.map(|hosts| format!("  (a key of {hosts})")).unwrap_or_default();
            writeln!(out, "{number}  {}", escape(&format!("{recipient}{owner}")))?;
        }
        for (path, said) in self.suspicious() {
            writeln!(out, "suspicious  {}  {}", escape(path), escape(&said))?;
        }
        match self.history.unread {
            0 => Ok(()),
            n => writeln!(out, "{} of the files could not be read", plural(n, "version")),
        }
    }

    /// Writes one line for the master, the generated values and every host that ever had a file.
    fn matrix(&self, out: &mut dyn io::Write, people: &[(&str, Person)]) -> io::Result<()> {
        let numbers = |readers: &BTreeSet<&str>| {
            let numbered = (1_usize..).zip(people);
            let its = numbered.filter(|(_, (recipient, _))| readers.contains(recipient));
            its.map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ")
        };
        let mut table = Table::new(["", "SECRETS EVER", "OPENED WITH", "ITS KEY OPENED WITH"]);
        table.row(["the master", "all", &numbers(&readers(self.eras(&Place::Master))), ""]);
        let made: BTreeSet<_> = self.eras(&Place::Generated).flat_map(|era| &era.names).collect();
        let makers = readers(self.eras(&Place::Generated));
        if !makers.is_empty() {
            table.row(["generated values", &made.len().to_string(), &numbers(&makers), ""]);
        }
        for (name, host) in self.hosts() {
            let gone = if self.now.contains(&name) { "" } else { " (gone)" };
            let (sealed, key) = (numbers(&host.sealed), numbers(&host.key));
            let count = host.names.len().to_string();
            table.row([format!("{name}{gone}"), count, sealed, key]);
        }
        writeln!(out)?;
        table.write(out, width(std::io::stdout()))
    }

    /// Finds versions that more people opened than they named, and others than they named.
    fn suspicious(&self) -> BTreeSet<(&str, String)> {
        let eras = self.files.iter().flat_map(|(path, eras)| eras.iter().map(move |e| (path, e)));
        eras.flat_map(|(path, era)| era.readers.iter().map(move |named| (path.as_str(), named)))
            .flat_map(|(path, named)| doubts(named).map(move |said| (path, said)))
            .collect()
    }

    pub(crate) fn json(&self, access: &Access) -> Value {
        let now = reading_now(access);
        let person = |(recipient, person): (&str, Person)| {
            let said = json!({
                "master": person.master,
                "generated": person.generated,
                "keys": person.keys,
                "files": person.files,
                "first": person.first.as_ref().map(commit_json),
                "last": person.last.as_ref().map(commit_json),
                "now": now.contains(recipient),
            });
            (recipient.to_owned(), said)
        };
        let host = |(name, host): (String, Host<'_>)| {
            let names: Vec<String> = host.names.iter().map(|name| paths::show(name)).collect();
            let said = json!({ "gone": !self.now.contains(&name), "secrets": names });
            (name, said)
        };
        let eras = |eras: &Vec<Era>| eras.iter().map(era_json).collect::<Vec<_>>();
        let files: Map<String, Value> =
            self.files.iter().map(|(path, found)| (path.clone(), json!(eras(found)))).collect();
        json!({
            "people": self.people().into_iter().map(person).collect::<Map<_, _>>(),
            "hosts": self.hosts().into_iter().map(host).collect::<Map<_, _>>(),
            "files": files,
            "keys": self.history.owners,
            "unread": self.history.unread,
        })
    }
}

/// Tells whether a generated value stands at or below a path, or where it counts for the hosts there.
pub(crate) fn made_for(
    topology: &Topology,
    (node, below): (&str, &[String]),
    name: &[String],
) -> bool {
    let Some((level, rest)) = name.split_first() else { return false };
    let near = level == node
        || topology.hosts_of(node).iter().any(|host| host.as_ref() == level)
        || topology.hosts_of(level).iter().any(|host| host.as_ref() == node);
    near && rest.starts_with(below)
}

/// Names everybody to whom any of these versions is sealed.
fn readers<'a>(eras: impl IntoIterator<Item = &'a Era>) -> BTreeSet<&'a str> {
    eras.into_iter().flat_map(|era| &era.readers).map(|named| named.recipient.as_str()).collect()
}

fn reading_now(access: &Access) -> BTreeSet<&str> {
    access.files().flat_map(|file| &file.readers).map(|r| r.recipient.as_str()).collect()
}

fn reads(person: &Person) -> String {
    let hosts = |set: &BTreeSet<String>, noun: &str| match set.len() {
        0 => None,
        1 => Some(format!("{noun} of {}", set.first().map(String::as_str).unwrap_or_default())),
        n => Some(format!("{noun}s of {n} hosts")),
    };
    let master = person.master.then(|| "the master".to_owned());
    let generated = person.generated.then(|| "generated values".to_owned());
    let parts = [master, generated, hosts(&person.keys, "key"), hosts(&person.files, "file")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Says what does not fit together about somebody whom a version names.
fn doubts(named: &Named) -> impl Iterator<Item = String> {
    let label = &named.recipient;
    let stanzas = named.stanzas.len();
    let more = (stanzas > 1).then(|| format!("{stanzas} keys under the label {label}"));
    let lie = match named.proof {
        Proof::Refuted => {
            Some(format!("the key of {label} does not open what was labelled with it"))
        }
        Proof::OpenedByOther => Some(format!("a key at hand opens what was labelled {label}")),
        Proof::Opened | Proof::Unknown => None,
    };
    more.into_iter().chain(lie)
}

fn era_json(era: &Era) -> Value {
    let named = era.readers.iter();
    let readers: Vec<Value> = named
        .map(|named| {
            json!({
                "recipient": named.recipient,
                "stanzas": named.stanzas,
                "proof": match named.proof {
                    Proof::Opened => "opened",
                    Proof::Refuted => "refuted",
                    Proof::OpenedByOther => "opened-by-other",
                    Proof::Unknown => "unknown",
                },
            })
        })
        .collect();
    json!({ "readers": readers, "first": commit_json(&era.first), "last": commit_json(&era.last) })
}

fn commit_json(commit: &Commit) -> Value {
    json!({ "commit": commit.id, "time": time(commit) })
}

fn time(commit: &Commit) -> Option<String> {
    Timestamp::from_second(commit.seconds).ok().map(|time| time.to_string())
}

fn date(commit: Option<&Commit>) -> String {
    let time = commit.and_then(time).unwrap_or_default();
    time.split('T').next().unwrap_or_default().to_owned()
}
