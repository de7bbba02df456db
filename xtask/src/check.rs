use std::time::Instant;

use crate::cargo::{Failed, cargo, run};
use crate::{bed, say, tools};

/// Installs and builds what the tests need and runs them all.
pub(crate) fn test() -> Result<(), Failed> {
    let start = Instant::now();
    bed::build()?;
    // Not `--all-targets`: examples would be built as tests of themselves, and some tests run them as programs.
    if tools::find("cargo-nextest") {
        run(&mut cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        // Nextest runs no documentation tests.
        run(&mut cargo(&["test", "--workspace", "--doc"]))?;
    } else {
        run(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    }
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
