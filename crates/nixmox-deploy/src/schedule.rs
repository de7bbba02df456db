//! Which node may be activated when.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use nixmox_topology::NodeName;
use thiserror::Error;

/// How much is done at once, each kind of work by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Hosts that are asked at once.
    pub probe: NonZeroUsize,
    /// Derivations that Nix builds at once; without one, as Nix is configured.
    pub build: Option<NonZeroUsize>,
    /// Closures that are copied at once.
    pub copy: NonZeroUsize,
    /// Hosts that are activated at once.
    pub activate: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self { probe: number(64), build: None, copy: number(8), activate: number(64) }
    }
}

/// Where a node stands among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The nodes that have to be well before.
    pub needs: BTreeSet<NodeName>,
    /// In which wave it is shown; nodes of a wave are independent of each other.
    pub wave: usize,
    /// Whether its failure means that nothing of a later wave is touched.
    pub gate: bool,
}

/// What a failure does to nodes that were not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nothing new is begun.
    #[default]
    Stop,
    /// Only those that need the failed node are skipped.
    Continue,
    /// Nothing new is begun, and every node that this run has changed goes back.
    RollBack,
}

/// A part of the nodes: a number, or so many of a hundred, and at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(NonZeroUsize),
    /// So many of a hundred.
    Percent(NonZeroUsize),
}

impl Share {
    /// Reads `3` or `25%`.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::Share`] when it is neither, nothing, or more than all.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let refused = || ScheduleError::Share { text: text.to_owned() };
        let number = |digits: &str| digits.parse::<NonZeroUsize>().map_err(|_| refused());
        match text.strip_suffix('%') {
            None => number(text).map(Self::Count),
            Some(digits) => number(digits)
                .and_then(|n| if n.get() > 100 { Err(refused()) } else { Ok(n) })
                .map(Self::Percent),
        }
    }

    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.get(),
            Self::Percent(percent) => all.saturating_mul(percent.get()).div_ceil(100).max(1),
        }
    }
}

/// How carefully nodes follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// What a failure does.
    pub on_failure: OnFailure,
    /// So many nodes go first, and when one of them fails, no other is touched.
    pub canary: Option<Share>,
    /// So many nodes at a time, one after the other; the last is repeated.
    pub batches: Vec<Share>,
}

/// Why a node was not touched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// It needs a node that failed.
    Needs(NodeName),
    /// A node that everything later needs has failed.
    Gate(NodeName),
    /// A node that was tried first has failed.
    Canary(NodeName),
    /// A node failed, and that ends the run.
    Stopped(NodeName),
    /// Somebody interrupted the run.
    Interrupted,
}

/// Which node may be activated when: values alone, so that every order can be tried.
#[derive(Debug, Clone)]
pub struct Schedule {
    nodes: BTreeMap<NodeName, Entry>,
    on_failure: OnFailure,
    canary: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    /// Its number in the order.
    turn: usize,
    batch: usize,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Good,
    Failed,
    Skipped(Skip),
}

impl Schedule {
    /// Orders the nodes that have something to do; the others are as they should be already.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::Circle`] when nodes need each other.
    pub fn new(
        places: &BTreeMap<NodeName, Place>,
        todo: &BTreeSet<NodeName>,
        rollout: &Rollout,
    ) -> Result<Self, ScheduleError> {
        let places = &drawn_forward(places);
        let order = ordered(places)?;
        let order: Vec<_> = order.into_iter().filter(|node| todo.contains(node)).collect();
        let all = order.len();
        let batches = batches(rollout, all);
        let entry = |(turn, node): (usize, NodeName)| {
            let mut place = places.get(&node).cloned().unwrap_or_default();
            place.needs = needed(places, &node).intersection(todo).cloned().collect();
            let batch = batches.iter().take_while(|end| **end <= turn).count();
            (node, Entry { place, turn, batch, state: State::Waiting })
        };
        Ok(Self {
            nodes: order.into_iter().enumerate().map(entry).collect(),
            on_failure: rollout.on_failure,
            canary: rollout.canary.is_some(),
        })
    }

    /// Lists the nodes in the order in which they come.
    pub fn order(&self) -> Vec<NodeName> {
        let mut order: Vec<_> = self.nodes.iter().collect();
        order.sort_by_key(|(_, entry)| entry.turn);
        order.into_iter().map(|(node, _)| node.clone()).collect()
    }

    /// Returns the next node that may begin, and takes it for begun; only those that `ready` has are considered.
    pub fn start(&mut self, ready: impl Fn(&NodeName) -> bool) -> Option<NodeName> {
        let may = |(node, entry): &(&NodeName, &Entry)| {
            entry.state == State::Waiting && self.may_start(entry) && ready(node)
        };
        let next = self.nodes.iter().filter(may).min_by_key(|(_, entry)| entry.turn);
        let node = next.map(|(node, _)| node.clone())?;
        self.set(&node, State::Running);
        Some(node)
    }

    fn may_start(&self, entry: &Entry) -> bool {
        let good = |node: &NodeName| self.nodes.get(node).is_none_or(|e| e.state == State::Good);
        let before = |other: &Entry| {
            let over = !matches!(other.state, State::Waiting | State::Running);
            let gate = other.place.gate && other.place.wave < entry.place.wave;
            (other.batch >= entry.batch || over) && (!gate || other.state == State::Good)
        };
        entry.place.needs.iter().all(good) && self.nodes.values().all(before)
    }

    /// Notes how a node ended, and skips what may not begin any more.
    pub fn finish(&mut self, node: &NodeName, good: bool) {
        self.set(node, if good { State::Good } else { State::Failed });
        if good {
            return;
        }
        let Some(failed) = self.nodes.get(node).cloned() else { return };
        let canary = self.canary && failed.batch == 0;
        let on_failure = self.on_failure;
        let skip = |entry: &Entry| {
            if entry.place.needs.contains(node) {
                Some(Skip::Needs(node.clone()))
            } else if canary {
                Some(Skip::Canary(node.clone()))
            } else if failed.place.gate && entry.place.wave > failed.place.wave {
                Some(Skip::Gate(node.clone()))
            } else if on_failure != OnFailure::Continue {
                Some(Skip::Stopped(node.clone()))
            } else {
                None
            }
        };
        self.skip(skip);
        self.skip_behind_gates(node);
    }

    /// Skips what waits for a gate that will not be begun any more.
    fn skip_behind_gates(&mut self, failed: &NodeName) {
        let lost = |entry: &&Entry| entry.place.gate && matches!(entry.state, State::Skipped(_));
        let Some(wave) = self.nodes.values().filter(lost).map(|entry| entry.place.wave).min()
        else {
            return;
        };
        self.skip(|entry| (entry.place.wave > wave).then(|| Skip::Gate(failed.clone())));
    }

    /// Begins nothing more.
    pub fn interrupt(&mut self) {
        self.skip(|_| Some(Skip::Interrupted));
    }

    /// Returns the nodes that were not touched, and why.
    pub fn skipped(&self) -> BTreeMap<NodeName, Skip> {
        let skipped = self.nodes.iter().filter_map(|(node, entry)| match &entry.state {
            State::Skipped(why) => Some((node.clone(), why.clone())),
            _ => None,
        });
        skipped.collect()
    }

    /// Tells whether nothing is left to begin and nothing is going on.
    pub fn is_over(&self) -> bool {
        self.nodes.values().all(|e| !matches!(e.state, State::Waiting | State::Running))
    }

    fn skip(&mut self, why: impl Fn(&Entry) -> Option<Skip>) {
        for entry in self.nodes.values_mut().filter(|entry| entry.state == State::Waiting) {
            if let Some(skip) = why(entry) {
                entry.state = State::Skipped(skip);
            }
        }
    }

    fn set(&mut self, node: &NodeName, state: State) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.state = state;
        }
    }
}

/// Everything that a node needs, directly or not.
fn needed(places: &BTreeMap<NodeName, Place>, node: &NodeName) -> BTreeSet<NodeName> {
    let mut found = BTreeSet::new();
    let mut todo = vec![node];
    while let Some(node) = todo.pop() {
        for need in places.get(node).into_iter().flat_map(|place| &place.needs) {
            if found.insert(need.clone()) {
                todo.push(need);
            }
        }
    }
    found
}

/// Puts every node into the earliest wave that needs it, so that no gate waits for what waits for it.
fn drawn_forward(places: &BTreeMap<NodeName, Place>) -> BTreeMap<NodeName, Place> {
    let mut drawn = places.clone();
    for (node, place) in places {
        for need in needed(places, node) {
            if let Some(needed) = drawn.get_mut(&need) {
                needed.wave = needed.wave.min(place.wave);
            }
        }
    }
    drawn
}

/// Lists nodes so that each comes after what it needs, otherwise by wave and name.
fn ordered(places: &BTreeMap<NodeName, Place>) -> Result<Vec<NodeName>, ScheduleError> {
    let mut left: BTreeSet<(usize, &NodeName)> =
        places.iter().map(|(node, place)| (place.wave, node)).collect();
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    while !left.is_empty() {
        let free = |(_, node): &&(usize, &NodeName)| {
            let needs = places.get(*node).into_iter().flat_map(|place| &place.needs);
            needs.filter(|need| places.contains_key(*need)).all(|need| done.contains(need))
        };
        let Some(next) = left.iter().find(free).copied() else {
            let nodes = left.into_iter().map(|(_, node)| node.clone()).collect();
            return Err(ScheduleError::Circle { nodes });
        };
        left.remove(&next);
        done.insert(next.1);
        order.push(next.1.clone());
    }
    Ok(order)
}

/// For each batch, the number of the first node that is not in it.
fn batches(rollout: &Rollout, all: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = 0usize;
    let mut sizes = rollout.canary.iter().chain(&rollout.batches).peekable();
    let mut size = all;
    while end < all {
        size = match sizes.next() {
            Some(share) => share.of(all),
            None if rollout.batches.is_empty() => all,
            None => size,
        };
        end = end.saturating_add(size);
        ends.push(end);
    }
    ends
}

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Nodes need each other.
    #[error("nodes need each other: {}", nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", "))]
    Circle {
        /// Those that are in a circle, or need one that is.
        nodes: Vec<NodeName>,
    },
    /// It is no part of the nodes.
    #[error("`{text}` is neither a number of nodes nor a percentage such as 25%")]
    Share {
        /// What was written.
        text: String,
    },
}

#[cfg(test)]
mod tests;
