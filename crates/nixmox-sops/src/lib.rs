//! sops documents with age recipients: YAML, JSON and binary.
//!
//! Reads what sops 3.9 to 3.13 wrote and writes what sops 3.13 and sops-nix read.

mod audit;
mod cipher;
mod config;
mod documents;
mod envelope;
mod error;
mod file;
mod format;
mod identity;
mod json;
mod metadata;
mod node;
mod number;
mod recipient;
mod rule;
mod seal;
mod shamir;
mod time;
mod walk;
mod yaml;

pub use audit::{Finding, FindingKind};
pub use cipher::{DataKey, ValueError};
pub use config::{ConfigError, CreationRule, CreationRules};
pub use documents::{Documents, Indent, ShapeError};
pub use error::{
    DecryptError, MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_RECIPIENTS, MetadataError, ParseError, Path,
    PlainError, PlainErrorKind, SealError,
};
pub use file::{DecryptedFile, EncryptedFile};
pub use format::{Format, detect, is_sops};
pub use identity::{Identities, IdentityError, Interaction, KeyText};
pub use metadata::Metadata;
pub use recipient::{Recipient, RecipientError};
pub use rule::Rule;
pub use seal::{Keep, SOPS_VERSION, SealOptions, seal};
