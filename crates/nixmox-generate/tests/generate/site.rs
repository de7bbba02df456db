//! A fleet without a cascade: every host has what its one group has.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use nixmox_generate::{
    Declarations, DeclareError, GenerateError, Item, Job, Origins, Place, Records, Request,
    Sandbox, SandboxError, Why, fill, settle, split,
};
use nixmox_tree::{SecretBytes, SecretTree, Value};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A master of the group `g` with the hosts `a` and `b`.
pub(crate) struct Site {
    pub(crate) nodes: SecretTree,
    pub(crate) records: Records,
    pub(crate) now: Timestamp,
    pub(crate) rng: ChaCha20Rng,
}

/// Prints its input, or what it is told to.
pub(crate) struct Echo(pub(crate) Mutex<Vec<String>>, pub(crate) Option<&'static str>);

impl Sandbox for Echo {
    fn run(&self, job: &Job<'_>) -> Result<SecretBytes, SandboxError> {
        let input = job.input.as_str().unwrap().to_owned();
        self.0.lock().unwrap().push(input.clone());
        Ok(SecretBytes::new(self.1.map_or(input, str::to_owned)))
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            nodes: SecretTree::new(),
            records: Records::default(),
            now: "2026-01-02T03:04:05Z".parse().unwrap(),
            rng: ChaCha20Rng::seed_from_u64(1),
        }
    }

    /// Declares something: its path, and its parameters as `name=value` words, `name=[a,b]` for lists.
    pub(crate) fn declare(&mut self, path: &str, parameters: &str) -> &mut Self {
        self.remove(path);
        let path: Vec<String> = split(path).unwrap();
        for word in parameters.split(' ') {
            let (name, value) = word.split_once('=').unwrap();
            let mut full = path.clone();
            full.push("_generate".to_owned());
            full.extend(split(name).unwrap());
            self.nodes.insert_at(&full, parsed(value)).unwrap();
        }
        self
    }

    pub(crate) fn write(&mut self, path: &str, value: &str) -> &mut Self {
        self.nodes.insert_at(&split(path).unwrap(), Value::string(value)).unwrap();
        self
    }

    pub(crate) fn remove(&mut self, path: &str) -> &mut Self {
        self.nodes.remove_at(&split(path).unwrap());
        self
    }

    pub(crate) fn find(&self) -> Result<Declarations, DeclareError> {
        Declarations::find(&self.nodes)
    }

    /// Who supplies what: the group to both hosts, and they to themselves.
    pub(crate) fn origins(&self, declared: &Declarations) -> Origins {
        let mut origins = Origins::default();
        let shaped = declared.placeholders(&self.nodes);
        for host in ["a", "b"] {
            for level in ["g", host] {
                if let Some(tree) = shaped.get(level).and_then(Value::as_tree) {
                    tree.for_each_leaf(&mut |path, _| origins.note(host, path, level));
                }
            }
        }
        origins
    }

    pub(crate) fn with<T>(
        &self,
        sandbox: Option<&dyn Sandbox>,
        work: impl FnOnce(Request<'_>) -> T,
    ) -> T {
        let declared = self.find().unwrap_or_else(|e| panic!("{e}"));
        let origins = self.origins(&declared);
        work(Request {
            nodes: &self.nodes,
            declared: &declared,
            origins: &origins,
            records: &self.records,
            sandbox,
            now: self.now,
        })
    }

    pub(crate) fn try_settle(
        &mut self,
        sandbox: Option<&dyn Sandbox>,
        again: &dyn Fn(&Item) -> bool,
    ) -> Result<BTreeMap<String, Why>, GenerateError> {
        let mut rng = self.rng.clone();
        let settled = self.with(sandbox, |request| settle(request, again, &mut rng));
        let (records, notes) = settled?;
        (self.records, self.rng) = (records, rng);
        Ok(notes)
    }

    /// Makes what is missing, and what `again` names.
    #[track_caller]
    pub(crate) fn settle(&mut self, again: &[&str]) -> BTreeMap<String, Why> {
        self.try_settle(None, &|item| again.contains(&item.to_string().as_str()))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Returns every text in the tree with the values in it.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let filled = self.with(None, fill);
        filled.for_each_leaf(&mut |path, value| {
            if let Some(text) = value.as_str() {
                values.insert(path.join("."), text.to_owned());
            }
        });
        values
    }

    #[track_caller]
    pub(crate) fn value(&self, path: &str) -> String {
        self.values().get(path).unwrap_or_else(|| panic!("nothing at {path}")).clone()
    }
}

fn parsed(value: &str) -> Value {
    match value {
        "true" => Value::bool(true),
        number if number.parse::<i64>().is_ok() => Value::int(number.parse().unwrap()),
        list if list.starts_with('[') => {
            let inner = list.trim_matches(['[', ']']).split(',').filter(|word| !word.is_empty());
            Value::List(inner.map(Value::string).collect())
        }
        text => Value::string(text),
    }
}

pub(crate) fn item(level: &str, name: &str, host: Option<&str>) -> Item {
    let place = Place { level: level.to_owned(), path: split(name).unwrap() };
    Item { place, host: host.map(str::to_owned) }
}
