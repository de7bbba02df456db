use std::time::Instant;

use crate::cargo::{Failed, cargo, run};
use crate::{bed, say, tools};

/// Installs and builds what the tests need and runs them all.
pub(crate) fn test() -> Result<(), Failed> {
    let start = Instant::now();
    bed::build()?;
    // Tests run the programs, and would build them otherwise; without `--tests` they would have other dependencies.
    run(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    // Not `--all-targets`: examples would be built as tests of themselves, and some tests run them as programs.
    if tools::find("cargo-nextest") {
        run(&mut cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]))?;
        // Nextest runs no documentation tests.
        run(&mut cargo(&["test", "--workspace", "--doc"]))?;
    } else {
        run(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    }
    say(
        "xtask: what needs emulated machines takes long, and is a command of its own: cargo xtask machines",
    );
    say(&format!("xtask: every test passed, in {} seconds", start.elapsed().as_secs()));
    Ok(())
}

/// Runs the tests that need emulated machines for many minutes, which [`test()`] leaves out and lists as ignored.
pub(crate) fn machines() -> Result<(), Failed> {
    bed::build()?;
    // The whole workspace, or its dependencies would be built once more with other features.
    let both = ["--test", "install_machines", "--test", "deploy_machines"];
    let one_by_one = ["--", "--ignored", "--test-threads", "1"];
    run(&mut cargo(&[&["test", "--workspace"], &both[..], &one_by_one].concat()))
}

/// Checks formatting, lints and documentation, and runs the tests.
pub(crate) fn ci() -> Result<(), Failed> {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    test()
}
