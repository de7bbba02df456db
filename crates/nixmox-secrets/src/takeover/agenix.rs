//! A tree of agenix: rules in `secrets.nix`, one age file for each secret.

use jiff::Timestamp;
use nixmox_nix::Limits;
use nixmox_sops::open_age;
use nixmox_tree::{SecretTree, Value};
use rand_core::{CryptoRng, RngCore};

use super::sops::{causes, files, stem};
use super::{Hosts, Into, RulesProblem, Taken, TakeoverError, UNASSIGNED, Why};
use crate::Error;
use crate::fleet::FILE_LIMIT;
use crate::store::{RelPath, Store};

/// The file of rules.
const RULES: &str = "secrets.nix";

/// Takes the values of every age file that the rules of agenix name.
///
/// `rules` is what another Nix made of them, where they are beyond the embedded evaluator. A file goes to the host, or
/// the group of exactly those hosts, whose keys stand in its `publicKeys`; its value has the file's name and is byte
/// for byte what the file holds, a newline at its end included.
///
/// # Errors
///
/// [`TakeoverError::Rules`] when the rules cannot be read, and what reading the tree gives.
pub fn agenix(
    tree: &Store,
    (into, rules): (Into<'_>, Option<Value>),
    mut hosts: Hosts,
    (rng, now): (&mut (impl RngCore + CryptoRng), Timestamp),
) -> Result<Taken, TakeoverError> {
    let mut taken = Taken::new(into);
    let path = RelPath::parse(RULES).map_err(Error::from)?;
    let text = tree.read(&path, FILE_LIMIT).map_err(Error::from)?;
    let text = text.ok_or(TakeoverError::Nothing("there is no secrets.nix"))?;
    let text = String::from_utf8(text).map_err(|_| TakeoverError::Rules(RulesProblem::NotUtf8))?;
    for (label, key) in bindings(&text) {
        hosts.label(&key, &label);
    }
    let rules = match rules {
        Some(rules) => rules,
        None => nixmox_nix::eval(&text, &Limits::default())
            .map_err(|error| TakeoverError::Rules(RulesProblem::Nix(error)))?,
    };
    let mut unnamed = Vec::new();
    files(tree, &RelPath::root(), 0, &mut unnamed, &mut taken)?;
    unnamed.retain(|path| path.as_str().ends_with(".age"));
    for (name, keys) in read(&rules)? {
        let Ok(path) = RelPath::parse(name.trim_start_matches("./")) else {
            taken.left(name, Why::Unopened("it lies outside of the tree".to_owned()));
            continue;
        };
        unnamed.retain(|other| *other != path);
        match tree.read(&path, FILE_LIMIT) {
            Ok(Some(bytes)) => secret(&path, (&bytes, &keys), (into, &mut hosts), &mut taken),
            Ok(None) => taken.left(&path, Why::Unopened("it is not there".to_owned())),
            Err(error) => taken.left(&path, Why::Unopened(error.to_string())),
        }
    }
    for path in unnamed {
        taken.left(path, Why::Unopened("no rule names it".to_owned()));
    }
    hosts.finish(into, &mut taken, (rng, now))?;
    Ok(taken)
}

fn secret(
    path: &RelPath,
    (bytes, keys): (&[u8], &[String]),
    (into, hosts): (Into<'_>, &mut Hosts),
    taken: &mut Taken,
) {
    let plain = match open_age(bytes, into.identities) {
        Ok(plain) => plain,
        Err(error) => return taken.left(path, Why::Unopened(causes(&error))),
    };
    let Some(text) = plain.as_str() else { return taken.left(path, Why::NotText) };
    taken.files += 1;
    let openers = hosts.sort(keys.iter().map(String::as_str));
    let mut above = match hosts.node(into, &openers.hosts, stem(path), taken) {
        Some(node) => vec!["nodes".to_owned(), node],
        None => {
            taken.left(path, Why::NoHost);
            vec![UNASSIGNED.to_owned()]
        }
    };
    if into.by_file
        && let Some((directory, _)) = path.as_str().rsplit_once('/')
    {
        above.extend(directory.split('/').map(str::to_owned));
    }
    let tree: SecretTree = [(stem(path).to_owned(), Value::string(text))].into_iter().collect();
    taken.tree(&above, &tree, path.as_str());
}

/// Reads the rules: files with the keys that open them.
fn read(rules: &Value) -> Result<Vec<(String, Vec<String>)>, TakeoverError> {
    let shape = |name: &str| TakeoverError::Rules(RulesProblem::Shape(name.to_owned()));
    let Value::Tree(rules) = rules else { return Err(shape(RULES)) };
    rules
        .iter()
        .map(|(name, rule)| {
            let keys = rule.as_tree().and_then(|rule| rule.get("publicKeys"));
            let Some(Value::List(keys)) = keys else { return Err(shape(name)) };
            let text = |key: &Value| key.as_str().map(str::to_owned).ok_or_else(|| shape(name));
            Ok((name.clone(), keys.iter().map(text).collect::<Result<_, _>>()?))
        })
        .collect()
}

/// Finds what the rules call keys: `name = "ssh-…";`.
fn bindings(text: &str) -> Vec<(String, String)> {
    let binding = |line: &str| {
        let (name, rest) = line.split_once('=')?;
        let key = rest.trim().strip_prefix('"')?.split('"').next()?;
        let name = name.trim();
        let plain = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let is_key = key.starts_with("ssh-") || key.starts_with("age1");
        (plain && is_key).then(|| (name.to_owned(), key.to_owned()))
    };
    text.lines().filter_map(binding).collect()
}
