//! `verify`: judges signatures without any secret key, in CI and on the machine.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueHint};
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_keyring::pins;
use nixmox_secrets::Fleet;
use nixmox_secrets::trust::{Judged, VerifiedFile, verify_file, verify_fleet};
use nixmox_signing::{AllowedSigners, Delivered, DeliveryError, FleetId};
use serde_json::{Value, json};

use super::{print, print_json};
use crate::advice;
use crate::args::{Args, Evaluate, Trust};
use crate::context::Context;

/// The largest file that is verified, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Arguments of `verify`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Verify {
    /// Verify what this host was delivered, on the machine itself.
    #[arg(long, requires = "signers")]
    host: Option<String>,
    /// The keys that are trusted, as OpenSSH's `allowed_signers`; in a fleet, without it, what this machine accepted.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    signers: Option<PathBuf>,
    /// The host's sealed file; without it that of the fleet here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "host")]
    file: Option<PathBuf>,
    /// Its signature; without it FILE.sig.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "file")]
    sig: Option<PathBuf>,
    /// The fleet's id; without it the one that was seen first.
    #[arg(long, value_name = "ID", requires = "host")]
    fleet: Option<FleetId>,
    /// Keep the highest generations that were seen here, and refuse lower ones; with --host /var/lib/nixmox without it.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state: Option<PathBuf>,
    /// Accept an older file than was seen here; what is kept stays the highest.
    #[arg(long, requires = "host")]
    allow_rollback: bool,
}

/// Verifies a fleet, or one host's file.
pub(crate) fn run(args: &Args, verify: &Verify) -> Result<Exit, Failure> {
    let allowed = verify.signers.as_deref().map(allowed).transpose()?;
    match (&verify.host, allowed) {
        (Some(host), Some(allowed)) => on_machine(args, verify, (host, &allowed)),
        (_, allowed) => {
            in_repository(&Context::find(args)?, allowed.as_ref(), verify.state.as_deref())
        }
    }
}

fn allowed(path: &Path) -> Result<AllowedSigners, Failure> {
    AllowedSigners::parse(&read(path)?).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} is no list of signers", path.display()))
            .because(error)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let exit = if missing { Exit::NoFile } else { Exit::Failure };
            Err(Failure::new(exit, format!("cannot read {}", path.display())).because(error))
        }
    }
}

fn in_repository(
    context: &Context,
    allowed: Option<&AllowedSigners>,
    state: Option<&Path>,
) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
    let mut judged = verify_fleet(&fleet, allowed, options.accept.roster).map_err(explain)?;
    let signs = judged.chain.current().delivery;
    if !signs {
        return Err(Failure::new(Exit::Failure, "this fleet does not sign what it delivers")
            .hint("to turn it on: nixmox-secrets sign enable"));
    }
    if let Some(state) = state {
        hold_against(state, &mut judged)?;
    }
    context.remember(None);
    let refused = judged.files.values().filter(|(_, found)| found.is_err()).count();
    if context.json {
        print_json(&as_json(&judged))?;
    } else {
        print(|out| {
            for (host, (path, found)) in &judged.files {
                if let Err(error) = found {
                    let cause = chain(error);
                    writeln!(out, "{host}  {}  {}", escape(path.as_str()), escape(&cause))?;
                }
            }
            let files = plural(judged.files.len(), "file");
            match refused {
                0 => writeln!(
                    out,
                    "all is well: {files} signed by admins of roster {}",
                    judged.chain.current().generation()
                ),
                n => writeln!(out, "{n} of {files} refused"),
            }
        })?;
    }
    Ok(if refused == 0 { Exit::Ok } else { Exit::Failure })
}

/// Refuses what is older than what was seen before, and keeps what is newer.
fn hold_against(state: &Path, judged: &mut Judged) -> Result<(), Failure> {
    for (host, (_, found)) in &mut judged.files {
        let Ok(file) = found else { continue };
        let path = state.join(format!("{host}.json"));
        match seen(&path)? {
            None => keep(&path, file)?,
            Some(seen) => match file.clone().after(&seen) {
                Ok(newer) if newer.generation > seen.generation => keep(&path, &newer)?,
                Ok(_) => {}
                Err(error) => *found = Err(error),
            },
        }
    }
    Ok(())
}

/// Joins an error and its causes.
fn chain(error: &DeliveryError) -> String {
    let error: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn as_json(judged: &Judged) -> Value {
    let files = judged.files.iter().map(|(host, (path, found))| match found {
        Ok(found) => json!({
            "host": host.to_string(), "path": path.to_string(), "accepted": true,
            "signer": found.signer, "generation": found.generation,
        }),
        Err(error) => json!({
            "host": host.to_string(), "path": path.to_string(), "accepted": false,
            "why": chain(error),
        }),
    });
    json!({
        "fleet": judged.chain.fleet().to_string(),
        "roster": judged.chain.current().generation(),
        "files": files.collect::<Vec<_>>(),
    })
}

/// Verifies one file against given signers and what was seen before, and keeps what was seen.
fn on_machine(
    args: &Args,
    verify: &Verify,
    (host, allowed): (&str, &AllowedSigners),
) -> Result<Exit, Failure> {
    if nixmox_topology::NodeName::parse(host).is_err() {
        return Err(Failure::new(Exit::Usage, format!("`{}` is no host's name", escape(host))));
    }
    let (file, path) = match &verify.file {
        Some(file) => (file.clone(), None),
        None => in_fleet(args, host)?,
    };
    let beside = || {
        let mut name = file.clone().into_os_string();
        name.push(".sig");
        PathBuf::from(name)
    };
    let sig = verify.sig.clone().unwrap_or_else(beside);
    let bytes = read(&file)?;
    let signature = read(&sig).map_err(|failure| {
        failure.hint("a file without a signature is not used; `nixmox-secrets sign enable` signs")
    })?;
    let directory = verify.state.clone().unwrap_or_else(|| PathBuf::from("/var/lib/nixmox"));
    let state = directory.join(format!("{host}.json"));
    let seen = seen(&state)?;
    let fleet = verify.fleet.or(seen.as_ref().map(|seen| seen.fleet));
    let delivered = Delivered { fleet, host, path: path.as_deref(), file: &bytes };
    let bar = seen.as_ref().filter(|_| !verify.allow_rollback);
    let found = verify_file(&delivered, &signature, allowed, bar).map_err(|error| {
        advice::explain(error, None)
            .hint("nothing of it may be used; --allow-rollback accepts an older one")
    })?;
    if seen.as_ref().is_none_or(|seen| seen.generation < found.generation) {
        keep(&state, &found)?;
    }
    if args.switches.json {
        print_json(&json!({
            "host": host, "fleet": found.fleet.to_string(), "signer": found.signer,
            "generation": found.generation,
        }))?;
    } else {
        print(|out| {
            writeln!(
                out,
                "{host}: generation {}, signed by {}",
                found.generation,
                escape(&found.signer)
            )
        })?;
    }
    Ok(Exit::Ok)
}

/// Finds a host's file in the fleet here, and the path that was signed.
fn in_fleet(args: &Args, host: &str) -> Result<(PathBuf, Option<String>), Failure> {
    let context = Context::find(args)?;
    let options = context.options(Trust::default(), Evaluate::default());
    let explain = |error| context.explain(error);
    let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
    let path = nixmox_secrets::sealed_path(&fleet, host).map_err(explain)?;
    Ok((context.root.join(path.as_str()), Some(path.to_string())))
}

/// Reads what was seen before; a file that cannot be read is no licence to forget.
fn seen(path: &Path) -> Result<Option<VerifiedFile>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("cannot read {}", path.display());
            return Err(Failure::new(Exit::Failure, message).because(error));
        }
    };
    let parse = || {
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        Some(VerifiedFile {
            fleet: text("fleet")?.parse().ok()?,
            signer: text("signer")?.to_owned(),
            generation: value.get("generation")?.as_u64()?,
            statement: text("statement")?.parse().ok()?,
        })
    };
    parse().map(Some).ok_or_else(|| {
        Failure::new(Exit::Failure, format!("{} is damaged", path.display()))
            .hint("it keeps the highest generation that was seen; remove it only if you know what the host should have")
    })
}

fn keep(path: &Path, found: &VerifiedFile) -> Result<(), Failure> {
    let value = json!({
        "fleet": found.fleet.to_string(),
        "signer": found.signer,
        "generation": found.generation,
        "statement": found.statement.to_string(),
    });
    pins::replace(path, format!("{value:#}\n").as_bytes()).map_err(|error| {
        Failure::new(Exit::Write, format!("cannot keep {}", path.display())).because(error)
    })
}
