//! Signed statements of a fleet: who its admins are, and what its hosts are delivered.
//!
//! A statement is JSON in one canonical form, signed as `ssh-keygen -Y sign` signs (SSHSIG), in a namespace of its own
//! for each kind, so that no statement passes for one of another kind. OpenSSH verifies what is signed here, and the
//! other way round.
//!
//! | job | function |
//! |---|---|
//! | read a public key as people write it | [`PublicKey::parse`] |
//! | sign with a key file in this process | [`KeyFile`], a [`Signer`] |
//! | sign with an agent or hardware | implement [`Signer`] |
//! | verify a signature of bytes | [`Signature::verify`] |
//! | read OpenSSH's `allowed_signers` | [`AllowedSigners::parse`] |
//! | read a roster and those before it | [`Chain::verify`] |
//! | read what was signed of a host's file | [`SignedDelivery::parse`], [`SignedDelivery::verify`] |
//!
//! A [`Chain`] starts with the roster that the fleet's id is the digest of; every later one names the digest of the
//! one before it and is signed by an admin of that one. So whoever knows the id knows the first admins, and from them
//! on each change was made by somebody who was an admin then.
//!
//! What it does not do: it opens no file, runs no program, has no clock, and seals nothing. Certificates and dates in
//! `allowed_signers` are refused, not ignored.
//!
//! ```
//! use nixmox_signing::{KeyFile, Signer, Signature};
//! use nixmox_tree::SecretString;
//! # let text = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]))
//! #     .to_openssh(ssh_key::LineEnding::LF).map_err(|error| error.to_string())?;
//! // What `ssh-keygen -t ed25519 -N ''` writes.
//! let key = KeyFile::parse(&SecretString::new(text.as_str()))?;
//! let signature = key.sign("greeting@example.org", b"hello")?;
//! let read = Signature::parse(signature.to_string().as_bytes())?;
//! assert!(read.verify(key.public(), "greeting@example.org", b"hello").is_ok());
//! assert!(read.verify(key.public(), "greeting@example.org", b"hullo").is_err());
//! assert!(read.verify(key.public(), "other@example.org", b"hello").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed;
mod chain;
mod delivery;
mod digest;
mod error;
mod key;
mod roster;
mod signature;

pub use allowed::AllowedSigners;
pub use chain::{Chain, SignedRoster};
pub use delivery::{DELIVERY, Delivered, Delivery, SignedDelivery};
pub use digest::{FleetId, Hash};
pub use error::{AllowedError, ChainError, DeliveryError, KeyError, RosterError, SignatureError};
pub use key::{KeyFile, PublicKey, SignFailed, Signer};
pub use roster::{Admin, Group, ROSTER, Roster, is_name};
pub use signature::Signature;

/// The largest statement, signature or list of signers that is read, in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;
