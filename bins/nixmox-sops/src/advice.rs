//! What a person is told, and the number that a script sees: sops' own.

use std::io::Write as _;

use nixmox_cli::terminal::{WARNING, escape};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::identities::Loaded;
use nixmox_sops::{
    ConfigError, DecryptError, EncryptedFile, FindingKind, ParseError, PlainError, PlainErrorKind,
    Rule, SealError,
};

/// Says something on standard error that is no failure.
pub(crate) fn warn(message: &str) {
    // There is nobody left to tell when standard error is gone.
    let _ = writeln!(anstream::stderr(), "{WARNING}warning:{WARNING:#} {}", escape(message));
}

/// Says what goes on, on standard error as sops does.
pub(crate) fn say(message: &str) {
    let _ = writeln!(anstream::stderr(), "{}", escape(message));
}

/// Explains a plain file that cannot be encrypted.
pub(crate) fn plain(name: &str, error: PlainError, yaml: bool) -> Failure {
    let exit = match error.kind {
        PlainErrorKind::SopsKey => return already(name),
        PlainErrorKind::Empty if yaml => Exit::EmptyFile,
        PlainErrorKind::NonStringKey | PlainErrorKind::IntegerTooBig => Exit::EncryptTree,
        _ => Exit::Usage,
    };
    Failure::new(exit, format!("{name} cannot be read")).because(error)
}

/// Explains that metadata are where data should be.
pub(crate) fn already(name: &str) -> Failure {
    let message = format!(
        "{name} has a top-level entry `sops` (dotenv: `sops_…`), where sops keeps its metadata"
    );
    Failure::new(Exit::AlreadyEncrypted, message)
        .hint("if it is encrypted, open it with `nixmox-sops edit`; if not, rename the entry")
}

/// Explains a sops file that cannot be read.
pub(crate) fn unreadable(name: &str, error: ParseError) -> Failure {
    let failure = Failure::new(Exit::Failure, format!("{name} is not a sound sops file"));
    let no_metadata = error == ParseError::NoMetadata;
    let failure = failure.because(error);
    if no_metadata {
        failure.hint("it is not encrypted, or of another format: --input-type names one")
    } else {
        failure
    }
}

/// Explains why a file does not open.
pub(crate) fn unopened(name: &str, error: DecryptError, loaded: &Loaded) -> Failure {
    let exit = match &error {
        DecryptError::MacMissing | DecryptError::MacMismatch => Exit::MacMismatch,
        DecryptError::Value { .. } | DecryptError::TooDeep(_) => Exit::DecryptTree,
        DecryptError::NoIdentity
        | DecryptError::NoUsableKey { .. }
        | DecryptError::DataKeyLength
        | DecryptError::Shares { .. }
        | DecryptError::BadShares => Exit::NoIdentity,
        _ => Exit::Failure,
    };
    let failure = Failure::new(exit, format!("{name} cannot be opened")).because(error);
    match exit {
        Exit::NoIdentity => nixmox_keyring::hints(loaded).into_iter().fold(failure, Failure::hint),
        Exit::MacMismatch => failure.hint(
            "somebody changed it without its key; --ignore-mac opens it all the same, for a look",
        ),
        _ => failure,
    }
}

/// Explains what cannot be sealed.
pub(crate) fn unsealed(name: &str, error: SealError) -> Failure {
    let exit = match &error {
        SealError::SopsKey => return already(name),
        SealError::CommentMatches(_) | SealError::ListComment(_) | SealError::TooDeep(_) => {
            Exit::EncryptTree
        }
        SealError::Format | SealError::NoForm(_) | SealError::NotFinite(_) => Exit::Emit,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("{name} cannot be encrypted")).because(error)
}

/// Explains what is wrong with `.sops.yaml`.
pub(crate) fn config(name: &str, error: ConfigError) -> Failure {
    let exit = if error == ConfigError::Indent { Exit::Emit } else { Exit::Failure };
    Failure::new(exit, format!("error loading config {name}")).because(error)
}

/// Tells what in a file is not protected and looks as if somebody had put it there; sops says nothing of it.
pub(crate) fn warn_of(name: &str, file: &EncryptedFile) {
    let default = *file.metadata().rule() == Rule::default();
    let groups = file.metadata().key_groups() > 0;
    let findings = file.audit();
    let mut told: Vec<FindingKind> = Vec::new();
    for finding in &findings {
        let suspicious = match finding.kind {
            FindingKind::UnsealedValue | FindingKind::ClearComment => {
                default && !below_clear_name(&finding.path.0)
            }
            FindingKind::KeyGroups => !groups,
            FindingKind::UnencryptedKeyName
            | FindingKind::SeveralDocuments
            | FindingKind::SelectionRule
            | FindingKind::MacOnlyEncrypted
            | FindingKind::ForeignKey => false,
            _ => true,
        };
        if suspicious && !told.contains(&finding.kind) {
            told.push(finding.kind);
            let kind = finding.kind;
            let all: Vec<_> = findings.iter().filter(|other| other.kind == kind).collect();
            let more =
                if all.len() > 1 { format!(" and {} more", all.len() - 1) } else { String::new() };
            warn(&format!(
                "{name}: {} at {}{more}: the MAC does not cover it, so anyone may have put it there",
                finding.kind.name(),
                finding.path
            ));
        }
    }
}

/// Tells whether a value is one that the default rule leaves readable.
fn below_clear_name(path: &[String]) -> bool {
    path.iter().any(|key| key.ends_with("_unencrypted"))
}
