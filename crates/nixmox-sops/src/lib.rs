//! sops documents with age recipients: YAML, JSON, binary, dotenv and ini.
//!
//! Reads what sops 3.9 to 3.13 wrote and writes what sops 3.13 and sops-nix read, in the layout of 3.13.
//!
//! | job | function |
//! |---|---|
//! | tell the format of a file | [`Format::from_path`], [`detect`], [`is_sops`] |
//! | read a sealed file, see for whom it is | [`EncryptedFile::parse`], [`EncryptedFile::recipients`] |
//! | hold it to the strict subset of a fleet, without a key | [`EncryptedFile::audit`] |
//! | see names, structure and types without a key | [`EncryptedFile::outline`] |
//! | gather keys | [`Identities`] |
//! | prove that each recipient's own wrapped key opens | [`EncryptedFile::prove`] |
//! | open it, its MAC checked | [`EncryptedFile::open`] |
//! | read, print and change plaintext | [`Documents`] |
//! | take out, set and remove values as sops' command line does | [`TreePath`], [`NewValue`] |
//! | seal plaintext, anew or with little change | [`seal`] with [`SealOptions`] and [`Keep`] |
//! | give the same data key to others | [`EncryptedFile::rewrap`] |
//! | seal to several groups, some of which must come together | [`KeyGroups`] |
//! | list what a file holds, sealed or opened | [`EncryptedFile::for_each_leaf`], [`Documents::for_each_leaf`] |
//! | merge three versions, value by value or line by line | [`merge`](fn@merge), [`merge_text`] |
//! | choose recipients by `.sops.yaml` | [`CreationRules`] |
//! | open a bare age file | [`open_age`] |
//!
//! What a file says in clear is not authenticated: names and structure, comments, empty values, the labels of its
//! recipients and its selection rule. [`EncryptedFile::audit`] finds what makes use of that.
//!
//! # What it does not do
//!
//! It opens no file, reads no clock and no environment. Data key, nonces and time are arguments; what wraps the
//! data key for a recipient draws its own randomness, inside the crate `age`. Plugins are started only when an
//! [`Interaction`] is given. Key services other than age are missing. Nonces of 12, 16 and 32 bytes are read,
//! others refused.
//!
//! Sizes are bounded: [`MAX_BYTES`], [`MAX_DEPTH`], [`MAX_NODES`], [`MAX_RECIPIENTS`].
//!
//! ```
//! use nixmox_sops::{Documents, EncryptedFile, Format, Identities, Keep, SealOptions, seal};
//! use nixmox_tree::SecretString;
//! # use rand_core::SeedableRng;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//! // A throw-away key.
//! let key = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";
//! let keys = Identities::from_age_secret(&SecretString::new(key))?;
//! let options = SealOptions::new(keys.recipients().iter().cloned());
//!
//! let docs = Documents::parse(b"wifi: correct horse\n", Format::Yaml)?;
//! let now = "2026-01-02T03:04:05Z".parse()?;
//! let sealed = seal(&docs, (Format::Yaml, &options), Keep::Nothing, &mut rng, now)?;
//!
//! let file = EncryptedFile::parse(&sealed, Format::Yaml)?;
//! assert!(file.audit().is_empty());
//! assert!(file.open(&keys)?.documents() == &docs);
//! # Ok(())
//! # }
//! ```

mod age_file;
mod audit;
mod cipher;
mod config;
mod documents;
mod dotenv;
mod envelope;
mod error;
mod file;
mod flat;
mod format;
mod groups;
mod identity;
mod ini;
mod json;
mod leaves;
mod merge;
mod metadata;
mod node;
mod number;
mod outline;
mod proof;
mod recipient;
mod rule;
mod seal;
mod select;
mod shamir;
mod time;
mod walk;
mod wrap;
mod wrapped;
mod yaml;

pub use age_file::{AgeFileError, is_age, open_age};
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
pub use groups::{KeyGroups, KeyGroupsError};
pub use identity::{Identities, IdentityError, Interaction, KeyText};
pub use leaves::{Leaf, LeafKind};
pub use merge::{
    Conflict, Disagreement, MARKS, Merged, MergedText, Passage, Side, Versions, marked, merge,
    merge_text,
};
pub use metadata::Metadata;
pub use outline::Outline;
pub use proof::Proof;
pub use recipient::{Recipient, RecipientError};
pub use rule::Rule;
pub use seal::{Keep, SOPS_VERSION, SealOptions, seal};
pub use select::{Extract, NewValue, SelectError, TreePath};
pub use wrapped::WrappedKey;
