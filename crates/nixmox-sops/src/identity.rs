//! Who opens files: private keys, gathered from the places that sops looks at.

use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::{ExposeSecret, SecretString as AgeSecret};
use hkdf::Hkdf;
use nixmox_tree::{SecretBytes, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::recipient::Recipient;

/// How plugins and protected keys talk to a person; made from any [`age::Callbacks`].
#[derive(Clone)]
pub struct Interaction(Arc<dyn Talk>);

trait Talk: Send + Sync {
    fn message(&self, message: &str);
    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool>;
    fn public(&self, description: &str) -> Option<String>;
    fn passphrase(&self, description: &str) -> Option<AgeSecret>;
}

impl<C: age::Callbacks> Talk for C {
    fn message(&self, message: &str) {
        self.display_message(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        age::Callbacks::confirm(self, message, yes, no)
    }

    fn public(&self, description: &str) -> Option<String> {
        self.request_public_string(description)
    }

    fn passphrase(&self, description: &str) -> Option<AgeSecret> {
        self.request_passphrase(description)
    }
}

impl Interaction {
    /// Wraps callbacks.
    pub fn new(callbacks: impl age::Callbacks) -> Self {
        Self(Arc::new(callbacks))
    }
}

impl std::fmt::Debug for Interaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interaction")
    }
}

impl age::Callbacks for Interaction {
    fn display_message(&self, message: &str) {
        self.0.message(message);
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.0.confirm(message, yes, no)
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.0.public(description)
    }

    fn request_passphrase(&self, description: &str) -> Option<AgeSecret> {
        self.0.passphrase(description)
    }
}

/// Where keys come from: a file has one key a line, an environment variable also takes space between keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyText {
    /// The content of `keys.txt` or what a key command prints.
    Lines,
    /// The content of `SOPS_AGE_KEY`.
    Words,
}

/// Why a source of identities cannot be used; none of it names a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no key in it.
    #[error("no identity in it")]
    Empty,
    /// A line is not a key, a comment or empty; one such line spoils the source, as in sops.
    #[error("line {line} is not an age identity")]
    UnknownLine {
        /// The line, from 1.
        line: usize,
    },
    /// A line starts like a key and is not one.
    #[error("line {line} is a malformed age identity")]
    Malformed {
        /// The line, from 1.
        line: usize,
    },
    /// A post-quantum key, which takes `age-plugin-pq` here.
    #[error("line {line}: post-quantum identities need their plugin form (AGE-PLUGIN-PQ-1…)")]
    PostQuantum {
        /// The line, from 1.
        line: usize,
    },
    /// A key needs a person (a plugin, a passphrase) and nobody can be asked.
    #[error("this identity needs interaction, which is not allowed here")]
    Interaction,
    /// The plugin of a key is not installed.
    #[error("plugin {name} of an identity cannot be started")]
    Plugin {
        /// The plugin's name.
        name: String,
    },
    /// A protected key file did not open.
    #[error("the protected identity file does not open")]
    Protected(#[source] Option<age::DecryptError>),
    /// The text is not an OpenSSH private key that age takes.
    #[error("not a supported ssh private key")]
    Ssh,
}

/// Private keys, all of which are tried; shareable between threads.
#[derive(Default)]
pub struct Identities {
    keys: Vec<Box<dyn age::Identity + Send + Sync>>,
    known: Vec<Recipient>,
    /// Of the first native key, for [`Identities::derive`].
    seed: Option<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.keys.len())
    }
}

/// Largest key file that is read.
const MAX_KEY_BYTES: u64 = 1 << 20;

impl Identities {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Counts the keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Adds any key that age knows how to use.
    pub fn push(&mut self, identity: Box<dyn age::Identity + Send + Sync>) {
        self.keys.push(identity);
    }

    /// Adds all keys of another set.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.known.extend(other.known);
        self.seed = self.seed.take().or(other.seed);
    }

    /// Derives a key for `purpose` from the first native key; plugins and ssh keys do not show theirs.
    ///
    /// It stays the same for as long as the person keeps that key, whatever becomes of the files' data keys.
    pub fn derive(&self, purpose: &[u8]) -> Option<Zeroizing<[u8; 64]>> {
        let seed = self.seed.as_ref()?;
        let mut key = Zeroizing::new([0; 64]);
        // 64 bytes are far below the limit of HKDF, the only thing that can fail here.
        Hkdf::<Sha256>::new(None, seed.as_slice()).expand(purpose, key.as_mut_slice()).ok()?;
        Some(key)
    }

    /// Returns the recipients of those keys that name theirs: native and ssh ones.
    pub fn recipients(&self) -> &[Recipient] {
        &self.known
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| {
            let key: &dyn age::Identity = key.as_ref();
            key
        })
    }

    /// Takes one native key, as it comes from converting an ssh host key.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Malformed`].
    pub fn from_age_secret(secret: &SecretString) -> Result<Self, IdentityError> {
        let mut set = Self::new();
        set.add_native(secret.expose().trim(), 1)?;
        Ok(set)
    }

    /// Reads sops' key text, or a passphrase-protected age file (armored or not) that holds one.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]; one bad line spoils the whole source, as in sops.
    pub fn parse_keys(
        text: &SecretBytes,
        form: KeyText,
        interaction: Option<&Interaction>,
    ) -> Result<Self, IdentityError> {
        let bytes = text.expose();
        let protected = bytes.starts_with(b"age-encryption.org/")
            || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----");
        if protected {
            let opened = unlock(bytes, interaction.ok_or(IdentityError::Interaction)?)?;
            return Self::parse_lines(&opened, form, interaction);
        }
        Self::parse_lines(bytes, form, interaction)
    }

    fn parse_lines(
        bytes: &[u8],
        form: KeyText,
        interaction: Option<&Interaction>,
    ) -> Result<Self, IdentityError> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| IdentityError::UnknownLine { line: 1 })?;
        let mut set = Self::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match form {
                KeyText::Lines => set.add(line, index + 1, interaction)?,
                KeyText::Words => {
                    for word in line.split_whitespace() {
                        set.add(word, index + 1, interaction)?;
                    }
                }
            }
        }
        if set.is_empty() { Err(IdentityError::Empty) } else { Ok(set) }
    }

    fn add(
        &mut self,
        key: &str,
        line: usize,
        interaction: Option<&Interaction>,
    ) -> Result<(), IdentityError> {
        if key.starts_with("AGE-SECRET-KEY-PQ-1") {
            return Err(IdentityError::PostQuantum { line });
        }
        if key.starts_with("AGE-SECRET-KEY-1") {
            return self.add_native(key, line);
        }
        if !key.starts_with("AGE-PLUGIN-") {
            return Err(IdentityError::UnknownLine { line });
        }
        let key =
            age::plugin::Identity::from_str(key).map_err(|_| IdentityError::Malformed { line })?;
        let interaction = interaction.ok_or(IdentityError::Interaction)?;
        let name = key.plugin().to_owned();
        let plugin = age::plugin::IdentityPluginV1::new(&name, &[key], interaction.clone())
            .map_err(|_| IdentityError::Plugin { name })?;
        self.keys.push(Box::new(plugin));
        Ok(())
    }

    fn add_native(&mut self, key: &str, line: usize) -> Result<(), IdentityError> {
        let text = key;
        let key =
            age::x25519::Identity::from_str(key).map_err(|_| IdentityError::Malformed { line })?;
        self.seed.get_or_insert_with(|| Zeroizing::new(Sha256::digest(text.as_bytes()).into()));
        self.known.extend(Recipient::parse(&key.to_public().to_string()));
        self.keys.push(Box::new(key));
        Ok(())
    }

    /// Reads an OpenSSH private key for files that are sealed to the ssh key itself, as sops reads `~/.ssh`.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Ssh`], or [`IdentityError::Interaction`] for a protected key that nobody can unlock.
    pub fn parse_ssh(
        pem: &SecretString,
        interaction: Option<&Interaction>,
    ) -> Result<Self, IdentityError> {
        let key = age::ssh::Identity::from_buffer(pem.expose().as_bytes(), None)
            .map_err(|_| IdentityError::Ssh)?;
        let mut set = Self::new();
        if let Ok(public) = age::ssh::Recipient::try_from(key.clone()) {
            set.known.extend(Recipient::parse(&public.to_string()));
        }
        match &key {
            age::ssh::Identity::Unencrypted(_) => set.keys.push(Box::new(key)),
            age::ssh::Identity::Encrypted(_) => {
                let interaction = interaction.ok_or(IdentityError::Interaction)?;
                set.keys.push(Box::new(key.with_callbacks(interaction.clone())));
            }
            age::ssh::Identity::Unsupported(_) => return Err(IdentityError::Ssh),
        }
        Ok(set)
    }
}

/// Opens a protected key file with a passphrase that a person gives.
fn unlock(bytes: &[u8], interaction: &Interaction) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let fail = |e| IdentityError::Protected(Some(e));
    let file = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(bytes)).map_err(fail)?;
    if !file.is_scrypt() {
        return Err(IdentityError::Protected(None));
    }
    let passphrase = age::Callbacks::request_passphrase(interaction, "identity file")
        .ok_or(IdentityError::Protected(None))?;
    if passphrase.expose_secret().is_empty() {
        return Err(IdentityError::Protected(None));
    }
    let mut identity = age::scrypt::Identity::new(passphrase);
    // A hostile file must not make this take minutes.
    identity.set_max_work_factor(20);
    let key: &dyn age::Identity = &identity;
    let opened = file.decrypt(std::iter::once(key)).map_err(fail)?;
    let mut text = Zeroizing::new(Vec::new());
    let read = opened.take(MAX_KEY_BYTES).read_to_end(&mut text);
    read.map_err(|e| fail(age::DecryptError::Io(e)))?;
    Ok(text)
}
