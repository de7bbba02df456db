//! Closures on this machine: evaluated, built and kept, and copied from here.

mod build;
mod copy;
mod diff;
mod evaluate;
mod lines;
mod nix;

use crate::StorePath;

pub use build::BuildError;
pub use copy::{Chroot, CopyError, closure_on};
pub use diff::{PackageChange, package_changes};
pub use evaluate::{EvaluateError, Evaluated, Flake};
pub use lines::NixLine;
pub use nix::{Nix, NixError};

/// The system of a node: what it is, and how it is made where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The system itself.
    pub toplevel: StorePath,
    /// What builds it.
    pub derivation: Option<StorePath>,
}
