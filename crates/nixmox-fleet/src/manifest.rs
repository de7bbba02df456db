//! The fleet's service manifest, as far as a deployment needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{HealthCheck, HealthProbe, Labels, Place, Vantage};
use nixmox_manifest::{
    Facts, Gate, Inventory, Loaded, Manifest, OnFailure, Outputs, Plan, Severity, Stage, check,
    render,
};
use nixmox_secrets::Fleet as Repository;
use nixmox_topology::NodeName;

use crate::advice;

/// The longest that one try of a check takes.
const TRY: u64 = 60;

/// What the manifest says about the services, each of which is a node.
pub(crate) struct Services {
    addresses: BTreeMap<NodeName, String>,
    /// Each with its members: `all`, and the sections.
    groups: BTreeMap<String, Vec<String>>,
    places: BTreeMap<NodeName, Place>,
    gates: BTreeMap<NodeName, Gate>,
}

impl Services {
    /// Reads the manifest of the fleet at `root`, if it has one.
    pub(crate) fn read(root: &Path, repository: &Repository) -> Result<Option<Self>, Failure> {
        let found = nixmox_secrets::needed::manifest(repository).map_err(advice::repository)?;
        let Some((path, loaded)) = found else { return Ok(None) };
        let asked = loaded.needs_nix().then(|| nixmox_instantiate::manifest(root, &path));
        let loaded = asked.flatten().unwrap_or(loaded);
        let manifest = sound(&loaded)?;
        Ok(Some(Self::of(manifest, &Inventory::of(&loaded))))
    }

    fn of(manifest: &Manifest, inventory: &Inventory) -> Self {
        let outputs = Outputs::new(manifest);
        let addresses = outputs
            .hosts
            .iter()
            .filter_map(|(name, host)| Some((NodeName::parse(name).ok()?, host.ip?.to_string())));
        let plan = Plan::new(manifest);
        let (mut places, mut gates) = (BTreeMap::new(), BTreeMap::new());
        let mut wave = 0;
        let stages = [Stage::Core, Stage::Applications];
        for phase in plan.phases.iter().filter(|phase| stages.contains(&phase.stage)) {
            for steps in &phase.waves {
                for step in steps {
                    let Ok(node) = NodeName::parse(&step.service) else { continue };
                    let needs = step.needs.iter().filter_map(|need| NodeName::parse(need).ok());
                    let gate = phase.on_failure == OnFailure::Halt;
                    let place = Place { needs: needs.collect(), wave, gate };
                    places.insert(node.clone(), place);
                    gates.extend(step.gate.clone().map(|gate| (node, gate)));
                }
                wave += 1;
            }
        }
        let groups = inventory.groups().into_iter().map(|(name, members)| {
            (name.to_owned(), members.into_iter().map(str::to_owned).collect())
        });
        Self { addresses: addresses.collect(), groups: groups.collect(), places, gates }
    }

    /// Lists the enabled services that hosts are made for.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeName> {
        self.addresses.keys().cloned().collect()
    }

    /// Adds the manifest's groups to what nodes are called.
    pub(crate) fn label(&self, labels: &mut BTreeMap<NodeName, Labels>) {
        for (group, members) in &self.groups {
            let below = members.iter().flat_map(|member| self.groups.get(member)).flatten();
            for member in members.iter().chain(below) {
                if let Some(own) = labels.get_mut(member.as_str()) {
                    own.groups.insert(group.clone());
                }
            }
        }
    }

    /// Returns the address of a node.
    pub(crate) fn address(&self, node: &NodeName) -> Option<String> {
        self.addresses.get(node).cloned()
    }

    /// Says where a node stands among the others.
    pub(crate) fn place(&self, node: &NodeName) -> Option<Place> {
        self.places.get(node).cloned()
    }

    /// Returns the check that makes a service count as deployed.
    pub(crate) fn check(&self, node: &NodeName) -> Option<HealthCheck> {
        let gate = self.gates.get(node)?;
        let number = |n: i64| u64::try_from(n).unwrap_or_default();
        Some(HealthCheck {
            name: "health of the manifest".to_owned(),
            probe: HealthProbe::Command(gate.command.clone()?),
            from: Vantage::Host,
            retries: u32::try_from(gate.retries).unwrap_or_default(),
            interval: Duration::from_secs(number(gate.interval).max(1)),
            timeout: Duration::from_secs(number(gate.timeout).clamp(1, TRY)),
        })
    }
}

/// Returns the manifest if nothing in it is an error: what is made of a wrong one is wrong.
fn sound(loaded: &Loaded) -> Result<&Manifest, Failure> {
    let report = check(loaded, &Facts::default());
    match loaded.manifest() {
        Some(manifest) if report.count(Severity::Error) == 0 => Ok(manifest),
        _ => {
            let shown = render::short(&report, loaded.sources());
            let failure = Failure::new(Exit::Config, "the service manifest has errors");
            let failure = shown.lines().take(5).fold(failure, Failure::hint);
            Err(failure.hint("see all of it: nixmox-manifest check"))
        }
    }
}
