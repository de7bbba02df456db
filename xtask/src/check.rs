use std::time::Instant;

use crate::cargo::{Failed, cargo, run};
use crate::{bed, say, tools};

/// Installs and builds what the tests need and runs them all.
pub(crate) fn test() -> Result<(), Failed> {
    let start = Instant::now();
    bed::build()?;
    // Nextest runs no documentation tests.
    if tools::find("cargo-nextest") {
        run(&mut cargo(&["nextest", "run", "--workspace", "--all-targets", "--no-fail-fast"]))?;
    } else {
        run(&mut cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"]))?;
    }
    run(&mut cargo(&["test", "--workspace", "--doc"]))?;
    say(&format!("xtask: every test passed, in {} seconds", start.elapsed().as_secs()));
    Ok(())
}

/// Checks formatting, lints and documentation, and runs the tests.
pub(crate) fn ci() -> Result<(), Failed> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    test()
}
