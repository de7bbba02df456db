//! What a person is told when something goes wrong, and what can be done about it.

mod trust;

use std::path::Path;

use nixmox_cli::{Exit, Failure, Snippet};
use nixmox_manifest::render;
use nixmox_nix::{ErrorKind, Span, line_col, masked_line};
use nixmox_secrets::identities::Loaded;
use nixmox_secrets::store::StoreError;
use nixmox_secrets::{Error, ManifestProblem, SourceProblem, TextProblem};
use nixmox_sops::{DecryptError, PlainError, ValueError};
use nixmox_tree::SecretString;

use crate::commands::generate;

/// Explains that no fleet was found.
pub(crate) fn no_fleet(start: &Path) -> Failure {
    let message = format!("no fleet here or above: {}", start.display());
    Failure::new(Exit::NoFile, message)
        .hint("a fleet is a directory with `nodes/`, a service manifest, `flake.nix` or `.sops.yaml`; name one with --repo DIR")
        .hint("to start one here: nixmox-secrets init --repo .")
}

/// Explains an error of the libraries; `loaded` tells where keys were looked for, if they were.
pub(crate) fn explain(error: Error, loaded: Option<&Loaded>) -> Failure {
    match error {
        Error::Store(error) => store(error),
        Error::Trust(error) => trust::explain(error),
        Error::Text(problem) => text(problem),
        Error::Declare(error) => generate::undeclared(error),
        Error::Generate(error) => generate::unmade(error),
        Error::GroupFile { path, problem } => group_file(path.as_str(), problem),
        Error::Manifest { path, problem } => manifest(path.as_str(), problem),
        Error::Open { ref source, .. } if is_missing_key(source) => {
            no_key(Failure::from_error(Exit::NoIdentity, error), loaded)
        }
        error => plain(error),
    }
}

/// Explains what needs no more than an exit code and hints.
fn plain(error: Error) -> Failure {
    let hints = hints(&error);
    let failure = Failure::from_error(exit(&error), error);
    hints.into_iter().fold(failure, Failure::hint)
}

fn exit(error: &Error) -> Exit {
    match error {
        Error::Open { source, .. } if is_tampered(source) => Exit::MacMismatch,
        Error::NoMaster { .. } => Exit::NoFile,
        Error::NoRules | Error::Rules { .. } | Error::NoRecipients { .. } => Exit::Config,
        Error::Topology(_) | Error::Cascade(_) | Error::Unsealable { .. } | Error::Parse { .. } => {
            Exit::Usage
        }
        Error::NoSuchSecret { .. } | Error::NoSuchHost { .. } | Error::NotGenerated { .. } => {
            Exit::BadPath
        }
        _ => Exit::Failure,
    }
}

fn hints(error: &Error) -> Vec<String> {
    let one = |hint: &str| vec![hint.to_owned()];
    match error {
        Error::NoMaster { .. } => {
            one("start with `nixmox-secrets init`, or write it with `nixmox-secrets edit`")
        }
        Error::NoRules | Error::NoRecipients { .. } => {
            one("`nixmox-secrets init` writes one with your own key as the recipient")
        }
        Error::Unsealable { .. } => one(
            "give it a value, set it to null so that the host does not get it, or hide it from delivery with a leading underscore",
        ),
        Error::UnknownHostKeys { hosts } => {
            let mut hints: Vec<String> =
                hosts.iter().take(12).map(|(host, print)| format!("{host}  {print}")).collect();
            if hosts.len() > 12 {
                hints.push(format!("… and {} more", hosts.len() - 12));
            }
            hints.push("nothing is sealed to a key that somebody else may have put there; compare the fingerprints with your machines, then repeat with --accept-host-keys".to_owned());
            hints
        }
        Error::AdminsChanged { added, removed } => {
            let added = added.iter().map(|admin| format!("would gain access: {admin}"));
            let removed = removed.iter().map(|admin| format!("would lose access: {admin}"));
            let way = "if that is what you want, repeat with --accept-admins; everything that admins can open is then sealed anew";
            added.chain(removed).chain([way.to_owned()]).collect()
        }
        Error::ScatteredHost { places, .. } => {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            vec![format!("keep one of {} and remove the others", places.join(", "))]
        }
        Error::BothAreas { public, .. } => {
            vec![format!("compare the two and remove one, most likely {public}")]
        }
        Error::Open { source, path } if is_tampered(source) => {
            vec![format!(
                "somebody changed {path} without its key; restore it with `git checkout -- {path}`"
            )]
        }
        Error::NoSuchHost { nearest, .. } if !nearest.is_empty() => {
            vec![format!("did you mean {}?", nearest.join(" or "))]
        }
        Error::NotGenerated { .. } => one("`nixmox-secrets generate` lists what is declared"),
        Error::UnvouchedGenerated { path } => vec![
            "somebody who knows what is in it may have sealed it for you, or another tool gave the master a new data key".to_owned(),
            format!(
                "look at the history of {path}; to take it: `nixmox-secrets generate --accept-generated`; to have everything made anew, remove it"
            ),
        ],
        Error::InTheWay { path } => vec![format!("rename {path}, or remove it")],
        Error::NoSuchSecret { .. } => one("`nixmox-secrets list` names what there is"),
        error => key_hint(error).into_iter().collect(),
    }
}

/// Says what to do about a host's key pair that is not as it should be.
fn key_hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::HalfHostKey { present, .. } => {
            format!(
                "restore the other from git, or remove {present} too: then a new key pair is made"
            )
        }
        Error::MismatchedHostKey { public, .. } => format!(
            "restore both from git; if the key is lost, remove both ({public} too) and a new pair is made"
        ),
        Error::UnvouchedNextKey { host } => {
            format!("if you did not begin this, drop it: nixmox-secrets rotate-host {host} --abort")
        }
        Error::LostNextKey { host } => format!(
            "restore it from git; or seal to the old key alone: nixmox-secrets rotate-host {host} --abort"
        ),
        Error::NoNextKey { host } => format!("begin with `nixmox-secrets rotate-host {host}`"),
        _ => return None,
    })
}

fn store(error: StoreError) -> Failure {
    let (exit, hint) = match &error {
        StoreError::Busy { .. } => (Exit::Failure, "wait for it to end, or end it"),
        StoreError::ChangedMeanwhile { .. } => {
            (Exit::Failure, "nothing was written; repeat the command on what is there now")
        }
        StoreError::DiskFull { .. } => {
            (Exit::Write, "nothing was changed; free some space and repeat")
        }
        StoreError::ReadOnly { .. } => (Exit::Write, "nothing was changed"),
        StoreError::Symlink { .. } => (
            Exit::Failure,
            "a link in a repository could lead anywhere; put the file or directory itself there",
        ),
        StoreError::Unapplied { .. } => (
            Exit::Write,
            "the change is decided; the next run completes it, once the cause is gone",
        ),
        StoreError::Root { .. } => (Exit::NoFile, "name the fleet's directory with --repo DIR"),
        _ => return Failure::from_error(Exit::Failure, error),
    };
    Failure::from_error(exit, error).hint(hint)
}

/// Tells whether a file was changed by somebody without its key.
fn is_tampered(error: &DecryptError) -> bool {
    use DecryptError::{MacMismatch, MacMissing, Value};
    matches!(error, MacMismatch | MacMissing | Value { source: ValueError::Authentication, .. })
}

fn is_missing_key(error: &DecryptError) -> bool {
    matches!(error, DecryptError::NoIdentity | DecryptError::NoUsableKey { .. })
}

/// Explains why a file that need not be of the fleet does not open; `loaded` as for [`explain`].
pub(crate) fn unopened(name: &str, error: DecryptError, loaded: Option<&Loaded>) -> Failure {
    let exit = match &error {
        error if is_tampered(error) => Exit::MacMismatch,
        error if is_missing_key(error) => Exit::NoIdentity,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, format!("{name} cannot be opened")).because(error);
    if exit == Exit::NoIdentity { no_key(failure, loaded) } else { failure }
}

/// Adds where keys were looked for, and what was wrong with the sources.
fn no_key(failure: Failure, loaded: Option<&Loaded>) -> Failure {
    let hints = loaded.map(nixmox_keyring::hints).unwrap_or_default();
    hints.into_iter().fold(failure, Failure::hint)
}

fn group_file(path: &str, problem: SourceProblem) -> Failure {
    let message = format!("{path} does not tell the members of its group");
    let failure = Failure::new(Exit::Usage, message);
    match problem {
        SourceProblem::Nix { text, source } => {
            let (line, column) = line_col(&text, source.span().start());
            let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let snippet = snippet(path, (line, column), length(&text, source.span()), shown);
            failure.because(source).snippet(snippet)
        }
        _ => failure.because(std::io::Error::other("it is not UTF-8 text")),
    }
    .hint("a group file is an attribute set: { common = { … }; host1 = { }; }")
}

/// Explains why the services are not known, with the lines that are wrong.
fn manifest(path: &str, problem: ManifestProblem) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("{path} does not tell its services"));
    let ManifestProblem::Unread(error) = problem else {
        return failure.because(std::io::Error::other("it is not UTF-8 text"));
    };
    let lines = render::short(&error.report(), error.sources());
    let failure = lines.lines().fold(failure, |failure, line| failure.hint(line));
    match error.needs_nix() {
        true => failure.hint("it needs an installed nix-instantiate, which gave no answer"),
        false => failure.hint("see all of it: nixmox-manifest check"),
    }
}

/// Explains what is wrong with the master's text: the place is shown, the values in it are not.
fn text(problem: TextProblem) -> Failure {
    let failure = |message: &str| Failure::new(Exit::Usage, message);
    match problem {
        TextProblem::Nix { text, source } => {
            let snippet = nix_snippet(&text, source.span());
            let beyond = matches!(source.kind(), ErrorKind::Unsupported(_));
            let failure = failure("the secrets do not evaluate").because(source).snippet(snippet);
            if !beyond {
                return failure;
            }
            failure.hint("with --nix an installed Nix evaluates them, over standard input")
        }
        TextProblem::Yaml { text, source } => {
            let snippet = yaml_snippet(&text, &source);
            failure("the secrets are not valid YAML").because(source.kind).snippet(snippet)
        }
        TextProblem::SeveralDocuments => failure("the secrets must be one YAML document")
            .hint("remove the line `---` and what stands behind it"),
        TextProblem::NotUtf8 => failure("the secrets are not UTF-8 text"),
        TextProblem::NodesNotASet => failure("`nodes` must be a set of hosts and groups")
            .hint("write nodes = { host1 = { password = \"…\"; }; };"),
        TextProblem::Policy(problem) => {
            failure("the policy of the secrets cannot be used").because(problem)
        }
        TextProblem::Edit(source) => {
            Failure::new(Exit::BadPath, "this secret cannot be changed by its path")
                .because(source)
                .hint("`nixmox-secrets edit` opens the whole text")
        }
        TextProblem::Shape(source) => {
            Failure::new(Exit::BadPath, "the secrets have another shape").because(source)
        }
        TextProblem::RealNix(source) => failure("nix-instantiate gave no answer")
            .because(source)
            .hint("its messages are not shown, because they quote the secrets"),
        TextProblem::Answer(source) => failure("the secrets are not a set").because(source),
        _ => failure("the secrets cannot be used"),
    }
}

fn nix_snippet(text: &SecretString, span: Span) -> Snippet {
    let text = text.expose();
    let (line, column) = line_col(text, span.start());
    let shown = masked_line(text, line);
    snippet("secrets", (line, column), length(text, span), &shown)
}

/// Shows the place in YAML with every letter and digit masked: which of them are values is not known here.
fn yaml_snippet(text: &SecretString, error: &PlainError) -> Snippet {
    let line = text.expose().lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
    let masked: String =
        line.chars().map(|c| if " -:\"'[]{}#".contains(c) { c } else { '•' }).collect();
    snippet("secrets", (error.line.max(1), error.column.max(1)), 1, &masked)
}

fn snippet(file: &str, (line, column): (usize, usize), length: usize, text: &str) -> Snippet {
    Snippet {
        file: file.to_owned(),
        line,
        column,
        length,
        text: text.to_owned(),
        label: String::new(),
    }
}

/// Counts the characters that a span covers on its first line.
fn length(text: &str, span: Span) -> usize {
    let meant = text.get(span.range()).unwrap_or_default();
    meant.lines().next().map_or(1, |line| line.chars().count().max(1))
}
