use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use crate::finding::{Code, Finding, Severity};
use crate::graph::{Graph, Reason};
use crate::plan::PHASES;
use crate::similar::did_you_mean;
use crate::source::Place;
use crate::view::{DATABASE_SERVER, Listed, PROXY_SERVER, provider};

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        declared(context, service, out);
        implied(context, service, out);
    }
    cycles(context, out);
    phases(context, out);
}

fn declared(context: &Context<'_>, service: &Listed<'_>, out: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for name in service.depends_on() {
        let text = name.value.as_str();
        if let Some(first) = seen.insert(text, name.place) {
            let message = format!("`{}` names `{text}` twice in depends_on", service.name);
            let finding = Finding::new(Code::M306, message).at(name.place, "again");
            out.push(finding.at(first, "first"));
            continue;
        }
        if text == service.name {
            let message = format!("`{text}` depends on itself");
            out.push(Finding::new(Code::M302, message).at(name.place, "itself"));
            continue;
        }
        let Some(needed) = context.view.get(text) else {
            let message = format!("unknown service `{}` in depends_on", text.escape_debug());
            let help = did_you_mean(text, context.view.names());
            let finding = Finding::new(Code::M301, message)
                .at(name.place, "not defined in core_services or services");
            out.push(finding.maybe_help(help));
            continue;
        };
        if service.enabled() && !needed.enabled() {
            let message = format!("`{}` depends on `{text}`, which is disabled", service.name);
            let place = needed.service.enable.as_ref().map_or(needed.key, |enable| enable.place);
            let finding = Finding::new(Code::M304, message).at(name.place, "will not be there");
            out.push(finding.at(place, "disabled here").help("enable it, or drop the dependency"));
        }
        if service.is_core() && !needed.is_core() {
            let message =
                format!("core service `{}` depends on application `{text}`", service.name);
            let finding = Finding::new(Code::M305, message).at(name.place, "deployed later");
            out.push(finding.at(needed.key, "an application"));
        }
    }
}

/// Core services leave the order to their section.
fn implied(context: &Context<'_>, service: &Listed<'_>, out: &mut Vec<Finding>) {
    if service.is_core() {
        return;
    }
    let database = service.databases().into_iter().next().map(|held| held.database.key);
    let proxy = service.proxies().map(|proxies| proxies.key);
    let mut needs = vec![
        (DATABASE_SERVER, database, "has a database"),
        (PROXY_SERVER, proxy, "has a proxy entry"),
    ];
    for (_, auth) in service.logins() {
        needs.push((provider(auth), Some(auth.key), "has a login"));
    }
    let mut seen = BTreeSet::new();
    for (needed, place, why) in needs {
        let known = context.view.get(needed).is_some() && needed != service.name;
        let named = service.depends_on().any(|name| name.value == needed);
        let Some(place) = place.filter(|_| known && !named && seen.insert(needed)) else {
            continue;
        };
        let message = format!("`{}` {why} and does not depend on `{needed}`", service.name);
        let finding = Finding::new(Code::M307, message).at(place, format!("needs {needed}"));
        let finding = match &service.service.depends_on {
            Some(list) => finding.at(list.key, "not among these"),
            None => finding,
        };
        out.push(finding.help(format!("add \"{needed}\" to depends_on")));
    }
}

fn cycles(context: &Context<'_>, out: &mut Vec<Finding>) {
    let graph = Graph::new(context.manifest);
    for cycle in graph.cycles() {
        let mut names: Vec<&str> = cycle.iter().map(|edge| edge.from.as_str()).collect();
        names.extend(cycle.first().map(|edge| edge.from.as_str()));
        let message = format!("dependency cycle: {}", names.join(" → "));
        let mut finding = Finding::new(Code::M303, message);
        for (at, edge) in (1..).zip(cycle) {
            let why = match edge.reason {
                Reason::Declared => String::new(),
                implied => format!(", {}", implied.words()),
            };
            finding = finding.at(edge.place, format!("{at}. {} needs {}{why}", edge.from, edge.to));
        }
        out.push(finding.help("remove one of these edges"));
    }
}

fn phases(context: &Context<'_>, out: &mut Vec<Finding>) {
    let Some(phases) = &context.manifest.deployment_phases else { return };
    let mut listed = BTreeSet::new();
    for (phase, names) in &phases.value {
        if !PHASES.contains(&phase.as_str()) {
            let message = format!("unknown phase `{}`", phase.escape_debug());
            let finding = Finding::new(Code::M312, message).at(names.key, "nothing runs this");
            let help = did_you_mean(phase, PHASES);
            out.push(finding.help(help.unwrap_or(format!("there are {}", PHASES.join(", ")))));
        }
        for name in &names.value {
            listed.insert(name.value.as_str());
            match context.view.get(&name.value) {
                None => {
                    let shown = name.value.escape_debug();
                    let message = format!("unknown service `{shown}` in phase `{phase}`");
                    let finding = Finding::new(Code::M308, message)
                        .at(name.place, "not defined in core_services or services");
                    out.push(finding.maybe_help(did_you_mean(&name.value, context.view.names())));
                }
                Some(service) if !service.enabled() => {
                    let message =
                        format!("phase `{phase}` lists `{}`, which is disabled", name.value);
                    let finding =
                        Finding::new(Code::M311, message).at(name.place, "will be skipped");
                    let enable = service.service.enable.as_ref();
                    let place = enable.map_or(service.key, |enable| enable.place);
                    out.push(finding.at(place, "disabled here"));
                }
                Some(_) => {}
            }
        }
    }
    let missing = context.view.services.iter().filter(|s| s.enabled() && !listed.contains(s.name));
    for service in missing {
        let message = format!("`{}` is enabled and in no phase", service.name);
        let finding = Finding::new(Code::M309, message).at(service.key, "will not be deployed");
        out.push(finding.at(phases.key, "the phases").severity(Severity::Warning));
    }
    order(context, out);
}

/// Compares the phases in which hosts are switched.
fn order(context: &Context<'_>, out: &mut Vec<Finding>) {
    let Some(phases) = &context.manifest.deployment_phases else { return };
    let mut when: BTreeMap<&str, (usize, Place)> = BTreeMap::new();
    for (rank, phase) in ["nix_core", "services"].iter().enumerate() {
        for name in phases.value.get(*phase).into_iter().flat_map(|names| &names.value) {
            when.entry(name.value.as_str()).or_insert((rank, name.place));
        }
    }
    for service in &context.view.services {
        let Some((early, place)) = when.get(service.name) else { continue };
        for needed in service.depends_on() {
            let Some((late, other)) = when.get(needed.value.as_str()) else { continue };
            if late > early {
                let message = format!(
                    "`{}` is deployed in an earlier phase than `{}`, which it depends on",
                    service.name, needed.value
                );
                let finding = Finding::new(Code::M310, message).at(*place, "deployed here");
                out.push(finding.at(*other, "too late").at(needed.place, "the dependency"));
            }
        }
    }
}
