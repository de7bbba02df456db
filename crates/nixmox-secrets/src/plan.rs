//! The plan: every byte that a commit will write, worked out before the first of them is written.

mod ages;
mod generated;
mod sealed_master;
mod trust;

use std::collections::BTreeMap;

use jiff::Timestamp;
use nixmox_signing::{Hash, Signer};
use nixmox_sops::{Identities, Interaction};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretString, SecretTree};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use rayon::prelude::*;

use crate::Error;
use crate::admins;
use crate::base::Base;
use crate::digests::{Digest, DigestKey, Digests};
use crate::edit::RealNix;
use crate::fleet::Fleet;
use crate::generated::public;
use crate::generation::{Generation, Regenerate};
use crate::host_plan::{HostContext, HostPlan, Wanted};
use crate::hosts::orphans;
use crate::master::{self, Master};
use crate::plan::generated::SealedValues;
use crate::policy::Policy;
use crate::renewal::Renewal;
use crate::report::{Change, HostReport, Report};
use crate::store::{Changes, FileContent, Mode, RelPath};
use crate::strict::sealable;
use crate::trust::{Pinned, RosterFiles, admit_fleet};
use sealed_master::SealedMaster;
use trust::accept_admins;

pub(crate) use trust::{check_host_keys, check_trust};

/// So many hosts are planned on one core before it looks for others': with more, one core would end long before another.
const FEW: usize = 8;

/// What the person at the keyboard has vouched for beyond what the digests do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accept {
    /// The recipients of `.sops.yaml` as they are now.
    pub admins: bool,
    /// The host keys that lie in the repository, of hosts that have secrets.
    pub host_keys: bool,
    /// The roster that was last seen of the fleet; without it no roster is accepted.
    pub roster: Option<Pinned>,
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
    /// What is sealed anew though its values stay, if anything.
    pub renewal: Option<&'a Renewal>,
    /// What becomes of values that are declared instead of written.
    pub generation: Generation<'a>,
    /// Signs what hosts are delivered, in a fleet that signs; a plan without it can be looked at and not carried out.
    pub signer: Option<&'a dyn Signer>,
}

/// Every change that brings a fleet to what its master says.
#[derive(Debug)]
pub struct Plan {
    changes: Changes,
    report: Report,
    /// Whether signatures are missing in it.
    unsigned: bool,
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
        if let Some(renewal) = request.renewal {
            renewal.check(&request.fleet.topology)?;
        }
        admit_fleet(request.fleet, request.accept)?;
        let Request { fleet, master, .. } = request;
        let evaluate = is_for_others(request).then(|| evaluation(request));
        // The evaluation keeps one core busy, and reading files the disk.
        let (base, tree) =
            rayon::join(|| Base::read(fleet, master), || evaluate.map(|evaluate| evaluate()));
        let base = base?;
        base.admit_fleet(fleet)?;
        Self::from_parts((base, tree), request, rng, now)
    }

    /// Works out the plan as [`Plan::new`] does, on what [`check_trust`] has read and admitted.
    pub(crate) fn on(
        base: Base<'_>,
        request: Request<'_>,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Self, Error> {
        Self::from_parts((base, None), request, rng, now)
    }

    fn from_parts(
        (base, tree): (Base<'_>, Option<Result<SecretTree, Error>>),
        request: Request<'_>,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut planner = Planner { request, base, new_admins: false, rekey: false };
        if let Some(plan) = planner.unchanged() {
            return Ok(plan);
        }
        let tree = tree.unwrap_or_else(evaluation(request))?;
        let policy = Policy::read(&tree, &request.fleet.topology)?;
        let settled = planner.settle(master::nodes(&tree)?, rng, now)?;
        let nodes = settled.nodes();
        let topology = &request.fleet.topology;
        let delivered = nixmox_cascade::resolve(topology, nodes).map_err(Error::Cascade)?;
        let wanted = wanted(delivered)?;
        planner.judge(&wanted)?;
        let mut sealed_master = planner.master_key(rng);
        let mut master_rng = ChaCha20Rng::from_seed(seed(rng));
        sealed_master.ages = planner.ages(policy.is_some(), nodes, &sealed_master.key, now);
        let generated = planner.seal_generated(&settled, &sealed_master, rng, now)?;
        let public = planner.public_parts(&generated)?;
        let seeds = planner.seeds(rng);
        // What is about the fleet as a whole needs one core for as long as the hosts need all of them for a small part
        // of their work.
        let (hosts, (lints, orphans, master_bytes)) = rayon::join(
            || planner.hosts((&wanted, &public), seeds, &sealed_master.key, now),
            || {
                let bytes = planner.seal_master(&sealed_master.data_key, &mut master_rng, now);
                (nixmox_cascade::lint(topology, nodes), planner.orphans(), bytes)
            },
        );
        sealed_master.bytes = master_bytes?;
        let mut hosts = hosts?;
        let unsigned = planner.sign(&mut hosts)?;
        // What is wiped on its way out is wiped beside.
        let (assembled, ()) = rayon::join(
            || planner.assemble(sealed_master, generated, hosts),
            || wanted.into_values().for_each(drop),
        );
        let mut plan = assembled?;
        plan.unsigned = unsigned;
        plan.report.orphans = orphans;
        plan.report.generated = settled.notes();
        plan.report.lints = lints.map_err(Error::Cascade)?;
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

    /// Tells whether signatures are missing, because nobody was there to sign.
    pub fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// Takes the plan apart for the commit.
    pub fn into_parts(self) -> (Changes, Report) {
        (self.changes, self.report)
    }
}

/// Returns what evaluates the text, free of what cannot go to another thread.
fn evaluation<'a>(request: Request<'a>) -> impl FnOnce() -> Result<SecretTree, Error> + Send + 'a {
    let Request { master, text, real_nix, .. } = request;
    move || master::evaluate(master.form, text, real_nix)
}

/// Tells whether the master is to be sealed to others: then everything is planned anew, whatever the files say.
fn is_for_others(request: Request<'_>) -> bool {
    let wanted = admins::of_master(request.fleet);
    wanted.is_ok_and(|wanted| request.master.is_for_others(&admins::names(&wanted)))
}

/// Draws the seed of a random number generator.
fn seed(rng: &mut (impl RngCore + CryptoRng)) -> [u8; 32] {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

/// Turns delivered values into what can be sealed, for every host.
pub(crate) fn wanted(
    delivered: BTreeMap<NodeName, SecretTree>,
) -> Result<BTreeMap<NodeName, SecretTree>, Error> {
    let sealable: Vec<Result<_, Error>> = delivered
        .into_par_iter()
        .map(|(host, tree)| match sealable(tree) {
            Ok(tree) => Ok((host, tree)),
            Err((path, problem)) => Err(Error::Unsealable { host, path, problem }),
        })
        .collect();
    // Of several errors always the first host's, whichever thread was faster.
    sealable.into_iter().collect()
}

/// A plan in the making.
struct Planner<'a> {
    request: Request<'a>,
    base: Base<'a>,
    /// Whether the recipients are others than an admin last recorded: then everything gets new data keys.
    new_admins: bool,
    /// Whether the master gets a new data key, and with it the digests a new key.
    rekey: bool,
}

impl Planner<'_> {
    /// Digests everything that decides which host gets what, and what was generated from it.
    fn inputs(
        &self,
        key: &DigestKey,
        generated: Option<&[u8]>,
        public: &BTreeMap<RelPath, Vec<u8>>,
    ) -> Digest {
        let fleet = self.request.fleet;
        let layout = format!("{:?} {:?}", fleet.layout, self.request.master.form);
        let text = self.request.text.expose().as_bytes();
        let rules = fleet.rules.as_ref().map(|rules| rules.base).unwrap_or_default();
        let roster = fleet.roster.as_ref().and_then(RosterFiles::digest);
        let roster = roster.map(|digest| digest.to_string()).unwrap_or_default();
        let mut parts =
            vec![&fleet.definitions[..], &rules[..], roster.as_bytes(), layout.as_bytes(), text];
        parts.extend(generated);
        for (path, bytes) in public.iter().filter(|(_, bytes)| public::is_ours(bytes)) {
            parts.extend([path.as_str().as_bytes(), bytes]);
        }
        key.digest("inputs", &parts)
    }

    /// Returns the plan that does nothing, when the digests prove that nothing is to be done.
    fn unchanged(&self) -> Option<Plan> {
        let Base { generated, public, .. } = &self.base;
        let inputs = |key: &DigestKey| self.inputs(key, generated.bytes.as_deref(), public);
        let asked = self.request.renewal.is_some_and(|renewal| !renewal.is_empty())
            || *self.request.generation.again != Regenerate::Nothing
            || !self.request.fleet.pending.is_empty();
        let current = !asked && self.master_stays() && self.base.is_current(inputs);
        if !current {
            return None;
        }
        let unchanged = HostReport { change: Change::Unchanged, reasons: Vec::new() };
        let sealed = self.base.files.iter().filter(|(_, files)| files.sealed.bytes.is_some());
        let hosts = sealed.map(|(host, _)| (host.clone(), unchanged.clone())).collect();
        let report = Report {
            master: Change::Unchanged,
            hosts,
            rotating: self.base.rotating(),
            orphans: self.orphans(),
            lints: Vec::new(),
            generated: BTreeMap::new(),
            digests: Change::Unchanged,
            also: Vec::new(),
        };
        Some(Plan { changes: Changes::new(), report, unsigned: false })
    }

    fn orphans(&self) -> Vec<RelPath> {
        orphans(self.request.fleet, &self.base.files)
    }

    /// Decides what gets new data keys, and refuses recipients that nobody has vouched for.
    fn judge(&mut self, wanted: &BTreeMap<NodeName, SecretTree>) -> Result<(), Error> {
        let accept = self.request.accept;
        let new = self.base.new_admins(|host| wanted.contains_key(host));
        self.new_admins = accept_admins(new, self.request)?;
        self.rekey = self.new_admins
            || self.base.replaces_keys(wanted, accept.host_keys)
            || self.base.master_is_others()
            || self.request.renewal.is_some_and(Renewal::voids_digests);
        Ok(())
    }

    /// Seeds a random number generator for every host, in order.
    fn seeds(&self, rng: &mut (impl RngCore + CryptoRng)) -> Vec<ChaCha20Rng> {
        self.base.files.keys().map(|_| ChaCha20Rng::from_seed(seed(rng))).collect()
    }

    /// Plans every host, on all cores.
    fn hosts(
        &self,
        (wanted, public): (&BTreeMap<NodeName, SecretTree>, &BTreeMap<NodeName, Hash>),
        seeds: Vec<ChaCha20Rng>,
        new_key: &DigestKey,
        now: Timestamp,
    ) -> Result<Vec<HostPlan>, Error> {
        let work: Vec<_> = self.base.files.iter().zip(seeds).collect();
        let context = HostContext {
            base: &self.base,
            identities: self.request.identities,
            interaction: self.request.interaction,
            new_key,
            accept_key: self.request.accept.host_keys,
            new_admins: self.new_admins,
            renewal: self.request.renewal,
            public,
            now,
        };
        let plans: Vec<Result<Option<HostPlan>, Error>> = work
            .into_par_iter()
            .with_max_len(FEW)
            .map(|((host, files), rng)| {
                HostPlan::new(&context, &Wanted { host, tree: wanted.get(host), files }, rng)
            })
            .collect();
        // Of several errors always the first host's, whichever thread was faster.
        let plans: Vec<HostPlan> =
            plans.into_iter().filter_map(Result::transpose).collect::<Result<_, Error>>()?;
        let unvouched = plans.iter().filter(|plan| plan.counted && !plan.vouched);
        let hosts: Vec<_> =
            unvouched.map(|plan| (plan.host.clone(), plan.fingerprint.clone())).collect();
        if hosts.is_empty() { Ok(plans) } else { Err(Error::UnknownHostKeys { hosts }) }
    }

    /// Signs what hosts are delivered, one after the other: whoever is asked for a passphrase is asked in order.
    ///
    /// Tells whether somebody should have signed and nobody was there.
    fn sign(&self, hosts: &mut [HostPlan]) -> Result<bool, Error> {
        let mut missing = false;
        for host in hosts {
            let Some(unsigned) = host.unsigned.take() else { continue };
            let Some(signer) = self.request.signer else {
                missing = true;
                continue;
            };
            if let Some(delivery) = &self.base.delivery {
                delivery.accept_signer(signer)?;
            }
            let (path, bytes) = unsigned.sign(signer)?;
            host.writes.push((path, bytes, Mode::Public));
        }
        Ok(missing)
    }

    /// Puts the parts together: changes, what they rely on, the new digests and the report.
    fn assemble(
        &self,
        master: SealedMaster,
        generated: SealedValues,
        hosts: Vec<HostPlan>,
    ) -> Result<Plan, Error> {
        let mut changes = Changes::new();
        let mut records = BTreeMap::new();
        let mut reports = BTreeMap::new();
        let mut rotating = Vec::new();
        let (mut writes, mut expect) = (Vec::new(), Vec::new());
        for host in hosts {
            let report = host.report();
            if host.digests.next.is_some() {
                rotating.push(host.host.clone());
            }
            if host.vouched {
                records.insert(host.host.to_string(), host.digests);
            }
            let content = |(path, bytes, mode)| (path, FileContent { bytes, mode });
            writes.extend(host.writes.into_iter().map(content));
            host.removes.into_iter().for_each(|path| changes.remove(path));
            expect.extend(host.expect);
            if let Some(report) = report {
                reports.insert(host.host, report);
            }
        }
        // Thousands at once are sorted faster than they are put where they belong one by one.
        changes.writes = writes.into_iter().collect();
        changes.expect = expect.into_iter().collect();
        if let Some(rules) = &self.request.fleet.rules {
            changes.expect(rules.path.clone(), Some(rules.base));
        }
        for file in &self.request.fleet.pending {
            changes.expect(file.path.clone(), file.base);
            changes.write(file.path.clone(), file.bytes.clone(), Mode::Public);
        }
        let (key, admins) = (&master.key, self.base.admins.of_master());
        let inputs = self.inputs(key, generated.bytes.as_deref(), &generated.public);
        let fleet = self.request.fleet.roster().map(|chain| chain.fleet().to_string());
        let mut digests = Digests::new(key, (fleet, admins), inputs, records);
        digests.ages = master.ages.as_deref().map(|ages| key.ages(ages));
        self.base.write_ages(master.ages, &mut changes);
        generated.write(&self.base, &mut changes)?;
        let master_change = self.write_master(master.bytes, &mut changes);
        let digests_change = self.write_digests(&digests, &mut changes);
        let report = Report {
            master: master_change,
            hosts: reports,
            rotating,
            orphans: Vec::new(),
            lints: Vec::new(),
            generated: BTreeMap::new(),
            digests: digests_change,
            also: self.request.fleet.pending.iter().map(|file| file.path.clone()).collect(),
        };
        Ok(Plan { changes, report, unsigned: false })
    }

    fn write_digests(&self, digests: &Digests, changes: &mut Changes) -> Change {
        let (old, new) = (&self.base.digests, digests.to_bytes());
        if old.strayed.is_none() && old.bytes.as_ref() == Some(&new) {
            return Change::Unchanged;
        }
        changes.expect(old.place().clone(), old.base());
        if let Some(stray) = &old.strayed {
            changes.expect(old.path.clone(), None);
            changes.remove(stray.clone());
        }
        changes.write(old.path.clone(), new, Mode::Public);
        if old.bytes.is_some() { Change::Updated } else { Change::Created }
    }
}
