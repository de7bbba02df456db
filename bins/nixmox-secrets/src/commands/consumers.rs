//! `consumers`: what configurations declare against what is delivered.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstyle::{AnsiColor, Style};
use clap::{Args as ClapArgs, ValueHint};
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure, Progress};
use nixmox_manifest::ClientType;
use nixmox_manifest::secret::Kind;
use nixmox_secrets::consumers::{Declared, DeclaredError, Delivery, Misfit, MisfitKind, by_host};
use nixmox_secrets::{Fleet, Options};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;
use serde_json::json;

use super::generate::needed;
use super::{print, print_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;

/// The largest declaration that is read, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Arguments of `consumers`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Consumers {
    /// The hosts; with --all every host of the fleet.
    #[arg(value_name = "HOST", required_unless_present = "all", conflicts_with = "all")]
    hosts: Vec<String>,
    /// Every host; a file of declarations then has one set for each.
    #[arg(long)]
    all: bool,
    /// What the configuration declares, as JSON: `config.sops.secrets`, or a manifest of sops-nix; `-` or nothing for
    /// standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "nix")]
    declared: Option<PathBuf>,
    /// Ask Nix: `nix eval --json .#nixosConfigurations.HOST.config.sops.secrets`. No secret is involved.
    #[arg(long)]
    nix: bool,
    /// Compare with what the service manifest implies; what else is delivered is no misfit then.
    #[arg(long, conflicts_with_all = ["declared", "nix"])]
    manifest: bool,
    /// Compare with the names in the sealed files, though there is a key for the master.
    #[arg(long)]
    keyless: bool,
}

/// Compares what configurations declare with what is delivered.
pub(crate) fn run(context: &Context, args: &Consumers) -> Result<Exit, Failure> {
    let none = Identities::new();
    let options = context.options(Trust::default(), Evaluate::default());
    let options = if args.keyless { Options { identities: &none, ..options } } else { options };
    let delivery =
        Delivery::read(&context.root, &options).map_err(|error| context.explain(error))?;
    let explain = |error| context.explain(error);
    let hosts: Vec<NodeName> = if args.all {
        delivery.fleet().topology().hosts().cloned().collect()
    } else {
        args.hosts
            .iter()
            .map(|name| delivery.host(name).map_err(explain))
            .collect::<Result<_, _>>()?
    };
    let mut found = BTreeMap::new();
    let declared = match args.manifest {
        true => of_manifest(context, delivery.fleet(), hosts)?,
        false => declarations(context, args, &hosts)?,
    };
    for (host, declared) in declared {
        let mut misfits = delivery.compare(&host, &declared).map_err(explain)?;
        misfits.retain(|misfit| !args.manifest || misfit.kind != MisfitKind::Unused);
        found.insert(host, (declared.secrets.len(), misfits));
    }
    tell(context, &found, delivery.opened())?;
    let clean = found.values().all(|(_, misfits)| misfits.is_empty());
    Ok(if clean { Exit::Ok } else { Exit::Failure })
}

/// Gathers what the manifest implies for each host.
fn of_manifest(
    context: &Context,
    fleet: &Fleet,
    hosts: Vec<NodeName>,
) -> Result<BTreeMap<NodeName, Declared>, Failure> {
    let implied = needed::of_manifest(context, fleet)?;
    let public = Kind::ClientSecret(ClientType::Public);
    let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for secret in implied.iter().filter(|secret| secret.kind != public) {
        for host in &secret.hosts {
            keys.entry(host).or_default().push(secret.name.clone());
        }
    }
    let declared = |host: NodeName| {
        let keys = keys.remove(host.as_ref()).unwrap_or_default();
        (host, Declared::of_keys(keys))
    };
    Ok(hosts.into_iter().map(declared).collect())
}

/// Gathers what each host declares: from Nix, a file, or standard input.
fn declarations(
    context: &Context,
    args: &Consumers,
    hosts: &[NodeName],
) -> Result<BTreeMap<NodeName, Declared>, Failure> {
    if args.nix {
        let progress = Progress::bar("evaluating", hosts.len());
        let ask = |host: &NodeName| {
            progress.say(host.as_ref());
            let declared = ask_nix(&context.root, host)?;
            progress.step();
            Ok((host.clone(), declared))
        };
        return hosts.iter().map(ask).collect();
    }
    let (name, text) = read(args.declared.as_deref())?;
    let unread = |error: DeclaredError| {
        Failure::new(Exit::Usage, format!("{name} does not say what is declared"))
            .because(error)
            .hint("it is what `nix eval --json .#nixosConfigurations.HOST.config.sops.secrets` prints")
    };
    if let ([host], false) = (hosts, args.all) {
        return Ok(BTreeMap::from([(host.clone(), Declared::parse(&text).map_err(unread)?)]));
    }
    let mut all = by_host(&text).map_err(unread)?;
    let take = |host: &NodeName| {
        let missing = || {
            Failure::new(Exit::Usage, format!("{name} does not say what {host} declares"))
                .hint("for several hosts it is a set of sets, by the names of hosts")
        };
        Ok((host.clone(), all.remove(host.as_ref()).ok_or_else(missing)?))
    };
    let taken: BTreeMap<_, _> = hosts.iter().map(take).collect::<Result<_, Failure>>()?;
    match all.into_keys().next().filter(|_| args.all) {
        Some(stranger) => Err(Failure::new(
            Exit::Usage,
            format!("{name} has `{stranger}`, which is no host of this fleet"),
        )),
        None => Ok(taken),
    }
}

/// Reads a declaration from a file, or from standard input when there is something on it.
fn read(path: Option<&Path>) -> Result<(String, Vec<u8>), Failure> {
    let path = path.filter(|path| *path != Path::new("-"));
    let name = path.map_or("standard input".to_owned(), |path| path.display().to_string());
    let fail = |e: std::io::Error| {
        let missing = e.kind() == std::io::ErrorKind::NotFound;
        let exit = if missing { Exit::NoFile } else { Exit::Usage };
        Failure::new(exit, format!("{name} cannot be read")).because(e)
    };
    let mut text = Vec::new();
    let read = match path {
        Some(path) => {
            std::fs::File::open(path).map_err(fail)?.take(LIMIT + 1).read_to_end(&mut text)
        }
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::new(Exit::Usage, "nothing says what is declared")
                .hint("give a file with --declared FILE, pipe one in, or let --nix ask Nix"));
        }
        None => std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut text),
    };
    let length = u64::try_from(read.map_err(fail)?).unwrap_or(u64::MAX);
    if length > LIMIT {
        return Err(Failure::new(Exit::Usage, format!("{name} has more than {LIMIT} bytes")));
    }
    Ok((name, text))
}

/// Lets the user's Nix evaluate a host's configuration; what it says on standard error goes to the terminal.
fn ask_nix(root: &Path, host: &NodeName) -> Result<Declared, Failure> {
    let attribute = format!(".#nixosConfigurations.{host}.config.sops.secrets");
    let mut nix = nixmox_cli::scrubbed(Command::new("nix"));
    nix.args(["--extra-experimental-features", "nix-command flakes", "eval", "--json"]);
    nix.args(["--no-write-lock-file", &attribute]).current_dir(root);
    nix.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let refused = || {
        Failure::new(Exit::Failure, format!("Nix does not say what {host} declares"))
            .hint(format!("what was run: nix eval --json {attribute}"))
    };
    let mut child = nix.spawn().map_err(|e| refused().because(e))?;
    let mut text = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(LIMIT).read_to_end(&mut text).map_err(|e| refused().because(e))?;
    }
    let status = child.wait().map_err(|e| refused().because(e))?;
    if !status.success() {
        return Err(refused());
    }
    Declared::parse(&text).map_err(|error| refused().because(error))
}

type Found = BTreeMap<NodeName, (usize, Vec<Misfit>)>;

fn tell(context: &Context, found: &Found, opened: bool) -> Result<(), Failure> {
    if context.json {
        let misfit = |misfit: &Misfit| {
            json!({
                "code": misfit.kind.code(),
                "secret": misfit.secret,
                "key": misfit.key,
                "message": misfit.kind.to_string(),
            })
        };
        let hosts: serde_json::Map<_, _> = found
            .iter()
            .map(|(host, (declared, misfits))| {
                let misfits: Vec<_> = misfits.iter().map(misfit).collect();
                (host.to_string(), json!({ "declared": declared, "misfits": misfits }))
            })
            .collect();
        return print_json(&json!({ "hosts": hosts, "opened": opened }));
    }
    print(|out| text(out, found, opened))
}

fn text(out: &mut dyn std::io::Write, found: &Found, opened: bool) -> std::io::Result<()> {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let mut misfits = 0;
    for (host, (_, of_host)) in found {
        misfits += of_host.len();
        for misfit in of_host {
            let code = misfit.kind.code();
            let key = match &misfit.secret {
                Some(name) if *name != misfit.key => format!("{name} (key `{}`)", misfit.key),
                _ => misfit.key.clone(),
            };
            let said = misfit.kind.to_string();
            writeln!(out, "{red}{code}{red:#}  {host}  {}  {}", escape(&key), escape(&said))?;
        }
    }
    let declared = found.values().map(|(declared, _)| declared).sum();
    let hosts = plural(found.len(), "host");
    let secrets = plural(declared, "declared secret");
    let by = if opened { "what the master delivers" } else { "the names in the sealed files" };
    match misfits {
        0 => writeln!(out, "all is well: {secrets} of {hosts} compared with {by}"),
        n => {
            writeln!(out, "{} found; {secrets} of {hosts} compared with {by}", plural(n, "misfit"))
        }
    }
}
