//! `demo`: a throw-away fleet, made and sealed with the commands that everybody uses.

use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_secrets::identities::Loaded;
use nixmox_secrets::{Fleet, Layout};
use nixmox_sops::{EncryptedFile, Format, Identities, Indent, KeyText};
use nixmox_tree::SecretString;

use super::change::apply;
use super::{init, print};
use crate::args::{Evaluate, Trust, Write};
use crate::context::Context;

/// The definitions of the fleet: two groups of two hosts, both below a third, and a private group.
const NODES: [(&str, &str); 4] = [
    (
        "nodes/servers/group.nix",
        "{\n  common = { os = \"nixos\"; channel = \"unstable\"; };\n  server1 = { };\n  server2 = { };\n}\n",
    ),
    (
        "nodes/routers/group.nix",
        "{\n  common = { os = \"nixos\"; channel = \"unstable\"; };\n  router1 = { };\n  router2 = { };\n}\n",
    ),
    ("nodes/sshable/group.nix", "{\n  servers = { };\n  routers = { };\n}\n"),
    ("private/nodes/backups/group.nix", "{\n  server1 = { };\n}\n"),
];

/// The secrets that the demo writes into the master.
const SECRETS: &str = "\
# Made by `nixmox-secrets demo`: worthless values.
{ secrets, ... }:
{
  nodes = {
    routers.pppoePassword = \"mypassword\";
    router1.pppoePassword = \"only-for-router1\";
    servers.database = {
      user = \"app\";
      password = \"correct-horse\";
    };
    backups.repository = \"sftp://${secrets.nodes.servers.database.user}@backup/repo\";
  };
}
";

/// Makes the fleet in `dir`, or in a new directory among the system's temporary ones.
pub(crate) fn run(dir: Option<&Path>) -> Result<Exit, Failure> {
    let dir = make_dir(dir)?;
    let (fleet, keys) = (dir.join("fleet"), dir.join("admin-keys.txt"));
    for (path, text) in NODES {
        write_file(&fleet.join(path), text)?;
    }
    let recipient = init::make_identity(&keys)?;
    let context = Context::at(fleet, false).with_keys(load(&keys)?);
    say(&format!(
        "made a fleet in {} and an admin key in {}",
        context.root.display(),
        keys.display()
    ))?;
    init::prepare(&context, &[recipient])?;
    say("wrote these secrets into the master, as `edit` would:\n")?;
    print(|out| SECRETS.lines().try_for_each(|line| writeln!(out, "    {line}")))?;
    say("")?;
    let text = SecretString::new(SECRETS);
    let mut problem = None;
    apply(&context, Write::default(), &mut |draft| match draft.problem {
        None => Some(text.clone()),
        Some(error) => {
            problem = Some(context.explain(error));
            None
        }
    })?;
    match problem {
        Some(failure) => return Err(failure),
        None => show_hosts(&context)?,
    }
    say_next(&context, &keys)?;
    Ok(Exit::Ok)
}

fn make_dir(dir: Option<&Path>) -> Result<PathBuf, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Write, "cannot make the demo's directory").because(e)
    };
    let Some(dir) = dir else {
        let made = tempfile::Builder::new().prefix("nixmox-demo-").tempdir().map_err(fail)?;
        return Ok(made.keep());
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    if std::fs::read_dir(dir).map_err(fail)?.next().is_some() {
        return Err(Failure::new(Exit::Write, format!("{} is not empty", dir.display()))
            .hint("name a directory that does not exist yet"));
    }
    std::path::absolute(dir).map_err(fail)
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |e| Failure::new(Exit::Write, format!("cannot write {}", path.display())).because(e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    std::fs::write(path, text).map_err(fail)
}

fn load(keys: &Path) -> Result<Loaded, Failure> {
    let text = super::input::read_file(keys)?;
    let identities = Identities::parse_keys(&text, KeyText::Lines, None)
        .map_err(|e| Failure::new(Exit::Failure, "the new key cannot be read").because(e))?;
    Ok(Loaded { identities, ..Loaded::default() })
}

/// Opens every host's file with that host's own key and prints what is in it.
fn show_hosts(context: &Context) -> Result<(), Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
    let layout: &Layout = fleet.layout();
    say("\nwhat each host opens with its own key, and no other host can:\n")?;
    for host in fleet.topology().hosts() {
        let paths = layout.host(&fleet.topology().dir(host));
        let sealed = paths.map_err(|e| explain(e.into()))?.sealed;
        let Some(bytes) = fleet.read(&sealed).map_err(explain)? else {
            say(&format!("  {host}: nothing"))?;
            continue;
        };
        let own = nixmox_secrets::host_identities(&fleet, host.as_ref(), options.identities);
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(Exit::Failure, format!("{sealed} does not open")).because(e)
        };
        let file = EncryptedFile::parse(&bytes, Format::Yaml).map_err(|e| broken(e.into()))?;
        let opened = file.open(&own.map_err(explain)?).map_err(|e| broken(e.into()))?;
        let text = opened.documents().to_bytes(Format::Yaml, Indent::default());
        let text = text.map_err(|e| broken(e.into()))?;
        say(&format!("  {sealed}"))?;
        let lines = text.as_str().unwrap_or_default().lines();
        print(|out| lines.clone().try_for_each(|line| writeln!(out, "      {line}")))?;
    }
    Ok(())
}

fn say_next(context: &Context, keys: &Path) -> Result<(), Failure> {
    say(&format!(
        "\ngo on with:\n    export SOPS_AGE_KEY_FILE={}\n    nixmox-secrets edit --repo {}",
        keys.display(),
        context.root.display()
    ))
}

fn say(line: &str) -> Result<(), Failure> {
    print(|out| writeln!(out, "{line}"))
}
