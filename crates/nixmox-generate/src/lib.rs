//! Secrets that are declared instead of written, and what makes them.
//!
//! A declaration stands in a master where the value would stand: a set whose only name is `_generate`, with a `type`
//! and its parameters. One value is made for the host or group where it is declared, so that a group shares it, or
//! one for each host below with `perHost = true`. Values may be made from others: a hash of a password, a certificate
//! of an authority, a text with other secrets in it.
//!
//! | job | function |
//! |---|---|
//! | find what is declared | [`Declarations::find`] |
//! | learn which level supplies what | [`Declarations::placeholders`] through the cascade, into [`Origins`] |
//! | make what is missing, keep the rest | [`settle`](fn@settle) |
//! | tell what would be made | [`stale`] |
//! | tell when a value is due | [`due`] |
//! | put the values into the tree | [`fill`] |
//! | gather what is public | [`public`] |
//! | learn what a host can read out of what it is given | [`exposed`](fn@exposed) |
//! | keep what was made | [`Records::to_tree`], [`Records::from_tree`]; by names alone: [`value_at`] |
//!
//! A value stays as it is until somebody asks for another, its declaration says something else, or what it is made
//! from is another. Time alone changes nothing: [`due`] only tells.
//!
//! What it does not do: it evaluates no master and merges no levels, seals and stores nothing, and starts no process:
//! commands run in a [`Sandbox`] that the caller brings. Random numbers and the time are arguments.
//!
//! ```
//! use nixmox_generate::{Declarations, Origins, Records, Request, fill, settle};
//! use nixmox_tree::{SecretTree, Value};
//! # use rand_core::SeedableRng;
//! # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//!
//! let mut nodes = SecretTree::new();
//! nodes.insert_at(&["web", "token", "_generate", "type"], Value::string("hex")).expect("free");
//! let declared = Declarations::find(&nodes)?;
//! let (origins, records) = (Origins::default(), Records::default());
//! let now = "2026-01-02T03:04:05Z".parse()?;
//! let request =
//!     Request { nodes: &nodes, declared: &declared, origins: &origins, records: &records, sandbox: None, now };
//!
//! let (records, notes) = settle(request, &|_| false, &mut rng)?;
//! assert_eq!(notes.keys().collect::<Vec<_>>(), ["web.token"]);
//! let filled = fill(Request { records: &records, ..request });
//! assert_eq!(filled.at(&["web", "token"]).and_then(Value::as_str).map(str::len), Some(64));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod declare;
mod error;
mod exposed;
mod fields;
mod graph;
mod kind;
mod make;
mod origins;
mod place;
mod records;
mod resolve;
mod sandbox;
mod settle;
mod span;
mod template;
mod words;

pub use declare::{Declaration, Declarations, KEY};
pub use error::{DeclareError, GenerateError, RecordsError};
pub use exposed::{Exposed, exposed};
pub use kind::NAMES;
pub use origins::Origins;
pub use place::{Item, Place, Reference, split};
pub use records::{Record, Records, value_at};
pub use sandbox::{Job, Sandbox, SandboxError};
pub use settle::{MAX_ITEMS, Request, Why, due, fill, public, settle, stale};
pub use span::Span;
pub use template::Template;
