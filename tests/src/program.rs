use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Returns the path of `nixmox-secrets`, built from the sources as they are now.
///
/// A test of another package does not make cargo build the program, and one of an earlier build must not be judged.
/// So it is built here, unless every file that it was made from is older than it.
///
/// # Panics
///
/// When it does not build.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_named("nixmox-secrets"))
}

/// Returns the path of `nixmox-sops`, as [`program`] does for its own.
///
/// # Panics
///
/// When it does not build.
pub fn sops_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_named("nixmox-sops"))
}

/// Returns the path of `nixmox-manifest`, as [`program`] does for its own.
///
/// # Panics
///
/// When it does not build.
pub fn manifest_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_named("nixmox-manifest"))
}

/// Returns the path of `nixmox-deploy`, as [`program`] does for its own.
///
/// # Panics
///
/// When it does not build.
pub fn deploy_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_named("nixmox-deploy"))
}

/// Returns the path of `nixmox-install`, as [`program`] does for its own.
///
/// # Panics
///
/// When it does not build.
pub fn install_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_named("nixmox-install"))
}

/// Returns the path of one of the programs, as [`program`] does for its own.
///
/// # Panics
///
/// When it does not build.
pub fn program_named(name: &str) -> PathBuf {
    // target/debug/deps/TEST, or target/release/BENCH
    let asking = std::env::current_exe().unwrap();
    let directory = asking.parent().unwrap();
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let program = directory.join(name);
    if !is_current(&program) {
        build(directory, name);
    }
    program
}

/// Tells whether the program is younger than everything that cargo noted as its source.
fn is_current(program: &Path) -> bool {
    let Ok(noted) = fs::read_to_string(program.with_extension("d")) else { return false };
    let Some((_, sources)) = noted.trim().split_once(": ") else { return false };
    let Some(built) = modified(program) else { return false };
    let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() else { return false };
    let mut sources: Vec<PathBuf> = sources.split(' ').map(PathBuf::from).collect();
    // A directory of builds that was copied has programs of other sources.
    if !sources.iter().any(|source| source.starts_with(root)) {
        return false;
    }
    let manifests = sources.iter().filter_map(|source| source.to_str()?.split_once("/src/"));
    let manifests: Vec<PathBuf> =
        manifests.map(|(package, _)| Path::new(package).join("Cargo.toml")).collect();
    sources.extend(manifests);
    sources.extend([root.join("Cargo.toml"), root.join("Cargo.lock")]);
    sources.iter().all(|source| modified(source).is_some_and(|changed| changed < built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

// With the whole workspace chosen, or its dependencies would be built once more with other features.
fn build(directory: &Path, name: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--workspace", "--bin", name, "--target-dir"]);
    cargo.arg(directory.parent().unwrap());
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo cannot be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
