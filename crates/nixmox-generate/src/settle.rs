//! Deciding which values stay and which are made, and making those.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use jiff::Timestamp;
use nixmox_tree::{SecretString, SecretTree, Value};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};

use crate::declare::{Declaration, Declarations, put};
use crate::error::GenerateError;
use crate::graph;
use crate::kind::{Kind, feed};
use crate::make::{Authority, Inputs, Made, make};
use crate::origins::Origins;
use crate::place::Item;
use crate::records::{Record, Records};
use crate::resolve::{Scene, Target};
use crate::sandbox::Sandbox;

/// How many values one fleet may have made.
pub const MAX_ITEMS: usize = 100_000;

/// A master's values and declarations, what the cascade says of them, and what was made before.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The `nodes` of the evaluated master.
    pub nodes: &'a SecretTree,
    /// The declarations among them.
    pub declared: &'a Declarations,
    /// Which level supplies what.
    pub origins: &'a Origins,
    /// What was made before.
    pub records: &'a Records,
    /// Runs commands.
    pub sandbox: Option<&'a dyn Sandbox>,
    /// The time.
    pub now: Timestamp,
}

/// Why a value was made, or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Why {
    /// It was not there.
    New,
    /// Somebody asked for it.
    Asked,
    /// Its declaration is another.
    Declaration,
    /// What it is made from is another.
    Inputs,
    /// It is not declared any more.
    Dropped,
}

/// Brings what was made to what is declared: makes what is missing or does not fit any more, and what `again` asks for.
///
/// Everything else stays byte for byte. The same request, answers and random numbers give the same values, except for
/// what a command does.
///
/// # Errors
///
/// Any [`GenerateError`].
pub fn settle(
    request: Request<'_>,
    again: &dyn Fn(&Item) -> bool,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Records, BTreeMap<String, Why>), GenerateError> {
    let work = Work::of(request)?;
    let mut settling = Settling { request, records: Records::default(), notes: BTreeMap::new() };
    for (item, declaration, targets) in work.iter(request) {
        let (why, inputs, by, from) = settling.judge(item, declaration, targets, again)?;
        let Some(why) = why else {
            settling.keep(item);
            continue;
        };
        let Made { value, expires } = make(&declaration.kind, &inputs, rng)?;
        if is_empty(&value) {
            return Err(GenerateError::Empty { item: item.clone() });
        }
        let record = Record { value, made: request.now, expires, declaration: by, inputs: from };
        settling.records.insert(item, record);
        settling.notes.insert(item.to_string(), why);
    }
    Ok(settling.finish())
}

/// Tells what [`settle`](fn@settle) would make and drop, without making anything.
///
/// # Errors
///
/// Any [`GenerateError`] that shows before something is made.
pub fn stale(request: Request<'_>) -> Result<BTreeMap<String, Why>, GenerateError> {
    let work = Work::of(request)?;
    let mut settling = Settling { request, records: Records::default(), notes: BTreeMap::new() };
    let mut made = BTreeSet::new();
    for (item, declaration, targets) in work.iter(request) {
        let why = if request.records.get(item).is_none() {
            Some(Why::New)
        } else if needed(targets).iter().any(|item| made.contains(item)) {
            Some(Why::Inputs)
        } else {
            settling.judge(item, declaration, targets, &|_| false)?.0
        };
        match why {
            None => settling.keep(item),
            Some(why) => {
                made.insert(item.clone());
                settling.notes.insert(item.to_string(), why);
            }
        }
    }
    // What is about to be made anew is not dropped.
    let anew = settling.notes.clone();
    let mut notes = settling.finish().1;
    notes.extend(anew);
    Ok(notes)
}

/// Everything that is declared, each after what it is made from.
struct Work {
    order: Vec<Item>,
    targets: BTreeMap<Item, Vec<Target>>,
}

impl Work {
    fn of(request: Request<'_>) -> Result<Self, GenerateError> {
        let Request { nodes, declared, origins, .. } = request;
        let scene = Scene { nodes, declared, origins };
        let items = origins.items(declared);
        if items.len() > MAX_ITEMS {
            return Err(GenerateError::TooMany { limit: MAX_ITEMS });
        }
        let mut targets = BTreeMap::new();
        for item in items {
            let Some(declaration) = declared.get(&item.place) else { continue };
            check_host(&item, declaration)?;
            let found = scene.targets(&item, &declaration.kind)?;
            targets.insert(item, found);
        }
        let needs = targets.iter().map(|(item, found)| (item.clone(), needed(found))).collect();
        let order = graph::order(&needs).map_err(|path| GenerateError::Cycle { path })?;
        Ok(Self { order, targets })
    }

    fn iter<'a>(
        &'a self,
        request: Request<'a>,
    ) -> impl Iterator<Item = (&'a Item, &'a Declaration, &'a [Target])> {
        self.order.iter().filter_map(move |item| {
            Some((item, request.declared.get(&item.place)?, self.targets.get(item)?.as_slice()))
        })
    }
}

/// A text that names the host needs one.
fn check_host(item: &Item, declaration: &Declaration) -> Result<(), GenerateError> {
    match declaration.kind.names_host() {
        Some(parameter) if item.host.is_none() => {
            Err(GenerateError::NoHost { item: item.clone(), parameter: parameter.to_owned() })
        }
        _ => Ok(()),
    }
}

fn needed(targets: &[Target]) -> Vec<Item> {
    let made = |target: &Target| match target {
        Target::Made(item, _) => Some(item.clone()),
        Target::Written(_) => None,
    };
    targets.iter().filter_map(made).collect()
}

/// Why an item is made, if it is; what it is made from; the digests of its declaration and of that.
type Judged<'a> = (Option<Why>, Inputs<'a>, String, String);

struct Settling<'a> {
    request: Request<'a>,
    records: Records,
    notes: BTreeMap<String, Why>,
}

impl<'a> Settling<'a> {
    /// Decides whether an item is made, with what it would be made from; all that it needs was settled before.
    fn judge<'i>(
        &self,
        item: &'i Item,
        declaration: &Declaration,
        targets: &[Target],
        again: &dyn Fn(&Item) -> bool,
    ) -> Result<Judged<'i>, GenerateError>
    where
        'a: 'i,
    {
        let Request { sandbox, now, .. } = self.request;
        let mut inputs = Inputs { item, secrets: Vec::new(), authority: None, sandbox, now };
        self.gather(declaration, targets, &mut inputs)?;
        let (by, from) = (text(declaration.digest()), digest(&inputs));
        let why = match self.request.records.get(item) {
            None => Some(Why::New),
            Some(_) if again(item) => Some(Why::Asked),
            Some(old) if old.declaration != by || !fits(declaration, old) => Some(Why::Declaration),
            Some(old) if old.inputs != from => Some(Why::Inputs),
            Some(_) => None,
        };
        Ok((why, inputs, by, from))
    }

    fn keep(&mut self, item: &Item) {
        if let Some(old) = self.request.records.get(item) {
            self.records.insert(item, old.clone());
        }
    }

    /// Notes what is left over.
    fn finish(self) -> (Records, BTreeMap<String, Why>) {
        let Self { request, records, mut notes } = self;
        let kept: BTreeSet<String> = records.names().collect();
        let dropped = request.records.names().filter(|name| !kept.contains(name));
        notes.extend(dropped.map(|name| (name, Why::Dropped)));
        (records, notes)
    }

    /// Reads what the references of an item lead to.
    fn gather(
        &self,
        declaration: &Declaration,
        targets: &[Target],
        inputs: &mut Inputs<'_>,
    ) -> Result<(), GenerateError> {
        let references = declaration.kind.references();
        let is_certificate = matches!(declaration.kind, Kind::Certificate(_));
        for (number, (target, (parameter, _))) in targets.iter().zip(references).enumerate() {
            if is_certificate && number == 0 {
                inputs.authority = Some(self.authority(inputs.item, target)?);
            } else {
                inputs.secrets.push(self.secret(inputs.item, parameter, target)?);
            }
        }
        Ok(())
    }

    fn authority(&self, item: &Item, target: &Target) -> Result<Authority, GenerateError> {
        let not = || GenerateError::NotACa { item: item.clone() };
        let Target::Made(ca, below) = target else { return Err(not()) };
        let declaration = self.request.declared.get(&ca.place).filter(|_| below.is_empty());
        let Some(Kind::Ca { name, .. }) = declaration.map(|declaration| &declaration.kind) else {
            return Err(not());
        };
        let record = self.records.get(ca).ok_or_else(not)?;
        let part = |name| match record.part(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(not()),
        };
        Ok(Authority {
            name: name.clone().unwrap_or_else(|| crate::make::default_name(ca)),
            key: part("key")?,
            cert: part("cert")?,
            expires: record.expires.ok_or_else(not)?,
        })
    }

    fn secret(
        &self,
        item: &Item,
        parameter: String,
        target: &Target,
    ) -> Result<SecretString, GenerateError> {
        let value = match target {
            Target::Written(value) => Some(value),
            Target::Made(made, below) => self.records.get(made).and_then(|record| {
                below.iter().try_fold(&record.value, |value, name| value.as_tree()?.get(name))
            }),
        };
        let fail = |type_name| GenerateError::NotText {
            item: item.clone(),
            parameter: parameter.clone(),
            type_name,
        };
        match value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::Int(number)) => Ok(SecretString::new(number.to_string())),
            Some(Value::String(_)) => Err(fail("empty string")),
            Some(value) => Err(fail(value.type_name())),
            None => Err(GenerateError::NoSuchSecret { item: item.clone(), parameter }),
        }
    }
}

/// Tells whether a value has the parts that its declaration names.
fn fits(declaration: &Declaration, record: &Record) -> bool {
    let parts = declaration.parts();
    let count = record.value.as_tree().map_or(1, SecretTree::len);
    count == parts.len() && parts.iter().all(|(part, _)| record.part(part).is_some())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Tree(parts) => parts.iter().any(|(_, part)| is_empty(part)),
        _ => true,
    }
}

fn digest(inputs: &Inputs<'_>) -> String {
    let mut hash = Sha256::new();
    if let Some(ca) = &inputs.authority {
        feed(&mut hash, ca.key.expose());
        feed(&mut hash, ca.cert.expose());
    }
    inputs.secrets.iter().for_each(|secret| feed(&mut hash, secret.expose()));
    text(hash)
}

fn text(hash: Sha256) -> String {
    BASE64_STANDARD_NO_PAD.encode(hash.finalize())
}

/// Returns when a value is due to be made anew, if it ever is.
pub fn due(declaration: &Declaration, record: &Record) -> Option<Timestamp> {
    let aged = declaration.every.map(|every| every.after(record.made));
    let ends = record.expires.map(|end| match declaration.renew {
        Some(renew) => renew.before(end),
        None => end,
    });
    [aged, ends].into_iter().flatten().min()
}

/// Puts the values where the declarations stand: one for all at its level, each host's own at the host.
///
/// What is declared and not made yet is left out.
pub fn fill(request: Request<'_>) -> SecretTree {
    let Request { nodes, declared, origins, records, .. } = request;
    let mut filled = nodes.clone();
    for (place, declaration) in declared.iter() {
        let item = Item { place: place.clone(), host: None };
        let record = records.get(&item).filter(|_| !declaration.per_host);
        put(&mut filled, place, record.map(|record| record.value.clone()));
    }
    for host in origins.hosts() {
        for (path, item, part) in origins.parts(declared, host) {
            let value = records.get(&item).and_then(|record| record.part(part));
            if let (Some(value), Some(_)) = (value, &item.host) {
                let place = crate::Place { level: host.to_owned(), path: path.to_vec() };
                put(&mut filled, &place, Some(value.clone()));
            }
        }
    }
    filled
}

/// Gathers the public parts of what a host has, at the paths where the host has them.
pub fn public(request: Request<'_>, host: &str) -> SecretTree {
    let Request { declared, origins, records, .. } = request;
    let mut tree = SecretTree::new();
    for (path, item, part) in origins.parts(declared, host) {
        let parts = declared.get(&item.place).map(Declaration::parts).unwrap_or_default();
        let value = records.get(&item).and_then(|record| record.part(part));
        if let (true, Some(value)) = (parts.contains(&(part, true)), value) {
            // Paths of leaves cannot be in each other's way.
            let _ = tree.insert_at(path, value.clone());
        }
    }
    tree
}
