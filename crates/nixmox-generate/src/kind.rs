//! The kinds of values that can be made, with their parameters.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_tree::SecretString;
use sha2::{Digest, Sha256};

use crate::error::DeclareError;
use crate::fields::Fields;
use crate::place::Reference;
use crate::span::Span;
use crate::template::Template;

/// The names of all kinds, as `type` has them.
pub const NAMES: [&str; 16] = [
    "password",
    "passphrase",
    "hex",
    "base64",
    "uuid",
    "ssh-ed25519",
    "wireguard",
    "age",
    "ca",
    "certificate",
    "bcrypt",
    "argon2id",
    "sha512-crypt",
    "scram-sha-256",
    "template",
    "command",
];

const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What is made, and how.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Password { length: usize, alphabet: Vec<char> },
    Passphrase { words: usize, separator: String },
    Hex { bytes: usize },
    Base64 { bytes: usize },
    Uuid,
    SshEd25519,
    WireGuard,
    Age,
    Ca { name: Option<String>, valid: Span },
    Certificate(Box<Certificate>),
    Bcrypt { of: Reference, cost: u32 },
    Argon2id { of: Reference, memory: u32, passes: u32, lanes: u32 },
    Sha512Crypt { of: Reference, rounds: usize },
    Scram { of: Reference, iterations: u32 },
    Template { text: Template, source: SecretString },
    Command(Box<Command>),
}

/// Parameters of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) ca: Reference,
    pub(crate) names: Vec<(Template, SecretString)>,
    pub(crate) valid: Span,
    pub(crate) server: bool,
    pub(crate) client: bool,
}

/// Parameters of a command.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) words: Vec<SecretString>,
    pub(crate) inputs: BTreeMap<String, Reference>,
    /// The names of its outputs; empty when all that it prints is the value.
    pub(crate) outputs: Vec<String>,
    pub(crate) public: BTreeSet<String>,
}

impl Kind {
    /// Reads the parameters of the kind that `type` names.
    pub(crate) fn parse(fields: &mut Fields<'_>) -> Result<Self, DeclareError> {
        let name = fields.type_name()?;
        Ok(match name {
            "password" => Self::Password {
                length: fields.size("length", (8, 32, 1024))?,
                alphabet: alphabet(fields)?,
            },
            "passphrase" => Self::Passphrase {
                words: fields.size("words", (4, 7, 64))?,
                separator: separator(fields)?,
            },
            "hex" => Self::Hex { bytes: fields.size("bytes", (8, 32, 1024))? },
            "base64" => Self::Base64 { bytes: fields.size("bytes", (8, 32, 1024))? },
            "uuid" => Self::Uuid,
            "ssh-ed25519" => Self::SshEd25519,
            "wireguard" => Self::WireGuard,
            "age" => Self::Age,
            "ca" => Self::Ca {
                name: common_name(fields)?,
                valid: fields.span("validity")?.unwrap_or(Span::days(3650)),
            },
            "certificate" => Self::Certificate(Box::new(certificate(fields)?)),
            "template" => {
                let source = fields.text("text")?;
                let text = Template::parse(source.expose());
                let wanted = "a text with references such as {{web.token}}";
                let text = text.ok_or_else(|| fields.bad("text", wanted))?;
                Self::Template { text, source }
            }
            "command" => Self::Command(Box::new(command(fields)?)),
            hash => Self::hash(hash, fields)?,
        })
    }

    fn hash(name: &str, fields: &mut Fields<'_>) -> Result<Self, DeclareError> {
        let of = fields.reference("of")?;
        Ok(match name {
            "bcrypt" => Self::Bcrypt { of, cost: fields.number("cost", (4, 12, 16))? },
            "argon2id" => Self::Argon2id {
                of,
                memory: fields.number("memory", (8 * 1024, 64 * 1024, 1024 * 1024))?,
                passes: fields.number("passes", (1, 3, 64))?,
                lanes: fields.number("lanes", (1, 1, 64))?,
            },
            "sha512-crypt" => Self::Sha512Crypt {
                of,
                rounds: fields.size("rounds", (5_000, 100_000, 10_000_000))?,
            },
            _ => Self::Scram {
                of,
                iterations: fields.number("iterations", (4_096, 4_096, 1_000_000))?,
            },
        })
    }

    /// Names the kind as `type` does.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Passphrase { .. } => "passphrase",
            Self::Hex { .. } => "hex",
            Self::Base64 { .. } => "base64",
            Self::Uuid => "uuid",
            Self::SshEd25519 => "ssh-ed25519",
            Self::WireGuard => "wireguard",
            Self::Age => "age",
            Self::Ca { .. } => "ca",
            Self::Certificate(_) => "certificate",
            Self::Bcrypt { .. } => "bcrypt",
            Self::Argon2id { .. } => "argon2id",
            Self::Sha512Crypt { .. } => "sha512-crypt",
            Self::Scram { .. } => "scram-sha-256",
            Self::Template { .. } => "template",
            Self::Command(_) => "command",
        }
    }

    /// Names the parts of the value and tells which of them are public; one part without a name when it has none.
    pub(crate) fn parts(&self) -> Vec<(&str, bool)> {
        match self {
            Self::SshEd25519 | Self::WireGuard | Self::Age => {
                vec![("private", false), ("public", true)]
            }
            Self::Ca { .. } => vec![("cert", true), ("key", false)],
            Self::Certificate(_) => vec![("ca", true), ("cert", true), ("key", false)],
            Self::Command(command) if !command.outputs.is_empty() => {
                let part = |name: &'_ String| command.public.contains(name);
                command.outputs.iter().map(|name| (name.as_str(), part(name))).collect()
            }
            _ => vec![("", false)],
        }
    }

    /// Returns every reference, with the parameter that it stands in; of a certificate's authority both parts.
    pub(crate) fn references(&self) -> Vec<(String, &Reference)> {
        let of = |reference| vec![("of".to_owned(), reference)];
        match self {
            Self::Certificate(certificate) => {
                let names = certificate.names.iter().flat_map(|(name, _)| name.references());
                let names = names.map(|reference| ("names".to_owned(), reference));
                std::iter::once(("ca".to_owned(), &certificate.ca)).chain(names).collect()
            }
            Self::Bcrypt { of: r, .. }
            | Self::Argon2id { of: r, .. }
            | Self::Sha512Crypt { of: r, .. }
            | Self::Scram { of: r, .. } => of(r),
            Self::Template { text, .. } => {
                text.references().map(|reference| ("text".to_owned(), reference)).collect()
            }
            Self::Command(command) => {
                command.inputs.iter().map(|(name, r)| (format!("inputs.{name}"), r)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Names the parameter that names the host, if one does.
    pub(crate) fn names_host(&self) -> Option<&'static str> {
        match self {
            Self::Template { text, .. } if text.names_host() => Some("text"),
            Self::Certificate(c) if c.names.iter().any(|(n, _)| n.names_host()) => Some("names"),
            _ => None,
        }
    }

    /// Digests everything that decides what the value is; where a reference leads is told by what it leads to.
    pub(crate) fn digest(&self, hash: &mut Sha256) {
        feed(hash, self.name());
        match self {
            Self::Password { length, alphabet } => {
                feed(hash, &length.to_string());
                feed(hash, &alphabet.iter().collect::<String>());
            }
            Self::Passphrase { words, separator } => {
                feed(hash, &words.to_string());
                feed(hash, separator);
            }
            Self::Hex { bytes } | Self::Base64 { bytes } => feed(hash, &bytes.to_string()),
            Self::Uuid | Self::SshEd25519 | Self::WireGuard | Self::Age => {}
            Self::Ca { name, valid } => {
                feed(hash, name.as_deref().unwrap_or_default());
                feed(hash, &valid.to_string());
            }
            Self::Certificate(c) => {
                c.names.iter().for_each(|(_, source)| feed(hash, source.expose()));
                feed(hash, &format!("{} {} {}", c.valid, c.server, c.client));
            }
            Self::Bcrypt { cost, .. } => feed(hash, &cost.to_string()),
            Self::Argon2id { memory, passes, lanes, .. } => {
                feed(hash, &format!("{memory} {passes} {lanes}"));
            }
            Self::Sha512Crypt { rounds, .. } => feed(hash, &rounds.to_string()),
            Self::Scram { iterations, .. } => feed(hash, &iterations.to_string()),
            Self::Template { source, .. } => feed(hash, source.expose()),
            Self::Command(command) => {
                command.words.iter().for_each(|word| feed(hash, word.expose()));
                feed(hash, "inputs");
                command.inputs.keys().for_each(|name| feed(hash, name));
                feed(hash, "outputs");
                command.outputs.iter().for_each(|name| feed(hash, name));
            }
        }
    }
}

/// Feeds one part, preceded by its length, so that none can flow into another.
pub(crate) fn feed(hash: &mut Sha256, part: &str) {
    hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(part.as_bytes());
}

fn alphabet(fields: &mut Fields<'_>) -> Result<Vec<char>, DeclareError> {
    let text = fields.optional_text("alphabet")?;
    let letters: BTreeSet<char> =
        text.as_ref().map_or(ALPHANUMERIC, SecretString::expose).chars().collect();
    if letters.len() < 10 || letters.iter().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(fields.bad("alphabet", "at least ten different printable ASCII characters"));
    }
    Ok(letters.into_iter().collect())
}

fn separator(fields: &mut Fields<'_>) -> Result<String, DeclareError> {
    let text = fields.optional_text("separator")?;
    let text = text.as_ref().map_or("-", SecretString::expose);
    if text.len() > 8 || text.chars().any(|c| c.is_control() || c.is_ascii_lowercase()) {
        return Err(fields.bad("separator", "up to eight printable characters, no small letters"));
    }
    Ok(text.to_owned())
}

fn common_name(fields: &mut Fields<'_>) -> Result<Option<String>, DeclareError> {
    let name = fields.optional_text("name")?;
    let name = name.map(|name| name.expose().to_owned());
    let good =
        |n: &String| (1..=64).contains(&n.chars().count()) && !n.chars().any(char::is_control);
    match name {
        Some(name) if !good(&name) => Err(fields.bad("name", "1 to 64 printable characters")),
        name => Ok(name),
    }
}

fn certificate(fields: &mut Fields<'_>) -> Result<Certificate, DeclareError> {
    let wanted = "a list of 1 to 100 DNS names and IP addresses";
    let mut names = Vec::new();
    for source in fields.texts("names", (1, 100), wanted)? {
        let name = Template::parse(source.expose()).ok_or_else(|| fields.bad("names", wanted))?;
        names.push((name, source));
    }
    let usage = fields.optional_text("usage")?;
    let (server, client) = match usage.as_ref().map_or("server", SecretString::expose) {
        "server" => (true, false),
        "client" => (false, true),
        "both" => (true, true),
        _ => return Err(fields.bad("usage", "server, client or both")),
    };
    let valid = fields.span("validity")?.unwrap_or(Span::days(365));
    Ok(Certificate { ca: fields.reference("ca")?, names, valid, server, client })
}

fn command(fields: &mut Fields<'_>) -> Result<Command, DeclareError> {
    let words =
        fields.texts("command", (1, 100), "a list of 1 to 100 texts: program, arguments")?;
    let inputs = fields.references("inputs")?;
    let wanted = "a list of up to 20 different names";
    let names = |fields: &mut Fields<'_>, field| -> Result<Vec<String>, DeclareError> {
        let texts = fields.texts(field, (0, 20), wanted)?;
        let names: Vec<String> = texts.iter().map(|text| text.expose().to_owned()).collect();
        let good = |name: &String| is_keepable(name) && !name.starts_with('_');
        let different: BTreeSet<&String> = names.iter().collect();
        let fine = names.iter().all(good) && different.len() == names.len();
        if fine { Ok(names) } else { Err(fields.bad(field, wanted)) }
    };
    let outputs = names(fields, "outputs")?;
    let public: BTreeSet<String> = names(fields, "public")?.into_iter().collect();
    if !public.iter().all(|name| outputs.contains(name)) {
        return Err(fields.bad("public", "a list of names that `outputs` has"));
    }
    Ok(Command { words, inputs, outputs, public })
}

/// Tells whether a name can be kept in a sealed file: sops splits at colons, and leaves some endings in the clear.
pub(crate) fn is_keepable(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c == ':' || c == '"';
    (1..=200).contains(&name.len()) && !name.contains(bad) && !name.ends_with("_unencrypted")
}
