use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, Graph};

/// Services in the order in which they can be deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waves {
    /// Each wave needs only what is in earlier ones.
    pub waves: Vec<Vec<String>>,
    /// Services that are in a circle, or need one.
    pub stuck: BTreeSet<String>,
}

impl Graph {
    /// Orders some of the services; dependencies on others do not count.
    pub fn waves(&self, among: &BTreeSet<String>) -> Waves {
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        let mut into: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in among {
            let needs: BTreeSet<&str> = self.needs(name).filter(|to| among.contains(*to)).collect();
            missing.insert(name, needs.len());
            for to in needs {
                into.entry(to).or_default().push(name);
            }
        }
        let free = |missing: &BTreeMap<&str, usize>| -> Vec<String> {
            let free = missing.iter().filter(|(_, count)| **count == 0);
            free.map(|(name, _)| (*name).to_owned()).collect()
        };
        let mut wave = free(&missing);
        let mut done = Waves::default();
        while !wave.is_empty() {
            let mut next = Vec::new();
            for name in &wave {
                missing.remove(name.as_str());
                for above in into.get(name.as_str()).into_iter().flatten() {
                    if let Some(count) = missing.get_mut(above) {
                        *count = count.saturating_sub(1);
                        if *count == 0 {
                            next.push((*above).to_owned());
                        }
                    }
                }
            }
            next.sort();
            done.waves.push(std::mem::replace(&mut wave, next));
        }
        done.stuck = missing.into_keys().map(str::to_owned).collect();
        done
    }

    fn needs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges_of(name).filter(|edge| edge.orders).map(|edge| edge.to.as_str())
    }

    /// Finds one shortest circle in every set of services that need each other, a service that needs itself left out.
    pub fn cycles(&self) -> Vec<Vec<&Edge>> {
        let groups = self.tangles();
        let circle = |group: &BTreeSet<&str>| {
            let inside = |edge: &Edge| {
                edge.orders && edge.from != edge.to && group.contains(edge.to.as_str())
            };
            // From any service of the group a way leads back, but the shortest circle may be elsewhere.
            let starts = group.iter().take(32);
            starts.filter_map(|start| self.shortest(start, start, inside)).min_by_key(Vec::len)
        };
        groups.iter().filter_map(circle).collect()
    }

    /// Finds the sets of services that need each other, by searching twice: forwards for an order, then backwards.
    fn tangles(&self) -> Vec<BTreeSet<&str>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.vertices().keys() {
            self.finish(name, &mut seen, &mut order);
        }
        let mut into: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for edge in self.edges().iter().filter(|edge| edge.orders) {
            into.entry(&edge.to).or_default().push(&edge.from);
        }
        let mut taken: BTreeSet<&str> = BTreeSet::new();
        let mut found = Vec::new();
        for root in order.into_iter().rev() {
            if !taken.insert(root) {
                continue;
            }
            let mut group = BTreeSet::from([root]);
            let mut todo = vec![root];
            while let Some(name) = todo.pop() {
                for above in into.get(name).into_iter().flatten() {
                    if taken.insert(above) {
                        group.insert(above);
                        todo.push(above);
                    }
                }
            }
            if group.len() > 1 {
                found.push(group);
            }
        }
        found.sort();
        found
    }

    /// Visits what a service needs, and notes it after all of that.
    fn finish<'g>(&'g self, name: &'g str, seen: &mut BTreeSet<&'g str>, order: &mut Vec<&'g str>) {
        let mut stack = vec![(name, false)];
        while let Some((name, left)) = stack.pop() {
            if left {
                order.push(name);
            } else if seen.insert(name) {
                stack.push((name, true));
                stack.extend(self.needs(name).map(|to| (to, false)));
            }
        }
    }
}
