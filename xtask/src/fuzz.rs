//! `cargo xtask fuzz`: every fuzz target, with its corpus kept and made small.

use std::path::Path;
use std::process::Command;

use crate::cargo::{Failed, cargo, root, run as run_cargo};
use crate::{say, tools};

/// Runs each target for `seconds`, then keeps the smallest corpus with the same coverage.
pub(crate) fn run_all(seconds: u64) -> Result<(), Failed> {
    for target in targets()? {
        say(&format!("fuzzing {target} for {seconds} s"));
        let limit = format!("-max_total_time={seconds}");
        run_cargo(&mut fuzz(&["run", &target, "--", &limit, "-rss_limit_mb=2048", "-timeout=20"]))?;
        run_cargo(&mut fuzz(&["cmin", &target]))?;
    }
    Ok(())
}

/// Installs cargo-fuzz when it is missing, and runs.
pub(crate) fn run(seconds: u64) -> Result<(), Failed> {
    if !tools::find("cargo-fuzz") {
        run_install()?;
    }
    run_all(seconds)
}

fn run_install() -> Result<(), Failed> {
    run_cargo(&mut cargo(&["install", "--locked", "cargo-fuzz"]))
}

/// Prepares cargo-fuzz on the stable toolchain, which needs leave to instrument.
fn fuzz(arguments: &[&str]) -> Command {
    let mut command = cargo(&["fuzz"]);
    command.args(arguments).env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Lists the targets by their files.
fn targets() -> Result<Vec<String>, Failed> {
    let dir = root().join("fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&dir).map_err(|e| Failed::new(format!("{}: {e}", dir.display())))?;
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| stem(&entry.path())).collect();
    names.sort();
    Ok(names)
}
