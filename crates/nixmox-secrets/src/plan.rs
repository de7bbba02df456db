//! The plan: every byte that a commit will write, worked out before the first of them is written.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nixmox_sops::{
    CreationRules, DataKey, Format, Identities, Interaction, Keep, Recipient, SealOptions, seal,
};
use nixmox_topology::{Area, NodeName};
use nixmox_tree::{SecretString, SecretTree};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use rayon::prelude::*;

use crate::Error;
use crate::digests::{Digest, DigestKey, Digests, HostDigests};
use crate::edit::RealNix;
use crate::fleet::Fleet;
use crate::host_plan::{HostContext, HostPlan, Wanted};
use crate::hosts::HostFiles;
use crate::master::{self, Form, Master};
use crate::report::{Change, HostReport, Reason, Report};
use crate::store::{Changes, Mode, RelPath, sha256};
use crate::strict::sealable;

/// What the person at the keyboard has vouched for beyond what the digests do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accept {
    /// The recipients of `.sops.yaml` as they are now.
    pub admins: bool,
    /// The host keys that lie in the repository.
    pub host_keys: bool,
}

/// Everything that a plan is made from.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Its master as it was opened.
    pub master: &'a Master,
    /// The master's text as it shall be.
    pub text: &'a SecretString,
    /// The keys that open the master and the hosts' keys.
    pub identities: &'a Identities,
    /// What was vouched for.
    pub accept: Accept,
    /// A real Nix to evaluate the text with, instead of the embedded evaluator.
    pub real_nix: Option<&'a RealNix>,
    /// Talks to a person for recipients that need a plugin; without it, none is started.
    pub interaction: Option<&'a Interaction>,
}

/// Every change that brings a fleet to what its master says.
#[derive(Debug)]
pub struct Plan {
    changes: Changes,
    report: Report,
}

impl Plan {
    /// Works out the plan; nothing is written.
    ///
    /// The same request, random numbers and time give the same plan, but for the envelopes of data keys, whose
    /// randomness the age crate draws itself.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the text does not evaluate, a value cannot be delivered, a key or the recipients are not
    /// vouched for, or a file cannot be read, opened or sealed.
    pub fn new(
        request: Request<'_>,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Self, Error> {
        let base = Base::read(request)?;
        if let Some(plan) = base.unchanged() {
            return Ok(plan);
        }
        let tree = master::evaluate(request.master.form, request.text, request.real_nix)?;
        let nodes = master::nodes(&tree)?;
        let topology = &request.fleet.topology;
        let delivered = nixmox_cascade::resolve(topology, &nodes).map_err(Error::Cascade)?;
        let wanted = wanted(delivered)?;
        base.check_admins()?;
        let sealed_master = base.seal_master(rng, now)?;
        let hosts = base.hosts(&wanted, &sealed_master.key, rng, now)?;
        let mut plan = base.assemble(sealed_master, hosts);
        plan.report.lints = nixmox_cascade::lint(topology, &nodes).map_err(Error::Cascade)?;
        Ok(plan)
    }

    /// Returns what the plan does, by name.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Returns the files that the plan writes and removes.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes the plan apart for the commit.
    pub fn into_parts(self) -> (Changes, Report) {
        (self.changes, self.report)
    }
}

/// Checks, before anybody writes, that the admins and the keys of hosts with secrets are vouched for.
pub(crate) fn check_trust(request: Request<'_>) -> Result<(), Error> {
    let base = Base::read(request)?;
    base.check_admins()?;
    if request.accept.host_keys {
        return Ok(());
    }
    let mut hosts = Vec::new();
    for host in unvouched_keys(request.fleet, request.master, &base.files)? {
        if let Some(files) = base.files.get(&host) {
            hosts.push((host, files.public_key()?.fingerprint()));
        }
    }
    if hosts.is_empty() { Ok(()) } else { Err(Error::UnknownHostKeys { hosts }) }
}

/// Finds the hosts with a sealed file whose key pair no digest vouches for.
pub(crate) fn unvouched_keys(
    fleet: &Fleet,
    master: &Master,
    files: &BTreeMap<NodeName, HostFiles>,
) -> Result<Vec<NodeName>, Error> {
    let key = master.file.as_ref().map(|file| DigestKey::derive(file.data_key()));
    let bytes = fleet.read(&fleet.layout.digests()?)?;
    let known = key.zip(bytes.as_deref().and_then(Digests::parse));
    let mut unvouched = Vec::new();
    for (host, files) in files.iter().filter(|(_, files)| files.sealed.bytes.is_some()) {
        let Some((private, public)) = files.key_pair(host)? else { continue };
        let vouched = known.as_ref().is_some_and(|(key, known)| {
            let record = known.hosts.get(host.as_ref());
            record.is_some_and(|record| record.key.matches(&key.key(host, private, public)))
        });
        if !vouched {
            unvouched.push(host.clone());
        }
    }
    Ok(unvouched)
}

/// Turns delivered values into what can be sealed, for every host.
pub(crate) fn wanted(
    delivered: BTreeMap<NodeName, SecretTree>,
) -> Result<BTreeMap<NodeName, SecretTree>, Error> {
    delivered
        .into_iter()
        .map(|(host, tree)| match sealable(&tree) {
            Ok(tree) => Ok((host, tree)),
            Err((path, problem)) => Err(Error::Unsealable { host, path, problem }),
        })
        .collect()
}

/// Returns the recipients that the rules name for `path`.
pub(crate) fn recipients(rules: &CreationRules, path: &RelPath) -> Result<Vec<Recipient>, Error> {
    let fail = |source| Error::Rules { path: path.clone(), source };
    let rule = rules.rule_for(path.as_str()).map_err(fail)?;
    if rule.recipients.is_empty() {
        return Err(Error::NoRecipients { path: path.clone() });
    }
    Ok(rule.recipients)
}

/// What lies in the repository before a plan, and what is known about it.
struct Base<'a> {
    request: Request<'a>,
    /// Where the master belongs.
    master_path: RelPath,
    master_to: Vec<Recipient>,
    key_to: BTreeMap<NodeName, Vec<Recipient>>,
    admins: BTreeSet<String>,
    files: BTreeMap<NodeName, HostFiles>,
    digests_path: RelPath,
    digests_bytes: Option<Vec<u8>>,
    /// The key of the digests in the repository, and the digests; without a master there are none.
    known: Option<(DigestKey, Digests)>,
}

/// A master ready to be written.
struct SealedMaster {
    key: DigestKey,
    /// `None` when it stays as it is.
    bytes: Option<Vec<u8>>,
}

impl<'a> Base<'a> {
    fn read(request: Request<'a>) -> Result<Self, Error> {
        let fleet = request.fleet;
        let rules = fleet.rules.as_ref().ok_or(Error::NoRules)?;
        let master_path = fleet.layout.master()?;
        let master_to = recipients(rules, &master_path)?;
        let mut key_to = BTreeMap::new();
        for host in fleet.topology.hosts() {
            let path = fleet.layout.host(&fleet.topology.dir(host))?.key;
            key_to.insert(host.clone(), recipients(rules, &path)?);
        }
        let admins =
            master_to.iter().chain(key_to.values().flatten()).map(ToString::to_string).collect();
        let digests_path = fleet.layout.digests()?;
        let digests_bytes = fleet.read(&digests_path)?;
        let key = request.master.file.as_ref().map(|file| DigestKey::derive(file.data_key()));
        let known = key.zip(digests_bytes.as_deref().and_then(Digests::parse));
        let files = HostFiles::read_all(fleet)?;
        Ok(Self {
            request,
            master_path,
            master_to,
            key_to,
            admins,
            files,
            digests_path,
            digests_bytes,
            known,
        })
    }

    /// Digests everything that decides which host gets what.
    fn inputs(&self, key: &DigestKey) -> Digest {
        let fleet = self.request.fleet;
        let layout = format!("{:?} {:?}", fleet.layout, self.request.master.form);
        key.digest(
            "inputs",
            &[&fleet.definitions, layout.as_bytes(), self.request.text.expose().as_bytes()],
        )
    }

    /// Returns the plan that does nothing, when the digests prove that nothing is to be done.
    fn unchanged(&self) -> Option<Plan> {
        let (key, known) = self.known.as_ref()?;
        let same = self.master_stays()
            && known.vouches_for_admins(key)
            && known.admins == self.admins
            && known.inputs.matches(&self.inputs(key));
        if !same || !self.files.par_iter().all(|(host, files)| vouched(key, known, host, files)) {
            return None;
        }
        let unchanged = HostReport { change: Change::Unchanged, reasons: Vec::new() };
        let sealed = self.files.iter().filter(|(_, files)| files.sealed.bytes.is_some());
        let hosts = sealed.map(|(host, _)| (host.clone(), unchanged.clone())).collect();
        let report = Report {
            master: Change::Unchanged,
            hosts,
            orphans: self.orphans(),
            lints: Vec::new(),
            digests: Change::Unchanged,
        };
        Some(Plan { changes: Changes::new(), report })
    }

    /// Tells whether the master's file can stay as it is.
    fn master_stays(&self) -> bool {
        let master = self.request.master;
        let same_text = master.text == *self.request.text;
        master.file.is_some() && same_text && master.path == self.master_path && !self.new_admins()
    }

    /// Tells whether the recipients are others than an admin last recorded.
    fn new_admins(&self) -> bool {
        match (&self.request.master.file, &self.known) {
            (None, _) => false,
            (Some(_), Some((key, known))) if known.vouches_for_admins(key) => {
                known.admins != self.admins
            }
            (Some(file), _) => {
                let labels: BTreeSet<&str> = file.metadata().recipients().into_iter().collect();
                let wanted: BTreeSet<&str> = self.master_to.iter().map(Recipient::as_str).collect();
                labels != wanted
            }
        }
    }

    /// Refuses recipients that nobody has vouched for.
    fn check_admins(&self) -> Result<(), Error> {
        if !self.new_admins() || self.request.accept.admins {
            return Ok(());
        }
        let labels = || {
            let file = self.request.master.file.as_ref();
            let labels = file.map(|file| file.metadata().recipients()).unwrap_or_default();
            labels.into_iter().map(str::to_owned).collect()
        };
        let old: BTreeSet<String> = match &self.known {
            Some((key, known)) if known.vouches_for_admins(key) => known.admins.clone(),
            _ => labels(),
        };
        Err(Error::AdminsChanged {
            added: self.admins.difference(&old).cloned().collect(),
            removed: old.difference(&self.admins).cloned().collect(),
        })
    }

    /// Seals the master anew unless it stays; other recipients mean another data key.
    fn seal_master(
        &self,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<SealedMaster, Error> {
        let Request { master, text, .. } = self.request;
        let kept = master.file.as_ref().filter(|_| !self.new_admins());
        if let Some(file) = kept.filter(|_| self.master_stays()) {
            return Ok(SealedMaster { key: DigestKey::derive(file.data_key()), bytes: None });
        }
        let fresh = DataKey::generate(rng);
        let (keep, data_key) = match kept {
            Some(file) => (Keep::Values(file), file.data_key()),
            None => (Keep::Key(&fresh), &fresh),
        };
        let documents = master::documents(master.form, text)?;
        let mut options = SealOptions::new(self.master_to.iter().cloned());
        options.interaction = self.request.interaction.cloned();
        options.strict = master.form == Form::Yaml;
        let bytes = seal(&documents, (master.form.format(), &options), keep, rng, now)
            .map_err(|source| Error::Seal { path: self.master_path.clone(), source })?;
        Ok(SealedMaster { key: DigestKey::derive(data_key), bytes: Some(bytes) })
    }

    /// Plans every host, on all cores; each has a random number generator of its own, seeded in order.
    fn hosts(
        &self,
        wanted: &BTreeMap<NodeName, SecretTree>,
        new_key: &DigestKey,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Vec<HostPlan>, Error> {
        let work: Vec<_> = self
            .files
            .iter()
            .map(|(host, files)| {
                let mut seed = [0; 32];
                rng.fill_bytes(&mut seed);
                (host, files, ChaCha20Rng::from_seed(seed))
            })
            .collect();
        let plans: Result<Vec<Option<HostPlan>>, Error> = work
            .into_par_iter()
            .map(|(host, files, rng)| {
                let context = HostContext {
                    identities: self.request.identities,
                    interaction: self.request.interaction,
                    old_key: self.known.as_ref().map(|(key, _)| key),
                    new_key,
                    known: self.known_host(host),
                    key_to: self.key_to.get(host).map(Vec::as_slice).unwrap_or_default(),
                    accept_key: self.request.accept.host_keys,
                    new_admins: self.new_admins(),
                    now,
                };
                let wanted = Wanted { host, tree: wanted.get(host), files };
                HostPlan::new(&context, &wanted, rng)
            })
            .collect();
        let plans: Vec<HostPlan> = plans?.into_iter().flatten().collect();
        let unvouched = plans.iter().filter(|plan| plan.counted && !plan.vouched);
        let hosts: Vec<_> =
            unvouched.map(|plan| (plan.host.clone(), plan.fingerprint.clone())).collect();
        if hosts.is_empty() { Ok(plans) } else { Err(Error::UnknownHostKeys { hosts }) }
    }

    fn known_host(&self, host: &NodeName) -> Option<&HostDigests> {
        self.known.as_ref().and_then(|(_, known)| known.hosts.get(host.as_ref()))
    }

    /// Puts the parts together: changes, what they rely on, the new digests and the report.
    fn assemble(&self, master: SealedMaster, hosts: Vec<HostPlan>) -> Plan {
        let mut changes = Changes::new();
        let mut digests = Digests::new(&master.key, self.admins.clone(), self.inputs(&master.key));
        let mut reports = BTreeMap::new();
        for host in hosts {
            let report = host.report();
            if host.vouched {
                digests.hosts.insert(host.host.to_string(), host.digests);
            }
            for (path, bytes, mode) in host.writes {
                changes.write(path, bytes, mode);
            }
            host.removes.into_iter().for_each(|path| changes.remove(path));
            host.expect.into_iter().for_each(|(path, base)| changes.expect(path, base));
            if let Some(report) = report {
                reports.insert(host.host, report);
            }
        }
        let master_change = self.write_master(master.bytes, &mut changes);
        let digests_change = self.write_digests(&digests, &mut changes);
        let report = Report {
            master: master_change,
            hosts: reports,
            orphans: self.orphans(),
            lints: Vec::new(),
            digests: digests_change,
        };
        Plan { changes, report }
    }

    fn write_master(&self, bytes: Option<Vec<u8>>, changes: &mut Changes) -> Change {
        let master = self.request.master;
        changes.expect(master.path.clone(), master.base);
        let Some(bytes) = bytes else { return Change::Unchanged };
        if master.path != self.master_path {
            changes.remove(master.path.clone());
        }
        changes.write(self.master_path.clone(), bytes, Mode::Public);
        if master.file.is_some() { Change::Updated } else { Change::Created }
    }

    fn write_digests(&self, digests: &Digests, changes: &mut Changes) -> Change {
        let new = digests.to_bytes();
        if self.digests_bytes.as_ref() == Some(&new) {
            return Change::Unchanged;
        }
        changes.expect(self.digests_path.clone(), self.digests_bytes.as_deref().map(sha256));
        changes.write(self.digests_path.clone(), new, Mode::Public);
        if self.digests_bytes.is_some() { Change::Updated } else { Change::Created }
    }

    /// Finds sealed files in directories that belong to no host of the fleet.
    fn orphans(&self) -> Vec<RelPath> {
        orphans(self.request.fleet)
    }
}

/// Finds sealed files in directories that belong to no host of the fleet.
pub(crate) fn orphans(fleet: &Fleet) -> Vec<RelPath> {
    let homes: BTreeSet<String> = fleet.topology.hosts().map(|h| fleet.topology.dir(h)).collect();
    let (sealed, ..) = fleet.layout.names();
    let stray = fleet.sealed_dirs.iter().filter(|(_, dir)| !homes.contains(dir));
    stray
        .filter_map(|(area, dir)| {
            let area = if *area == Area::Private { "private/" } else { "" };
            let path = RelPath::parse(&format!("{area}{dir}/{sealed}")).ok()?;
            let bytes = fleet.read(&path).ok()??;
            nixmox_sops::is_sops(&bytes, Format::Yaml).then_some(path)
        })
        .collect()
}

/// Tells whether the digests vouch for every file of a host, and for their being where they belong.
fn vouched(key: &DigestKey, known: &Digests, host: &NodeName, files: &HostFiles) -> bool {
    let strayed = [&files.sealed, &files.key, &files.public].iter().any(|f| f.strayed.is_some());
    let Some(record) = known.hosts.get(host.as_ref()) else {
        return files.sealed.bytes.is_none();
    };
    let key_ours = match files.key_pair(host) {
        Ok(Some((private, public))) => record.key.matches(&key.key(host, private, public)),
        _ => false,
    };
    let sealed_ours = match (&files.sealed.bytes, &record.sealed) {
        (None, None) => true,
        (Some(bytes), Some(digest)) => digest.matches(&key.sealed(host, bytes)),
        _ => false,
    };
    !strayed && key_ours && sealed_ours
}

/// Adds a reason once.
pub(crate) fn because(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}
