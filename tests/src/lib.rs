//! The harness of end-to-end tests: the real program in an environment where nothing else is.
//!
//! | to | use |
//! |---|---|
//! | run `nixmox-secrets` with no variable, home or terminal of the person who runs the tests | [`TestEnv`] |
//! | have a fleet with four hosts and secrets to run it on | [`TestEnv::fleet`], [`Shape`] |
//! | see or disturb its system calls | [`TestEnv::traced`], [`Traced`] |
//! | sit at its terminal | [`Pty`] |
//! | find what it left of a secret anywhere | [`TestEnv::holders`] |
//! | have hosts to deploy to, which can be cut off, reset and broken | [`Bed`], [`Fleet`] |
//! | have a machine with a blank disk, a boot loader and a kernel of its own | [`Machine`] |
//! | deploy to one of them and be killed at it | [`Deployment`] |
//! | deploy to all of them at once, with the library alone | [`Deployer`] |
//!
//! Needs Linux with a tmpfs on `/dev/shm`, and strace, git, `setsid` and `script` (Debian: strace, git, util-linux,
//! bsdutils). Beds and machines need root and more (`docs/testbed.md`). What is missing fails the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod bed;
mod deployer;
mod deployment;
mod env;
mod fleet;
mod machine;
mod program;
mod pty;
mod search;
mod trace;

pub use bed::{Bed, BedHost, Fleet, NIX_CONFIG, eventually, nix};
pub use deployer::{Deployer, is_settled, patience, phase, switch, until};
pub use deployment::{Deployment, Ended, activate_program};
pub use env::{Ran, TestEnv};
pub use fleet::{HOSTS, Shape};
pub use machine::{Machine, kexec_archive};
pub use program::{
    deploy_program, install_program, manifest_program, program, program_named, sops_program,
};
pub use pty::Pty;
pub use search::{copy_tree, files};
pub use trace::{Call, Traced, calls};
