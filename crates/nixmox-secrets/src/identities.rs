//! The private keys of the person at the keyboard, from the places where sops looks for them.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nixmox_sops::{Identities, IdentityError, Interaction, KeyText};
use nixmox_tree::{SecretBytes, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

/// The largest key file, in bytes.
const KEY_FILE_LIMIT: u64 = 1024 * 1024;

/// Where keys may come from: the environment as values, and who runs commands and asks people.
pub struct Sources<'a> {
    /// Looks up an environment variable.
    pub var: &'a dyn Fn(&str) -> Option<SecretString>,
    /// The home directory, for `~/.ssh`.
    pub home: Option<PathBuf>,
    /// The directory of users' configuration, for `sops/age/keys.txt`.
    pub config: Option<PathBuf>,
    /// Runs a key command (words as a shell would split them, no shell) and returns what it printed.
    pub run: &'a dyn Fn(&str) -> io::Result<SecretBytes>,
    /// Asks for passphrases and talks for plugins; without it, keys that need that are refused.
    pub interaction: Option<&'a Interaction>,
}

/// A source of keys, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// An environment variable that holds keys, a file name or a command.
    Variable(&'static str),
    /// A file at a customary place.
    File(PathBuf),
}

/// Why a source of keys could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file could not be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// The command failed.
    #[error("its command failed")]
    Run(#[source] io::Error),
    /// What it holds is not a usable key.
    #[error("what it holds cannot be used")]
    Key(#[source] IdentityError),
}

/// The keys that were found, and what was wrong with the other sources.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All usable keys, native age keys first.
    pub identities: Identities,
    /// Sources that could not be used; they matter only if nothing opens.
    pub problems: Vec<(Source, SourceError)>,
    /// Every source that was there or would have been looked at.
    pub tried: Vec<Source>,
}

/// Loads every key that sops would: `SOPS_AGE_KEY`, `SOPS_AGE_KEY_FILE`, `SOPS_AGE_KEY_CMD`, the default key file,
/// `SOPS_AGE_SSH_PRIVATE_KEY_FILE`, `SOPS_AGE_SSH_PRIVATE_KEY_CMD`, `~/.ssh/id_ed25519` and `~/.ssh/id_rsa`.
///
/// All sources are combined; one that fails is noted and the others still count.
pub fn load(sources: &Sources<'_>) -> Loaded {
    let mut loaded = Loaded::default();
    let age = |text: SecretBytes, form| {
        Identities::parse_keys(&text, form, sources.interaction).map_err(SourceError::Key)
    };
    let ssh = |text: SecretBytes| {
        let text = SecretString::new(text.as_str().unwrap_or_default());
        Identities::parse_ssh(&text, sources.interaction).map_err(SourceError::Key)
    };
    let run = |command: &SecretString| (sources.run)(command.expose()).map_err(SourceError::Run);
    let var = |name: &'static str,
               read: &dyn Fn(&SecretString) -> Result<Identities, SourceError>| {
        let found = (sources.var)(name).filter(|value| !value.is_empty());
        (Source::Variable(name), found.map(|value| read(&value)))
    };
    let file = |path: PathBuf, read: &dyn Fn(SecretBytes) -> Result<Identities, SourceError>| {
        let found = read_key_file(&path).transpose();
        (Source::File(path), found.map(|bytes| bytes.and_then(read)))
    };
    let named = |value: &SecretString| {
        read_key_file(Path::new(value.expose()))?
            .ok_or_else(|| SourceError::Read(io::ErrorKind::NotFound.into()))
    };
    loaded.add(var("SOPS_AGE_KEY", &|v| age(v.into(), KeyText::Words)));
    loaded.add(var("SOPS_AGE_KEY_FILE", &|v| age(named(v)?, KeyText::Lines)));
    loaded.add(var("SOPS_AGE_KEY_CMD", &|v| age(run(v)?, KeyText::Lines)));
    if let Some(config) = &sources.config {
        loaded.add(file(config.join("sops/age/keys.txt"), &|t| age(t, KeyText::Lines)));
    }
    loaded.add(var("SOPS_AGE_SSH_PRIVATE_KEY_FILE", &|v| ssh(named(v)?)));
    loaded.add(var("SOPS_AGE_SSH_PRIVATE_KEY_CMD", &|v| ssh(run(v)?)));
    if let Some(home) = &sources.home {
        loaded.add(file(home.join(".ssh/id_ed25519"), &ssh));
        loaded.add(file(home.join(".ssh/id_rsa"), &ssh));
    }
    loaded
}

/// Loads one key file: age identities, a line each, or an OpenSSH private key.
///
/// # Errors
///
/// [`SourceError`]; a file that is not there is one that cannot be read.
pub fn load_file(
    path: &Path,
    interaction: Option<&Interaction>,
) -> Result<Identities, SourceError> {
    let missing = || SourceError::Read(io::ErrorKind::NotFound.into());
    let text = read_key_file(path)?.ok_or_else(missing)?;
    let is_ssh = |text: &str| {
        text.trim_start().starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----")
    };
    match text.as_str().filter(|text| is_ssh(text)) {
        Some(ssh) => Identities::parse_ssh(&SecretString::new(ssh), interaction),
        None => Identities::parse_keys(&text, KeyText::Lines, interaction),
    }
    .map_err(SourceError::Key)
}

impl Loaded {
    fn add(&mut self, (source, found): (Source, Option<Result<Identities, SourceError>>)) {
        self.tried.push(source.clone());
        match found {
            None => {}
            Some(Ok(identities)) => self.identities.extend(identities),
            Some(Err(error)) => self.problems.push((source, error)),
        }
    }
}

/// Reads a key file into memory that is wiped; `None` when there is none.
fn read_key_file(path: &Path) -> Result<Option<SecretBytes>, SourceError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(SourceError::Read(e)),
    };
    // Reserved up front: a buffer that grows leaves its contents behind.
    let size = file.metadata().map_or(0, |meta| meta.len().min(KEY_FILE_LIMIT));
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(KEY_FILE_LIMIT).read_to_end(&mut bytes).map_err(SourceError::Read)?;
    Ok(Some(SecretBytes::from(bytes)))
}
