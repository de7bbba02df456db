//! What is signed of the file that a host is delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    DeliveryError, FleetId, Hash, MAX_TEXT, PublicKey, SignFailed, Signature, SignatureError,
    Signer,
};

/// The namespace of signed deliveries.
pub const DELIVERY: &str = "nixmox-delivery@1";

const VERSION: u32 = 1;

/// The statement about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    version: u32,
    /// The fleet.
    pub fleet: FleetId,
    /// The host that the file is for.
    pub host: String,
    /// The file's path in the repository.
    pub path: String,
    /// Grows with every delivery to the host.
    pub generation: u64,
    /// Digest of the statement before, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// Whom the file is sealed to.
    pub recipients: BTreeSet<String>,
    /// Digest of the file.
    pub sha256: Hash,
    /// Digest of the values and their structure, keyed with what only those know who can open the file.
    pub structure: Hash,
    /// Digest of the public parts of generated values beside the file, which Nix reads; `None` when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Hash>,
}

/// What a statement is made of.
#[derive(Debug, Clone)]
pub struct Delivered<'a> {
    /// The fleet; anyone will do without it.
    pub fleet: Option<FleetId>,
    /// The host.
    pub host: &'a str,
    /// The file's path; any will do without it.
    pub path: Option<&'a str>,
    /// The file's bytes.
    pub file: &'a [u8],
}

/// A statement and its signature, as they lie in one file.
///
/// The signature comes first, so that OpenSSH takes the file as a signature file; the statement is the last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDelivery {
    statement: Delivery,
    line: String,
    signature: Signature,
}

impl Delivery {
    /// States that `file` is delivered to a host; what comes later is set on the result.
    pub fn new(
        (fleet, host, path): (FleetId, &str, &str),
        file: &[u8],
        (recipients, structure): (BTreeSet<String>, Hash),
    ) -> Self {
        Self {
            version: VERSION,
            fleet,
            host: host.to_owned(),
            path: path.to_owned(),
            generation: 1,
            previous: None,
            recipients,
            sha256: Hash::of(file),
            structure,
            public: None,
        }
    }

    /// Writes the canonical form: JSON on one line, with a newline.
    fn to_line(&self) -> String {
        // Strings, numbers and sets of them cannot fail to be written.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// Signs the statement.
    ///
    /// # Errors
    ///
    /// [`SignFailed`].
    pub fn sign(self, signer: &dyn Signer) -> Result<SignedDelivery, SignFailed> {
        let line = self.to_line();
        let signature = signer.sign(DELIVERY, line.as_bytes())?;
        Ok(SignedDelivery { statement: self, line, signature })
    }
}

impl SignedDelivery {
    /// Reads a signature file; nothing in it is to be believed before [`SignedDelivery::verify`].
    ///
    /// # Errors
    ///
    /// [`DeliveryError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DeliveryError> {
        let malformed = DeliveryError::Malformed;
        if bytes.len() > MAX_TEXT {
            return Err(malformed("it is too long"));
        }
        let (signature, line) = Signature::parse_start(bytes)
            .map_err(|_| malformed("it does not begin with a signature"))?;
        let statement: Delivery = serde_json::from_str(line)
            .map_err(|_| malformed("its last line is no statement about a file"))?;
        if statement.version != VERSION {
            return Err(malformed("it is of another version of the format"));
        }
        if statement.to_line() != line {
            return Err(malformed("its statement is not in the canonical form"));
        }
        Ok(Self { line: line.to_owned(), statement, signature })
    }

    /// Writes the signature file.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{}{}", self.signature, self.line).into_bytes()
    }

    /// Returns the statement without any check of who signed it.
    pub fn danger_statement(&self) -> &Delivery {
        &self.statement
    }

    /// Returns the digest of the statement, by which the next one names it.
    pub fn hash(&self) -> Hash {
        Hash::of(self.line.as_bytes())
    }

    /// Checks that one of `signers` signed exactly this file for this host, and returns his name and the statement.
    ///
    /// `former` are keys of admins who left: they make another message.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`] with what does not fit.
    pub fn verify<'a>(
        &'a self,
        delivered: &Delivered<'_>,
        signers: &'a BTreeMap<PublicKey, String>,
        former: &BTreeMap<PublicKey, String>,
    ) -> Result<(&'a str, &'a Delivery), DeliveryError> {
        let key =
            self.signature.key().map_err(|_| DeliveryError::Signature(SignatureError::Key))?;
        self.signature
            .verify(&key, DELIVERY, self.line.as_bytes())
            .map_err(DeliveryError::Signature)?;
        let name = signers.get(&key).ok_or_else(|| match former.get(&key) {
            Some(name) => DeliveryError::Former { name: name.clone() },
            None => DeliveryError::Stranger { fingerprint: key.fingerprint() },
        })?;
        self.fits(delivered)?;
        Ok((name, &self.statement))
    }

    fn fits(&self, delivered: &Delivered<'_>) -> Result<(), DeliveryError> {
        let statement = &self.statement;
        if delivered.fleet.is_some_and(|fleet| fleet != statement.fleet) {
            return Err(DeliveryError::Fleet { found: statement.fleet });
        }
        if delivered.host != statement.host {
            return Err(DeliveryError::Host { found: statement.host.clone() });
        }
        if delivered.path.is_some_and(|path| path != statement.path) {
            return Err(DeliveryError::Path { found: statement.path.clone() });
        }
        let found = Hash::of(delivered.file);
        if found == statement.sha256 { Ok(()) } else { Err(DeliveryError::Content { found }) }
    }
}
