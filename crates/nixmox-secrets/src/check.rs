//! The full check of a fleet's sealed files; nothing is written.

mod generated;
mod host;
mod problem;

use std::collections::BTreeMap;

use nixmox_sops::{Identities, detect};
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
use crate::trust::{self, Beside, keep_in_step};
use host::{from_outside, inside_of_host, older};

pub use problem::{Problem, ProblemKind};

/// Names of plaintext files that people and other tools leave behind at the top of a fleet.
const LEFTOVERS: [&str; 6] = [
    "secrets.nix",
    "secrets.dec.yaml",
    "secrets.plain.yaml",
    "build/secrets.nix",
    "build/secrets.json",
    "keys.txt",
];

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

/// Joins an error and its causes into one line; none of them holds plaintext.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
