//! `cargo xtask bed`: what the hosts and machines of `tests/bed` are made of.

use std::process::Command;

use crate::cargo::{Failed, root, run};
use crate::tools;

/// Installs what the build needs, and builds what is not there or not current in `target/bed`.
pub(crate) fn build() -> Result<(), Failed> {
    tools::provide()?;
    run(&mut Command::new(root().join("tests/bed/build.sh")))
}
