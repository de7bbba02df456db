//! Groups that contain each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Draft;
use crate::error::MAX_FINDINGS;
use crate::{Finding, NodeName};

/// The names that may still be on a circle, each with the number of its parents among them.
struct Left<'a> {
    drafts: &'a BTreeMap<NodeName, Draft>,
    parents: BTreeMap<&'a NodeName, usize>,
}

/// Finds circles among groups, no two of which share a group.
pub(crate) fn find(drafts: &BTreeMap<NodeName, Draft>) -> Vec<Finding> {
    let parents: BTreeMap<_, _> = drafts.iter().map(|(n, d)| (n, d.parents.len())).collect();
    let tops = parents.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut left = Left { drafts, parents };
    left.remove(tops);
    let mut findings = Vec::new();
    while findings.len() < MAX_FINDINGS {
        let Some(circle) = left.circle() else { break };
        let file = |name: &&NodeName| drafts.get(*name).and_then(|d| d.groups.first().cloned());
        let among = circle.iter().filter_map(file).collect();
        findings.push(Finding::Cycle { path: circle.iter().copied().cloned().collect(), among });
        left.remove(circle);
    }
    findings
}

impl<'a> Left<'a> {
    /// Takes names away, and then every name that no remaining group contains: it is on no circle.
    fn remove(&mut self, mut gone: Vec<&'a NodeName>) {
        while let Some(name) = gone.pop() {
            if self.parents.remove(name).is_none() {
                continue;
            }
            for member in self.drafts.get(name).into_iter().flat_map(|draft| &draft.members) {
                let Some(count) = self.parents.get_mut(member) else { continue };
                *count -= 1;
                if *count == 0 {
                    gone.push(member);
                }
            }
        }
    }

    /// Walks from a remaining name upwards until one comes a second time.
    ///
    /// Every remaining name has a remaining parent, so the walk cannot end otherwise.
    fn circle(&self) -> Option<Vec<&'a NodeName>> {
        let mut walked: Vec<&NodeName> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut at = *self.parents.first_key_value()?.0;
        while seen.insert(at) {
            walked.push(at);
            let parents = &self.drafts.get(at)?.parents;
            at = parents.iter().find(|parent| self.parents.contains_key(parent))?;
        }
        // Upwards each is contained in the next; a circle is told the other way, from its first name on.
        let mut path: Vec<_> = walked.into_iter().skip_while(|name| *name != at).collect();
        path.reverse();
        let first = path.iter().enumerate().min_by_key(|(_, name)| **name);
        let first = first.map_or(0, |(position, _)| position);
        path.rotate_left(first);
        Some(path)
    }
}
