//! What a deployment does, in order: phases, waves in them, and what a failure means.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use crate::graph::{Graph, Waves};
use crate::model::{Manifest, Section};
use crate::view::{Listed, View};

/// The phases as `deployment_phases` names them, in order.
pub const PHASES: [&str; 4] = ["tf_infra", "nix_core", "tf_auth_core", "services"];

/// A step of every deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Containers are made.
    Infrastructure,
    /// Core hosts are switched.
    Core,
    /// The identity provider learns its applications.
    Identity,
    /// The other hosts are switched.
    Applications,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 4] =
        [Self::Infrastructure, Self::Core, Self::Identity, Self::Applications];

    /// Returns the name that `deployment_phases` has for it.
    pub fn phase(self) -> &'static str {
        match self {
            Self::Infrastructure => "tf_infra",
            Self::Core => "nix_core",
            Self::Identity => "tf_auth_core",
            Self::Applications => "services",
        }
    }

    /// Says in a few words what is done.
    pub fn words(self) -> &'static str {
        match self {
            Self::Infrastructure => "make containers",
            Self::Core => "switch core hosts",
            Self::Identity => "register applications",
            Self::Applications => "switch hosts",
        }
    }
}

/// What a failure does to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing further is done.
    Halt,
    /// What needs the failed service is skipped.
    SkipDependents,
}

/// When a service counts as deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// The command that has to succeed; none when the service has no health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Seconds it may take.
    pub timeout: i64,
    /// Seconds between tries.
    pub interval: i64,
    /// Tries that may fail once it has been well.
    pub retries: i64,
}

/// One service in one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The service.
    pub service: String,
    /// The services of the plan that it needs.
    pub needs: BTreeSet<String>,
    /// When it counts as done; stages of Terraform have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// One stage: waves after each other, steps of a wave at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// Which stage.
    pub stage: Stage,
    /// What a failure means.
    pub on_failure: OnFailure,
    /// The steps.
    pub waves: Vec<Vec<Step>>,
}

/// How often and how long something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Patience {
    /// Seconds that a service may take to become healthy, unless it says otherwise.
    pub health_check_timeout: i64,
    /// Further tries of a failed step.
    pub retry_attempts: i64,
    /// Seconds between tries.
    pub retry_delay: i64,
    /// Whether a failed step is undone.
    pub rollback: bool,
}

/// A whole deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// How often and how long something is tried.
    pub patience: Patience,
    /// The four stages, also those with nothing to do.
    pub phases: Vec<Phase>,
    /// Services that are in a circle, or need one: they cannot be deployed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stuck: BTreeSet<String>,
    #[serde(skip)]
    dependents: BTreeMap<String, BTreeSet<String>>,
}

/// What is left to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing: the deployment ends.
    Halt,
    /// These services are skipped, the rest goes on.
    Skip(BTreeSet<String>),
}

impl Plan {
    /// Plans the deployment of all enabled services.
    pub fn new(manifest: &Manifest) -> Self {
        let view = View::new(manifest);
        let graph = Graph::new(manifest);
        let phases = Stage::ALL.par_iter().map(|&stage| {
            let members = members(&view, stage);
            let Waves { waves, stuck } = match stage {
                Stage::Core | Stage::Applications => graph.waves(&members),
                _ if members.is_empty() => Waves::default(),
                _ => Waves { waves: vec![members.into_iter().collect()], ..Waves::default() },
            };
            let on_failure = match stage {
                Stage::Applications => OnFailure::SkipDependents,
                _ => OnFailure::Halt,
            };
            let step = |name: String| step(&view, &graph, stage, &name);
            let waves = waves.into_iter().map(|wave| wave.into_iter().map(step).collect());
            (Phase { stage, on_failure, waves: waves.collect() }, stuck)
        });
        let (phases, stuck): (Vec<_>, Vec<_>) = phases.unzip();
        let names = view.services.iter().filter(|service| service.enabled());
        let names = names.map(|service| service.name.to_owned());
        let dependents = reverse(&graph, names.collect());
        let stuck = stuck.into_iter().flatten().collect();
        Self { patience: patience(manifest), phases, stuck, dependents }
    }

    /// Tells what a failure of a service in a stage leaves to do.
    pub fn after_failure(&self, stage: Stage, service: &str) -> Aftermath {
        if stage != Stage::Applications {
            return Aftermath::Halt;
        }
        let mut skipped = BTreeSet::new();
        let mut todo = vec![service];
        while let Some(name) = todo.pop() {
            for above in self.dependents.get(name).into_iter().flatten() {
                if skipped.insert(above.clone()) {
                    todo.push(above);
                }
            }
        }
        Aftermath::Skip(skipped)
    }

    /// Counts the steps of all stages.
    pub fn steps(&self) -> usize {
        self.phases.iter().flat_map(|phase| &phase.waves).map(Vec::len).sum()
    }
}

/// For each service, who needs it directly.
fn reverse(graph: &Graph, among: BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let edges = graph.edges().iter().filter(|edge| edge.orders && edge.from != edge.to);
    for edge in edges.filter(|edge| among.contains(&edge.from)) {
        found.entry(edge.to.clone()).or_default().insert(edge.from.clone());
    }
    found
}

/// Lists the enabled services of a stage: those that `deployment_phases` names, else those it is made for.
fn members(view: &View<'_>, stage: Stage) -> BTreeSet<String> {
    let enabled = view.services.iter().filter(|service| service.enabled());
    let written = view.manifest.deployment_phases.as_ref();
    if let Some(phases) = written {
        let listed = phases.value.get(stage.phase()).into_iter().flat_map(|names| &names.value);
        let listed: BTreeSet<&str> = listed.map(|name| name.value.as_str()).collect();
        return enabled.filter(|s| listed.contains(s.name)).map(|s| s.name.to_owned()).collect();
    }
    let belongs = |service: &&Listed<'_>| match stage {
        Stage::Infrastructure => true,
        Stage::Core => service.section == Section::CoreServices,
        Stage::Identity => !service.logins().is_empty(),
        Stage::Applications => service.section == Section::Services,
    };
    enabled.filter(belongs).map(|service| service.name.to_owned()).collect()
}

fn step(view: &View<'_>, graph: &Graph, stage: Stage, name: &str) -> Step {
    let needs = graph.edges_of(name).filter(|edge| edge.orders && edge.from != edge.to);
    let needs = needs.filter(|edge| view.enabled(&edge.to).is_some()).map(|edge| edge.to.clone());
    let needs: BTreeSet<String> = match stage {
        Stage::Core | Stage::Applications => needs.collect(),
        _ => BTreeSet::new(),
    };
    let gate = match stage {
        Stage::Core | Stage::Applications => view.get(name).map(|service| gate(view, service)),
        _ => None,
    };
    Step { service: name.to_owned(), needs, gate }
}

fn gate(view: &View<'_>, service: &Listed<'_>) -> Gate {
    let health = service.interface().and_then(|interface| interface.health.as_ref());
    let command = health.and_then(|health| {
        health.startup.as_ref().or(health.readiness.as_ref()).or(health.liveness.as_ref())
    });
    let number = |field: Option<&crate::Spanned<i64>>, default| field.map_or(default, |n| n.value);
    let timeout = number(view.manifest.health_check_timeout.as_ref(), 600);
    Gate {
        command: command.map(|command| command.value.clone()),
        timeout: number(health.and_then(|health| health.timeout.as_ref()), timeout),
        interval: number(health.and_then(|health| health.interval.as_ref()), 30),
        retries: number(health.and_then(|health| health.retries.as_ref()), 3),
    }
}

fn patience(manifest: &Manifest) -> Patience {
    let number = |field: &Option<crate::Spanned<i64>>, default| {
        field.as_ref().map_or(default, |number| number.value)
    };
    Patience {
        health_check_timeout: number(&manifest.health_check_timeout, 600),
        retry_attempts: number(&manifest.retry_attempts, 5),
        retry_delay: number(&manifest.retry_delay, 15),
        rollback: manifest.enable_rollback.as_ref().is_none_or(|enable| enable.value),
    }
}
