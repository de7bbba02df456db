//! A fleet's repository as programs that reach hosts see it.
//!
//! | to | use |
//! |---|---|
//! | read the nodes, and what is said about reaching them | [`Fleet::open`], [`Fleet::open_for`], [`Settings`] |
//! | pick nodes | [`Fleet::select`] |
//! | say how a node is reached | [`Fleet::target`], [`ssh_files`] |
//! | refuse a fleet whose sealed files are not as they should be | [`check_sealed`] |
//! | run Nix, and explain its refusal | [`nix`], [`refused`] |
//! | keep records of runs, and say whose they are | [`runs`], [`new_run`], [`deployer`] |
//! | show what goes on while hosts are worked on | [`View`] |
//!
//! This is what `nixmox-deploy` and `nixmox-install` share. It joins the secrets' side with the hosts' side, so no
//! library may know it.

mod advice;
mod flake;
mod fleet;
mod manifest;
mod run;
mod sealed;
mod settings;
mod ssh;
mod view;

pub use advice::causes;
pub use flake::{NamedFlake, cache, nix, refused};
pub use fleet::Fleet;
pub use run::{deployer, new_run, runs, runtime, state};
pub use sealed::{check_sealed, host_keys, secret_files};
pub use settings::{Install, Settings};
pub use ssh::{hosts, includes, ssh_files};
pub use view::{View, colour, json_line};
