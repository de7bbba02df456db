//! From declarations to a topology, or to everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::MAX_FINDINGS;
use crate::topology::{MAX_GROUPS_ABOVE, MAX_MEMBERSHIPS, MAX_NODES, Node};
use crate::{Area, Declaration, DeclarationKind, Finding, Kind, NodeName, Topology, TopologyError};
use crate::{NameError, cycle};

/// What is known about one name before it is checked against the others.
#[derive(Default)]
pub(crate) struct Draft {
    /// The files that make it a host, those with directories first.
    hosts: Vec<String>,
    /// Whether a directory of its own declares it.
    declared: bool,
    /// Groups with directories that name it.
    homes: BTreeSet<NodeName>,
    pub(crate) groups: Vec<String>,
    pub(crate) members: BTreeSet<NodeName>,
    pub(crate) parents: BTreeSet<NodeName>,
    /// Whether a member was refused, so that an empty group is no finding of its own.
    refused: bool,
    /// Whether a public file declares or mentions it.
    public: bool,
}

/// A section of a manifest: where it is written, and what it names.
struct Section {
    file: String,
    members: BTreeSet<String>,
}

#[derive(Default)]
struct Builder {
    drafts: BTreeMap<NodeName, Draft>,
    sections: BTreeMap<String, Section>,
    memberships: usize,
    findings: Vec<Finding>,
}

pub(crate) fn build(mut declarations: Vec<Declaration>) -> Result<Topology, TopologyError> {
    // Within a name directories come before the manifest, whose sections are looked up all along.
    let rank = |of: &Declaration| matches!(of.kind, DeclarationKind::Service);
    declarations.sort_by(|a, b| {
        (&a.name, rank(a), a.area, &a.file).cmp(&(&b.name, rank(b), b.area, &b.file))
    });
    let mut builder = Builder { sections: sections(&declarations), ..Builder::default() };
    for declaration in declarations {
        builder.declare(declaration);
    }
    builder.contradictions();
    builder.findings.extend(cycle::find(&builder.drafts));
    if builder.drafts.len() > MAX_NODES {
        builder.findings.push(Finding::TooManyNodes);
    }
    if builder.memberships > MAX_MEMBERSHIPS {
        builder.findings.push(Finding::TooManyMemberships);
    }
    if builder.findings.is_empty() {
        let topology = Topology { nodes: nodes(builder.drafts) };
        match with_ancestors(topology) {
            Ok(topology) => return Ok(topology),
            Err(finding) => builder.findings.push(finding),
        }
    }
    builder.findings.truncate(MAX_FINDINGS);
    Err(TopologyError::new(builder.findings))
}

fn sections(declarations: &[Declaration]) -> BTreeMap<String, Section> {
    let section = |of: &Declaration| match &of.kind {
        DeclarationKind::Section { members } => {
            let members = members.iter().cloned().collect();
            Some((of.name.clone(), Section { file: of.file.clone(), members }))
        }
        _ => None,
    };
    declarations.iter().filter_map(section).collect()
}

impl Builder {
    /// Notes one file; beyond the limits nothing more is kept.
    fn declare(&mut self, declaration: Declaration) {
        let Declaration { name, area, kind, file } = declaration;
        let full = self.drafts.len() > MAX_NODES || self.memberships > MAX_MEMBERSHIPS;
        if full || self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let name = match NodeName::parse(&name) {
            Ok(name) => name,
            Err(NameError::Common) => return,
            Err(problem) => {
                self.findings.push(Finding::Directory { file, name, problem });
                return;
            }
        };
        let draft = self.drafts.entry(name.clone()).or_default();
        draft.public |= area == Area::Public;
        match kind {
            DeclarationKind::Host => {
                draft.declared = true;
                draft.hosts.push(file);
            }
            DeclarationKind::Service => draft.hosts.push(file),
            DeclarationKind::Group { members } => {
                draft.groups.push(file.clone());
                for member in members {
                    self.outside(&name, &file, &member);
                    if let Some(member) = self.member(&name, area, &file, member) {
                        member.homes.insert(name.clone());
                    }
                }
            }
            DeclarationKind::Section { members } => {
                draft.groups.push(file.clone());
                for member in members {
                    self.member(&name, area, &file, member);
                }
            }
        }
    }

    /// Finds a member that a directory adds to a section of the manifest.
    fn outside(&mut self, group: &NodeName, file: &str, member: &str) {
        let Some(section) = self.sections.get(group.as_str()) else { return };
        if member == "common" || section.members.contains(member) {
            return;
        }
        self.findings.push(Finding::OutsideSection {
            group: group.clone(),
            member: member.to_owned(),
            file: file.to_owned(),
            section: section.file.clone(),
        });
    }

    /// Notes a member, and returns what is known about it.
    fn member(
        &mut self,
        group: &NodeName,
        area: Area,
        file: &str,
        member: String,
    ) -> Option<&mut Draft> {
        if self.findings.len() >= MAX_FINDINGS || self.drafts.len() > MAX_NODES {
            return None;
        }
        let refusal = match NodeName::parse(&member) {
            Err(NameError::Common) => return None,
            Ok(name) if name == *group => Finding::ContainsItself { file: file.to_owned() },
            Ok(name) => {
                let above = self.drafts.entry(group.clone()).or_default();
                above.members.insert(name.clone());
                let below = self.drafts.entry(name).or_default();
                below.public |= area == Area::Public;
                if below.parents.insert(group.clone()) {
                    self.memberships += 1;
                }
                return Some(below);
            }
            Err(problem) => Finding::Member { file: file.to_owned(), name: member, problem },
        };
        self.drafts.entry(group.clone()).or_default().refused = true;
        self.findings.push(refusal);
        None
    }

    /// Finds names that are both host and group, and groups without members.
    fn contradictions(&mut self) {
        for (name, draft) in &self.drafts {
            match (draft.hosts.first(), draft.groups.first()) {
                (Some(host), Some(group)) => self.findings.push(Finding::HostAndGroup {
                    name: name.clone(),
                    host: host.clone(),
                    group: group.clone(),
                }),
                (None, Some(_)) if draft.members.is_empty() && !draft.refused => {
                    self.findings.push(Finding::Empty { among: draft.groups.clone() });
                }
                _ => {}
            }
        }
    }
}

fn nodes(drafts: BTreeMap<NodeName, Draft>) -> BTreeMap<NodeName, Node> {
    let node = |draft: Draft| Node {
        kind: if draft.groups.is_empty() { Kind::Host } else { Kind::Group },
        area: if draft.public { Area::Public } else { Area::Private },
        home: match draft.declared || !draft.groups.is_empty() {
            true => None,
            false => draft.homes.into_iter().next_back(),
        },
        parents: draft.parents.into_iter().collect(),
        members: draft.members.into_iter().collect(),
        ancestors: Vec::new(),
    };
    drafts.into_iter().map(|(name, draft)| (name, node(draft))).collect()
}

/// Fills in the groups above each node, from the top down, so that a group's own list is made once.
///
/// Stacked diamonds have exponentially many paths; lists without repetitions keep the work polynomial.
fn with_ancestors(mut topology: Topology) -> Result<Topology, Finding> {
    let mut waiting: BTreeMap<NodeName, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for (name, node) in &topology.nodes {
        match node.parents.len() {
            0 => open.push(name.clone()),
            parents => drop(waiting.insert(name.clone(), parents)),
        }
    }
    while let Some(name) = open.pop() {
        let above = above(&topology, &name);
        if above.len() > MAX_GROUPS_ABOVE {
            return Err(Finding::TooManyGroupsAbove { name });
        }
        for member in topology.members(&name) {
            let Some(left) = waiting.get_mut(member) else { continue };
            *left -= 1;
            if *left == 0 {
                waiting.remove(member);
                open.push(member.clone());
            }
        }
        if let Some(node) = topology.nodes.get_mut(&name) {
            node.ancestors = above;
        }
    }
    Ok(topology)
}

/// Lists the groups above a node whose parents' own lists are known.
fn above(topology: &Topology, name: &NodeName) -> Vec<NodeName> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for parent in topology.parents(name) {
        for group in std::iter::once(parent).chain(topology.ancestors(parent)) {
            if seen.insert(group) {
                list.push(group.clone());
            }
        }
    }
    list
}
