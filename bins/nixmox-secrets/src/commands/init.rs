//! `init`: an admin identity, `.sops.yaml`, and a master, in any directory.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::store::{Changes, Mode, RelPath, Store};
use nixmox_secrets::{Error, FILE_LIMIT, Form, Options, change};
use nixmox_sops::Recipient;
use nixmox_tree::SecretString;
use rand_core::OsRng;

use super::change::EXAMPLE;
use super::print;
use crate::args::{Args, Evaluate, Init, MasterFormat, Trust};
use crate::context::{Context, config_dir};
use crate::git;

/// What a new YAML master starts with: something to seal, because sops leaves empty sets in the clear.
const YAML_EXAMPLE: &str = "\
# The secrets of this fleet. What a group has, every host below it gets; a host's own values win:
#
# nodes:
#     routers:
#         pppoePassword: …    every host of the group `routers`
#     router1:
#         wifi:
#             psk: …          one host
#     servers:
#         _salt: …            a leading underscore: for reference, never delivered
about: Values beside `nodes` go to no host.
";

/// A group file that shows the shape of one.
const GROUP: &str = "\
# The members of the group `example`: each name is a host, or another group with a directory of its own.
# Values below `common` are for all members; nixmox-secrets reads only the names.
{
  common = { };
  host1 = { };
}
";

/// Lines that keep plaintext and build products out of git.
const IGNORED: &str = "/result\n/result-*\n/build/\n/secrets.nix\n*.plain.yaml\nkeys.txt\n";

/// Prepares the repository that the arguments name, or the current directory.
pub(crate) fn run(args: &Args, init: &Init) -> Result<Exit, Failure> {
    let root = args.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let context = Context::at(root, args.switches.json);
    let own = own_recipient(&context)?;
    let mut recipients = vec![own.0.clone()];
    for text in &init.recipient {
        let recipient = Recipient::parse(text).map_err(|e| {
            Failure::new(Exit::Usage, format!("`{text}` is not an age recipient")).because(e)
        })?;
        recipients.push(recipient);
    }
    let mut done = own.1;
    let (written, said) = prepare(&context, &recipients)?;
    done.extend(said);
    git::intent_to_add(&context.root, &written);
    done.extend(seal_master(&context, init.format)?);
    print(|out| {
        done.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out, "\nnow: nixmox-secrets edit --repo {}", context.root.display())
    })?;
    Ok(Exit::Ok)
}

/// Returns the recipient of the user's first key; makes a key when there is none.
fn own_recipient(context: &Context) -> Result<(Recipient, Vec<String>), Failure> {
    let loaded = context.loaded();
    if let Some(own) = loaded.identities.recipients().first() {
        return Ok((own.clone(), vec![format!("your key stays: {own}")]));
    }
    let dir = config_dir().ok_or_else(|| {
        Failure::new(Exit::Config, "there is no home directory to keep a key in")
            .hint("set SOPS_AGE_KEY_FILE to a file with your age key")
    })?;
    let path = dir.join("sops/age/keys.txt");
    let recipient = make_identity(&path)?;
    Ok((
        recipient,
        vec![format!("made your key: {} (keep a copy in a safe place)", path.display())],
    ))
}

/// Makes an age identity in a new file that only its owner can read, and returns its recipient.
pub(crate) fn make_identity(path: &Path) -> Result<Recipient, Failure> {
    let fail = |e: std::io::Error| {
        Failure::new(Exit::Write, format!("cannot make {}", path.display())).because(e)
    };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
    }
    let (identity, recipient) = nixmox_keyring::generate()
        .map_err(|e| Failure::new(Exit::Failure, "the new key has no recipient").because(e))?;
    let text = zeroize::Zeroizing::new(format!(
        "# made by nixmox-secrets\n# public key: {recipient}\n{}\n",
        identity.expose(),
    ));
    nixmox_cli::write_private(path, text.as_bytes()).map_err(fail)?;
    Ok(recipient)
}

/// Writes what a fleet needs and does not have: `.sops.yaml`, `.gitignore`, and an example group where nothing makes
/// hosts yet.
pub(crate) fn prepare(
    context: &Context,
    recipients: &[Recipient],
) -> Result<(Vec<RelPath>, Vec<String>), Failure> {
    let explain = |error: nixmox_secrets::store::StoreError| context.explain(Error::Store(error));
    let path = |name: &str| RelPath::parse(name).map_err(|e| context.explain(Error::Path(e)));
    let store = Store::open(&context.root).map_err(explain)?;
    let mut locked = store.lock().map_err(explain)?;
    locked.recover().map_err(explain)?;
    let mut changes = Changes::new();
    let sops = path(".sops.yaml")?;
    let overlaid = store.read(&path("private/.sops.yaml")?, FILE_LIMIT).map_err(explain)?;
    if overlaid.is_none() && store.read(&sops, FILE_LIMIT).map_err(explain)?.is_none() {
        changes.write(sops, rules(recipients).into_bytes(), Mode::Public);
    }
    let ignore = path(".gitignore")?;
    if store.read(&ignore, FILE_LIMIT).map_err(explain)?.is_none() {
        changes.write(ignore, IGNORED.as_bytes().to_vec(), Mode::Public);
    }
    let has_manifest =
        nixmox_manifest::FILE_NAMES.iter().any(|name| context.root.join(name).is_file());
    if !has_manifest
        && store.entries(&path("nodes")?).map_err(explain)?.is_empty()
        && store.entries(&path("private/nodes")?).map_err(explain)?.is_empty()
    {
        changes.write(path("nodes/example/group.nix")?, GROUP.as_bytes().to_vec(), Mode::Public);
    }
    let written: Vec<RelPath> = changes.writes.keys().cloned().collect();
    locked.commit(changes).map_err(explain)?;
    let said = written.iter().map(|path| format!("wrote {path}")).collect();
    Ok((written, said))
}

/// Writes creation rules that seal everything to `recipients`.
fn rules(recipients: &[Recipient]) -> String {
    let list: String = recipients.iter().map(|r| format!("      - {r}\n")).collect();
    format!("creation_rules:\n  - age:\n{list}")
}

/// Seals a first master, if there is none.
fn seal_master(context: &Context, format: MasterFormat) -> Result<Vec<String>, Failure> {
    let (form, text) = match format {
        MasterFormat::Nix => (Form::Nix, EXAMPLE),
        MasterFormat::Yaml => (Form::Yaml, YAML_EXAMPLE),
    };
    let text = SecretString::new(text);
    let options = context.options(Trust::default(), Evaluate::default());
    let options = Options { fresh: Some((form, &text)), ..options };
    let mut problem = None;
    let outcome = change(
        &context.root,
        options,
        &mut |draft| match draft.problem {
            Some(error) => {
                problem = Some(error);
                None
            }
            None => Some(draft.text.clone()),
        },
        &mut OsRng,
        Timestamp::now(),
    );
    let outcome = outcome.map_err(|error| context.explain(error))?;
    if let Some(problem) = problem {
        return Err(context.explain(problem));
    }
    git::intent_to_add(&context.root, &outcome.written);
    Ok(outcome.written.iter().map(|path| format!("wrote {path}")).collect())
}
