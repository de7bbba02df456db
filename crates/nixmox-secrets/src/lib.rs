//! Edits, plans and commits the sealed secrets of a fleet.
//!
//! A fleet is a repository with nodes and groups, a `.sops.yaml` that names its admins, and one master file with all
//! secrets, sealed to them. Nodes and groups are declared in `nodes/`, in a service manifest, or in both. From the master every host with secrets gets an SSH host key, sealed to the admins, and a
//! sops file with its own values, sealed to that key alone.
//!
//! | job | function |
//! |---|---|
//! | find the fleet that a directory lies in | [`find`] |
//! | read what it declares | [`Fleet::open`] |
//! | gather the keys of the person at the keyboard | [`identities::load`] |
//! | change the secrets: lock, recover, write, plan, commit | [`change`] |
//! | carry out what is due without a change of the text, or renew data keys | [`renew`] |
//! | see what a change would do | [`preview`], or [`open`] and [`Plan::new`] for another text |
//! | set or remove one value in a master's text | [`master::set`], [`master::unset`] |
//! | learn what a master's text says | [`master::evaluate`], [`master::nodes`] |
//! | learn who can read what, and what somebody can read | [`readers`] |
//! | make declared secrets anew, see what is declared | [`regenerate`], [`view`] |
//! | find values that are past their age, or that a broken host could read | [`due`](fn@due), [`exposure`] |
//! | merge three versions of a sealed file | [`merge`] |
//! | show or compare sealed files without their values | [`review`] |
//! | check every sealed file | [`check`](fn@check) |
//! | take over what Nixverse, sops or agenix keep | [`takeover`] |
//! | find plaintext, keys and machines that are not as they should be | [`doctor`](mod@doctor) |
//! | declare what a manifest implies and nothing supplies | [`needed`](mod@needed) |
//! | compare what a configuration declares with what is delivered | [`consumers`] |
//! | seal or open other files for a host | [`host_recipient`], [`host_identities`] |
//! | read and commit files | [`store`] |
//!
//! # What vouches for what
//!
//! Whoever can commit to the repository can replace any file in it, and age tells nobody who sealed a file. So
//! `.nixmox/digests.json` holds keyed digests of every host's key pair, sealed file and values, and of who may open
//! what. Their key is derived from the master's data key: only an admin can make or check one.
//!
//! - Nothing is sealed to a host key that was neither made here nor accepted ([`Accept::host_keys`]).
//! - Recipients in `.sops.yaml` that are not on record, file by file, stop the run until they are accepted
//!   ([`Accept::admins`]). Then everything that admins can open gets new data keys.
//! - A data key from a file that no digest vouches for is never used again; the file is sealed anew.
//! - When a host's key is replaced, the master gets a new data key, so that no older digest vouches for anything.
//! - Digests that are gone, broken or forged vouch for nothing: then both have to be accepted again.
//!
//! What it does not do. It does not tell a master that an outsider made up, with digests that fit it, from one that
//! another admin wrote: that takes a look at the history, or signed commits. Nor does it notice that the whole
//! repository was set back to an older state. It does not replace host keys when an admin leaves, and he may have
//! kept them. It evaluates no more Nix than plain data, never prints or prompts, and opens files through [`store`] only
//! (and key files of the person in [`identities`]).
//!
//! # Example
//!
//! ```
//! use nixmox_secrets::{Accept, Change, Form, Generation, Options, change};
//! use nixmox_hostkey::HostKey;
//! use nixmox_sops::Identities;
//! use nixmox_tree::SecretString;
//! # use rand_core::SeedableRng;
//! # let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
//!
//! // A fleet: the group `web` with one host, and an admin, whose age key is made from an SSH key here.
//! let fleet = tempfile::tempdir()?;
//! let admin = HostKey::generate(&mut rng);
//! std::fs::create_dir_all(fleet.path().join("nodes/web"))?;
//! std::fs::write(fleet.path().join("nodes/web/group.nix"), "{ w1 = { }; }")?;
//! let rules = format!("creation_rules:\n  - age: {}\n", admin.public().age_recipient());
//! std::fs::write(fleet.path().join(".sops.yaml"), rules)?;
//!
//! let identities = Identities::from_age_secret(&admin.age_identity())?;
//! let empty = SecretString::new("{ nodes = { }; }");
//! let options = Options {
//!     identities: &identities,
//!     accept: Accept::default(),
//!     ask_nix: &|_| None,
//!     real_nix: None,
//!     interaction: None,
//!     generation: Generation::default(),
//!     signer: None,
//!     fresh: Some((Form::Nix, &empty)),
//! };
//! let mut write = |_: nixmox_secrets::Draft<'_>| {
//!     Some(SecretString::new(r#"{ nodes.web.token = "correct horse"; }"#))
//! };
//! let outcome = change(fleet.path(), options, &mut write, &mut rng, jiff::Timestamp::now())?;
//! assert_eq!(outcome.report.map(|report| report.count(Change::Created)), Some(1));
//! assert!(fleet.path().join("nodes/web/w1/secrets.yaml").is_file());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod admins;
mod ages;
mod base;
mod check;
pub mod consumers;
mod digests;
pub mod doctor;
mod due;
mod edit;
mod error;
mod fleet;
mod generated;
mod generation;
mod host_plan;
mod hosts;
pub mod identities;
mod layout;
pub mod master;
pub mod merge;
pub mod needed;
mod plan;
mod policy;
pub mod readers;
mod renewal;
mod report;
pub mod review;
mod rules;
mod scan;
mod services;
pub mod store;
mod strict;
pub mod takeover;
pub mod trust;

pub use access::{
    host_identities, host_key, host_public_key, host_public_keys, host_recipient, next_host_key,
    sealed_path,
};
pub use check::{Checked, Problem, ProblemKind, check};
pub use due::{Due, DueValue, Exposure, Why, due, exposure};
pub use edit::{Draft, Options, Outcome, RealNix, change, open, preview, renew};
pub use error::{Error, ManifestProblem, SourceProblem, TextProblem};
pub use fleet::{AskNix, FILE_LIMIT, Fleet, find};
pub use generated::{Listed, Source, View, view};
pub use generation::{Generation, Regenerate, regenerate};
pub use layout::{Arrangement, HostPaths, Layout, PRIVATE};
pub use master::{Form, Master};
pub use plan::{Accept, Plan, Request};
pub use policy::PolicyProblem;
pub use renewal::{KeyStep, Renewal, Renewed};
pub use report::{Change, HostReport, Reason, Report};
pub use strict::Unsealable;
