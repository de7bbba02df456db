//! Which service needs which: declared and implied dependencies, circles, and the order they leave.

mod draw;
mod order;

pub use order::Waves;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use serde::Serialize;

use crate::model::{Manifest, Section};
use crate::source::Place;
use crate::view::{DATABASE_SERVER, Listed, PROXY_SERVER, View, provider};

/// Why a service needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It is written in `depends_on`.
    Declared,
    /// It has a database.
    Database,
    /// It has a proxy entry.
    Proxy,
    /// Its users log in.
    Auth,
}

impl Reason {
    /// Says the reason in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Declared => "declared in depends_on",
            Self::Database => "implied by its database",
            Self::Proxy => "implied by its proxy entry",
            Self::Auth => "implied by its login",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Database => "db",
            Self::Proxy => "proxy",
            Self::Auth => "auth",
        }
    }
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Who needs.
    pub from: String,
    /// Who is needed.
    pub to: String,
    /// Why.
    pub reason: Reason,
    /// Where the reason is written.
    pub place: Place,
    /// Whether the order of deployment follows it. A core service is deployed before the proxy and the identity
    /// provider know of it, so that its vhosts and logins do not count.
    pub orders: bool,
}

/// A service as the graph knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vertex {
    /// Its section.
    pub section: Section,
    /// Whether it is to be there.
    pub enabled: bool,
}

/// All services and their dependencies; edges lead to services that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    vertices: BTreeMap<String, Vertex>,
    edges: Vec<Edge>,
    /// Edges that leave each service, by position.
    out: BTreeMap<String, Vec<usize>>,
}

impl Graph {
    /// Makes the graph of a manifest.
    pub fn new(manifest: &Manifest) -> Self {
        let view = View::new(manifest);
        let mut graph = Self::default();
        for service in &view.services {
            let vertex = Vertex { section: service.section, enabled: service.enabled() };
            graph.vertices.entry(service.name.to_owned()).or_insert(vertex);
        }
        let mut seen = HashSet::new();
        for service in &view.services {
            for needed in needed(service) {
                if seen.insert((service.name, needed.to, needed.reason)) {
                    graph.add(service.name, &needed);
                }
            }
        }
        graph
    }

    /// Adds an edge, if it leads to a service that exists.
    fn add(&mut self, from: &str, needed: &Needed<'_>) {
        if !self.vertices.contains_key(needed.to) {
            return;
        }
        match self.out.get_mut(from) {
            Some(out) => out.push(self.edges.len()),
            None => drop(self.out.insert(from.to_owned(), vec![self.edges.len()])),
        }
        let Needed { to, reason, place, orders } = *needed;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.edges.push(Edge { from, to, reason, place, orders });
    }

    /// Lists the services.
    pub fn vertices(&self) -> &BTreeMap<String, Vertex> {
        &self.vertices
    }

    /// Lists the dependencies.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Lists the dependencies of one service.
    pub fn edges_of(&self, name: &str) -> impl Iterator<Item = &Edge> {
        let out = self.out.get(name).into_iter().flatten();
        out.filter_map(|at| self.edges.get(*at))
    }

    /// Finds the service whose name is closest to a mistyped one.
    pub fn closest(&self, name: &str) -> Option<&str> {
        crate::similar::closest(name, self.vertices.keys().map(String::as_str))
    }

    /// Finds a shortest chain of dependencies from one service to another; of equally short ones, the first by name.
    pub fn why(&self, from: &str, to: &str) -> Option<Vec<&Edge>> {
        self.shortest(from, to, |_| true)
    }

    fn shortest(
        &self,
        from: &str,
        to: &str,
        allowed: impl Fn(&Edge) -> bool,
    ) -> Option<Vec<&Edge>> {
        let mut came: BTreeMap<&str, &Edge> = BTreeMap::new();
        let mut todo = VecDeque::from([from]);
        while let Some(name) = todo.pop_front() {
            let mut next: Vec<&Edge> = self.edges_of(name).filter(|edge| allowed(edge)).collect();
            next.sort_by(|a, b| (&a.to, a.reason).cmp(&(&b.to, b.reason)));
            for edge in next {
                if edge.to == to {
                    return Some(back(&came, edge, from));
                }
                if edge.to != from && !came.contains_key(edge.to.as_str()) {
                    came.insert(&edge.to, edge);
                    todo.push_back(&edge.to);
                }
            }
        }
        None
    }

    /// Lists everything that needs a service, directly or not, in the order of deployment.
    pub fn dependents(&self, name: &str) -> BTreeSet<String> {
        let mut into: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for edge in self.edges.iter().filter(|edge| edge.orders) {
            into.entry(&edge.to).or_default().push(&edge.from);
        }
        let mut found = BTreeSet::new();
        let mut todo = vec![name];
        while let Some(name) = todo.pop() {
            for above in into.get(name).into_iter().flatten() {
                if found.insert((*above).to_owned()) {
                    todo.push(above);
                }
            }
        }
        found
    }
}

/// Walks the edges that a search came along back to its start.
fn back<'g>(came: &BTreeMap<&str, &'g Edge>, last: &'g Edge, from: &str) -> Vec<&'g Edge> {
    let mut path = vec![last];
    let mut at = last;
    while at.from != from {
        let Some(edge) = came.get(at.from.as_str()) else { break };
        path.push(edge);
        at = edge;
    }
    path.reverse();
    path
}

/// What a service needs, as [`Edge`] has it.
struct Needed<'m> {
    to: &'m str,
    reason: Reason,
    place: Place,
    orders: bool,
}

/// Lists what a service needs.
fn needed<'m>(service: &Listed<'m>) -> Vec<Needed<'m>> {
    let from = service.name;
    let app = !service.is_core();
    let needed = |to, reason, place, orders| Needed { to, reason, place, orders };
    let declared = service.depends_on();
    let declared = declared.map(|name| needed(&name.value, Reason::Declared, name.place, true));
    let database = service.databases().into_iter().take(1);
    let database =
        database.map(|held| needed(DATABASE_SERVER, Reason::Database, held.database.key, true));
    let proxy = service.proxies().filter(|_| from != PROXY_SERVER);
    let proxy = proxy.map(|proxies| needed(PROXY_SERVER, Reason::Proxy, proxies.key, app));
    let logins = service.logins().into_iter().filter(|(_, auth)| provider(auth) != from);
    let logins = logins.map(|(_, auth)| needed(provider(auth), Reason::Auth, auth.key, app));
    declared.chain(database).chain(proxy).chain(logins).collect()
}
