//! The keys of the person at the terminal: found where sops looks for them, unlocked by asking him.
//!
//! | to | use |
//! |---|---|
//! | load every key that sops would | [`load`] |
//! | make a new one | [`generate`] |
//! | let age and its plugins talk to the person | [`interaction`] |
//! | tell where keys were looked for, and what was wrong there | [`hints`] |
//! | remember the admins that were accepted, outside of every repository | [`pins`] |
//!
//! This is what the programs share; [`nixmox_secrets::identities`] has the places and their order. It reads the
//! environment, starts the key commands that the environment names, and asks at the terminal.

pub mod pins;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret as _;
use nixmox_cli::prompt;
use nixmox_cli::terminal::escape;
use nixmox_secrets::identities::{self, Loaded, Source, Sources};
use nixmox_sops::{Interaction, Recipient, RecipientError};
use nixmox_tree::{SecretBytes, SecretString};

/// Loads every key that sops would, with this process's environment.
pub fn load() -> Loaded {
    identities::load(&Sources {
        var: &|name| std::env::var(name).ok().map(SecretString::new),
        home: std::env::home_dir(),
        config: config_dir(),
        run: &run_key_command,
        interaction: Some(&interaction()),
    })
}

/// Returns the directory of users' configuration as sops finds it.
pub fn config_dir() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty());
    let home = std::env::home_dir();
    match set {
        Some(dir) => Some(dir.into()),
        None if cfg!(target_os = "macos") => Some(home?.join("Library/Application Support")),
        None => Some(home?.join(".config")),
    }
}

/// Lets age and its plugins talk to the person at the terminal.
pub fn interaction() -> Interaction {
    Interaction::new(Terminal)
}

/// Makes a new age key, with the system's randomness.
///
/// # Errors
///
/// [`RecipientError`] when age's own text is not one, which does not happen.
pub fn generate() -> Result<(SecretString, Recipient), RecipientError> {
    let identity = age::x25519::Identity::generate();
    let recipient = Recipient::parse(&identity.to_public().to_string())?;
    Ok((SecretString::new(identity.to_string().expose_secret()), recipient))
}

/// Says which sources of keys could not be used and why, and where keys were looked for.
pub fn hints(loaded: &Loaded) -> Vec<String> {
    let name = |source: &Source| match source {
        Source::Variable(name) => format!("${name}"),
        Source::File(path) => path.display().to_string(),
        _ => "another place".to_owned(),
    };
    let mut hints = Vec::new();
    for (source, error) in &loaded.problems {
        let error: &dyn std::error::Error = error;
        let causes = std::iter::successors(Some(error), |e| e.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        hints.push(format!("{} was not used: {}", name(source), causes.join(": ")));
    }
    let tried: Vec<String> = loaded.tried.iter().map(name).collect();
    hints.push(format!("keys were looked for in {}", tried.join(", ")));
    hints
}

/// The person at the terminal, as age sees him.
#[derive(Clone)]
struct Terminal;

impl age::Callbacks for Terminal {
    fn display_message(&self, message: &str) {
        // There is nobody left to tell when standard error is gone.
        let _ = writeln!(anstream::stderr(), "{}", escape(message));
    }

    fn confirm(&self, message: &str, yes: &str, _no: Option<&str>) -> Option<bool> {
        prompt::confirm(&format!("{message} ({yes})")).ok()
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        prompt::secret(description).ok().map(|s| s.expose().to_owned())
    }

    fn request_passphrase(&self, description: &str) -> Option<age::secrecy::SecretString> {
        let typed = prompt::secret(&format!("Passphrase of {description}")).ok()?;
        Some(typed.expose().to_owned().into())
    }
}

/// Runs a key command without a shell; what it says on standard error goes to the terminal.
fn run_key_command(command: &str) -> io::Result<SecretBytes> {
    let words = shell_words::split(command).map_err(io::Error::other)?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = nixmox_cli::scrubbed(command).output()?;
    let printed = SecretBytes::new(output.stdout);
    if output.status.success() {
        Ok(printed)
    } else {
        Err(io::Error::other(output.status.to_string()))
    }
}
