//! `cargo xtask fuzz`: every fuzz target, or one, with its corpus kept and made small.

use std::path::Path;
use std::process::Command;

use crate::cargo::{Failed, cargo, root, run as run_cargo};
use crate::{say, tools};

/// Runs each target, or the one that is named, for `seconds`, then keeps the smallest corpus with the same coverage.
///
/// `fuzz/corpus/TARGET/` holds seeds that people chose; what grew from them is thousands of small files, kept packed
/// in `fuzz/corpus/TARGET.tar.gz` and unpacked to `fuzz/grown/TARGET/` for a run.
fn run_all(seconds: u64, only: Option<&str>) -> Result<(), Failed> {
    for target in targets()?.into_iter().filter(|target| only.is_none_or(|only| only == target)) {
        say(&format!("fuzzing {target} for {seconds} s"));
        let (grown, seeds) = (format!("fuzz/grown/{target}"), format!("fuzz/corpus/{target}"));
        let packed = format!("fuzz/corpus/{target}.tar.gz");
        unpack(&packed, &grown)?;
        let limit = format!("-max_total_time={seconds}");
        let limits = ["--", &limit, "-rss_limit_mb=2048", "-timeout=25"];
        run_cargo(fuzz(&["run", &target, &grown, &seeds]).args(limits))?;
        run_cargo(&mut fuzz(&["cmin", &target, &grown]))?;
        let same_each_time = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0"];
        run_cargo(tar(&["-czf", &packed, "-C", &grown]).args(same_each_time).arg("."))?;
    }
    Ok(())
}

/// Unpacks a kept corpus, if there is one.
fn unpack(packed: &str, into: &str) -> Result<(), Failed> {
    let dir = root().join(into);
    std::fs::create_dir_all(&dir).map_err(|e| Failed::new(format!("{}: {e}", dir.display())))?;
    if root().join(packed).exists() {
        run_cargo(&mut tar(&["-xzf", packed, "-C", into]))?;
    }
    Ok(())
}

fn tar(arguments: &[&str]) -> Command {
    let mut tar = Command::new("tar");
    tar.args(arguments).current_dir(root());
    tar
}

/// Installs cargo-fuzz when it is missing, and runs.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Result<(), Failed> {
    if !tools::find("cargo-fuzz") {
        run_install()?;
    }
    run_all(seconds, only)
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
