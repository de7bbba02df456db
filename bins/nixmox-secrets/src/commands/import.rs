//! `import`: a plain file, or a tree of Nixverse, sops or agenix.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand, ValueHint};
use jiff::Timestamp;
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::store::{RelPath, Store};
use nixmox_secrets::takeover::{
    HostGiven, Hosts, Into, Item, Left, Taken, TakeoverError, UNASSIGNED, agenix, nixverse, sops,
};
use nixmox_secrets::{Draft, Error, Fleet, Report, change, open};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretString, Value};
use rand_core::OsRng;
use serde_json::json;

use super::change::{EXAMPLE, import};
use super::input::read_file;
use super::{print, print_json};
use crate::args::{PlainFormat, Write};
use crate::context::Context;
use crate::git;
use crate::report::{self, Tense};

/// Arguments of `import`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Import {
    #[command(subcommand)]
    from: Option<From>,
    /// The plain file; `-` for standard input with --format.
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// What it is written in; without it the file's ending tells.
    #[arg(long, value_enum)]
    format: Option<PlainFormat>,
    #[command(flatten)]
    write: Write,
}

/// The tool whose tree is taken over.
#[derive(Subcommand, Debug)]
enum From {
    /// Take over another repository of Nixverse: values, nodes, host keys
    ///
    /// A repository that is to stay where it is needs no import: run `seal --accept-admins --accept-host-keys` there.
    Nixverse(Tree),
    /// Take over a directory of sops files: each goes to the hosts among its recipients
    Sops(Tree),
    /// Take over a directory of agenix: `secrets.nix` and the age files that it names
    Agenix(Tree),
}

/// Arguments of every import of a tree.
#[derive(ClapArgs, Debug)]
struct Tree {
    /// The directory.
    #[arg(value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// A host and its public key there: an SSH line, an age recipient, or a file with either. May be given several
    /// times.
    #[arg(long, value_name = "HOST=KEY")]
    host: Vec<String>,
    /// A host and its private SSH key, which is taken over. May be given several times.
    #[arg(long, value_name = "HOST=FILE")]
    host_key: Vec<String>,
    /// Put values below the name of the file that they come from.
    #[arg(long)]
    by_file: bool,
    #[command(flatten)]
    write: Write,
}

/// Takes a plain file or a tree in.
pub(crate) fn run(context: &Context, args: &Import) -> Result<Exit, Failure> {
    match (&args.from, &args.file) {
        (Some(from), _) => take_over(context, from),
        (None, Some(file)) => import(context, (file, args.format), args.write),
        (None, None) => Err(Failure::new(Exit::Usage, "nothing to import was named")
            .hint("a plain FILE, or `nixverse DIR`, `sops DIR`, `agenix DIR`; see --help")),
    }
}

fn take_over(context: &Context, from: &From) -> Result<Exit, Failure> {
    let (From::Nixverse(tree) | From::Sops(tree) | From::Agenix(tree)) = from;
    if !tree.dir.is_dir() {
        let message = format!("{} is no directory", tree.dir.display());
        return Err(Failure::new(Exit::NoFile, message));
    }
    if same_directory(&tree.dir, &context.root) {
        return Err(explain(context, TakeoverError::Itself));
    }
    let example = SecretString::new(EXAMPLE);
    let options = context.options_with_fresh(tree.write.trust, tree.write.evaluate, &example);
    let (fleet, master) = open(&context.root, &options).map_err(|error| context.explain(error))?;
    let into = Into {
        fleet: &fleet,
        identities: options.identities,
        by_file: tree.by_file,
        form: master.form(),
    };
    let taken = read(context, from, into).map_err(|error| explain(context, error))?;
    let text =
        taken.apply(master.form(), master.text()).map_err(|error| explain(context, error))?;
    check_keys(&taken, tree.write)?;
    if tree.write.dry_run {
        tell(context, &taken, None)?;
        return Ok(Exit::Ok);
    }
    let prepared = prepare(context, &taken, &fleet)?;
    let base = master.text().clone();
    let report = seal(context, tree.write, &mut |draft| {
        // Another run may have come between.
        match draft.problem {
            Some(problem) => Err(context.explain(problem)),
            None if *draft.text != base => Err(Failure::new(
                Exit::Failure,
                "the master was changed meanwhile; repeat the import",
            )),
            None => Ok(text.clone()),
        }
    })
    .map_err(|failure| match prepared {
        true => failure.hint("nodes and keys of the tree were written already, the secrets were not; mend the cause and repeat"),
        false => failure,
    })?;
    tell(context, &taken, Some(&report))?;
    Ok(Exit::Ok)
}

/// Writes what has to be there before the secrets are sealed, and tells whether there is any.
fn prepare(context: &Context, taken: &Taken, fleet: &Fleet) -> Result<bool, Failure> {
    let changes = taken.prepare(fleet).map_err(|error| explain(context, error))?;
    if changes.is_empty() {
        return Ok(false);
    }
    let prepared: Vec<RelPath> = changes.writes.keys().cloned().collect();
    let commit = || {
        let store = Store::open(&context.root)?;
        let mut locked = store.lock()?;
        locked.recover()?;
        locked.commit(changes)
    };
    commit().map_err(|error| context.explain(Error::Store(error)))?;
    git::intent_to_add(&context.root, &prepared);
    Ok(true)
}

/// Changes the master and seals what changed.
fn seal(
    context: &Context,
    write: Write,
    author: &mut dyn FnMut(Draft<'_>) -> Result<SecretString, Failure>,
) -> Result<Report, Failure> {
    let example = SecretString::new(EXAMPLE);
    let options = context.options_with_fresh(write.trust, write.evaluate, &example);
    let mut failed = None;
    let mut once = |draft: Draft<'_>| author(draft).map_err(|failure| failed = Some(failure)).ok();
    let outcome = change(&context.root, options, &mut once, &mut OsRng, Timestamp::now());
    let outcome = outcome.map_err(|error| context.explain(error))?;
    match (failed, outcome.report) {
        (None, Some(report)) => {
            git::intent_to_add(&context.root, &outcome.written);
            Ok(report)
        }
        (failed, _) => {
            Err(failed.unwrap_or_else(|| Failure::new(Exit::Failure, "nothing was sealed")))
        }
    }
}

/// Reads the tree with its own tool's rules.
fn read(context: &Context, from: &From, into: Into<'_>) -> Result<Taken, TakeoverError> {
    let (From::Nixverse(tree) | From::Sops(tree) | From::Agenix(tree)) = from;
    let options = context.options(tree.write.trust, tree.write.evaluate);
    if let From::Nixverse(_) = from {
        let ask = |file: &RelPath| {
            let names =
                nixmox_instantiate::foreign(&tree.dir, file.as_str(), "builtins.attrNames")?;
            serde_json::from_slice(&names).ok()
        };
        return nixverse(&tree.dir, into, &ask, options.real_nix);
    }
    let hosts = Hosts::gather(into, &given(tree)?)?;
    let store = Store::open(&tree.dir).map_err(Error::Store)?;
    let draw = (&mut OsRng, Timestamp::now());
    match from {
        From::Agenix(_) => {
            let rules = tree.write.evaluate.nix.then(|| rules_by_nix(&tree.dir)).flatten();
            agenix(&store, (into, rules), hosts, draw)
        }
        _ => sops(&store, into, hosts, draw),
    }
}

/// Reads the hosts and keys that were given.
fn given(tree: &Tree) -> Result<Vec<HostGiven>, TakeoverError> {
    let split = |given: &str| {
        let (name, rest) = given.split_once('=').ok_or(TakeoverError::Given(given.to_owned()))?;
        Ok::<_, TakeoverError>((name.to_owned(), rest.to_owned()))
    };
    let mut hosts = Vec::new();
    for given in &tree.host {
        let (name, key) = split(given)?;
        let is_key = key.starts_with("age1") || key.starts_with("ssh-");
        let key = match is_key {
            true => key,
            false => text(Path::new(&key))
                .ok_or(TakeoverError::Given(given.clone()))?
                .expose()
                .to_owned(),
        };
        hosts.push(HostGiven::Public(name, key));
    }
    for given in &tree.host_key {
        let (name, path) = split(given)?;
        let key = text(Path::new(&path)).ok_or(TakeoverError::Given(given.clone()))?;
        hosts.push(HostGiven::Private(name, key));
    }
    Ok(hosts)
}

fn text(path: &Path) -> Option<SecretString> {
    read_file(path).ok()?.as_str().map(SecretString::new)
}

/// Lets a real Nix evaluate rules of agenix, which hold no secrets.
fn rules_by_nix(directory: &Path) -> Option<Value> {
    let answer = nixmox_instantiate::foreign(directory, "secrets.nix", "")?;
    nixmox_nix::read_answer(&SecretBytes::new(answer)).ok().map(Value::Tree)
}

fn same_directory(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some() && real(one) == real(other)
}

/// Refuses host keys that nobody has vouched for.
fn check_keys(taken: &Taken, write: Write) -> Result<(), Failure> {
    if taken.keys.is_empty() || write.trust.accept_host_keys || write.dry_run {
        return Ok(());
    }
    let count = plural(taken.keys.len(), "host key");
    let failure =
        Failure::new(Exit::Failure, format!("nobody has vouched for {count} of the tree"));
    let failure = taken.keys.iter().take(12).fold(failure, |failure, (host, pair)| {
        failure.hint(format!("{host}  {}", pair.fingerprint))
    });
    Err(failure.hint("nothing was written; compare the fingerprints with your machines, then repeat with --accept-host-keys"))
}

/// Says what was taken and what was not.
fn tell(context: &Context, taken: &Taken, report: Option<&Report>) -> Result<(), Failure> {
    let mut left: Vec<&Left> = taken.left.iter().collect();
    left.sort();
    left.dedup();
    if context.json {
        return print_json(&as_json(taken, &left, report));
    }
    print(|out| {
        as_text(out, taken, (&left, report.is_none()))?;
        report.map_or(Ok(()), |report| report::text(out, report, Tense::Done))
    })
}

fn as_text(
    out: &mut dyn std::io::Write,
    taken: &Taken,
    (left, dry_run): (&[&Left], bool),
) -> std::io::Result<()> {
    let would = if dry_run { "would be " } else { "" };
    for (group, members) in &taken.groups {
        writeln!(out, "{would}group     {group}  {}", names(members).join(", "))?;
    }
    for (host, pair) in &taken.keys {
        writeln!(out, "{would}host key  {host}  {}", pair.fingerprint)?;
    }
    for Left { place, why } in left {
        writeln!(out, "{}  {}  {}", why.code(), escape(place), escape(&why.to_string()))?;
    }
    let is_aside = |item: &&Item| item.path.first().is_some_and(|top| top == UNASSIGNED);
    let aside = match taken.items.iter().filter(is_aside).count() {
        0 => String::new(),
        n => format!(", {n} of them for nobody"),
    };
    let (values, files) = (plural(taken.items.len(), "value"), plural(taken.files, "sealed file"));
    writeln!(out, "{would}taken: {values} from {files}{aside}")
}

fn as_json(taken: &Taken, left: &[&Left], report: Option<&Report>) -> serde_json::Value {
    let left = left.iter().map(|left| {
        json!({ "place": left.place, "code": left.why.code(), "message": left.why.to_string() })
    });
    let values = taken.items.iter().map(|item| json!({ "path": item.path, "from": item.from }));
    let groups = taken.groups.iter().map(|(group, of)| (group.clone(), json!(names(of))));
    let keys = taken.keys.iter().map(|(host, key)| (host.to_string(), json!(key.fingerprint)));
    json!({
        "dryRun": report.is_none(),
        "files": taken.files,
        "values": values.collect::<Vec<_>>(),
        "groups": groups.collect::<serde_json::Map<_, _>>(),
        "hostKeys": keys.collect::<serde_json::Map<_, _>>(),
        "definitions": taken.definitions.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
        "sealed": report.map(report::as_json),
    })
}

fn names(hosts: &[NodeName]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

fn explain(context: &Context, error: TakeoverError) -> Failure {
    let failure = |exit, error, hint: &str| Failure::from_error(exit, error).hint(hint);
    match error {
        TakeoverError::Fleet(error) => context.explain(error),
        TakeoverError::Tree(error) => {
            context.explain(*error).hint("this is about the tree that was to be taken over")
        }
        error @ TakeoverError::Itself => failure(
            Exit::Usage,
            error,
            "it is taken over in place: nixmox-secrets seal --accept-admins --accept-host-keys",
        ),
        error @ TakeoverError::Collision { .. } => failure(
            Exit::Usage,
            error,
            "nothing was written; --by-file puts values below the name of their file, or change one of the two",
        ),
        error @ TakeoverError::Node { .. } => failure(
            Exit::Usage,
            error,
            "nothing was written; values would reach other hosts: let both mean the same first",
        ),
        error @ TakeoverError::NoOverlay => {
            failure(Exit::Usage, error, "make it first: mkdir private")
        }
        error @ TakeoverError::Rules(_) => failure(
            Exit::Usage,
            error,
            "with --nix an installed Nix evaluates it; it holds no secrets",
        ),
        error @ TakeoverError::OtherKey(_) => failure(
            Exit::Failure,
            error,
            "nothing was written; find out which of the two the machine has, and remove the other",
        ),
        error @ TakeoverError::Nothing(_) => Failure::from_error(Exit::NoFile, error),
        error @ (TakeoverError::Given(_) | TakeoverError::GivenKey { .. }) => failure(
            Exit::Usage,
            error,
            "--host NAME=KEY takes an SSH line, an age recipient or a file with one; --host-key NAME=FILE a private ed25519 key without a passphrase",
        ),
        error => Failure::from_error(Exit::Failure, error),
    }
}
