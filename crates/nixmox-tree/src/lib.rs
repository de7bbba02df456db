//! Plaintext secret trees: ordered, zeroized, never printed.
//!
//! A [`SecretTree`] is what a person means by "the secrets of a host": names that lead to values or to further
//! trees, in byte order of the names. Names are not secret; values are. [`SecretString`] and [`SecretBytes`] hold
//! text and bytes; both wipe their memory when the last clone is dropped, compare in constant time, print only
//! their type with `{:?}`, and implement neither `Display` nor any serialisation.
//!
//! What it does not do: it reads no file format ([`nixmox-sops`], [`nixmox-nix`] do) and merges nothing
//! ([`nixmox-cascade`] does).
//!
//! ```
//! use nixmox_tree::{SecretTree, Value};
//!
//! let mut tree = SecretTree::new();
//! tree.insert_at(&["wifi", "psk"], Value::string("correct horse")).expect("no value in the way");
//! assert_eq!(tree.at(&["wifi", "psk"]).and_then(Value::as_str), Some("correct horse"));
//! assert!(!format!("{tree:?}").contains("horse"));
//! ```
//!
//! [`nixmox-sops`]: https://docs.rs/nixmox-sops
//! [`nixmox-nix`]: https://docs.rs/nixmox-nix
//! [`nixmox-cascade`]: https://docs.rs/nixmox-cascade

mod secret;
mod value;

pub use secret::{SecretBytes, SecretString};
pub use value::{InTheWay, SecretTree, Value};
