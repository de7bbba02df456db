//! The full check of a fleet's sealed files; nothing is written.

mod generated;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nixmox_signing::DeliveryError;
use nixmox_sops::{EncryptedFile, Finding, Format, Identities, Recipient, detect, is_sops};
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;
use rayon::prelude::*;

use crate::Error;
use crate::admins::Admins;
use crate::base::Base;
use crate::edit::{Options, open};
use crate::fleet::Fleet;
use crate::hosts::{Generated, HostFiles, orphans};
use crate::master;
use crate::plan::{Accept, wanted};
use crate::store::RelPath;
use crate::trust::{self, Beside, generation_of, keep_in_step, structure};

/// Names of plaintext files that people and other tools leave behind at the top of a fleet.
const LEFTOVERS: [&str; 6] = [
    "secrets.nix",
    "secrets.dec.yaml",
    "secrets.plain.yaml",
    "build/secrets.nix",
    "build/secrets.json",
    "keys.txt",
];

/// One thing that is wrong with a fleet's sealed files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file that it is about.
    pub path: RelPath,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a sealed file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A crash left a commit that the next change will finish.
    Unfinished,
    /// It holds plaintext where ciphertext belongs.
    Plaintext,
    /// It is not there, though its host has secrets.
    Missing,
    /// It cannot be read as a sops file or a key; with the cause.
    Malformed(String),
    /// It is not sealed as strictly as a fleet's files are; with the rule and the place.
    Unsound(String),
    /// It is sealed to others than it should be.
    Recipients {
        /// Who should open it and cannot.
        missing: Vec<String>,
        /// Who can open it and should not.
        extra: Vec<String>,
    },
    /// It does not open, or its MAC is wrong; with the cause.
    Unopened(String),
    /// Its values are not those that the master gives the host; with their names.
    Outdated(Vec<String>),
    /// It belongs to no host of the fleet, or to one without secrets.
    Orphan,
    /// It lies elsewhere than it belongs; the next change moves it there.
    Misplaced(RelPath),
    /// Its public parts are not those of the generated secrets.
    AlteredPublic,
    /// No digest of this tool vouches for this host key.
    UnvouchedKey,
    /// The key that its host is to get was not made by this tool, or is gone.
    UnvouchedNextKey,
    /// No digest of this tool vouches for this sealed file: somebody else may know its data key.
    UnvouchedFile,
    /// No digest of this tool vouches for these recipients in `.sops.yaml`, or for those that were taken out.
    UnvouchedAdmins(Vec<String>),
    /// The roster is not one that this machine trusts; with the cause.
    Untrusted(String),
    /// It names recipients that the roster does not.
    Strangers(Vec<String>),
    /// It lacks recipients that the roster names; the next change writes it anew.
    BehindRoster,
    /// It has no signature, in a fleet that signs what it delivers.
    Unsigned,
    /// Its signature is not accepted; with the cause.
    BadSignature(String),
}

impl ProblemKind {
    /// Names the problem for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished-commit",
            Self::Plaintext => "plaintext",
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::Unsound(_) => "unsound",
            Self::Recipients { .. } => "wrong-recipients",
            Self::Unopened(_) => "does-not-open",
            Self::Outdated(_) => "outdated",
            Self::Orphan => "orphan",
            Self::Misplaced(_) => "misplaced",
            Self::AlteredPublic => "altered-public-parts",
            Self::UnvouchedKey => "unvouched-key",
            Self::UnvouchedNextKey => "unvouched-next-key",
            Self::UnvouchedFile => "unvouched-file",
            Self::UnvouchedAdmins(_) => "unvouched-admins",
            Self::Untrusted(_) => "untrusted-roster",
            Self::Strangers(_) => "strangers",
            Self::BehindRoster => "behind-roster",
            Self::Unsigned => "unsigned",
            Self::BadSignature(_) => "bad-signature",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished => f.write_str("a crash left a commit unfinished"),
            Self::Plaintext => f.write_str("holds plaintext"),
            Self::Missing => f.write_str("is missing, though its host has secrets"),
            Self::Malformed(cause) => write!(f, "is malformed: {cause}"),
            Self::Unsound(what) => write!(f, "is not sealed strictly: {what}"),
            Self::Recipients { missing, extra } => {
                f.write_str("is sealed to the wrong recipients:")?;
                missing.iter().try_for_each(|r| write!(f, " -{r}"))?;
                extra.iter().try_for_each(|r| write!(f, " +{r}"))
            }
            Self::Unopened(cause) => write!(f, "does not open: {cause}"),
            Self::Outdated(names) => {
                write!(f, "does not hold what the master gives its host: {}", names.join(", "))
            }
            Self::Orphan => f.write_str("belongs to no host that has secrets"),
            Self::Misplaced(path) => write!(f, "belongs at {path}"),
            Self::AlteredPublic => {
                f.write_str("does not hold the public parts of the generated secrets")
            }
            Self::UnvouchedKey => f.write_str("was neither made nor accepted by this tool"),
            Self::UnvouchedNextKey => {
                f.write_str("is not the key that this tool made for its host to get")
            }
            Self::UnvouchedFile => f.write_str("was not sealed by this tool"),
            Self::UnvouchedAdmins(names) => {
                f.write_str("has recipients that nobody has vouched for:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Untrusted(cause) => write!(f, "is not trusted: {cause}"),
            Self::Strangers(names) => {
                f.write_str("names recipients that the roster does not:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::BehindRoster => f.write_str("lacks recipients that the roster names"),
            Self::Unsigned => f.write_str("has no signature, though this fleet signs"),
            Self::BadSignature(cause) => write!(f, "has a signature that is not accepted: {cause}"),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Everything that is wrong, by path.
    pub problems: Vec<Problem>,
    /// How many hosts have a sealed file.
    pub hosts: usize,
    /// Hosts whose key is being replaced.
    pub rotating: Vec<NodeName>,
    /// Whether every file was opened and compared; without identities only its form was looked at.
    pub opened: bool,
}

/// Checks every sealed file of the fleet at `root`.
///
/// With identities every file is opened with its own key, its MAC verified and its values compared with what the
/// master gives the host. Without any, what can be seen from outside is checked: that everything is sealed, to whom,
/// and that nothing is left over.
///
/// # Errors
///
/// Any [`Error`] that keeps the check from going on: the fleet cannot be read, the master does not open or evaluate.
pub fn check(root: &std::path::Path, options: &Options<'_>) -> Result<Checked, Error> {
    if options.identities.is_empty() {
        let mut fleet = Fleet::open(root, options.ask_nix)?;
        keep_in_step(&mut fleet)?;
        return Check::new((&fleet, options.accept), &HostFiles::read_all(&fleet)?)?.outside();
    }
    let (fleet, master) = open(root, options)?;
    let tree = master::evaluate(master.form, &master.text, options.real_nix)?;
    let base = Base::read(&fleet, &master)?;
    let (settled, found) = generated::values(&base, master::nodes(&tree)?, (&fleet, options))?;
    let nodes = &settled.filled;
    let delivered = nixmox_cascade::resolve(&fleet.topology, nodes).map_err(Error::Cascade)?;
    let mut check = Check::new((&fleet, options.accept), &base.files)?;
    check.problems.extend(found);
    check.problems.extend(generated::public(&base, &settled, &fleet)?);
    check.inside(options.identities, &base, &wanted(delivered)?)
}

/// A check in progress.
struct Check<'a> {
    fleet: &'a Fleet,
    files: &'a BTreeMap<NodeName, HostFiles>,
    admins: Admins,
    delivery: Option<Beside>,
    accept: Accept,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn new(
        (fleet, accept): (&'a Fleet, Accept),
        files: &'a BTreeMap<NodeName, HostFiles>,
    ) -> Result<Self, Error> {
        let (admins, delivery) = (Admins::read(fleet)?, Beside::of(fleet)?);
        Ok(Self { fleet, files, admins, delivery, accept, problems: Vec::new() })
    }

    /// Checks what can be seen without any key.
    fn outside(mut self) -> Result<Checked, Error> {
        self.surroundings()?;
        let per_host: Vec<Result<Vec<Problem>, Error>> =
            self.files.par_iter().map(|(host, files)| self.outside_of_host(host, files)).collect();
        self.collect(per_host)?;
        Ok(self.finish(false))
    }

    /// Checks everything: opens every file and compares it with what it should hold.
    fn inside(
        mut self,
        identities: &Identities,
        base: &Base<'_>,
        wanted: &BTreeMap<NodeName, SecretTree>,
    ) -> Result<Checked, Error> {
        self.surroundings()?;
        let per_host: Vec<Result<Vec<Problem>, Error>> = self
            .files
            .par_iter()
            .map(|(host, files)| {
                let mut found = self.outside_of_host(host, files)?;
                if found.is_empty() {
                    let judges = (identities, self.delivery.as_ref());
                    found.extend(inside_of_host(judges, (host, wanted.get(host)), files));
                }
                found.extend(older(base, host, files));
                if let (true, Some(bytes)) = (found.is_empty(), &files.sealed.bytes)
                    && !base.vouches_for_sealed(host, bytes)
                {
                    let path = files.sealed.place().clone();
                    found.push(Problem { path, kind: ProblemKind::UnvouchedFile });
                }
                Ok(found)
            })
            .collect();
        self.collect(per_host)?;
        self.trust(base, wanted);
        Ok(self.finish(true))
    }

    /// Looks for keys and recipients that the digests do not vouch for.
    fn trust(&mut self, base: &Base<'_>, wanted: &BTreeMap<NodeName, SecretTree>) {
        if let (Err(error), Ok(path)) = (base.admit_fleet(self.fleet), self.fleet.layout.roster()) {
            self.found(path, ProblemKind::Untrusted(error.to_string()));
        }
        for host in base.unvouched_keys() {
            if let Some(files) = self.files.get(host) {
                self.found(files.public.place().clone(), ProblemKind::UnvouchedKey);
            }
        }
        for (host, files) in self.files {
            if base.vouched_next(host, files).is_err() {
                let [_, public] = &files.next;
                self.found(public.place().clone(), ProblemKind::UnvouchedNextKey);
            }
        }
        let new = base.new_admins(|host| wanted.contains_key(host));
        if let (Some(new), Some(rules)) = (new, &self.fleet.rules) {
            let names = new.added.union(&new.removed).cloned().collect();
            self.found(rules.path.clone(), ProblemKind::UnvouchedAdmins(names));
        }
    }

    /// Checks the master from outside, and looks for what should not be there.
    fn surroundings(&mut self) -> Result<(), Error> {
        let fleet = self.fleet;
        if fleet.store.unfinished()? {
            self.found(RelPath::parse(".nixmox")?, ProblemKind::Unfinished);
        }
        self.roster()?;
        for path in orphans(fleet, self.files) {
            self.found(path, ProblemKind::Orphan);
        }
        generated::outside(fleet, &mut self.problems)?;
        for name in LEFTOVERS {
            let path = RelPath::parse(name)?;
            if fleet.read(&path)?.is_some_and(|bytes| detect(&bytes).is_none()) {
                self.found(path, ProblemKind::Plaintext);
            }
        }
        let layout = &fleet.layout;
        let twin = if layout.private { Some(layout.public_twin().master()?) } else { None };
        let master = Generated::read(fleet, layout.master()?, twin)?;
        let Some(bytes) = &master.bytes else {
            self.found(master.path, ProblemKind::Missing);
            return Ok(());
        };
        let format = crate::master::sealed_format(bytes);
        for kind in from_outside((bytes, format), &self.admins.master) {
            self.found(master.place().clone(), kind);
        }
        if let Some(stray) = master.strayed {
            self.found(stray, ProblemKind::Misplaced(master.path));
        }
        Ok(())
    }

    /// Holds the roster against what this machine knows, and `.sops.yaml` against the roster.
    fn roster(&mut self) -> Result<(), Error> {
        let fleet = self.fleet;
        if let Err(error) = trust::admit_chain(fleet.roster(), self.accept.roster) {
            self.found(fleet.layout.roster()?, ProblemKind::Untrusted(error.to_string()));
        }
        if let Some((path, strangers)) = trust::strangers(fleet)? {
            self.found(path, ProblemKind::Strangers(strangers));
        }
        for file in &fleet.pending {
            self.found(file.path.clone(), ProblemKind::BehindRoster);
        }
        Ok(())
    }

    /// Takes the problems of all hosts, or the error of the first that has one.
    fn collect(&mut self, per_host: Vec<Result<Vec<Problem>, Error>>) -> Result<(), Error> {
        for problems in per_host {
            self.problems.extend(problems?);
        }
        Ok(())
    }

    fn found(&mut self, path: RelPath, kind: ProblemKind) {
        self.problems.push(Problem { path, kind });
    }

    fn finish(mut self, opened: bool) -> Checked {
        self.problems.sort();
        self.problems.dedup();
        let hosts = self.files.values().filter(|files| files.sealed.bytes.is_some()).count();
        let next = |files: &HostFiles| files.next.iter().any(|file| file.bytes.is_some());
        let rotating = self.files.iter().filter(|(_, files)| next(files));
        let rotating = rotating.map(|(host, _)| host.clone()).collect();
        Checked { problems: self.problems, hosts, rotating, opened }
    }
}

impl Check<'_> {
    /// Checks a host's files without opening them.
    fn outside_of_host(&self, host: &NodeName, files: &HostFiles) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let mut found =
            |file: &Generated, kind| problems.push(Problem { path: file.place().clone(), kind });
        let (key, public) = match (&files.key.bytes, &files.public.bytes) {
            (Some(key), Some(_)) => (key, files.public_key()),
            (None, None) if files.sealed.bytes.is_none() => return Ok(problems),
            _ => {
                let missing = [&files.key, &files.public].into_iter().filter(|f| f.bytes.is_none());
                missing.for_each(|file| found(file, ProblemKind::Missing));
                return Ok(problems);
            }
        };
        let admins = self.admins.need_key(host, &files.key.path)?;
        let kinds = from_outside((key, Format::Binary), admins);
        kinds.into_iter().for_each(|kind| found(&files.key, kind));
        let [next, _] = &files.next;
        if let Some(bytes) = &next.bytes {
            let kinds = from_outside((bytes, Format::Binary), admins);
            kinds.into_iter().for_each(|kind| found(next, kind));
        }
        match (public, &files.sealed.bytes) {
            (Err(error), _) => found(&files.public, ProblemKind::Malformed(causes(&error))),
            (Ok(public), Some(bytes)) => {
                let keys = std::iter::once(public).chain(files.next_public_key().ok());
                let owner: Vec<_> =
                    keys.filter_map(|key| Recipient::parse(&key.age_recipient()).ok()).collect();
                let kinds = from_outside((bytes, Format::Yaml), &owner);
                kinds.into_iter().for_each(|kind| found(&files.sealed, kind));
            }
            (Ok(_), None) => {}
        }
        for file in files.all() {
            if file.strayed.is_some() {
                found(file, ProblemKind::Misplaced(file.path.clone()));
            }
        }
        if let (Some(delivery), Some(_)) = (&self.delivery, &files.sealed.bytes) {
            match delivery.judge(host, files) {
                Some(Ok(_)) => {}
                Some(Err(error)) => found(&files.sealed, ProblemKind::BadSignature(causes(&error))),
                None => found(&files.sealed, ProblemKind::Unsigned),
            }
        }
        Ok(problems)
    }
}

/// Tells whether a host's signed file is older than the last one on record.
fn older(base: &Base<'_>, host: &NodeName, files: &HostFiles) -> Option<Problem> {
    base.delivery.as_ref()?;
    let (found, seen) = (generation_of(files)?, base.generation(host));
    let error = DeliveryError::RolledBack { found, seen };
    let kind = || ProblemKind::BadSignature(error.to_string());
    (found < seen).then(|| Problem { path: files.sealed.place().clone(), kind: kind() })
}

/// Checks one sealed file without opening it: its form, and whom it names and really is sealed to.
fn from_outside((bytes, format): (&[u8], Format), to: &[Recipient]) -> Vec<ProblemKind> {
    if !is_sops(bytes, format) {
        return vec![ProblemKind::Plaintext];
    }
    let file = match EncryptedFile::parse(bytes, format) {
        Ok(file) => file,
        Err(error) => return vec![ProblemKind::Malformed(causes(&error))],
    };
    let labels: BTreeSet<String> = file.recipients().into_iter().map(str::to_owned).collect();
    let wanted: BTreeSet<String> = to.iter().map(ToString::to_string).collect();
    let mut kinds = Vec::new();
    if labels != wanted {
        kinds.push(ProblemKind::Recipients {
            missing: wanted.difference(&labels).cloned().collect(),
            extra: labels.difference(&wanted).cloned().collect(),
        });
    }
    kinds.extend(file.audit().iter().map(|finding| ProblemKind::Unsound(place(finding))));
    kinds
}

/// Says which rule of strict files is broken, and where.
fn place(finding: &Finding) -> String {
    let path = finding.path.to_string();
    let rule = finding.kind.name();
    if path.is_empty() { rule.to_owned() } else { format!("{rule} at `{path}`") }
}

/// Opens a host's files and compares them with what they should hold.
fn inside_of_host(
    (identities, delivery): (&Identities, Option<&Beside>),
    (host, wanted): (&NodeName, Option<&SecretTree>),
    files: &HostFiles,
) -> Option<Problem> {
    let problem = |file: &Generated, kind| Some(Problem { path: file.place().clone(), kind });
    match (wanted, &files.sealed.bytes) {
        (None, Some(_)) => return problem(&files.sealed, ProblemKind::Orphan),
        (Some(_), None) => return problem(&files.sealed, ProblemKind::Missing),
        (None, None) if files.key.bytes.is_none() => return None,
        _ => {}
    }
    let key = match files.open_key(identities) {
        Ok(key) => key,
        Err(error) => return problem(&files.key, ProblemKind::Unopened(causes(&error))),
    };
    let wanted = wanted?;
    let file = match files.open_sealed(&key) {
        Ok(file) => file,
        Err(error) => return problem(&files.sealed, ProblemKind::Unopened(causes(&error))),
    };
    match file.documents().to_tree() {
        Err(error) => problem(&files.sealed, ProblemKind::Malformed(error.to_string())),
        Ok(held) if held == *wanted => {
            // Who signed may have stated something else about the values than that they are these.
            let signed = delivery.and_then(|delivery| delivery.judge(host, files))?.ok()?.1;
            let stated = signed.danger_statement().structure;
            let kind = || ProblemKind::BadSignature(DeliveryError::Structure.to_string());
            (stated != structure(file.data_key(), host, &held))
                .then(|| Problem { path: files.sealed.place().clone(), kind: kind() })
        }
        Ok(held) => problem(&files.sealed, ProblemKind::Outdated(differing(&held, wanted))),
    }
}

/// Names the leaves that only one of two trees has, or that differ.
fn differing(held: &SecretTree, wanted: &SecretTree) -> Vec<String> {
    let mut names = BTreeSet::new();
    for (one, other) in [(held, wanted), (wanted, held)] {
        one.for_each_leaf(&mut |path, value| {
            if other.at(path) != Some(value) {
                names.insert(path.join("."));
            }
        });
    }
    names.into_iter().collect()
}

/// Joins an error and its causes into one line; none of them holds plaintext.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
