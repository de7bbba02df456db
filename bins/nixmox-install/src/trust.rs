//! By which key a machine is recognised before it is the node.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use nixmox_cli::{Exit, Failure, prompt};
use nixmox_deploy::{SshSettings, Target, seen_key};
use nixmox_hostkey::HostPublicKey;
use nixmox_topology::NodeName;

use crate::args::Args;
use crate::input;

/// The largest file that holds a public key.
pub(crate) const MAX_KEY: u32 = 16 << 10;
/// What can be given as the key of a machine.
const FORMS: &str = "is SHA256:…, `ssh-ed25519 …`, or a file with such a line";

/// A key, and whether anything but the machine itself vouches for it.
pub(crate) struct Recognised {
    pub(crate) keys: Vec<HostPublicKey>,
    pub(crate) unauthenticated: bool,
}

/// Finds the key of a machine: it is given, declared, or shown and accepted by a person.
///
/// `known` are keys that the machine may have by now: the node's own, and those of an installation that was begun.
pub(crate) fn recognise(
    args: &Args,
    target: &Target,
    (declared, known): (Option<&str>, &[HostPublicKey]),
    ssh: &SshSettings,
) -> Result<Recognised, Failure> {
    let given = value(&args.reach.installer_key, &target.node);
    let text = given.or(declared);
    let vouched = |key| Recognised { keys: vec![key], unauthenticated: false };
    // Whoever is the node already, or an installer of this run, has a key that is known.
    let nobody = || Recognised { keys: Vec::new(), unauthenticated: false };
    match text {
        Some(text) if text.starts_with("SHA256:") => {
            if let Some(key) = known.iter().find(|key| key.fingerprint() == text) {
                return Ok(vouched(*key));
            }
            let seen = ask(target, ssh)?;
            if seen.fingerprint() == text {
                return Ok(vouched(seen));
            }
            if known.contains(&seen) {
                return Ok(nobody());
            }
            let message =
                format!("{} answers with another key than the one that is known", target.node);
            Err(Failure::new(Exit::InstallStranger, message)
                .hint(format!("known:   {text}"))
                .hint(format!("answers: {}", seen.fingerprint()))
                .hint("nothing was sent to it"))
        }
        Some(text) => key(text, &target.node).map(vouched),
        None if args.reach.trust_first_key && known.len() < 2 => first(target, ssh),
        None => Ok(nobody()),
    }
}

/// Reads a public key, or a file that holds one.
pub(crate) fn key(text: &str, node: &NodeName) -> Result<HostPublicKey, Failure> {
    let line = if text.starts_with("ssh-") {
        text.to_owned()
    } else {
        let read = input::text(Path::new(text), MAX_KEY);
        read.map_err(|failure| failure.hint(format!("the key of {node} {FORMS}")))?
            .expose()
            .to_owned()
    };
    HostPublicKey::parse(&line).map_err(|error| {
        Failure::new(Exit::Usage, format!("the key of {node} is none"))
            .because(error)
            .hint(format!("it {FORMS}"))
    })
}

/// Shows the key that a machine has, and asks whether it is the right one.
fn first(target: &Target, ssh: &SshSettings) -> Result<Recognised, Failure> {
    let seen = ask(target, ssh)?;
    let print = seen.fingerprint();
    let refuse = || {
        Failure::new(
            Exit::InstallStranger,
            format!("nobody has accepted the key of {}", target.node),
        )
        .hint(format!("it answers with {print}"))
        .hint(format!("when its console shows the same: --installer-key {}={print}", target.node))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refuse());
    }
    let question = format!(
        "{} at {} answers with {print}. Nothing vouches for it. Go on",
        target.node, target.address
    );
    match prompt::confirm(&question) {
        Ok(true) => Ok(Recognised { keys: vec![seen], unauthenticated: true }),
        _ => Err(refuse()),
    }
}

/// Asks a machine for its key.
pub(crate) fn ask(target: &Target, ssh: &SshSettings) -> Result<HostPublicKey, Failure> {
    let seen = nixmox_fleet::runtime()?.block_on(seen_key(target, ssh));
    seen.map_err(|error| {
        Failure::from_error(Exit::InstallUnreachable, error)
            .hint(format!("{} was looked for at {}", target.node, target.address))
    })
}

/// Prints the key that each machine has now.
pub(crate) fn fingerprints(targets: &[Target], ssh: &SshSettings) -> Result<Exit, Failure> {
    for target in targets {
        let seen = ask(target, ssh)?;
        let print = seen.fingerprint();
        let line = format!(
            "{}  {print}  (as {} answers; compare it with the console)",
            target.node, target.address
        );
        // A reader that has left is no failure.
        let _ = writeln!(anstream::stdout(), "{line}");
    }
    Ok(Exit::Ok)
}

/// Finds the value for a node among `NODE=VALUE`.
pub(crate) fn value<'a>(all: &'a [String], node: &NodeName) -> Option<&'a str> {
    values(all, node).next()
}

/// Finds every value for a node among `NODE=VALUE`.
pub(crate) fn values<'a>(all: &'a [String], node: &NodeName) -> impl Iterator<Item = &'a str> {
    let own = all.iter().filter_map(|text| text.split_once('='));
    own.filter(move |(name, _)| *name == node.as_str()).map(|(_, value)| value)
}
