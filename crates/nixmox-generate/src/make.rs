//! Making one value.

mod hash;
mod keys;
mod random;
mod run;
mod x509;

use jiff::Timestamp;
use nixmox_tree::{SecretString, SecretTree, Value};
use rand_core::{CryptoRng, RngCore};

use crate::error::GenerateError;
use crate::kind::Kind;
use crate::place::Item;
use crate::sandbox::Sandbox;

/// A value that was just made.
pub(crate) struct Made {
    pub(crate) value: Value,
    pub(crate) expires: Option<Timestamp>,
}

/// The authority that signs a certificate.
pub(crate) struct Authority {
    pub(crate) name: String,
    pub(crate) key: SecretString,
    pub(crate) cert: SecretString,
    pub(crate) expires: Timestamp,
}

/// What a value is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) item: &'a Item,
    /// What the references lead to, in their order.
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) authority: Option<Authority>,
    pub(crate) sandbox: Option<&'a dyn Sandbox>,
    pub(crate) now: Timestamp,
}

/// Makes a value.
pub(crate) fn make(
    kind: &Kind,
    inputs: &Inputs<'_>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Made, GenerateError> {
    let text = |text: SecretString| Ok(Made { value: text.into(), expires: None });
    match kind {
        Kind::Password { length, alphabet } => text(random::password(alphabet, *length, rng)),
        Kind::Passphrase { words, separator } => text(random::passphrase(*words, separator, rng)),
        Kind::Hex { bytes } => text(random::hex(*bytes, rng)),
        Kind::Base64 { bytes } => text(random::base64(*bytes, rng)),
        Kind::Uuid => text(random::uuid(rng)),
        Kind::SshEd25519 => Ok(pair(keys::ssh(&inputs.item.stands_at().to_string(), rng))),
        Kind::WireGuard => Ok(pair(keys::wireguard(rng))),
        Kind::Age => Ok(pair(keys::age(rng))),
        Kind::Ca { name, valid } => x509::authority((name.as_deref(), *valid), inputs, rng),
        Kind::Certificate(certificate) => x509::certificate(certificate, inputs, rng),
        Kind::Bcrypt { cost, .. } => text(hash::bcrypt(inputs, *cost, rng)?),
        Kind::Argon2id { memory, passes, lanes, .. } => {
            text(hash::argon2id(inputs, (*memory, *passes, *lanes), rng)?)
        }
        Kind::Sha512Crypt { rounds, .. } => text(hash::sha512_crypt(inputs, *rounds, rng)?),
        Kind::Scram { iterations, .. } => text(hash::scram(inputs, *iterations, rng)?),
        Kind::Template { text: template, .. } => {
            let host = inputs.item.host.as_deref().unwrap_or_default();
            text(template.fill(host, &inputs.secrets))
        }
        Kind::Command(command) => run::command(command, inputs, rng),
    }
}

impl Inputs<'_> {
    /// Returns the one secret that a hash is of.
    fn secret(&self) -> &str {
        self.secrets.first().map(SecretString::expose).unwrap_or_default()
    }

    fn unhashable(&self, why: &'static str) -> GenerateError {
        GenerateError::Hash { item: self.item.clone(), why }
    }

    fn unencodable(&self) -> GenerateError {
        GenerateError::Encoding { item: self.item.clone() }
    }
}

/// The longest common name of a certificate.
const MAX_NAME: usize = 64;

/// Names an authority after where it stands.
pub(crate) fn default_name(item: &Item) -> String {
    item.stands_at().to_string().chars().take(MAX_NAME).collect()
}

/// Makes the value of a key pair.
fn pair((private, public): (SecretString, String)) -> Made {
    let parts = [("private", private), ("public", SecretString::new(public))];
    Made { value: parts_of(parts), expires: None }
}

fn parts_of<const N: usize>(parts: [(&str, SecretString); N]) -> Value {
    let parts = parts.into_iter().map(|(name, text)| (name.to_owned(), text.into()));
    Value::Tree(parts.collect::<SecretTree>())
}
